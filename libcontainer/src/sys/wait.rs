#![expect(unsafe_code, reason = "PIDFD_GET_INFO is an ioctl with a structure")]
//! How a process that is not our child ended.

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
const PIDFD_GET_INFO: libc::c_ulong = (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xff << 8) | 11;

/// The wait status (as in `waitpid`) of a process that has been reaped by somebody else, if the kernel still knows it.
///
/// # Errors
/// `ENOTTY` or `EINVAL` before Linux 6.15.
pub fn exit_status_of(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    let mut info = PidfdInfo { mask: WANT_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number carries the size of `info`, which the kernel fills no further than that.
    let returned = unsafe { libc::syscall(libc::SYS_ioctl, pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    check(returned)?;
    Ok((info.mask & WANT_EXIT != 0).then_some(info.exit_code))
}
