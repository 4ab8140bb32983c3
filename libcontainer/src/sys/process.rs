#![expect(
    unsafe_code,
    reason = "rustix writes these calls for one capability at a time or not at all"
)]
//! Attributes of the calling process that rustix does not cover, or sets through a type that would have to be made from numbers.

use rustix::io::Errno;

use super::check;

/// `prctl(PR_CAPBSET_DROP, number)`.
///
/// # Errors
/// `EINVAL` for a capability the kernel does not know, `EPERM` without `CAP_SETPCAP`.
pub fn drop_from_bounding_set(number: u8) -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_CAPBSET_DROP,
            u64::from(number),
            0,
            0,
            0,
        )
    };
    check(returned).map(drop)
}

/// `prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)`.
///
/// # Errors
/// `EPERM` when the capability is not both permitted and inheritable.
pub fn raise_ambient(number: u8) -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE,
            u64::from(number),
            0,
            0,
        )
    };
    check(returned).map(drop)
}

/// `prctl(PR_SET_PDEATHSIG, signal)`.
///
/// # Errors
/// `EINVAL` for a number that is no signal.
pub fn set_parent_death_signal(signal: i32) -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned =
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
    check(returned).map(drop)
}

/// `prctl(PR_SET_DUMPABLE)`: otherwise no process without privilege over the host can read or trace us, or join our namespaces.
///
/// # Errors
/// What the call returns.
pub fn set_dumpable(dumpable: bool) -> Result<(), Errno> {
    // SAFETY: the call takes integers only.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_SET_DUMPABLE,
            i64::from(dumpable),
            0,
            0,
            0,
        )
    };
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

/// `setgroups(2)` for the calling thread alone; libc's would synchronise threads.
///
/// # Errors
/// `EPERM` without `CAP_SETGID`, or in a user namespace that denies it.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the pointer and the count describe `groups`, which the kernel only reads.
    let returned = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(returned).map(drop)
}

/// A soft and a hard limit, laid out as the kernel's `struct rlimit64`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// The limit that is enforced.
    pub soft: u64,
    /// The highest that the soft one may be raised to.
    pub hard: u64,
}

/// `prlimit(0, resource, new, NULL)`.
///
/// # Errors
/// `EPERM` for a hard limit above the present one without `CAP_SYS_RESOURCE`; `EINVAL` for a soft limit above the hard one.
pub fn set_limit(resource: u32, limit: Limit) -> Result<(), Errno> {
    // SAFETY: `limit` has the layout of `struct rlimit64` and is only read; no old limit is asked for.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::from_ref(&limit),
            std::ptr::null_mut::<Limit>(),
        )
    };
    check(returned).map(drop)
}

/// `prlimit(0, resource, NULL, old)`.
///
/// # Errors
/// `EINVAL` for a resource the kernel does not know.
pub fn limit(resource: u32) -> Result<Limit, Errno> {
    let mut old = Limit::default();
    // SAFETY: `old` has the layout of `struct rlimit64` and is writable; no new limit is given.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::null::<Limit>(),
            &raw mut old,
        )
    };
    check(returned).map(|_| old)
}
