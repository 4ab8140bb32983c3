//! What a plan depends on beside the specification. Gathered once, outside of the pure part.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Process;

use crate::error::Error;
use crate::idmap::{self, IdMaps};
use crate::procfs;
use crate::rootless;
use crate::seccomp::FilterArch;

/// A cgroup hierarchy of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostHierarchy {
    /// Name of its directory.
    pub name: String,
    /// Controllers, as mount options.
    pub options: Vec<(String, Option<String>)>,
    /// It is the unified one (version 2).
    pub unified: bool,
}

/// Facts about the host and the calling process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The caller is in a user namespace that is not the machine's first.
    pub in_user_namespace: bool,
    /// The caller may not mount and make namespaces, unless a new user namespace gives it the right.
    pub unprivileged: bool,
    /// The ids of that namespace; `None` means all.
    pub ids: Option<IdMaps>,
    /// Hierarchies that are mounted, for the container's view of them.
    pub cgroups: Vec<HostHierarchy>,
    /// Where the container or, if it gets none of its own, the caller is in them, for a view of those by a caller who cannot make
    /// another one.
    pub cgroup_places: Vec<PathBuf>,
    /// The architecture for system call filters.
    pub arch: Option<FilterArch>,
    /// AppArmor is enabled. Looked at only when a profile is asked for.
    pub apparmor: bool,
    /// SELinux is enabled. Looked at only when a label is asked for.
    pub selinux: bool,
    /// The home directory of the process's user, if the environment should get one.
    pub home: Option<String>,
}

/// Where procfs and sysfs are mounted outside of the root file system, the innermost first.
pub(crate) fn kernel_mounts(rootfs: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let text = procfs::read_text("/proc/self/mountinfo")
        .map_err(|error| Error::from_io(error, "read facts about the host").with_path("/proc"))?;
    let place = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let kind = right.split(' ').next()?;
        // Blanks are written as octal numbers; procfs in such a place is nobody's that matters, and the step would say so.
        let point = PathBuf::from(left.split(' ').nth(4)?);
        let ours = rootfs.is_some_and(|root| point.starts_with(root));
        (matches!(kind, "proc" | "sysfs") && !ours).then_some(point)
    };
    let mut found: Vec<PathBuf> = text.lines().filter_map(place).collect();
    found.reverse();
    Ok(found)
}

impl Facts {
    /// Asks the kernel. `cgroups` is left empty unless the specification mounts them: reading the mounts costs time.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn gather(with_cgroups: bool) -> Result<Self, Error> {
        let io = |error| Error::from_io(error, "read facts about the host").with_path("/proc");
        let mountinfo = with_cgroups.then(|| procfs::read_text("/proc/self/mountinfo"));
        Self::gather_with(mountinfo.transpose().map_err(io)?.as_deref())
    }

    /// Asks the kernel; `cgroups` is taken from the text of a mountinfo, if there is one.
    pub(crate) fn gather_with(mountinfo: Option<&str>) -> Result<Self, Error> {
        let io = |error| Error::from_io(error, "read facts about the host").with_path("/proc");
        let initial = rootless::in_initial_user_namespace().map_err(io)?;
        let unprivileged = !rootless::may_mount().map_err(io)?;
        let ids = if initial {
            None
        } else {
            let read = |path: &str| procfs::read_text(path).map(|text| idmap::parse_map(&text));
            Some(IdMaps {
                uid: read("/proc/self/uid_map").map_err(io)?,
                gid: read("/proc/self/gid_map").map_err(io)?,
            })
        };
        let cgroups = mountinfo.map(parse_hierarchies).unwrap_or_default();
        Ok(Self {
            in_user_namespace: !initial,
            unprivileged,
            ids,
            cgroups,
            arch: FilterArch::native(),
            ..Self::default()
        })
    }

    /// Asks which security modules are there, if the process or its mounts shall have a label.
    pub(crate) fn look_for_labels(&mut self, process: Option<&Process>, mount_label: Option<&str>) {
        let asks = |label: &Option<String>| label.as_deref().is_some_and(|label| !label.is_empty());
        if process.is_some_and(|process| asks(process.apparmor_profile())) {
            self.apparmor = procfs::read_text("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|text| text.starts_with('Y'));
        }
        if mount_label.is_some_and(|label| !label.is_empty())
            || process.is_some_and(|process| asks(process.selinux_label()))
        {
            self.selinux = Path::new("/sys/fs/selinux/enforce").exists();
        }
    }
}

/// The cgroup mounts in the text of `/proc/self/mountinfo`. Pure.
fn parse_hierarchies(mountinfo: &str) -> Vec<HostHierarchy> {
    let mut found: Vec<HostHierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else {
            continue;
        };
        let point = mount.split(' ').nth(4).unwrap_or_default();
        let mut fields = filesystem.split(' ');
        let (kind, words) = (
            fields.next().unwrap_or_default(),
            fields.nth(1).unwrap_or_default(),
        );
        let unified = match kind {
            "cgroup" => false,
            "cgroup2" => true,
            _ => continue,
        };
        let name = PathBuf::from(point)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        // A hierarchy may be mounted at several places.
        if found
            .iter()
            .any(|known| known.name == name || (known.unified && unified))
        {
            continue;
        }
        // These are about the hierarchy as a whole, which exists already.
        let own = |word: &&str| {
            !matches!(
                *word,
                "rw" | "ro"
                    | "xattr"
                    | "clone_children"
                    | "noprefix"
                    | "favordynmods"
                    | "memory_recursiveprot"
            ) && !word.starts_with("release_agent=")
        };
        let options = words
            .split(',')
            .filter(own)
            .map(|word| match word.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            });
        let options = if unified {
            Vec::new()
        } else {
            options.collect()
        };
        found.push(HostHierarchy {
            name,
            options,
            unified,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_a_hybrid_host() {
        let text = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
                    31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
                    32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
                    33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = parse_hierarchies(text);
        let names: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.unified, one.options.len()))
            .collect();
        assert_eq!(
            names,
            [
                ("cpu,cpuacct", false, 2),
                ("systemd", false, 1),
                ("unified", true, 0)
            ]
        );
        assert_eq!(
            found[1].options,
            [("name".to_owned(), Some("systemd".to_owned()))]
        );
    }
}
