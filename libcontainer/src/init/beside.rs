//! A process in the cgroup of a user's own systemd, made from a session of the machine's, as after a login by ssh.
//!
//! The kernel puts a process only where its maker may also take processes from, and the session is not the user's. The user's manager asks
//! the machine's to move a process, but ours must not run before it is there: a helper is moved, and makes the process as our child.

use std::convert::Infallible;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::enter::reap;
use crate::cgroup::SystemdUnit;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clone::{CloneOptions, Cloned, clone3, exit_group};
use crate::sys::message;

const STEP: &str = "make the container's process in its unit";

/// Makes a process that runs `body`, in the unit. `body` must make system calls only (see [`clone3`]).
pub(super) fn clone_in_unit(
    unit: &SystemdUnit,
    namespaces: u64,
    body: &mut dyn FnMut() -> Infallible,
) -> Result<Cloned> {
    let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), STEP);
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (ours, theirs) =
        rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None).map_err(failed)?;
    let helper = clone3(&CloneOptions::default(), &mut || -> Infallible {
        // Nothing here but system calls. It goes with the thread that made it.
        let end = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let told = match end {
            Ok(()) => message::receive(theirs.as_fd(), &mut [0]),
            Err(errno) => Err(errno),
        };
        if !matches!(told, Ok((1, _))) {
            exit_group(1)
        }
        let clone = CloneOptions {
            namespaces,
            cgroup: None,
            sibling: true,
        };
        let number = match clone3(&clone, body) {
            Ok(cloned) => cloned.pid,
            Err(errno) => -errno.raw_os_error(),
        };
        message::send(theirs.as_fd(), &number.to_ne_bytes(), None).ok();
        exit_group(0)
    })
    .map_err(failed)?;
    drop(theirs);
    let moved = unit.attach(helper.pid);
    if moved.is_ok() {
        message::send(ours.as_fd(), b"g", None).ok();
    } else {
        // It ends without having made anything.
        rustix::net::shutdown(&ours, rustix::net::Shutdown::Both).ok();
    }
    let mut bytes = [0; 4];
    let said = message::receive(ours.as_fd(), &mut bytes);
    if let Some(pidfd) = &helper.pidfd {
        reap(pidfd.as_fd());
    }
    moved?;
    let number = match said {
        Ok((4, _)) => i32::from_ne_bytes(bytes),
        _ => return Err(Error::new(ErrorKind::Io, STEP).with_hint("its maker was killed")),
    };
    // It is our child, so its number cannot be given to another before we wait for it.
    let pid =
        Pid::from_raw(number.max(0)).ok_or_else(|| failed(Errno::from_raw_os_error(-number)))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    Ok(Cloned {
        pid: number,
        pidfd: Some(pidfd),
    })
}
