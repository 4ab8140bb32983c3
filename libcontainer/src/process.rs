//! Handles of processes: by descriptor, so that a number that was given to another process cannot be mistaken for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::exit::{ExitStatus, Signal};
use crate::procfs;
use crate::sys::wait::exit_status_of;

/// A process, held by descriptor.
///
/// # Concurrency
/// Several threads may wait for the same process; all get the same answer. Dropping the handle leaves the process alone; if it is
/// our child and nobody has waited for it, it stays a zombie until we end, as any child does.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
    status: Mutex<Option<ExitStatus>>,
    terminal: Option<OwnedFd>,
    warnings: Vec<String>,
    /// Removed when the process has ended.
    cgroup: Option<Cgroup>,
}

impl Process {
    pub(crate) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self {
            pid,
            pidfd,
            status: Mutex::new(None),
            terminal: None,
            warnings: Vec::new(),
            cgroup: None,
        }
    }

    pub(crate) fn with_terminal(mut self, terminal: Option<OwnedFd>) -> Self {
        self.terminal = terminal;
        self
    }

    pub(crate) fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }

    pub(crate) fn with_cgroup(mut self, cgroup: Cgroup) -> Self {
        self.cgroup = Some(cgroup);
        self
    }

    /// Finds a process that is known by number and start time; `None` if it has ended.
    pub(crate) fn find(pid: i32, start_time: u64) -> Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid) else {
            return Ok(None);
        };
        let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // `EINVAL`: the number belongs to a thread now.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(Error::from_errno(errno.raw_os_error(), "open the process")),
        };
        // Read after the descriptor was opened: now the number cannot change hands.
        let process = Self::new(pid, pidfd);
        Ok(match procfs::stat(pid)? {
            Some(stat) if stat.start_time != Some(start_time) => None,
            Some(stat) if stat.lives => Some(process),
            // Other threads of it may go on without the first.
            Some(_) if !process.has_ended(Some(0))? => Some(process),
            _ => None,
        })
    }

    /// The process id in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process's descriptor; it polls as readable when the process has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The cgroup of a process that was started by [`crate::runtime::Runtime::run`].
    #[must_use]
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// The master side of the terminal, once, if the process has one and no console socket took it.
    #[must_use]
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// What could not be done as asked and was not worth failing for (a clamped resource limit, say).
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Waits until the process ends, and reaps it if it is our child. Removes the cgroup that was made for it by
    /// [`crate::runtime::Runtime::run`], with whatever is left in it. Later calls give the same answer.
    ///
    /// # Errors
    /// The process is not our child and the kernel (before Linux 6.15) does not tell its exit status to others.
    pub fn wait(&self) -> Result<ExitStatus> {
        // A panic elsewhere leaves nothing half done in an Option.
        let mut known = self
            .status
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(status) = *known {
            return Ok(status);
        }
        let status = self.wait_now()?;
        *known = Some(status);
        if let Some(cgroup) = &self.cgroup {
            remove_cgroup(cgroup)?;
        }
        Ok(status)
    }

    /// How the process ended, if it has; reaps it as [`Self::wait`] does.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        // Whoever waits meanwhile holds the lock, and gets the answer first.
        if self.has_ended(Some(0))? {
            self.wait().map(Some)
        } else {
            Ok(None)
        }
    }

    fn wait_now(&self) -> Result<ExitStatus> {
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
            {
                Ok(Some(status)) => {
                    let exited = status
                        .exit_status()
                        .map(|code| ExitStatus::Exited((code & 0xff) as u8));
                    let signaled = || {
                        status
                            .terminating_signal()
                            .and_then(Signal::from_number)
                            .map(ExitStatus::Signaled)
                    };
                    return exited
                        .or_else(signaled)
                        .ok_or_else(|| Error::new(ErrorKind::Io, "wait for the process"));
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return self.wait_for_stranger(),
                Err(errno) => {
                    return Err(Error::from_errno(
                        errno.raw_os_error(),
                        "wait for the process",
                    ));
                }
            }
        }
    }

    fn wait_for_stranger(&self) -> Result<ExitStatus> {
        self.has_ended(None)?;
        match exit_status_of(self.pidfd.as_fd()) {
            Ok(Some(status)) => {
                let signal = Signal::from_number(status & 0x7f).map(ExitStatus::Signaled);
                Ok(signal.unwrap_or(ExitStatus::Exited(((status >> 8) & 0xff) as u8)))
            }
            Ok(None) | Err(_) => Err(Error::new(ErrorKind::NotFound, "read the exit status")
                .with_hint("the process is not our child, and the kernel does not tell others how it ended")),
        }
    }

    /// Whether the process has ended; waits for that up to `timeout_ms` milliseconds, or without end.
    pub(crate) fn has_ended(&self, timeout_ms: Option<u32>) -> Result<bool> {
        let timeout = timeout_ms.map(|milliseconds| Timespec {
            tv_sec: i64::from(milliseconds / 1000),
            tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
        });
        loop {
            match poll(
                &mut [PollFd::new(&self.pidfd, PollFlags::IN)],
                timeout.as_ref(),
            ) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::from_errno(
                        errno.raw_os_error(),
                        "wait for the process",
                    ));
                }
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended ([`crate::ErrorKind::NotRunning`]).
    pub fn kill(&self, signal: Signal) -> Result<()> {
        crate::sys::wait::send_signal(self.pidfd.as_fd(), signal.number()).map_err(|errno| {
            let error = Error::from_errno(errno.raw_os_error(), "send a signal");
            if errno == Errno::SRCH {
                error.with_kind(ErrorKind::NotRunning)
            } else {
                error
            }
        })
    }
}

/// Removes a cgroup with whatever is left in it. A container without one has nothing to remove.
pub(crate) fn remove_cgroup(cgroup: &Cgroup) -> Result<()> {
    if *cgroup == Cgroup::default() {
        return Ok(());
    }
    cgroup.kill_all()?;
    Ok(cgroup.delete()?)
}
