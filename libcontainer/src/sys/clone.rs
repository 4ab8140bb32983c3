#![expect(
    unsafe_code,
    reason = "clone3 has no safe wrapper, and its safety depends on what the child does"
)]
//! Making a child process with `clone3(2)`.

use std::convert::Infallible;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// What `clone3` shall do.
#[derive(Debug, Default)]
pub struct CloneOptions<'fd> {
    /// `CLONE_NEW*` flags.
    pub namespaces: u64,
    /// Start inside this cgroup (version 2 only).
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// The child becomes a sibling: a child of our own parent. No descriptor is made.
    pub sibling: bool,
}

/// A new child.
#[derive(Debug)]
pub struct Cloned {
    /// Its number in our pid namespace.
    pub pid: i32,
    /// A descriptor of it; there is none for a sibling.
    pub pidfd: Option<OwnedFd>,
}

/// Flag of `clone3` alone, missing in libc: all signal handlers of the child are reset to their defaults.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Flag of `clone3` alone, which libc has as a number that is too small for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Makes a child process that runs `body` on a copy of this process's memory and never returns.
///
/// Signals stay blocked in the child as they are in the calling thread.
///
/// # What the body may do
/// Other threads of the caller may hold any lock at this moment, and the child gets a copy of that lock which nobody will ever
/// release. `body` must therefore make system calls only: no allocation, no locks, no formatting, no panic, no thread-local
/// destructors. That is why this is not public.
///
/// # Errors
/// What `clone3` returns.
pub(crate) fn clone3(
    options: &CloneOptions<'_>,
    body: &mut dyn FnMut() -> Infallible,
) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is a plain structure of integers, for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = options.namespaces | CLONE_CLEAR_SIGHAND;
    if options.sibling {
        // The signal sent at exit is the one our own parent asked for; the kernel wants a zero here.
        args.flags |= libc::CLONE_PARENT as u64;
    } else {
        args.flags |= libc::CLONE_PIDFD as u64;
        args.pidfd = &raw mut pidfd as u64;
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = options.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    // SAFETY: `args` is a valid structure of the given size and `args.pidfd` points to a live integer, or is zero. Without
    // CLONE_VM the child continues on its own copy of this stack, so both returns of the call are ordinary returns. What the child
    // then runs keeps to the rule above: the interpreter of plans, and helpers of a few lines.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    };
    let pid = check(returned)?;
    if pid == 0 {
        body();
    }
    let pidfd = (pidfd >= 0).then(|| {
        // SAFETY: the kernel made this descriptor for us (close-on-exec), and nobody else knows it.
        unsafe { OwnedFd::from_raw_fd(pidfd) }
    });
    Ok(Cloned {
        pid: i32::try_from(pid).map_err(|_| Errno::OVERFLOW)?,
        pidfd,
    })
}

/// Ends the process at once, running no destructors and no exit handlers.
///
/// A system call filter may refuse the very call: then the process ends by a fault, which the kernel does not let the first process of
/// a pid namespace ignore either.
pub fn exit_group(code: i32) -> ! {
    // SAFETY: the call takes an integer and does not return, unless a filter refuses it.
    unsafe { libc::syscall(libc::SYS_exit_group, code) };
    // SAFETY: as before; it ends the calling thread, and who interprets a plan has only one.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    fault()
}

/// Ends the process by a fault that nobody handles: SIGILL, not SIGSEGV, for which the standard library has a handler.
fn fault() -> ! {
    loop {
        // SAFETY: an undefined instruction faults and does nothing else.
        unsafe {
            #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
            std::arch::asm!("ud2");
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!("udf #0");
            #[cfg(not(any(
                target_arch = "x86_64",
                target_arch = "x86",
                target_arch = "aarch64"
            )))]
            std::ptr::without_provenance_mut::<u8>(8).write_volatile(0);
        }
    }
}
