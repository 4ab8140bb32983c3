//! Signals by name and number, and how a process ended. The only place that knows `128 + n`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Names of the signals, by number from 1. The kernel's architectures that we build for agree on them.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// First and last number of the real-time signals as users count them (glibc keeps 32 and 33 for itself).
const REAL_TIME: (i32, i32) = (34, 64);

/// A signal number, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(libc::SIGINT);
    /// Quit from the keyboard.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Kill; cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// The polite request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// The terminal's size changed.
    pub const WINCH: Self = Self(libc::SIGWINCH);

    /// The signal with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        if number >= 1 && number <= REAL_TIME.1 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The signal's number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// Reads a number (`9`), a name with or without `SIG`, in any case (`term`, `SIGTERM`), or a real-time signal (`RTMIN+1`).
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            Error::new(
                ErrorKind::InvalidSpec {
                    field: "signal".into(),
                },
                format!("signal {text:?}"),
            )
        };
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(index) = NAMES.iter().position(|known| *known == name) {
            return Ok(Self(i32::try_from(index).expect("31 names") + 1));
        }
        let offset = |rest: &str, sign: char| match rest {
            "" => Some(0),
            rest => rest
                .strip_prefix(sign)
                .and_then(|digits| digits.parse::<u8>().ok())
                .map(i32::from),
        };
        let number = match (name, name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            ("IOT", ..) => Some(libc::SIGABRT),
            ("POLL", ..) => Some(libc::SIGIO),
            (_, Some(rest), _) => offset(rest, '+').map(|n| REAL_TIME.0 + n),
            (_, _, Some(rest)) => offset(rest, '-').map(|n| REAL_TIME.1 - n),
            _ => None,
        };
        number
            .filter(|n| (REAL_TIME.0..=REAL_TIME.1).contains(n) || *n < 32)
            .and_then(Self::from_number)
            .ok_or_else(unknown)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0 - 1)
            .ok()
            .and_then(|index| NAMES.get(index))
        {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 >= REAL_TIME.0 => write!(f, "SIGRTMIN+{}", self.0 - REAL_TIME.0),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// What the signals say that end a process by its own fault, or by a filter's.
const WORDS: [(i32, &str); 6] = [
    (libc::SIGILL, "illegal instruction"),
    (libc::SIGABRT, "aborted"),
    (libc::SIGBUS, "bus error"),
    (libc::SIGFPE, "floating point exception"),
    (libc::SIGSEGV, "segmentation fault"),
    (libc::SIGSYS, "bad system call"),
];

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(u8),
    /// A signal ended it.
    Signaled(Signal),
}

impl ExitStatus {
    /// The exit code, if the process exited by itself.
    #[must_use]
    pub fn code(self) -> Option<u8> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled(_) => None,
        }
    }

    /// The signal that ended the process, if one did.
    #[must_use]
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Exited(_) => None,
            Self::Signaled(signal) => Some(signal),
        }
    }

    /// Whether the process exited with code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The code a shell would report: the exit code, or 128 plus the number of the signal.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => {
                u8::try_from(128 + signal.number()).expect("signals end at 64")
            }
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => {
                write!(f, "{signal}")?;
                let word = WORDS.iter().find(|(number, _)| *number == signal.number());
                word.map_or(Ok(()), |(_, word)| write!(f, " ({word})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_round_trip_through_text() {
        for number in (1..=31).chain(34..=64) {
            let signal = Signal::from_number(number).expect("in range");
            assert_eq!(
                signal.to_string().parse::<Signal>().expect("own name"),
                signal
            );
            assert_eq!(
                number.to_string().parse::<Signal>().expect("number"),
                signal
            );
        }
        assert_eq!("term".parse::<Signal>().expect("lower case"), Signal::TERM);
        assert_eq!(
            "SIGRTMAX-1".parse::<Signal>().expect("real time").number(),
            63
        );
    }

    #[test]
    fn refuses_what_is_no_signal() {
        for bad in [
            "",
            "0",
            "65",
            "-1",
            "SIG",
            "FOO",
            "RTMIN+31",
            "RTMAX-31",
            "9x",
            "SIGSIGTERM",
        ] {
            bad.parse::<Signal>().expect_err(bad);
        }
    }

    #[test]
    fn shell_code_adds_128_to_signals_only() {
        assert_eq!(ExitStatus::Exited(130).shell_code(), 130);
        assert_eq!(ExitStatus::Signaled(Signal::KILL).shell_code(), 137);
    }
}
