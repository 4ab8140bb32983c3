//! A directory that is not changed, below a layer in memory: whatever happens, nothing is left to be removed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::error::{Error, Result};

/// Mounts the overlay, attached nowhere.
pub(super) fn mount(directory: &Path, size_bytes: Option<u64>) -> Result<OwnedFd> {
    let failed = |errno: Errno| {
        let error = Error::from_errno(errno.raw_os_error(), "mount the root file system");
        let error = error.with_path(directory);
        match errno {
            Errno::PERM => error.with_hint(
                "mounting needs CAP_SYS_ADMIN: become root, or enter a user namespace first",
            ),
            Errno::INVAL | Errno::NODEV => error.with_hint(NEEDS),
            _ => error,
        }
    };
    let path = CString::new(directory.as_os_str().as_bytes()).map_err(|_| failed(Errno::NOENT))?;
    let size = size_bytes.map(|bytes| CString::new(bytes.to_string()).unwrap_or_default());
    overlay(&path, size.as_deref(), false).map_err(failed)
}

/// What to do without it.
const NEEDS: &str = "a layer in memory needs Linux 6.15 with overlay: make the root read-only, or let the directory itself be changed";

/// The same in a container's child: allocates nothing. `size` is a number of bytes as tmpfs reads it; `user` is for those who are not
/// the machine's root, whose marks are in other attributes.
pub(crate) fn overlay(directory: &CStr, size: Option<&CStr>, user: bool) -> Result<OwnedFd, Errno> {
    let lower = open(CWD, directory)?;
    let memory = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(size) = size {
        fsconfig_set_string(memory.as_fd(), c"size", size)?;
    }
    fsconfig_create(memory.as_fd())?;
    let memory = attach(memory.as_fd())?;
    for name in [c"upper", c"work"] {
        rustix::fs::mkdirat(&memory, name, Mode::from_raw_mode(0o755))?;
    }
    let (upper, work) = (
        open(memory.as_fd(), c"upper")?,
        open(memory.as_fd(), c"work")?,
    );
    // The root directory is the upper one, to those who look at it.
    let stat = rustix::fs::fstat(&lower)?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::chownat(&memory, c"upper", Some(owner.0), Some(owner.1), flags) {
        // Somebody who does not exist in our user namespace.
        Ok(()) | Err(Errno::INVAL | Errno::OVERFLOW) => {}
        Err(errno) => return Err(errno),
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    rustix::fs::chmodat(&memory, c"upper", mode, AtFlags::empty())?;
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, directory) in [
        (c"lowerdir+", &lower),
        (c"upperdir", &upper),
        (c"workdir", &work),
    ] {
        fsconfig_set_fd(context.as_fd(), key, directory.as_fd())?;
    }
    fsconfig_set_string(context.as_fd(), c"source", c"overlay")?;
    fsconfig_set_flag(context.as_fd(), c"volatile")?;
    if user {
        fsconfig_set_flag(context.as_fd(), c"userxattr")?;
    }
    fsconfig_create(context.as_fd())?;
    attach(context.as_fd())
}

fn open(directory: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, path, flags, Mode::empty())
}

fn attach(context: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fsmount(
        context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}
