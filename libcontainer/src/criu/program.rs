//! The program itself.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::rootless;

/// Where a program is looked for if the environment does not say.
const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The oldest CRIU that is asked: older ones cannot leave a pid namespace to others.
pub(super) const OLDEST: i32 = 31_500;

/// The oldest CRIU that can give processes another security profile than they had.
pub(super) const OLDEST_FOR_PROFILES: i32 = 31_600;

/// Finds CRIU in `PATH`, or where programs usually are.
#[must_use]
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
    find_in(&path.unwrap_or_else(|| USUAL.into()))
}

fn find_in(path: &std::ffi::OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        // A relative one is the caller's directory, from which root runs nothing.
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("criu"))
        .find(|program| is_executable(program))
}

fn is_executable(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(program)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The program that is asked to do `step`, for a caller who may do it.
pub(super) fn chosen(given: Option<PathBuf>, step: &'static str) -> Result<PathBuf> {
    let lacks = |feature: &str| {
        let feature = feature.to_owned();
        Error::new(ErrorKind::Unsupported { feature }, step)
    };
    let facts = rootless::facts().map_err(|error| Error::from_io(error, step))?;
    if facts.is_rootless() {
        return Err(lacks("checkpoints without root").with_hint("CRIU needs root of the machine"));
    }
    match given.or_else(find) {
        Some(program) => Ok(program),
        None => Err(lacks("checkpoints without CRIU").with_hint("install criu: it is not in PATH")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_program_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().as_os_str();
        assert_eq!(find_in(path), None);
        let program = directory.path().join("criu");
        std::fs::write(&program, "").unwrap();
        assert_eq!(find_in(path), None);
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in(path), Some(program));
        assert_eq!(find_in("relative:".as_ref()), None);
    }
}
