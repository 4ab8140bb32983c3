//! A program started inside the namespaces of a running process, or beside us.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use rustix::thread::ThreadNameSpaceType;

use super::child::become_root;
use super::report::{At, Call, Failed, Kind, REPORT_BYTES, Report};
use crate::error::{Error, ErrorKind, Result};
use crate::namespace;
use crate::sys::clone::{CloneOptions, clone3, exit_group};
use crate::sys::dispositions::{self, Blocked};
use crate::sys::exec::{StringArray, close_range_on_exec, execve};
use crate::sys::message;

/// A program to start.
pub(crate) struct Entry<'e> {
    /// Whose namespaces, and the `CLONE_NEW*` flags of those that are entered.
    pub(crate) namespaces: Option<(BorrowedFd<'e>, u32)>,
    /// Where it begins, as it is found from there.
    pub(crate) directory: Option<&'e std::ffi::CStr>,
    /// The signals that we ignore.
    pub(crate) ignored: u64,
    pub(crate) program: &'e std::ffi::CStr,
    pub(crate) arguments: StringArray<'e>,
    pub(crate) environment: StringArray<'e>,
    pub(crate) input: BorrowedFd<'e>,
    /// Standard output and standard error.
    pub(crate) output: BorrowedFd<'e>,
}

/// Starts the program. It is our child, whatever pid namespace it is in.
pub(crate) fn enter(entry: &Entry<'_>) -> Result<OwnedFd> {
    let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), "start a program");
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed)?;
    let above =
        |descriptor: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(failed);
    let (socket, input, output) = (
        above(theirs.as_fd())?,
        above(entry.input)?,
        above(entry.output)?,
    );
    drop(theirs);
    let entered = entry.namespaces.map_or(0, |(_, flags)| flags);
    let blocked = Blocked::all().map_err(failed)?;
    let cloned = clone3(&CloneOptions::default(), &mut || -> Infallible {
        // Nothing here but system calls: see the interpreter.
        if let Err(failed) = join(entry) {
            fail(socket.as_fd(), failed)
        }
        if entered & namespace::Kind::Pid.flag() == 0 {
            execute(entry, input.as_fd(), output.as_fd(), socket.as_fd())
        }
        // Only a child of ours is in the pid namespace.
        let sibling = CloneOptions {
            sibling: true,
            ..CloneOptions::default()
        };
        match clone3(&sibling, &mut || {
            execute(entry, input.as_fd(), output.as_fd(), socket.as_fd())
        })
        .at(Call::Clone)
        {
            Err(failed) => fail(socket.as_fd(), failed),
            Ok(cloned) => {
                let mut report = Report::new(Kind::Process, 0);
                report.value = cloned.pid;
                message::send(socket.as_fd(), &report.to_bytes(), None).ok();
                exit_group(0)
            }
        }
    });
    drop((blocked, socket, input, output));
    let mut pidfd = cloned
        .map_err(failed)?
        .pidfd
        .ok_or_else(|| failed(Errno::INVAL))?;
    let mut failure = None;
    loop {
        let mut bytes = [0; REPORT_BYTES];
        let (length, _) = message::receive(ours.as_fd(), &mut bytes).map_err(failed)?;
        match bytes.get(..length).and_then(Report::from_bytes) {
            // All ends were closed: by `execve`, or by the end of those who failed.
            None => {
                return match failure {
                    None => Ok(pidfd),
                    Some(error) => {
                        reap(pidfd.as_fd());
                        Err(error)
                    }
                };
            }
            Some(report) if report.kind == Kind::Process => {
                let first = pidfd;
                let number = Pid::from_raw(report.value).ok_or_else(|| failed(Errno::SRCH))?;
                pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(failed)?;
                reap(first.as_fd());
            }
            // The program's process may be faster to fail than its maker is to name it: nobody may be left unreaped, or the
            // container's first process could not end.
            Some(report) => failure = Some(explained(entry, &report)),
        }
    }
}

fn explained(entry: &Entry<'_>, report: &Report) -> Error {
    let step = format!("start a program ({})", report.call.name());
    let path = entry.program.to_string_lossy().into_owned();
    let error = Error::from_errno(report.errno, step).with_path(path);
    match report.call {
        Call::Execve if report.errno == libc::ENOENT => error.with_kind(ErrorKind::ExecNotFound),
        Call::Execve => error.with_kind(ErrorKind::ExecNotPermitted),
        _ => error,
    }
}

fn join(entry: &Entry<'_>) -> Result<(), Failed> {
    let Some((pidfd, flags)) = entry.namespaces else {
        return Ok(());
    };
    // All at once: the kernel takes them in the right order.
    rustix::thread::move_into_thread_name_spaces(
        pidfd,
        ThreadNameSpaceType::from_bits_retain(flags),
    )
    .at(Call::SetNamespace)?;
    if flags & namespace::Kind::User.flag() != 0 {
        become_root()
    } else {
        Ok(())
    }
}

pub(super) fn fail(socket: BorrowedFd<'_>, failed: Failed) -> ! {
    let mut report = Report::new(Kind::Failed, 0);
    (report.call, report.errno) = (failed.call, failed.errno.raw_os_error());
    message::send(socket, &report.to_bytes(), None).ok();
    exit_group(1)
}

fn execute(
    entry: &Entry<'_>,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
) -> ! {
    let prepared = (|| -> Result<(), Failed> {
        if let Some(directory) = entry.directory {
            rustix::process::chdir(directory).at(Call::Chdir)?;
        }
        dispositions::reset(entry.ignored).at(Call::Signal)?;
        rustix::stdio::dup2_stdin(input).at(Call::Open)?;
        rustix::stdio::dup2_stdout(output).at(Call::Open)?;
        rustix::stdio::dup2_stderr(output).at(Call::Open)?;
        close_range_on_exec(3).at(Call::CloseRange)?;
        dispositions::unblock_all().at(Call::Signal)
    })();
    let failed = match prepared {
        Ok(()) => Failed {
            call: Call::Execve,
            errno: execve(entry.program, &entry.arguments, &entry.environment),
        },
        Err(failed) => failed,
    };
    fail(socket, failed)
}

/// Waits for the end of a child of ours. Another waiter of the embedding program may have been faster, which is as good.
pub(super) fn reap(pidfd: BorrowedFd<'_>) {
    while let Err(Errno::INTR) =
        rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)
    {}
}

/// Waits for a child of ours; gives what it exited with.
pub(super) fn exit_code(pidfd: BorrowedFd<'_>) -> i32 {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Ok(Some(status)) => return status.exit_status().unwrap_or(libc::EINTR),
            Ok(None) => return 0,
            Err(errno) => return errno.raw_os_error(),
        }
    }
}
