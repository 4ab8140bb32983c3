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
    /// Classifies a failure of the file system.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
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
