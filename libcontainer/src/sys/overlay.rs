#![expect(unsafe_code, reason = "dup3 to a chosen number has no safe wrapper")]
//! Mounts that a short-lived helper makes in a mount namespace of its own, where nobody else sees them.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::check;
use super::clone::{CloneOptions, clone3, exit_group};
use super::dispositions::Blocked;
use super::message;

/// Mounts an overlay on top of the first directory in a namespace of a helper, and returns a detached clone of the mount.
///
/// The helper opens `directories` at consecutive numbers; `options` makes the mount options, in which paths are relative to
/// `/proc/self/fd`, from the first number.
///
/// # Errors
/// What the calls in the helper return.
pub fn mount_elsewhere(
    directories: &[CString],
    options: &dyn Fn(usize) -> CString,
) -> Result<OwnedFd, Errno> {
    let sockets = pair()?;
    // Numbers above the one descriptor that the helper needs may be overwritten in the helper's own table.
    let first = sockets.0.as_raw_fd().max(sockets.1.as_raw_fd()) + 1;
    let text = options(usize::try_from(first).map_err(|_| Errno::BADF)?);
    made_by(sockets, &|| overlay(directories, first, &text))
}

/// Has `make` make a mount in a namespace of a helper, all mounts of which are private, and returns the mount. `make` is called by a
/// child: it must make system calls only (see [`clone3`]).
///
/// # Errors
/// What `make` or the calls around it return.
pub(crate) fn mount_by_helper(make: &dyn Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    made_by(pair()?, make)
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)
}

fn made_by(
    (ours, theirs): (OwnedFd, OwnedFd),
    make: &dyn Fn() -> Result<OwnedFd, Errno>,
) -> Result<OwnedFd, Errno> {
    let mut body = || -> Infallible {
        let code = match helper(make, theirs.as_fd()) {
            Ok(()) => 0,
            Err(errno) => errno.raw_os_error(),
        };
        exit_group(code)
    };
    let clone = CloneOptions {
        namespaces: libc::CLONE_NEWNS as u64,
        ..CloneOptions::default()
    };
    let blocked = Blocked::all()?;
    let child = clone3(&clone, &mut body)?;
    drop(blocked);
    drop(theirs);
    let mut byte = [0_u8; 1];
    let mount = message::receive(ours.as_fd(), &mut byte)
        .ok()
        .and_then(|(_, mount)| mount);
    let pidfd = child.pidfd.ok_or(Errno::INVAL)?;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
    match mount {
        Some(mount) => Ok(mount),
        None => Err(Errno::from_raw_os_error(
            status
                .and_then(|status| status.exit_status())
                .unwrap_or(libc::EIO),
        )),
    }
}

fn helper(make: &dyn Fn() -> Result<OwnedFd, Errno>, socket: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::mount::mount_change(
        c"/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let mount = make()?;
    message::send(socket, b"m", Some(mount.as_fd()))
}

fn overlay(directories: &[CString], first: i32, options: &CStr) -> Result<OwnedFd, Errno> {
    for (number, directory) in (first..).zip(directories) {
        // Opened here, because an overlay takes directories of its own mount namespace only.
        let opened = rustix::fs::open(
            directory.as_c_str(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if opened.as_raw_fd() == number {
            // It has to stay open, and is gone with the helper.
            std::mem::forget(opened);
        } else {
            // SAFETY: the call takes integers. The number that is overwritten is not used by anything in the helper.
            check(unsafe {
                libc::syscall(libc::SYS_dup3, opened.as_raw_fd(), number, libc::O_CLOEXEC)
            })?;
        }
    }
    let target = directories.first().ok_or(Errno::INVAL)?.as_c_str();
    rustix::process::chdir(c"/proc/self/fd")?;
    rustix::mount::mount(c"overlay", target, c"overlay", MountFlags::empty(), options)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, target, flags)
}
