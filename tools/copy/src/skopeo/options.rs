//! Skopeo's global flags. It takes them in front of the verb and after it; here every verb has them.

use libimage::platform::Platform;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use trimaran_cli::human;

/// Global flags that are followed by a value.
const WITH_VALUE: [&str; 7] = [
    "--command-timeout",
    "--override-arch",
    "--override-os",
    "--override-variant",
    "--policy",
    "--registries.d",
    "--tmpdir",
];
/// Global flags that stand alone.
const ALONE: [&str; 2] = ["--debug", "--insecure-policy"];

/// The global flags that are not about access.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Global {
    /// Give up after this time (as in 90s, 10m or 1h30m)
    #[arg(long, value_name = "DURATION", value_parser = human::parse_duration)]
    pub(super) command_timeout: Option<Duration>,

    /// Tell more, on stderr
    #[arg(long)]
    pub(super) debug: bool,

    /// Choose images for this architecture instead of the machine's
    #[arg(long, value_name = "ARCH")]
    override_arch: Option<String>,

    /// Choose images for this operating system instead of the machine's
    #[arg(long, value_name = "OS")]
    override_os: Option<String>,

    /// Choose images for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    override_variant: Option<String>,

    /// Accepted: nothing is ever stored in a temporary directory
    #[arg(long, value_name = "DIR")]
    tmpdir: Option<PathBuf>,
}

impl Global {
    /// The platform images are chosen for.
    pub(super) fn platform(&self) -> Platform {
        let mut platform = Platform::host();
        if let Some(architecture) = &self.override_arch {
            platform.architecture.clone_from(architecture);
            platform.variant = None;
        }
        if let Some(os) = &self.override_os {
            platform.os.clone_from(os);
        }
        if let Some(variant) = &self.override_variant {
            platform.variant = Some(variant.clone());
        }
        platform
    }

    /// Whether any of it was overridden: an image for another platform is an error only then.
    pub(super) fn is_overridden(&self) -> bool {
        self.override_arch.is_some()
            || self.override_os.is_some()
            || self.override_variant.is_some()
    }
}

/// Moves the global flags in front of the verb behind it.
pub(super) fn after_the_verb(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut rest: VecDeque<OsString> = arguments.into_iter().collect();
    let mut moved = Vec::new();
    while let Some(word) = rest.pop_front() {
        let text = word.to_string_lossy();
        let flag = text.split('=').next().unwrap_or_default();
        let takes_next = WITH_VALUE.contains(&flag) && !text.contains('=');
        if !WITH_VALUE.contains(&flag) && !ALONE.contains(&flag) {
            let mut arguments = vec![word];
            // What stands before a verb that is missing has to be complained about there.
            arguments.extend(moved);
            arguments.extend(rest);
            return arguments;
        }
        moved.push(word);
        if takes_next {
            moved.extend(rest.pop_front());
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_flags_may_stand_in_front() {
        for (given, expected) in [
            ("copy a b", "copy a b"),
            ("--debug copy a b", "copy --debug a b"),
            (
                "--override-os linux --policy=p copy --all a b",
                "copy --override-os linux --policy=p --all a b",
            ),
            ("--tmpdir", "--tmpdir"),
            ("--frob copy", "--frob copy"),
            ("", ""),
        ] {
            let words = given.split_whitespace().map(OsString::from);
            let moved: Vec<_> = after_the_verb(words)
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            assert_eq!(moved.join(" "), expected);
        }
    }
}
