#![expect(unsafe_code, reason = "seccomp has no safe wrapper")]
//! Loading a system call filter.

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

/// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`.
///
/// # Errors
/// `EACCES` with neither `CAP_SYS_ADMIN` nor no_new_privs; `EINVAL` for a program the kernel cannot verify.
pub fn load(program: &[Instruction], flags: u32) -> Result<(), Errno> {
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
    check(returned).map(drop)
}
