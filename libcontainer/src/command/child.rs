//! A command that has been started.

use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::exit::{ExitStatus, Signal};
use crate::process::Process;

/// How long a killed container may take to end when its handle is dropped.
const KILL_MS: u32 = 10_000;

/// The caller's ends of the pipes.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
}

/// A container that runs. Dropping it kills the container, and waits for its end.
#[derive(Debug)]
#[must_use = "dropping it kills the container"]
pub struct Child {
    /// The pipe to standard input, if one was asked for.
    pub stdin: Option<PipeWriter>,
    /// The pipe from standard output, if one was asked for.
    pub stdout: Option<PipeReader>,
    /// The pipe from standard error, if one was asked for.
    pub stderr: Option<PipeReader>,
    /// The terminal's master side, if there is a terminal.
    pub terminal: Option<OwnedFd>,
    process: Process,
    waited: bool,
}

/// How a command ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to a piped standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to a piped standard error.
    pub stderr: Vec<u8>,
}

impl Child {
    pub(crate) fn new(mut process: Process, ends: Ends) -> Self {
        Self {
            stdin: ends.stdin,
            stdout: ends.stdout,
            stderr: ends.stderr,
            terminal: process.take_terminal(),
            process,
            waited: false,
        }
    }

    /// The process id in the caller's pid namespace.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.process.pid()
    }

    /// The process's descriptor; it polls as readable when the process has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd()
    }

    /// The container's first process: its warnings, its cgroup, signals other than the deadly one.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Closes standard input and waits for the end, after which nothing of the container is left. Later calls give the same answer.
    ///
    /// # Errors
    /// The process cannot be waited for (another part of the program reaped it), or its cgroup cannot be removed.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.stdin = None;
        self.waited = true;
        self.process.wait()
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.process.try_wait()?;
        self.waited |= status.is_some();
        Ok(status)
    }

    /// Kills the container. It is still to be waited for.
    ///
    /// # Errors
    /// It has ended.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill(Signal::KILL)
    }

    /// Somebody has waited for the process itself.
    #[cfg(feature = "async")]
    pub(crate) fn was_waited_for(&mut self) {
        self.waited = true;
    }

    /// Closes standard input, collects what comes through the pipes, and waits for the end.
    ///
    /// # Errors
    /// A pipe cannot be read; as [`Self::wait`].
    pub fn wait_with_output(mut self) -> Result<Output> {
        self.stdin = None;
        let mut outputs = [
            (self.stdout.take(), Vec::new()),
            (self.stderr.take(), Vec::new()),
        ];
        while read_some(&mut outputs)? {}
        let [(_, stdout), (_, stderr)] = outputs;
        let status = self.wait()?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }
}

/// Reads from the pipes that have something, and forgets those at their end. False when none is left.
fn read_some(outputs: &mut [(Option<PipeReader>, Vec<u8>); 2]) -> Result<bool> {
    let failed = |error: std::io::Error| Error::from_io(error, "read what the command writes");
    let open: Vec<&PipeReader> = outputs
        .iter()
        .filter_map(|(pipe, _)| pipe.as_ref())
        .collect();
    if open.is_empty() {
        return Ok(false);
    }
    let mut polled: Vec<PollFd<'_>> = open
        .iter()
        .map(|pipe| PollFd::new(*pipe, PollFlags::IN))
        .collect();
    match poll(&mut polled, None) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(true),
        Err(errno) => return Err(failed(errno.into())),
    }
    let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
    drop(polled);
    let all = outputs.iter_mut().filter(|(pipe, _)| pipe.is_some());
    for ((pipe, bytes), _) in all.zip(ready).filter(|(_, ready)| *ready) {
        let mut buffer = [0_u8; 16 << 10];
        let read = pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(&mut buffer));
        match read {
            Ok(0) => *pipe = None,
            Ok(length) => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(true)
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.waited {
            return;
        }
        // Nobody is there to hear of a failure; one that has ended already is what is wanted.
        self.process.kill(Signal::KILL).ok();
        if self.process.has_ended(Some(KILL_MS)).unwrap_or(false) {
            self.process.wait().ok();
        }
    }
}
