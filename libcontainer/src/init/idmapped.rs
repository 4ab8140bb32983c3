//! Mounts whose files have other owners than on disk.
//!
//! The kernel takes the map from a user namespace. One that nobody lives in is made for it: a child enters it, waits until the maps
//! are written and the namespace is open, and is killed.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use super::enter::reap;
use super::maps;
use crate::error::{Error, ErrorKind, Result};
use crate::idmap::IdMaps;
use crate::mount::MapScope;
use crate::namespace::Kind;
use crate::plan::{MapSource, TreeMap};
use crate::sys::clone::{CloneOptions, clone3};
use crate::sys::dispositions::Blocked;
use crate::sys::mount::{MountAttributes, mount_setattr};
use crate::sys::process::set_parent_death_signal;

const STEP: &str = "map the ids of a mount";

/// `MOUNT_ATTR_IDMAP`.
const IDMAP: u64 = 0x10_0000;

/// Maps the ids of a detached tree.
pub(super) fn apply(tree: BorrowedFd<'_>, map: &TreeMap) -> Result<()> {
    let namespace = match &map.by {
        MapSource::Maps(maps) => user_namespace(maps)?,
        MapSource::Namespace(path) => open(path)?,
    };
    let attributes = MountAttributes {
        set: IDMAP,
        user_namespace: namespace.as_raw_fd().try_into().unwrap_or_default(),
        ..MountAttributes::default()
    };
    let deep = map.scope == MapScope::Tree;
    mount_setattr(tree, deep, &attributes).map_err(|errno| refused(tree, errno))
}

fn open(path: impl AsRef<std::path::Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::from_errno(errno.raw_os_error(), STEP).with_path(path))
}

/// A user namespace with these maps and no process in it.
fn user_namespace(maps: &IdMaps) -> Result<OwnedFd> {
    let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), STEP);
    let options = CloneOptions {
        namespaces: u64::from(Kind::User.flag()),
        ..CloneOptions::default()
    };
    let blocked = Blocked::all().map_err(failed)?;
    let cloned = clone3(&options, &mut || wait_to_be_killed());
    drop(blocked);
    let cloned = cloned.map_err(failed)?;
    let pidfd = cloned.pidfd.ok_or_else(|| failed(Errno::INVAL))?;
    let namespace =
        maps::write(cloned.pid, maps).and_then(|()| open(format!("/proc/{}/ns/user", cloned.pid)));
    // It may have been killed by somebody else, which is as good.
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).ok();
    reap(pidfd.as_fd());
    namespace
}

/// The child: nothing but system calls, and never a return.
fn wait_to_be_killed() -> Infallible {
    // It must not outlive us if we are killed. Where it cannot be asked for, nothing else can be done.
    set_parent_death_signal(libc::SIGKILL).ok();
    loop {
        rustix::event::pause();
    }
}

fn refused(tree: BorrowedFd<'_>, errno: Errno) -> Error {
    let error = Error::from_errno(errno.raw_os_error(), STEP);
    let name = rustix::fs::fstatfs(tree).map_or("unknown", |stat| file_system(stat.f_type));
    match errno {
        Errno::INVAL => error
            .with_kind(ErrorKind::Unsupported {
                feature: format!("id-mapped mounts of a file system of type {name}"),
            })
            .with_hint("this file system cannot be id-mapped with this kernel, or a mount below it cannot"),
        Errno::PERM => error.with_hint(
            "it is id-mapped already, or CAP_SYS_ADMIN is missing in the user namespace that mounted the file system",
        ),
        _ => error,
    }
}

/// The name of a file system that people bind from, by its magic number (statfs(2)).
const fn file_system(magic: i64) -> &'static str {
    match magic {
        0xef53 => "ext4",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0xff53_4d42 => "cifs",
        0x9fa0 => "proc",
        0x6265_6572 => "sysfs",
        0x2fc1_2fc1 => "zfs",
        _ => "unknown",
    }
}
