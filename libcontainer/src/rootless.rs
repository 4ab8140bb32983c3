//! Becoming root of a user namespace of one's own: how an ordinary user unpacks images and runs containers.
//!
//! [`enter`] changes the *calling process*, on purpose and unlike the rest of the crate: everything the process does afterwards
//! (unpacking layers with their owners, mounting overlays, starting containers) must happen inside the namespace. A program
//! calls it first thing in `main`, before it has threads.

use crate::{
    error::{Error, ErrorKind},
    idmap::{self, IdMap, IdMapError, IdMaps},
    sys::userns::{self, Held},
};
use rustix::{
    io::Errno,
    mount::{MountPropagationFlags, mount_change},
    process::{Gid, Uid},
};
use std::{
    ffi::CString,
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The inode number of the machine's first user namespace: `PROC_USER_INIT_INO` of the kernel, part of its interface.
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

const NO_HELPERS: &str = "install newuidmap and newgidmap (package uidmap), or remove the user's lines from /etc/subuid and /etc/subgid";

/// What decides whether [`enter`] is needed. Not the user id: uid 0 of a nested user namespace may lack what it takes, and an
/// identity mapping proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootlessFacts {
    /// Whether the process is in the machine's first user namespace.
    pub initial_user_namespace: bool,
    /// Whether CAP_SYS_ADMIN is effective (over the current user namespace).
    pub sys_admin: bool,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

impl RootlessFacts {
    /// Whether a container can only be made after [`enter`].
    pub fn must_enter(&self) -> bool {
        !self.sys_admin
    }

    /// Whether the process is root of a user namespace that is not the machine's, or will be after [`enter`].
    pub fn is_rootless(&self) -> bool {
        !self.initial_user_namespace || !self.sys_admin
    }
}

/// Where the set-uid helpers are looked for: not where the environment says.
const HELPER_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Where the set-uid helpers are; `None` is "not installed".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Helpers {
    /// `newuidmap(1)`, usually `/usr/bin/newuidmap`.
    pub newuidmap: Option<PathBuf>,
    /// `newgidmap(1)`.
    pub newgidmap: Option<PathBuf>,
}

impl Helpers {
    /// The helpers in the first of `directories` that holds them.
    pub fn find<'a>(directories: impl IntoIterator<Item = &'a Path> + Clone) -> Self {
        let find = |name: &str| {
            directories
                .clone()
                .into_iter()
                .map(|directory| directory.join(name))
                .find(|path| path.is_file())
        };
        Self {
            newuidmap: find("newuidmap"),
            newgidmap: find("newgidmap"),
        }
    }
}

