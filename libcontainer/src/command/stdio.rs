//! The streams of a command.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};

use super::child::Ends;
use crate::error::{Error, Result};
use crate::runtime;

/// Where a stream of a command comes from or goes to.
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Null,
    Inherit,
    Piped,
    Descriptor(OwnedFd),
}

impl Stdio {
    /// `/dev/null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// The caller's own.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// A pipe, whose other end is in the [`super::Child`].
    #[must_use]
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(descriptor: OwnedFd) -> Self {
        Self(Kind::Descriptor(descriptor))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

impl From<PipeReader> for Stdio {
    fn from(end: PipeReader) -> Self {
        OwnedFd::from(end).into()
    }
}

impl From<PipeWriter> for Stdio {
    fn from(end: PipeWriter) -> Self {
        OwnedFd::from(end).into()
    }
}

/// The three streams of a command; `None` is what nothing was said about.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) stdin: Option<Stdio>,
    pub(super) stdout: Option<Stdio>,
    pub(super) stderr: Option<Stdio>,
}

/// Which streams were piped for one call only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piped {
    stdout: bool,
    stderr: bool,
}

impl Streams {
    /// Pipes the outputs that nothing was said about.
    pub(super) fn pipe_output(&mut self) -> Piped {
        let piped = Piped {
            stdout: self.stdout.is_none(),
            stderr: self.stderr.is_none(),
        };
        self.stdout.get_or_insert_with(Stdio::piped);
        self.stderr.get_or_insert_with(Stdio::piped);
        piped
    }

    pub(super) fn restore(&mut self, piped: Piped) {
        if piped.stdout {
            self.stdout = None;
        }
        if piped.stderr {
            self.stderr = None;
        }
    }

    /// The descriptors for one container; the caller's ends of its pipes go into `ends`.
    pub(super) fn open(&self, terminal: bool, ends: &mut Ends) -> Result<runtime::Stdio> {
        if terminal {
            return Ok(runtime::Stdio::Terminal);
        }
        let pipe = || std::io::pipe().map_err(|error| Error::from_io(error, "make a pipe"));
        let stdin = match &self.stdin {
            Some(Stdio(Kind::Piped)) => {
                let (reader, writer) = pipe()?;
                ends.stdin = Some(writer);
                Some(reader.into())
            }
            other => descriptor(other.as_ref(), rustix::stdio::stdin())?,
        };
        let mut output =
            |stream: &Option<Stdio>, own, end: fn(&mut Ends) -> &mut Option<PipeReader>| {
                match stream {
                    Some(Stdio(Kind::Piped)) => {
                        let (reader, writer) = pipe()?;
                        *end(ends) = Some(reader);
                        Ok::<_, Error>(Some(writer.into()))
                    }
                    other => descriptor(other.as_ref(), own),
                }
            };
        let stdout = output(&self.stdout, rustix::stdio::stdout(), |ends| {
            &mut ends.stdout
        })?;
        let stderr = output(&self.stderr, rustix::stdio::stderr(), |ends| {
            &mut ends.stderr
        })?;
        Ok(runtime::Stdio::Streams {
            stdin,
            stdout,
            stderr,
        })
    }
}

/// A copy of the descriptor, so that the command can be started again.
fn descriptor(stream: Option<&Stdio>, own: std::os::fd::BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let from = match stream {
        None | Some(Stdio(Kind::Null | Kind::Piped)) => return Ok(None),
        Some(Stdio(Kind::Inherit)) => own,
        Some(Stdio(Kind::Descriptor(descriptor))) => descriptor.as_fd(),
    };
    let copy = rustix::io::fcntl_dupfd_cloexec(from, 3);
    copy.map(Some)
        .map_err(|errno| Error::from_errno(errno.raw_os_error(), "duplicate a descriptor"))
}
