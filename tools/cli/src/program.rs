//! By which name were we called: help texts, man pages and completions use it.

use std::ffi::OsStr;
use std::path::Path;

/// The base name of `argv0`, or `default` where it has none or is not text.
///
/// The cargo target of a tool is called `trimaran-NAME`; run from a build directory it still calls itself `NAME`.
pub fn name_from(argv0: Option<&OsStr>, default: &'static str) -> &'static str {
    let base = argv0
        .and_then(|path| Path::new(path).file_name())
        .and_then(OsStr::to_str)
        .unwrap_or(default);
    if base.strip_prefix("trimaran-") == Some(default) || base == default {
        return default;
    }
    // Once a process, and clap wants names that live for ever.
    Box::leak(base.to_owned().into_boxed_str())
}

/// The name this process was called by.
pub fn name(default: &'static str) -> &'static str {
    name_from(std::env::args_os().next().as_deref(), default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_name_of_the_call() {
        for (argv0, want) in [
            (Some("/usr/bin/run"), "run"),
            (Some("run-oci"), "run-oci"),
            (Some("target/debug/trimaran-run"), "run"),
            (Some("t-run"), "t-run"),
            (Some(""), "run"),
            (None, "run"),
        ] {
            assert_eq!(name_from(argv0.map(OsStr::new), "run"), want, "{argv0:?}");
        }
    }
}
