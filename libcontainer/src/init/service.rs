//! A program of others that works for us: with descriptors at the numbers it expects, in a cgroup, perhaps with a root file system
//! attached where only it can see that.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::ThreadNameSpaceType;

use super::child::{Wanted, attach, change_all, ensure, join_cgroups, open_with};
use super::enter::{fail, reap};
use super::report::{At, Call, Failed, Kind, REPORT_BYTES, Report};
use crate::cgroup::Attach;
use crate::error::{Error, ErrorKind, Result};
use crate::namespace;
use crate::sys::clone::{CloneOptions, clone3, exit_group};
use crate::sys::dispositions::{self, Blocked};
use crate::sys::exec::{StringArray, close_range_on_exec, execve, place_all};
use crate::sys::{loopback, message};

/// A program to start.
pub(crate) struct Service<'s> {
    /// The signals that we ignore.
    pub(crate) ignored: u64,
    pub(crate) program: &'s CStr,
    pub(crate) arguments: StringArray<'s>,
    pub(crate) environment: StringArray<'s>,
    /// Its descriptors, from 0 on; it gets no others.
    pub(crate) descriptors: Vec<BorrowedFd<'s>>,
    /// Which of them takes a socket that is connected to us instead. The program makes it: to the kernel it talks to itself.
    pub(crate) socket: usize,
    /// Which of them are directories that it opens for itself, so that they are in its own mount namespace.
    pub(crate) directories: Vec<(usize, &'s CStr)>,
    pub(crate) cgroup: &'s Attach,
    /// A mount that is attached to a directory, in a mount namespace which goes with the last process in it.
    pub(crate) root: Option<(BorrowedFd<'s>, &'s CStr)>,
}

/// Starts the program, which is our child; gives it and the socket to it.
pub(crate) fn serve(service: &Service<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), "start a program");
    let count = i32::try_from(service.descriptors.len()).map_err(|_| failed(Errno::MFILE))?;
    // Above where they go, so that none overwrites another.
    let above = |descriptor: BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(descriptor, count).map_err(failed)
    };
    let mut descriptors: Vec<OwnedFd> = service
        .descriptors
        .iter()
        .map(|one| above(*one))
        .collect::<Result<_>>()?;
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed)?;
    let socket = above(theirs.as_fd())?;
    drop(theirs);
    let clone = CloneOptions {
        namespaces: match service.root {
            Some(_) => u64::from(namespace::Kind::Mount.flag()),
            None => 0,
        },
        cgroup: service.cgroup.directory.as_ref().map(AsFd::as_fd),
        sibling: false,
    };
    let blocked = Blocked::all().map_err(failed)?;
    let cloned = clone3(&clone, &mut || -> Infallible {
        // Nothing here but system calls: see the interpreter.
        let failed = match prepare(service, &mut descriptors, socket.as_fd()) {
            Ok(()) => Failed {
                call: Call::Execve,
                errno: execve(service.program, &service.arguments, &service.environment),
            },
            Err(failed) => failed,
        };
        fail(socket.as_fd(), failed)
    });
    drop((blocked, socket, descriptors));
    let pidfd = cloned
        .map_err(failed)?
        .pidfd
        .ok_or_else(|| failed(Errno::INVAL))?;
    let mut connected = None;
    loop {
        let mut bytes = [0; REPORT_BYTES];
        let (length, descriptor) = message::receive(ours.as_fd(), &mut bytes).map_err(failed)?;
        match bytes.get(..length).and_then(Report::from_bytes) {
            Some(report) if report.kind == Kind::Ready => connected = descriptor,
            Some(report) => {
                reap(pidfd.as_fd());
                return Err(explained(service, &report));
            }
            // Closed by `execve`, or because somebody killed it.
            None => {
                let connected = connected.ok_or_else(|| failed(Errno::PIPE))?;
                return Ok((pidfd, connected));
            }
        }
    }
}

fn explained(service: &Service<'_>, report: &Report) -> Error {
    let path = service.program.to_string_lossy().into_owned();
    let step = format!("start a program ({})", report.call.name());
    let error = Error::from_errno(report.errno, step).with_path(path);
    match report.call {
        Call::Execve => error.with_kind(ErrorKind::ExecNotPermitted),
        _ => error,
    }
}

fn prepare(
    service: &Service<'_>,
    descriptors: &mut [OwnedFd],
    parent: BorrowedFd<'_>,
) -> Result<(), Failed> {
    join_cgroups(&service.cgroup.tasks)?;
    if let Some((mount, path)) = service.root {
        let place = open_with(
            CWD,
            path,
            OFlags::PATH | OFlags::DIRECTORY,
            ResolveFlags::empty(),
        )
        .at(Call::Open)?;
        // Before, or the host would get the mount too, if it shares the place; and after, as the mount itself may share its changes.
        change_all(libc::MS_SLAVE, true)?;
        attach(mount, place.as_fd())?;
        change_all(libc::MS_SLAVE, true)?;
    }
    for (index, path) in &service.directories {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = open_with(CWD, path, flags, ResolveFlags::empty()).at(Call::Open)?;
        replace(descriptors, *index, &opened)?;
    }
    let (theirs, ours) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .at(Call::Socket)?;
    replace(descriptors, service.socket, &ours)?;
    let report = Report::new(Kind::Ready, 0);
    message::send(parent, &report.to_bytes(), Some(theirs.as_fd())).at(Call::Send)?;
    dispositions::reset(service.ignored).at(Call::Signal)?;
    let free = place_all(descriptors).at(Call::Open)?;
    close_range_on_exec(free).at(Call::CloseRange)?;
    dispositions::unblock_all().at(Call::Signal)
}

/// Puts another file behind a descriptor.
fn replace(descriptors: &mut [OwnedFd], index: usize, by: &OwnedFd) -> Result<(), Failed> {
    let place = descriptors
        .get_mut(index)
        .ok_or(Errno::BADF)
        .at(Call::Open)?;
    rustix::io::dup2(by, place).at(Call::Open)
}

/// Makes a mount point in a root file system, as a container's own process would.
pub(crate) fn make_mount_point(
    root: BorrowedFd<'_>,
    path: &CStr,
    directory: bool,
) -> Result<OwnedFd> {
    let wanted = if directory {
        Wanted::Directory
    } else {
        Wanted::File
    };
    ensure(root, path, wanted, ResolveFlags::empty()).map_err(|failed| {
        let step = format!("make a mount point ({})", failed.call.name());
        Error::from_errno(failed.errno.raw_os_error(), step)
            .with_path(path.to_string_lossy().into_owned())
    })
}

/// Brings up the loopback device in a process's network namespace, which no thread of ours enters.
pub(crate) fn bring_up_loopback(process: BorrowedFd<'_>) -> Result<()> {
    let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), "bring up loopback");
    let blocked = Blocked::all().map_err(failed)?;
    let cloned = clone3(&CloneOptions::default(), &mut || -> Infallible {
        let flags = ThreadNameSpaceType::NETWORK;
        let done = rustix::thread::move_into_thread_name_spaces(process, flags)
            .and_then(|()| loopback::bring_up());
        exit_group(done.err().map_or(0, Errno::raw_os_error))
    });
    drop(blocked);
    let pidfd = cloned.map_err(failed)?.pidfd;
    let pidfd = pidfd.ok_or_else(|| failed(Errno::INVAL))?;
    match super::enter::exit_code(pidfd.as_fd()) {
        0 => Ok(()),
        number => Err(failed(Errno::from_raw_os_error(number))),
    }
}
