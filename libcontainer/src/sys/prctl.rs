#![expect(unsafe_code, reason = "rustix writes these calls for one capability at a time or not at all")]
//! Attributes of the calling process that rustix does not cover.

use rustix::io::Errno;

use super::check;

/// `prctl(PR_CAPBSET_DROP, number)`.
///
/// # Errors
/// `EINVAL` for a capability the kernel does not know, `EPERM` without `CAP_SETPCAP`.
pub fn drop_from_bounding_set(number: u8) -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, u64::from(number), 0, 0, 0) };
    check(returned).map(drop)
}

/// `prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)`.
///
/// # Errors
/// `EPERM` when the capability is not both permitted and inheritable.
pub fn raise_ambient(number: u8) -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned = unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, u64::from(number), 0, 0)
    };
    check(returned).map(drop)
}

/// `prctl(PR_SET_PDEATHSIG, signal)`.
///
/// # Errors
/// `EINVAL` for a number that is no signal.
pub fn set_parent_death_signal(signal: i32) -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
    check(returned).map(drop)
}

/// `prctl(PR_SET_DUMPABLE, 0)`: no process of a namespace that is joined can read or trace us.
///
/// # Errors
/// What the call returns.
pub fn set_undumpable() -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    check(returned).map(drop)
}

/// `capset(2)` for the calling thread, with the 64-bit sets of version 3.
///
/// # Errors
/// `EPERM` when a set grows beyond what the kernel allows.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let (low, high) = (|set: u64| set as u32, |set: u64| (set >> 32) as u32);
    let data = [
        low(effective),
        low(permitted),
        low(inheritable),
        high(effective),
        high(permitted),
        high(inheritable),
    ];
    // SAFETY: version 3 wants a header of two words (version, pid 0 for ourselves) and twice three words of sets; the kernel
    // only reads the sets, and of the header it writes at most the version, so the header is passed as a copy that may change.
    let returned = unsafe {
        let mut header = header;
        libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr())
    };
    check(returned).map(drop)
}
