#![expect(unsafe_code, reason = "an allocator is unsafe to write")]
//! An allocator for tests that ends every process but one which asks it for memory, or gives memory back.
//!
//! No part of the crate: `tests/child` includes this file, which lies here because unsafe code lies nowhere else.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, Ordering};

/// What a process says that must not use the heap and does.
const COMPLAINT: &[u8] = b"the child used the heap\n";

/// The system's allocator, for one process only once that was asked for.
#[derive(Debug)]
pub(crate) struct Forbidding {
    owner: AtomicI32,
}

impl Forbidding {
    /// An allocator that still serves everybody.
    pub(crate) const fn new() -> Self {
        Self {
            owner: AtomicI32::new(0),
        }
    }

    /// From now on only the calling process has a heap. A child made without `execve` has a copy of this memory, and another number.
    pub(crate) fn forbid_to_others(&self) {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        self.owner.store(own, Ordering::SeqCst);
    }

    fn check(&self) {
        let owner = self.owner.load(Ordering::Relaxed);
        if owner == 0 || owner == rustix::process::getpid().as_raw_nonzero().get() {
            return;
        }
        // Whether it can be said does not matter: the parent sees the end.
        rustix::io::write(rustix::stdio::stderr(), COMPLAINT).ok();
        // SAFETY: the call takes an integer and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, 111) };
    }
}

// SAFETY: everything is done by the system's allocator, to which the caller's promises are passed on unchanged; the check before it
// allocates nothing, and where it does not return there is nothing to be said about what it would have returned.
unsafe impl GlobalAlloc for Forbidding {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.check();
        // SAFETY: the caller keeps the promises of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.check();
        // SAFETY: the caller keeps the promises of this very function; `place` came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        self.check();
        // SAFETY: the caller keeps the promises of this very function; `place` came from the system's allocator.
        unsafe { System.realloc(place, layout, bytes) }
    }
}
