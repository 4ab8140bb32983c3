#![expect(
    unsafe_code,
    reason = "signal masks and dispositions are set by pointer"
)]
//! Signal masks and dispositions of a new process.

use rustix::io::Errno;

use super::check;
use super::clone::exit_group;

/// Size of the kernel's signal set.
const SET_BYTES: usize = size_of::<u64>();

/// Sets the calling thread's signal mask (bit n - 1 is signal n) and returns the one before.
fn set_mask(mask: u64) -> Result<u64, Errno> {
    let mut before = 0_u64;
    // SAFETY: both pointers are to 64-bit sets, which is the size that is passed along.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            std::ptr::from_ref(&mask),
            &raw mut before,
            SET_BYTES,
        )
    };
    check(returned).map(|_| before)
}

/// Unblocks all signals in the calling thread.
///
/// # Errors
/// What the call returns.
pub fn unblock_all() -> Result<(), Errno> {
    set_mask(0).map(drop)
}

/// All signals are blocked in the calling thread while this lives.
#[derive(Debug)]
#[must_use = "dropping it unblocks the signals again"]
pub struct Blocked {
    before: u64,
}

impl Blocked {
    /// Blocks all signals in the calling thread.
    ///
    /// # Errors
    /// What the call returns.
    pub fn all() -> Result<Self, Errno> {
        set_mask(u64::MAX).map(|before| Self { before })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // Restoring a mask that the kernel itself returned cannot fail.
        set_mask(self.before).expect("the kernel returned this mask");
    }
}

/// Ends the process, as if a shell told of the signal.
extern "C" fn end(signal: libc::c_int) {
    exit_group(128 + signal)
}

/// Lets the signals that ask a process to end do so although it is the first of its pid namespace, for which the kernel drops those that
/// have their default disposition. `execve` takes the handlers away.
///
/// # Errors
/// What the calls return.
pub fn end_when_asked() -> Result<(), Errno> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: all zero is a valid action: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = end as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the action lives as long as the call; the handler makes one system call and does not return.
        let returned = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        check(returned.into())?;
    }
    Ok(())
}

/// Sets the default disposition for the `ignored` signals (bit n - 1 is signal n): they would stay ignored across `execve`, where
/// handlers end by themselves.
///
/// # Errors
/// What the calls return.
pub fn reset(ignored: u64) -> Result<(), Errno> {
    /// The kernel's `struct sigaction`, which is at most this large on any architecture; all zero is the default disposition.
    const DEFAULT: [u64; 8] = [0; 8];
    for signal in (1..=64).filter(|signal| ignored & (1 << (signal - 1)) != 0) {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: `DEFAULT` is at least as large as the kernel's `struct sigaction`, which it only reads.
        let returned = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET_BYTES,
            )
        };
        check(returned)?;
    }
    Ok(())
}
