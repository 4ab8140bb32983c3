#![expect(
    unsafe_code,
    reason = "unshare can split what other threads rely on sharing"
)]
//! Leaving namespaces: `unshare(2)`.

use rustix::io::Errno;

use super::check;

/// `unshare(flags)` for `CLONE_NEW*` flags. Crate-private: it is for a process with a single thread.
///
/// # Errors
/// What the call returns.
pub(crate) fn unshare(flags: u32) -> Result<(), Errno> {
    // SAFETY: the call takes an integer. Of what it can split, only namespaces are asked for, and the callers are children made by
    // `clone3`, which have one thread.
    let returned = unsafe { libc::syscall(libc::SYS_unshare, libc::c_ulong::from(flags)) };
    check(returned).map(drop)
}
