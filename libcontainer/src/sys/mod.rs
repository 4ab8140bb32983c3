//! The only unsafe code of the crate: system calls that rustix does not have, one small file for each family.
//!
//! Everything here that a container's child process uses between `clone3` and `execve` allocates nothing, takes no lock and
//! touches no thread-local state but its own copy of `errno`. What rustix has is used from rustix directly: its Linux backend makes
//! the call itself, without libc's locks.

pub mod bpf;
pub mod clone;
pub mod dispositions;
pub mod exec;
pub mod keyring;
pub mod loopback;
pub mod message;
pub mod mount;
pub mod overlay;
pub mod process;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod unshare;
pub mod userns;
pub mod wait;

use rustix::io::Errno;

/// Turns what `libc::syscall` returns into a result.
pub(crate) fn check(returned: libc::c_long) -> Result<libc::c_long, Errno> {
    if returned >= 0 {
        Ok(returned)
    } else {
        Err(last_errno())
    }
}

/// The error number of the last `libc::syscall` of this thread.
fn last_errno() -> Errno {
    // `last_os_error` only reads `errno`; it allocates nothing.
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
