//! Where we work and as whom: the directories, and a user namespace of our own where that is needed.

use crate::failure;
use libcontainer::rootless::{self, Helpers};
use libimage::store::{IdMode, Store, StoreOptions};
use std::path::{Path, PathBuf};
use trimaran_cli::{Directories, Failure};

/// Where the set-uid helpers usually are, beside `PATH`.
const HELPER_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];

/// The surroundings of a verb that works with images and containers.
#[derive(Debug)]
pub(crate) struct Space {
    /// Where images and containers are.
    pub(crate) directories: Directories,
    /// The user who called us, seen from outside of the namespace.
    pub(crate) uid: u32,
    options: StoreOptions,
}

impl Space {
    /// Finds the directories and, without root's rights, enters a user namespace. Must be called before any thread is started.
    ///
    /// # Errors
    /// No directory can be found, or user namespaces are forbidden or incomplete.
    pub(crate) fn enter(root: Option<&Path>) -> Result<Self, Failure> {
        let directories = Directories::find(root)?;
        let proc =
            |error| Failure::new(format!("cannot read /proc, which must be mounted: {error}"));
        let outside = rootless::facts().map_err(proc)?;
        if outside.must_enter() {
            enter_namespace(outside.uid, outside.gid)?;
        }
        let inside = rootless::facts().map_err(proc)?;
        let privileged = inside.initial_user_namespace && inside.sys_admin;
        let options = StoreOptions {
            ids: ids(),
            privileged,
        };
        Ok(Self {
            directories,
            uid: outside.uid,
            options,
        })
    }

    /// Opens the store.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        Store::open(&self.directories.root, &self.options).map_err(failure::image)
    }
}

fn enter_namespace(uid: u32, gid: u32) -> Result<(), Failure> {
    // A missing file is an empty one: such a user has no sub-ids.
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let passwd = text("/etc/passwd");
    let user = login_name(&passwd, uid);
    let maps = rootless::plan_maps(uid, gid, user, &text("/etc/subuid"), &text("/etc/subgid"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(HELPER_DIRECTORIES.map(PathBuf::from))
        .collect();
    rootless::enter(
        &maps,
        &Helpers::find(directories.iter().map(PathBuf::as_path)),
    )
    .map_err(failure::container)
}

/// The login name of a user id in a passwd file.
fn login_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// Whether more ids than one exist here.
fn ids() -> IdMode {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let count: u64 = libcontainer::idmap::parse_map(&map)
        .iter()
        .map(|map| u64::from(map.size))
        .sum();
    if count == 1 {
        IdMode::Single
    } else {
        IdMode::Full
    }
}

#[cfg(test)]
mod tests {
    use super::login_name;

    #[test]
    fn login_names_come_from_the_third_field() {
        let passwd = "root:x:0:0::/:/x\nbroken\nann:x:1000:100::/:/x\n";
        assert_eq!(login_name(passwd, 1000), Some("ann"));
        assert_eq!(login_name(passwd, 100), None);
    }
}
