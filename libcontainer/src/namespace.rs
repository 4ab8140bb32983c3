//! Which namespaces a container makes, which it joins, and in which order. Pure.

use std::fmt;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use thiserror::Error;

use crate::error::{Error, ErrorKind};

/// A kind of namespace, in the order in which they are joined.
///
/// The user namespace comes first: joining the others needs the capabilities that it gives. The mount namespace comes last:
/// joining it changes the root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// User and group ids, capabilities.
    User,
    /// Host name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Network devices, addresses, ports.
    Network,
    /// Root of the cgroup tree.
    Cgroup,
    /// Offsets of the clocks that count from boot.
    Time,
    /// Process ids.
    Pid,
    /// Mounts.
    Mount,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Uts,
        Self::Ipc,
        Self::Network,
        Self::Cgroup,
        Self::Time,
        Self::Pid,
        Self::Mount,
    ];

    /// The `CLONE_NEW*` flag.
    #[must_use]
    pub const fn flag(self) -> u32 {
        match self {
            Self::User => 0x1000_0000,
            Self::Uts => 0x0400_0000,
            Self::Ipc => 0x0800_0000,
            Self::Network => 0x4000_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Time => 0x80,
            Self::Pid => 0x2000_0000,
            Self::Mount => 0x0002_0000,
        }
    }

    /// The name of the file in `/proc/PID/ns`.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Network => "net",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
            Self::Pid => "pid",
            Self::Mount => "mnt",
        }
    }
}

/// How often, and how long, a process that is just about to execute its program is waited for.
const ATTEMPTS: u32 = 100;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// The `CLONE_NEW*` flags of the namespaces in which a process is and we are not.
///
/// # Errors
/// The process has ended, or we may not look at it.
pub(crate) fn foreign(pid: i32) -> Result<u32, Error> {
    let look = |owner: &str, kind: Kind| {
        let path = format!("/proc/{owner}/ns/{}", kind.file_name());
        rustix::fs::stat(&path)
            .map(|stat| (stat.st_dev, stat.st_ino))
            .map_err(|errno| {
                Error::from_errno(errno.raw_os_error(), "look at namespaces").with_path(path)
            })
    };
    // Whoever joins namespaces may be looked at when it executes its program, which may be in this moment.
    let mut attempts = 0;
    while let Err(error) = look(&pid.to_string(), Kind::Mount) {
        if error.errno() != Some(libc::EACCES) || attempts == ATTEMPTS {
            return Err(error);
        }
        attempts += 1;
        std::thread::sleep(PAUSE);
    }
    let mut flags = 0;
    for kind in Kind::ALL {
        // A kernel without this kind has it for nobody.
        if look("self", kind)
            .is_ok_and(|ours| look(&pid.to_string(), kind).is_ok_and(|theirs| ours != theirs))
        {
            flags |= kind.flag();
        }
    }
    Ok(flags)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name())
    }
}

/// Why a list of namespaces cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamespaceError {
    /// A kind is listed twice.
    #[error("namespace {kind} is listed twice")]
    Twice {
        /// The kind.
        kind: Kind,
    },
    /// Without a mount namespace that is not the caller's a container would change the host's mounts.
    #[error("a mount namespace is required")]
    NoMount,
}

impl From<NamespaceError> for Error {
    fn from(error: NamespaceError) -> Self {
        let field = "linux.namespaces".into();
        Self::new(ErrorKind::InvalidSpec { field }, "namespaces").with_source(error)
    }
}

/// The namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    create: u32,
    /// Sorted by kind.
    join: Vec<(Kind, PathBuf)>,
}

impl Namespaces {
    /// Reads the specification's list.
    ///
    /// # Errors
    /// A kind is listed twice, or there is no mount namespace.
    pub fn from_spec(list: &[LinuxNamespace]) -> Result<Self, NamespaceError> {
        let mut namespaces = Self::default();
        for entry in list {
            let kind = match entry.typ() {
                LinuxNamespaceType::User => Kind::User,
                LinuxNamespaceType::Uts => Kind::Uts,
                LinuxNamespaceType::Ipc => Kind::Ipc,
                LinuxNamespaceType::Network => Kind::Network,
                LinuxNamespaceType::Cgroup => Kind::Cgroup,
                LinuxNamespaceType::Pid => Kind::Pid,
                LinuxNamespaceType::Mount => Kind::Mount,
                LinuxNamespaceType::Time => Kind::Time,
            };
            if namespaces.has(kind) {
                return Err(NamespaceError::Twice { kind });
            }
            match entry
                .path()
                .as_ref()
                .filter(|path| !path.as_os_str().is_empty())
            {
                Some(path) => namespaces.join.push((kind, path.clone())),
                None => namespaces.create |= kind.flag(),
            }
        }
        if !namespaces.has(Kind::Mount) {
            return Err(NamespaceError::NoMount);
        }
        namespaces.join.sort();
        Ok(namespaces)
    }

    /// Whether a new namespace of this kind is made.
    #[must_use]
    pub const fn creates(&self, kind: Kind) -> bool {
        self.create & kind.flag() != 0
    }

    /// The path of the namespace of this kind that is joined.
    #[must_use]
    pub fn joins(&self, kind: Kind) -> Option<&PathBuf> {
        self.join
            .iter()
            .find(|(known, _)| *known == kind)
            .map(|(_, path)| path)
    }

    /// Whether the container's namespace of this kind is not the caller's.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.creates(kind) || self.joins(kind).is_some()
    }

    /// The flags of all new namespaces.
    #[must_use]
    pub const fn created(&self) -> u32 {
        self.create
    }

    /// The namespaces to join, in order.
    #[must_use]
    pub fn joined(&self) -> &[(Kind, PathBuf)] {
        &self.join
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(LinuxNamespaceType, Option<&str>)]) -> Vec<LinuxNamespace> {
        entries
            .iter()
            .map(|(kind, path)| {
                let mut entry = LinuxNamespace::default();
                entry.set_typ(*kind);
                entry.set_path(path.map(PathBuf::from));
                entry
            })
            .collect()
    }

    #[test]
    fn user_is_joined_first_and_an_empty_path_means_new() {
        let namespaces = Namespaces::from_spec(&list(&[
            (LinuxNamespaceType::Mount, Some("")),
            (LinuxNamespaceType::Pid, Some("/p")),
            (LinuxNamespaceType::User, Some("/u")),
        ]))
        .unwrap();
        assert!(namespaces.creates(Kind::Mount));
        let order: Vec<_> = namespaces.joined().iter().map(|(kind, _)| *kind).collect();
        assert_eq!(order, [Kind::User, Kind::Pid]);
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        let mount = (LinuxNamespaceType::Mount, None);
        for (entries, wanted) in [
            (
                vec![mount, mount],
                NamespaceError::Twice { kind: Kind::Mount },
            ),
            (
                vec![(LinuxNamespaceType::Pid, None)],
                NamespaceError::NoMount,
            ),
        ] {
            assert_eq!(Namespaces::from_spec(&list(&entries)), Err(wanted));
        }
    }
}
