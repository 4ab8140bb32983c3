//! The error of the crate's facade: a kind for programs, the chain in `source()`.

use std::time::Duration;

/// What went wrong, for programs that decide what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such image, blob, layer, tag or file.
    NotFound,
    /// The registry wants (other) credentials.
    Unauthorized,
    /// Refused by a policy, or by the registry for these credentials.
    Denied,
    /// The registry asks for patience.
    RateLimited {
        /// What `Retry-After` said, if anything.
        retry_after: Option<Duration>,
    },
    /// Content is not what its digest or size says.
    DigestMismatch,
    /// Content does not follow its format.
    Malformed,
    /// A limit of [`crate::limits`] was reached.
    LimitExceeded,
    /// Valid, and not implemented (or not possible on this host).
    Unsupported,
    /// Ambiguous, in use, or changed meanwhile.
    Conflict,
    /// The disk (or quota) is full.
    NoSpace,
    /// Another failure of the file system.
    Io,
    /// The network failed.
    Network {
        /// Whether trying again can help.
        transient: bool,
    },
    /// The caller gave up.
    Canceled,
    /// A reference could not be parsed.
    InvalidReference,
}

impl ErrorKind {
    /// Classifies a failure of a reader, a writer or the file system; an [`Error`] carried inside keeps its kind.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let mut next = error
            .get_ref()
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        while let Some(inner) = next {
            if let Some(ours) = inner.downcast_ref::<Error>() {
                return ours.kind();
            }
            // An io::Error hides what it carries from `source()`.
            if let Some(nested) = inner.downcast_ref::<std::io::Error>() {
                return Self::of_io(nested);
            }
            next = inner.source();
        }
        match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => Self::NoSpace,
            Io::NotFound => Self::NotFound,
            _ => Self::Io,
        }
    }
}

/// What every fallible call of the facade returns: a transparent wrapper around the module's own error.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    /// Wraps a module's error.
    pub fn new(
        kind: ErrorKind,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: error.into(),
        }
    }

    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns how long to wait before another try, where the other side said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            ErrorKind::RateLimited { retry_after } => retry_after,
            _ => None,
        }
    }

    /// Returns the module's error, for callers that know which one to expect.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.source
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// Carries an error of ours through a reader or writer; [`ErrorKind::of_io`] finds it again.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NoSpace => std::io::ErrorKind::StorageFull,
            ErrorKind::NotFound => std::io::ErrorKind::NotFound,
            ErrorKind::Malformed | ErrorKind::DigestMismatch | ErrorKind::LimitExceeded => {
                std::io::ErrorKind::InvalidData
            }
            _ => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_through_a_reader() {
        let carried = std::io::Error::from(Error::new(ErrorKind::LimitExceeded, "too much"));
        assert_eq!(ErrorKind::of_io(&carried), ErrorKind::LimitExceeded);
        let twice = std::io::Error::other(carried);
        assert_eq!(ErrorKind::of_io(&twice), ErrorKind::LimitExceeded);
        assert_eq!(
            ErrorKind::of_io(&std::io::Error::from_raw_os_error(28)),
            ErrorKind::NoSpace
        );
    }
}
