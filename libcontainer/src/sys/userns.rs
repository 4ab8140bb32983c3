//! Leaving the caller's user namespace, and programs that wait at a gate until that has happened.
//!
//! `newuidmap(1)` must run *outside* the namespace whose map it writes, and a process that has unshared can no longer start
//! anything outside. So the helper is forked first, waits on a pipe, and executes when the gate opens.

#![expect(unsafe_code, reason = "fork, execve and unshare have no safe wrapper")]

use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, WaitOptions},
    thread::UnshareFlags,
};
use std::{ffi::CString, ptr};

/// The most a helper may say before the rest is dropped: an error message, not a stream.
const MESSAGE_BYTES: usize = 4096;

/// `unshare(CLONE_NEWUSER | CLONE_NEWNS)`.
///
/// # Errors
/// EINVAL when the process has threads; EPERM, ENOSPC or EUSERS when the system does not allow another user namespace.
#[doc(alias = "unshare")]
pub fn unshare_user_and_mount() -> rustix::io::Result<()> {
    // SAFETY: the requirement is that no other thread relies on sharing what is unshared. The kernel refuses CLONE_NEWUSER in a
    // process with more than one thread, and the flags do not hold CLONE_FILES, so no descriptor table is split.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
}

/// A program in a forked child that waits for its gate to open.
#[derive(Debug)]
#[must_use = "dropping it ends the waiting child"]
pub struct Held {
    pid: Pid,
    /// One byte executes the program, end of file ends the child.
    gate: OwnedFd,
    messages: OwnedFd,
    /// Whether the child has been waited for; then its number may be another's.
    reaped: bool,
}

/// How a held program ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; `None` after a signal, or when the caller has its children reaped by somebody else.
    pub code: Option<i32>,
    /// What it wrote to its standard error.
    pub message: String,
}

/// Forks a child that will execute `argv`, with `argv[0]` as the path and an empty environment.
///
/// # Errors
/// What `pipe2(2)` and `fork(2)` return; EINVAL for an empty `argv`.
#[doc(alias = "fork")]
pub fn hold(argv: &[CString]) -> rustix::io::Result<Held> {
    let (wait, gate) = pipe_with(PipeFlags::CLOEXEC)?;
    let (messages, speak) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    let path = *pointers
        .first()
        .filter(|first| !first.is_null())
        .ok_or(Errno::INVAL)?;
    let environment: [*const libc::c_char; 1] = [ptr::null()];

    // SAFETY: fork has no requirement of its own. The child of a process with threads may only make async-signal-safe calls;
    // `wait_and_execute` makes read, dup3, close, execve and _exit, allocates nothing and never returns.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(Errno::from_raw_os_error(
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EAGAIN),
        )),
        0 => {
            let descriptors = [wait.as_raw_fd(), gate.as_raw_fd(), speak.as_raw_fd()];
            // SAFETY: this is the child; the vectors of pointers end in null and what they point to was made before the fork and
            // is never freed in this process.
            unsafe { wait_and_execute(descriptors, path, pointers.as_ptr(), environment.as_ptr()) }
        }
        child => {
            let pid = Pid::from_raw(child).expect("fork returns a positive number to the parent");
            Ok(Held {
                pid,
                gate,
                messages,
                reaped: false,
            })
        }
    }
}

/// The child: waits for one byte, then becomes the program.
///
/// # Safety
/// To be called in a fresh child only. `path` is a C string, `argv` and `environment` are arrays of C strings that end in null.
unsafe fn wait_and_execute(
    [wait, gate, speak]: [libc::c_int; 3],
    path: *const libc::c_char,
    argv: *const *const libc::c_char,
    environment: *const *const libc::c_char,
) -> ! {
    let mut byte = 0_u8;
    // SAFETY: the descriptors are open (inherited, and owned by nobody else in this process from here on), the buffer is one
    // byte long, the pointers are as the caller promises, and _exit does not return.
    unsafe {
        // Else the child would keep its own gate from ever reaching end of file.
        libc::close(gate);
        let got = libc::read(wait, ptr::from_mut(&mut byte).cast(), 1);
        if got == 1 && libc::dup2(speak, libc::STDERR_FILENO) >= 0 {
            libc::execve(path, argv, environment);
        }
        libc::_exit(127)
    }
}

impl Held {
    /// Opens the gate and waits for the program to end.
    ///
    /// # Errors
    /// EPIPE when the child is gone already; what `read(2)` and `waitpid(2)` return.
    pub fn release(mut self) -> rustix::io::Result<Outcome> {
        rustix::io::write(self.gate.as_fd(), &[1])?;
        let mut bytes = [0; MESSAGE_BYTES];
        let mut length = 0;
        // Until the child has closed its end, or has said more than anybody reads.
        while length < bytes.len() {
            match rustix::io::read(self.messages.as_fd(), &mut bytes[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.reaped = true;
        let code = reap(self.pid)?;
        Ok(Outcome {
            code,
            message: String::from_utf8_lossy(&bytes[..length]).trim().to_owned(),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // Closing the gate would not do: another child forked later may hold a copy of it.
        let ended = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL)
            .and_then(|()| reap(self.pid));
        debug_assert!(
            ended.is_ok(),
            "our own child, not yet waited for, can be signalled and waited for"
        );
    }
}

fn reap(pid: Pid) -> rustix::io::Result<Option<i32>> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            // The caller ignores SIGCHLD, or has a reaper.
            Err(Errno::CHILD) => return Ok(None),
            Err(error) => return Err(error),
            Ok(status) => return Ok(status.and_then(|(_, status)| status.exit_status())),
        }
    }
}
