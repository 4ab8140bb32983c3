//! What can go wrong in a build, for programs (`kind`) and for people (`Display`, `source`, `hint`).
//!
//! This file is a leaf: module errors convert themselves into [`Error`] in their own files.

use std::borrow::Cow;
use std::fmt;

/// The kinds of failure a caller may want to tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such working container, image, source file or user-named thing.
    NotFound,
    /// A name that matches more than one thing.
    Ambiguous,
    /// A name that is taken.
    Exists,
    /// Another command holds the working container, or it is mounted.
    InUse,
    /// An argument that cannot be what was meant.
    InvalidInput,
    /// A user or group name that the image's own files do not hold.
    UnknownUser,
    /// The command of a step was not found in the root file system.
    ExecNotFound,
    /// The command of a step may not be executed.
    ExecNotPermitted,
    /// The operating system refused.
    PermissionDenied,
    /// The feature is not there: in this kernel, for this user, or in this version.
    Unsupported,
    /// No space left on the device.
    NoSpace,
    /// A record on disk that this version cannot read.
    Malformed,
    /// An input or output error.
    Io,
    /// A failure of the image side; its own kind tells more.
    Image(libimage::ErrorKind),
    /// A failure of the container side; its own kind tells more.
    Container(libcontainer::ErrorKind),
}

/// A failed build operation. `Display` is one level; the causes are in `source()`.
pub struct Error {
    kind: ErrorKind,
    hint: Option<Cow<'static, str>>,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps a module's error. Display and causes pass through.
    pub fn new(
        kind: ErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            hint: None,
            source: source.into(),
        }
    }

    /// Adds one sentence that tells what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Returns what the user can do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("hint", &self.hint)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// Tells which kind an operating system error is.
pub(crate) fn io_kind(error: &std::io::Error) -> ErrorKind {
    match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Io,
    }
}
