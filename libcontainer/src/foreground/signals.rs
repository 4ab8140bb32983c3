//! Passing signals on, and what to do with those the kernel would drop.

use super::terminal::Relay;
use crate::{
    error::{Error, Result},
    exit::{ExitStatus, Signal},
    runtime::Process,
    sys::signal,
};
use rustix::fd::BorrowedFd;

/// The signals a foreground tool passes on: those people and supervisors send. Not those that stop, kill or report a fault.
pub const FORWARDED: [Signal; 10] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::WINCH,
    numbered(libc::SIGUSR1),
    numbered(libc::SIGUSR2),
    numbered(libc::SIGALRM),
    numbered(libc::SIGCONT),
    numbered(libc::SIGPWR),
];

const fn numbered(number: i32) -> Signal {
    match Signal::from_number(number) {
        Some(signal) => signal,
        None => panic!("libc's numbers are signals"),
    }
}

/// What has been passed on so far.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    /// The signal whose default effect we gave to a process that would not have heard it.
    ended_by: Option<Signal>,
}

impl Forwarding {
    /// Passes on every pending signal.
    pub(super) fn drain(
        &mut self,
        signals: BorrowedFd<'_>,
        process: &Process,
        relay: Option<&Relay<'_>>,
    ) -> Result<()> {
        while let Some(signal) =
            signal::next(signals).map_err(|error| Error::from_io(error, "read a signal"))?
        {
            match relay {
                Some(relay) if signal == Signal::WINCH => relay.resize(),
                _ => self.pass(signal, process)?,
            }
        }
        Ok(())
    }

    fn pass(&mut self, signal: Signal, process: &Process) -> Result<()> {
        let dropped = ends_by_default(signal) && kernel_drops(signal, process.pid());
        let sent = if dropped {
            self.ended_by = Some(signal);
            process.kill(Signal::KILL)
        } else {
            process.kill(signal)
        };
        match sent {
            // It ended meanwhile: the next poll says so.
            Err(error) if *error.kind() == crate::ErrorKind::NotRunning => Ok(()),
            sent => sent,
        }
    }

    /// How the process ended, in the caller's eyes.
    pub(super) fn outcome(&self, status: ExitStatus) -> ExitStatus {
        match (self.ended_by, status) {
            (Some(signal), ExitStatus::Signaled(Signal::KILL)) => ExitStatus::Signaled(signal),
            _ => status,
        }
    }
}

fn ends_by_default(signal: Signal) -> bool {
    ![libc::SIGWINCH, libc::SIGCONT, libc::SIGCHLD, libc::SIGURG].contains(&signal.number())
}

/// Whether the kernel drops the signal, because it is sent to the first process of a pid namespace that leaves it at its default.
fn kernel_drops(signal: Signal, pid: i32) -> bool {
    // The process is not reaped yet, so the number is still its own.
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| is_unheard(signal, &status))
}

fn is_unheard(signal: Signal, status: &str) -> bool {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    let first = field("NSpid").is_some_and(|pids| {
        let pids: Vec<&str> = pids.split_whitespace().collect();
        pids.len() > 1 && pids.last() == Some(&"1")
    });
    // A blocked signal waits for sigwait(3); an ignored one is the program's own decision.
    let noticed = ["SigBlk", "SigIgn", "SigCgt"].iter().any(|name| {
        field(name)
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .is_none_or(|mask| mask & (1 << (signal.number() - 1)) != 0)
    });
    first && !noticed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(nspid: &str, blocked: u64, ignored: u64, caught: u64) -> String {
        format!(
            "Name:\tx\nNSpid:\t{nspid}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        )
    }

    #[test]
    fn only_the_first_process_without_a_handler_is_deaf() {
        let term = 1 << (libc::SIGTERM - 1);
        for (text, deaf) in [
            (status("70 1", 0, 0, 0), true),
            (status("70 5 1", 0, 0, !term), true),
            (status("70 1", 0, 0, term), false),
            (status("70 1", term, 0, 0), false),
            (status("70 1", 0, term, 0), false),
            (status("70 2", 0, 0, 0), false),
            (status("1", 0, 0, 0), false),
            (String::new(), false),
        ] {
            assert_eq!(is_unheard(Signal::TERM, &text), deaf, "{text}");
        }
    }

    #[test]
    fn a_kill_of_ours_is_reported_as_the_signal_it_stands_for() {
        let forwarding = Forwarding {
            ended_by: Some(Signal::TERM),
        };
        let killed = ExitStatus::Signaled(Signal::KILL);
        assert_eq!(forwarding.outcome(killed).shell_code(), 143);
        assert_eq!(forwarding.outcome(ExitStatus::Exited(0)).shell_code(), 0);
        assert_eq!(Forwarding::default().outcome(killed), killed);
    }
}
