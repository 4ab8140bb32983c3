//! A process in the foreground: signals go in, terminal data goes both ways, the exit status comes out.
//!
//! The relay touches only what it is handed: a descriptor that delivers signals ([`crate::sys::signal`]), and for a terminal the
//! container's master side and the caller's two ends. It installs no handler and starts no thread.
//!
//! # Signals nobody would hear
//! The kernel drops a signal sent to the first process of a pid namespace unless that process handles it: `kill` and Ctrl-C would
//! do nothing to `run IMAGE sleep 100`. The relay gives such a signal the effect it has on any other process: it ends it.

mod signals;
mod terminal;

pub use signals::FORWARDED;
pub use terminal::{RawMode, Terminal};

use crate::{
    error::{Error, Result},
    exit::ExitStatus,
    runtime::Process,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, BorrowedFd},
    io::Errno,
};
use signals::Forwarding;
use terminal::Relay;

/// What is connected to the process.
#[derive(Debug, Default)]
pub struct Foreground<'a> {
    /// Delivers the signals to pass on; without it none are.
    pub signals: Option<BorrowedFd<'a>>,
    /// The terminal, if the process has one.
    pub terminal: Option<Terminal<'a>>,
}

/// What a polled descriptor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Process,
    Signals,
    Master,
    Input,
    Output,
}

/// Relays until the process ends, and returns how it ended.
///
/// # Errors
/// The process cannot be waited for, or polling fails. A terminal or pipe that breaks is no error: the process goes on without.
pub fn relay(process: &Process, with: Foreground<'_>) -> Result<ExitStatus> {
    let mut relay = with.terminal.map(Relay::start).transpose()?;
    let mut forwarding = Forwarding::default();
    loop {
        let ready = wait(process, with.signals, relay.as_ref())?;
        if ready.contains(&Source::Signals)
            && let Some(signals) = with.signals
        {
            forwarding.drain(signals, process, relay.as_ref())?;
        }
        if let Some(relay) = &mut relay {
            relay.turn(
                ready.contains(&Source::Master),
                ready.contains(&Source::Input),
            );
        }
        if ready.contains(&Source::Process) {
            break;
        }
    }
    if let Some(relay) = &mut relay {
        relay.drain();
    }
    Ok(forwarding.outcome(process.wait()?))
}

/// Waits until something can be done, and says what.
fn wait(
    process: &Process,
    signals: Option<BorrowedFd<'_>>,
    relay: Option<&Relay<'_>>,
) -> Result<Vec<Source>> {
    let pidfd = process.pidfd();
    let mut sources = vec![Source::Process];
    let mut polled = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    if let Some(signals) = &signals {
        sources.push(Source::Signals);
        polled.push(PollFd::new(signals, PollFlags::IN));
    }
    if let Some(relay) = relay {
        for (source, fd, flags) in relay.wants() {
            sources.push(source);
            polled.push(PollFd::from_borrowed_fd(fd, flags));
        }
    }
    loop {
        match poll(&mut polled, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(Error::from_errno(
                    errno.raw_os_error(),
                    "wait for the process",
                ));
            }
        }
    }
    let ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
    let mut found: Vec<Source> = sources
        .iter()
        .zip(&polled)
        .filter(|(_, polled)| ready(polled))
        .map(|(source, _)| *source)
        .collect();
    found.dedup();
    Ok(found)
}

/// Whether the descriptor is a terminal.
#[must_use]
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}