/// Why a user namespace cannot be entered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RootlessError {
    /// The mapping itself is wrong.
    #[error("the id mapping cannot be used")]
    Maps(#[source] IdMapError),
    /// The process has more than one thread.
    #[error("a process with {threads} threads cannot enter a user namespace")]
    Threads {
        /// How many there are.
        threads: usize,
    },
    /// The kernel refuses to make a user namespace.
    #[error("a user namespace cannot be made")]
    Unshare {
        /// The kernel's answer.
        #[source]
        source: io::Error,
        /// What the system's settings say about it.
        hint: &'static str,
    },
    /// A helper is needed and not there.
    #[error("{0} is not installed, and sub-ids cannot be mapped without it")]
    NoHelper(&'static str),
    /// A helper could not be started.
    #[error("{path} cannot be started")]
    Start {
        /// The helper.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A helper refused.
    #[error("{path} failed: {message}")]
    Helper {
        /// The helper.
        path: PathBuf,
        /// Its own words.
        message: String,
    },
    /// A file in `/proc/self` could not be read or written.
    #[error("{path} cannot be used")]
    Proc {
        /// The file.
        path: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The new namespaces exist but do not give what they should.
    #[error("{step} failed inside the new user namespace")]
    Inside {
        /// What was tried.
        step: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl RootlessError {
    /// What the failure means to a program.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Maps(_) => ErrorKind::InvalidSpec {
                field: "linux.uidMappings".to_owned(),
            },
            Self::Threads { .. } | Self::NoHelper(_) => ErrorKind::Unsupported {
                feature: "user namespaces".to_owned(),
            },
            Self::Unshare { .. } | Self::Helper { .. } => ErrorKind::PermissionDenied,
            Self::Start { source, .. }
            | Self::Proc { source, .. }
            | Self::Inside { source, .. } => source
                .raw_os_error()
                .map_or(ErrorKind::Io, ErrorKind::from_errno),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Threads { .. } => {
                Some("enter the user namespace first thing in main, before a thread is started")
            }
            Self::Unshare { hint, .. } => Some(hint),
            Self::NoHelper(_) | Self::Start { .. } => Some(NO_HELPERS),
            Self::Helper { .. } => Some(
                "the ranges must be the user's in /etc/subuid and /etc/subgid, newuidmap and newgidmap need their set-uid bit or \
                 file capabilities, and no_new_privs must not be set",
            ),
            Self::Inside { .. } => restriction(),
            Self::Maps(_) | Self::Proc { .. } => None,
        }
    }
}

impl From<RootlessError> for Error {
    fn from(error: RootlessError) -> Self {
        let whole = Self::new(error.kind(), "enter a user namespace");
        let whole = match error.hint() {
            Some(hint) => whole.with_hint(hint),
            None => whole,
        };
        whole.with_source(error)
    }
}

/// The facts about the calling process.
///
/// # Errors
/// `/proc` is not mounted.
pub fn facts() -> io::Result<RootlessFacts> {
    Ok(RootlessFacts {
        initial_user_namespace: in_initial_user_namespace()?,
        sys_admin: may_mount()?,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    })
}

/// Whether the process is in the machine's first user namespace.
pub(crate) fn in_initial_user_namespace() -> io::Result<bool> {
    let own = std::fs::metadata("/proc/self/ns/user")?;
    Ok(own.ino() == FIRST_USER_NAMESPACE)
}

/// Whether CAP_SYS_ADMIN is effective.
pub(crate) fn may_mount() -> io::Result<bool> {
    let effective = crate::capability::CapabilitySet::effective()?;
    Ok(effective.contains(oci_spec::runtime::Capability::SysAdmin))
}

/// The mapping for a user: 0 is the user, 1 and up the sub-ids; only 0 when the user lacks sub-ids of either kind. Pure.
///
/// `subuid` and `subgid` are the texts of `/etc/subuid` and `/etc/subgid`; both are keyed by the *user*.
pub fn plan_maps(uid: u32, gid: u32, user: Option<&str>, subuid: &str, subgid: &str) -> IdMaps {
    let users = idmap::parse_subids(subuid, user, uid);
    let groups = idmap::parse_subids(subgid, user, uid);
    if users.is_empty() || groups.is_empty() {
        return IdMaps::single(uid, gid);
    }
    IdMaps {
        uid: idmap::map_user(uid, &users),
        gid: idmap::map_user(gid, &groups),
    }
}

/// The mapping for the caller: [`plan_maps`] with what this host's files say, or itself alone if those who may map more are not installed.
pub fn caller_maps(facts: &RootlessFacts) -> IdMaps {
    let helpers = Helpers::find(HELPER_DIRECTORIES.map(Path::new));
    if helpers.newuidmap.is_none() || helpers.newgidmap.is_none() {
        return IdMaps::single(facts.uid, facts.gid);
    }
    // A missing file is an empty one: such a user has no sub-ids.
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(facts.uid)).then_some(name)
    });
    let (users, groups) = (read("/etc/subuid"), read("/etc/subgid"));
    plan_maps(facts.uid, facts.gid, name, &users, &groups)
}

/// Puts the calling process into a user namespace and a mount namespace of its own, as uid 0 and gid 0, with every mount a slave of
/// the outside one (what is mounted inside stays inside, what the host mounts later is seen).
///
/// More than one id is mapped by `newuidmap` and `newgidmap`; a single one is written directly, and then `setgroups(2)` stays
/// forbidden inside, as the kernel demands.
///
/// # Errors
/// The process has threads, the system forbids user namespaces, a helper is missing or refuses. After a failure the process may
/// already be in the new namespace with no id mapped: it should end.
pub fn enter(maps: &IdMaps, helpers: &Helpers) -> Result<(), RootlessError> {
    maps.validate().map_err(RootlessError::Maps)?;
    if maps.is_single() {
        unshare()?;
        write_single(maps)?;
    } else {
        enter_with_helpers(maps, helpers)?;
    }
    become_root()
}

/// Both helpers are forked before the namespace is left, and run at the same time.
fn enter_with_helpers(maps: &IdMaps, helpers: &Helpers) -> Result<(), RootlessError> {
    let newuidmap = helpers
        .newuidmap
        .as_deref()
        .ok_or(RootlessError::NoHelper("newuidmap"))?;
    let newgidmap = helpers
        .newgidmap
        .as_deref()
        .ok_or(RootlessError::NoHelper("newgidmap"))?;
    let users = hold(newuidmap, &maps.uid)?;
    let groups = hold(newgidmap, &maps.gid)?;
    unshare()?;
    release(newuidmap, users, "/proc/self/uid_map")?;
    release(newgidmap, groups, "/proc/self/gid_map")
}

fn hold(helper: &Path, maps: &[IdMap]) -> Result<Held, RootlessError> {
    let mut words = vec![
        helper.as_os_str().as_bytes().to_vec(),
        std::process::id().to_string().into_bytes(),
    ];
    for number in maps
        .iter()
        .flat_map(|map| [map.container, map.host, map.size])
    {
        words.push(number.to_string().into_bytes());
    }
    let start = |source: io::Error| RootlessError::Start {
        path: helper.to_owned(),
        source,
    };
    let argv = words
        .into_iter()
        .map(CString::new)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| start(error.into()))?;
    userns::hold(&argv).map_err(|error| start(error.into()))
}

