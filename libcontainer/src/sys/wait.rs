#![expect(
    unsafe_code,
    reason = "an ioctl with a structure, and a call with a null pointer"
)]
//! Processes by descriptor: signals with any number, and how a process that is not our child ended.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// The kernel's `struct pidfd_info`, first version with the exit code (Linux 6.15).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const WANT_EXIT: u64 = 1 << 3;

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong =
    (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xff << 8) | 11;

/// The wait status (as in `waitpid`) of a process that has been reaped by somebody else, if the kernel still knows it.
///
/// # Errors
/// `ENOTTY` or `EINVAL` before Linux 6.15.
pub fn exit_status_of(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    let mut info = PidfdInfo {
        mask: WANT_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the request number carries the size of `info`, which the kernel fills no further than that.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            pidfd.as_raw_fd(),
            PIDFD_GET_INFO,
            &raw mut info,
        )
    };
    check(returned)?;
    Ok((info.mask & WANT_EXIT != 0).then_some(info.exit_code))
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)`, for any number: rustix's type has no real-time signals.
///
/// # Errors
/// `ESRCH` when the process has ended.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call takes a descriptor, an integer, a null pointer (fill in the details yourself) and a zero.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(returned).map(drop)
}
