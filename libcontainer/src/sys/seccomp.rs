#![expect(unsafe_code, reason = "seccomp has no safe wrapper")]
//! Loading a system call filter.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// One BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 1 << 3;

/// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`.
///
/// # Errors
/// `EACCES` with neither `CAP_SYS_ADMIN` nor no_new_privs; `EINVAL` for a program the kernel cannot verify.
pub fn load(program: &[Instruction], flags: u32) -> Result<(), Errno> {
    set(program, flags & !NEW_LISTENER).map(drop)
}

/// As [`load`], and gives the descriptor (close-on-exec) on which the filter asks about calls.
///
/// # Errors
/// As [`load`]; `EBUSY` if a filter with a listener is loaded already.
#[doc(alias = "SECCOMP_FILTER_FLAG_NEW_LISTENER")]
pub fn load_with_listener(program: &[Instruction], flags: u32) -> Result<OwnedFd, Errno> {
    let number = RawFd::try_from(set(program, flags | NEW_LISTENER)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn set(program: &[Instruction], flags: u32) -> Result<libc::c_long, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let header = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `header` describes `program`, whose elements have the layout of `struct sock_filter`; the kernel copies them and
    // writes to neither.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::from_ref(&header),
        )
    };
    check(returned)
}