fn release(helper: &Path, held: Held, map: &'static str) -> Result<(), RootlessError> {
    let outcome = held.release().map_err(|error| RootlessError::Start {
        path: helper.to_owned(),
        source: error.into(),
    })?;
    let written =
        std::fs::read_to_string(map).map_err(|source| RootlessError::Proc { path: map, source })?;
    // The map itself is the proof: an exit code may have gone to somebody else's reaper.
    if !written.trim().is_empty() {
        return Ok(());
    }
    let message = match (outcome.message, outcome.code) {
        (said, _) if !said.is_empty() => said,
        (_, Some(code)) => format!("exit code {code}"),
        (_, None) => "it wrote no mapping".to_owned(),
    };
    Err(RootlessError::Helper {
        path: helper.to_owned(),
        message,
    })
}

fn write_single(maps: &IdMaps) -> Result<(), RootlessError> {
    // The kernel takes a gid_map from an unprivileged writer only after setgroups was given up (CVE-2014-8989).
    write_proc("/proc/self/setgroups", "deny")?;
    write_proc("/proc/self/uid_map", &idmap::map_text(&maps.uid))?;
    write_proc("/proc/self/gid_map", &idmap::map_text(&maps.gid))
}

fn write_proc(path: &'static str, text: &str) -> Result<(), RootlessError> {
    std::fs::write(path, text).map_err(|source| RootlessError::Proc { path, source })
}

fn become_root() -> Result<(), RootlessError> {
    let inside = |step| {
        move |error: Errno| RootlessError::Inside {
            step,
            source: error.into(),
        }
    };
    // The process has one thread, the kernel has just checked it, so the thread's ids are the process's.
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .map_err(inside("setresgid"))?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
        .map_err(inside("setresuid"))?;
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .map_err(inside("making the mounts private"))
}

fn unshare() -> Result<(), RootlessError> {
    userns::unshare_user_and_mount().map_err(|error| {
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if error == Errno::INVAL && threads > 1 {
            return RootlessError::Threads { threads };
        }
        let hint = restriction().unwrap_or(match error {
            Errno::NOSPC => {
                "the limit of user namespaces is reached: see sysctl user.max_user_namespaces"
            }
            Errno::INVAL => "the kernel was built without user namespaces (CONFIG_USER_NS)",
            Errno::PERM => {
                "not possible in a chroot, nor where a container's system call filter forbids it"
            }
            _ => "see user_namespaces(7)",
        });
        RootlessError::Unshare {
            source: error.into(),
            hint,
        }
    })
}

/// The setting that forbids user namespaces, if one does.
fn restriction() -> Option<&'static str> {
    let value = |path: &str| {
        std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
    };
    if value("/proc/sys/user/max_user_namespaces") == Some(0) {
        Some("user namespaces are disabled: sysctl -w user.max_user_namespaces=15000")
    } else if value("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        Some("user namespaces are disabled for users: sysctl -w kernel.unprivileged_userns_clone=1")
    } else if value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        .is_some_and(|value| value > 0)
    {
        Some(
            "AppArmor restricts user namespaces: add a profile with `userns,` for this program, or sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_with_both_kinds_of_sub_ids_gets_them() {
        let maps = plan_maps(
            1000,
            100,
            Some("ann"),
            "ann:100000:65536",
            "1000:200000:65536",
        );
        assert_eq!(idmap::map_text(&maps.uid), "0 1000 1\n1 100000 65536\n");
        assert_eq!(idmap::map_text(&maps.gid), "0 100 1\n1 200000 65536\n");
        for (subuid, subgid) in [
            ("", ""),
            ("ann:100000:65536", ""),
            ("", "ann:100000:65536"),
            ("bob:1:2", "bob:1:2"),
        ] {
            assert_eq!(
                plan_maps(1000, 100, Some("ann"), subuid, subgid),
                IdMaps::single(1000, 100)
            );
        }
    }

    #[test]
    fn a_process_with_threads_is_refused_by_name() {
        let error =
            std::thread::spawn(|| enter(&IdMaps::single(0, 0), &Helpers::default()).unwrap_err())
                .join()
                .unwrap();
        assert!(
            matches!(error, RootlessError::Threads { threads } if threads > 1),
            "{error:?}"
        );
        assert!(
            Error::from(error)
                .hint()
                .unwrap()
                .contains("first thing in main")
        );
    }

    #[test]
    fn helpers_are_asked_for_only_when_needed() {
        let maps = plan_maps(
            1000,
            100,
            Some("ann"),
            "ann:100000:65536",
            "ann:100000:65536",
        );
        let error = enter(&maps, &Helpers::default()).unwrap_err();
        assert!(
            matches!(error, RootlessError::NoHelper("newuidmap")),
            "{error:?}"
        );
        assert!(
            Error::from(error)
                .hint()
                .unwrap()
                .contains("package uidmap")
        );
        assert_eq!(
            Helpers::find([Path::new("/nonexistent")]),
            Helpers::default()
        );
    }

    #[test]
    fn the_facts_are_read_without_privilege() {
        let facts = facts().unwrap();
        assert_eq!(facts.must_enter(), !facts.sys_admin);
    }
}
