//! Signals as something to read: block them, and take them from a descriptor.
//!
//! Blocking changes the *calling thread* (in a program with one thread: the process). Nothing in this crate does it by itself; a
//! tool that owns its process does, and hands the descriptor to [`crate::foreground`].

#![expect(
    unsafe_code,
    reason = "pthread_sigmask and signalfd have no safe wrapper"
)]

use crate::exit::Signal;
use rustix::fd::{AsFd, FromRawFd, OwnedFd};
use std::{
    io,
    mem::{MaybeUninit, size_of},
};

/// Signals blocked in the thread that made it. Dropping it in the same thread restores what was blocked before; what came
/// meanwhile and was not read is delivered then.
#[must_use = "the signals are unblocked when this is dropped"]
pub struct Blocked {
    previous: libc::sigset_t,
    // Raw pointers are neither Send nor Sync: the mask belongs to one thread.
    _one_thread: std::marker::PhantomData<*const ()>,
}

impl std::fmt::Debug for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocked").finish_non_exhaustive()
    }
}

impl Blocked {
    /// Blocks `signals` in the calling thread.
    ///
    /// # Errors
    /// None that the kernel documents for valid signals.
    #[doc(alias = "pthread_sigmask")]
    pub fn block(signals: &[Signal]) -> io::Result<Self> {
        let set = set(signals);
        let mut previous = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: `set` is an initialised sigset_t, `previous` has room for one, and both live through the call.
        let failed = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, previous.as_mut_ptr())
        };
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        // SAFETY: pthread_sigmask succeeded and so has written the old mask; all zeroes would be a valid mask as well.
        let previous = unsafe { previous.assume_init() };
        Ok(Self {
            previous,
            _one_thread: std::marker::PhantomData,
        })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `previous` was written by pthread_sigmask in this thread (the type is not Send); a null old mask is allowed.
        let failed = unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.previous,
                std::ptr::null_mut(),
            )
        };
        debug_assert_eq!(failed, 0, "restoring a mask that was in force cannot fail");
    }
}

/// A descriptor that delivers `signals` while they are blocked. It does not block when read, and is closed on exec.
///
/// # Errors
/// No descriptor or memory is left.
///
/// # References
/// signalfd(2)
#[doc(alias = "signalfd")]
pub fn descriptor(signals: &[Signal]) -> io::Result<OwnedFd> {
    let set = set(signals);
    // SAFETY: `set` is an initialised sigset_t that lives through the call; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next signal from such a descriptor; `None` if none is pending.
///
/// # Errors
/// What `read(2)` returns.
pub fn next(descriptor: impl AsFd) -> io::Result<Option<Signal>> {
    let mut bytes = [0_u8; size_of::<libc::signalfd_siginfo>()];
    loop {
        return match rustix::io::read(&descriptor, &mut bytes) {
            // The number is the first field (`ssi_signo`, 32 bits).
            Ok(length) if length >= 4 => {
                let number = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                Ok(i32::try_from(number).ok().and_then(Signal::from_number))
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

fn set(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set before anything reads it; sigaddset works on an initialised set, and its only
    // failure is a number out of range, which a `Signal` cannot be (it then leaves the set as it was).
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.number());
        }
        set.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_and_not_delivered() {
        // In a thread of its own: the mask is the thread's, and so is a signal sent to it.
        std::thread::spawn(|| {
            let signals = [Signal::WINCH, Signal::HUP];
            let _blocked = Blocked::block(&signals).unwrap();
            let fd = descriptor(&signals).unwrap();
            assert_eq!(next(&fd).unwrap(), None);
            // SAFETY: pthread_self is the calling thread, which lives.
            let sent = unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGHUP) };
            assert_eq!(sent, 0);
            assert_eq!(next(&fd).unwrap(), Some(Signal::HUP));
            assert_eq!(next(&fd).unwrap(), None);
        })
        .join()
        .unwrap();
    }
}
