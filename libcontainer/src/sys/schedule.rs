#![expect(
    unsafe_code,
    reason = "these calls have no safe wrapper, or one that keeps to the C library's threads"
)]
//! How the calling thread is scheduled, which memory it gets, and which system it seems to run on.

use rustix::io::Errno;

use super::check;

/// Scheduling attributes, laid out as the kernel's `struct sched_attr` with utilisation clamps.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerAttributes {
    size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*` bits.
    pub flags: u64,
    /// For the ordinary policies, -20 to 19.
    pub nice: i32,
    /// For the real-time policies, 1 to 99.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub runtime: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub deadline: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub period: u64,
    clamp_min: u32,
    clamp_max: u32,
}

impl Default for SchedulerAttributes {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            policy: 0,
            flags: 0,
            nice: 0,
            priority: 0,
            runtime: 0,
            deadline: 0,
            period: 0,
            clamp_min: 0,
            clamp_max: 0,
        }
    }
}

/// `sched_setattr(0, attributes, 0)`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE` for what is above our own; `EINVAL` for values that do not fit the policy; `EBUSY` when there is no
/// processor time left for a deadline.
///
/// # References
/// sched_setattr(2), Linux 3.14.
pub fn set_scheduler(attributes: &SchedulerAttributes) -> Result<(), Errno> {
    // SAFETY: `attributes` has the layout of `struct sched_attr` and says its own size. The kernel writes to it only where it is
    // larger than the kernel's own structure (`size`, with E2BIG), so it gets a copy that may change.
    let returned = unsafe {
        let mut copy = *attributes;
        libc::syscall(libc::SYS_sched_setattr, 0, &raw mut copy, 0)
    };
    check(returned).map(drop)
}

/// `ioprio_set(IOPRIO_WHO_PROCESS, 0, value)`.
///
/// # Errors
/// `EPERM` for the real-time class without `CAP_SYS_NICE`; `EINVAL` for a class or level that does not exist.
pub fn set_io_priority(value: u32) -> Result<(), Errno> {
    /// `IOPRIO_WHO_PROCESS`.
    const PROCESS: u32 = 1;
    // SAFETY: the call takes integers only.
    let returned = unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, value) };
    check(returned).map(drop)
}

/// `personality(domain)`.
///
/// # Errors
/// What the call returns.
pub fn set_personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: the call takes an integer only.
    let returned = unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) };
    check(returned).map(drop)
}

/// How many memory nodes [`set_memory_policy`] can name.
pub const MEMORY_NODES: usize = 1024;

/// `set_mempolicy(mode, nodes, MEMORY_NODES)`; `mode` holds the flags too, and bit n of `nodes` is node n.
///
/// # Errors
/// `EINVAL` for nodes that do not exist or do not fit the mode; `ENOSYS` where the kernel knows no nodes.
///
/// # References
/// set_mempolicy(2).
pub fn set_memory_policy(mode: u32, nodes: Option<&[u64; MEMORY_NODES / 64]>) -> Result<(), Errno> {
    let pointer = nodes.map_or(std::ptr::null(), |nodes| nodes.as_ptr());
    // The kernel counts one less than it is told.
    let count = nodes.map_or(0, |_| MEMORY_NODES);
    // SAFETY: the pointer is null with a count of zero, or points to MEMORY_NODES bits, which the kernel only reads.
    let returned = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, count) };
    check(returned).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_the_kernels() {
        // SCHED_ATTR_SIZE_VER1.
        assert_eq!(SchedulerAttributes::default().size, 56);
    }
}
