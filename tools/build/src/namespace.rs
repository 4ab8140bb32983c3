//! An ordinary user works in a user namespace of its own, where it is root: how does this process get there?

use crate::told;
use libbuild::rootless::{Helpers, RootlessFacts, enter, facts, plan_maps};
use std::path::{Path, PathBuf};
use trimaran_cli::Failure;

/// Where this process is, once it can build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespace {
    /// The user who called, by the ids of where it was called.
    pub uid: u32,
    /// Whether this process made the namespace: it goes away with the process, and so does every mount in it.
    pub private: bool,
    /// Whether we are root of the machine.
    pub privileged: bool,
    /// Whether other users' ids can be given to files.
    pub full_ids: bool,
}

/// Enters a user namespace if that is needed to build. Must come before the first thread.
///
/// # Errors
/// If user namespaces are not allowed, or the helpers refuse.
pub(crate) fn ready() -> Result<Namespace, Failure> {
    let facts = facts()?;
    let private = facts.must_enter();
    if private {
        go(&facts)?;
    }
    Ok(Namespace {
        uid: facts.uid,
        private,
        privileged: !facts.is_rootless(),
        full_ids: mapped_ids(&std::fs::read_to_string("/proc/self/uid_map")?) > 1,
    })
}

fn go(facts: &RootlessFacts) -> Result<(), Failure> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let user = user_name(&read("/etc/passwd"), facts.uid);
    let maps = plan_maps(
        facts.uid,
        facts.gid,
        user.as_deref(),
        &read("/etc/subuid"),
        &read("/etc/subgid"),
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.extend(["/usr/bin", "/usr/sbin", "/bin"].map(PathBuf::from));
    let helpers = Helpers::find(directories.iter().map(PathBuf::as_path));
    enter(&maps, &helpers).map_err(|error| told::container(error.into()))
}

/// The login name of a user id.
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

/// How many ids a namespace knows.
fn mapped_ids(map: &str) -> u64 {
    map.lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
        .sum()
}

/// The shell of the user, for a command that was not given.
pub(crate) fn shell() -> PathBuf {
    let named = std::env::var_os("SHELL").filter(|shell| Path::new(shell).is_absolute());
    named.map_or_else(|| PathBuf::from("/bin/sh"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_maps_are_read() {
        let passwd = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("me"));
        assert_eq!(user_name(passwd, 100), None);
        assert_eq!(
            mapped_ids("         0       1000          1\n         1     100000      65536\n"),
            65537
        );
        assert_eq!(mapped_ids(""), 0);
    }
}
