//! What went wrong: one error type for the whole crate, precise enough for a program to act on.
//!
//! Every error names the step that failed (`"mount"`, `"clone3"`, `"state"` …), and where they are known the path the step worked
//! on, the kernel's error number and a hint for the person who has to mend it. Displaying an [`Error`] prints one level;
//! causes are in [`std::error::Error::source`].

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure a caller may want to tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The container, file or object asked for does not exist.
    NotFound,
    /// A container with this id exists already.
    Exists,
    /// The container has no running process.
    NotRunning,
    /// The container runs, and must not.
    Running,
    /// The container is frozen.
    Paused,
    /// The text is no container id.
    InvalidId,
    /// A field of the specification has a value that cannot be used.
    InvalidSpec {
        /// The field, as a path in config.json (`process.args`).
        field: String,
    },
    /// The user or group is not in the container's passwd or group file.
    UnknownUser,
    /// The kernel refused for lack of privilege.
    PermissionDenied,
    /// The specification or the caller asks for something that is not available here.
    Unsupported {
        /// What is missing.
        feature: String,
    },
    /// The program to execute does not exist (exit code 127).
    ExecNotFound,
    /// The program to execute exists and cannot be executed (exit code 126).
    ExecNotPermitted,
    /// A hook failed.
    Hook {
        /// Its kind, as config.json names it (`createRuntime`).
        kind: &'static str,
        /// Its place among the hooks of this kind, counted from 0.
        index: usize,
    },
    /// CRIU could not do what it was asked: the path is its log, the hint the last errors in it.
    Criu,
    /// No space is left on a device or in a quota.
    NoSpace,
    /// Any other failure of the operating system.
    Io,
}

impl ErrorKind {
    /// The kind that an error number stands for when nothing more is known.
    #[must_use]
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            libc::EPERM | libc::EACCES | libc::EROFS => Self::PermissionDenied,
            libc::ENOENT => Self::NotFound,
            libc::ENOSPC | libc::EDQUOT => Self::NoSpace,
            libc::ENOSYS | libc::EOPNOTSUPP => Self::Unsupported {
                feature: "a system call of a newer kernel".into(),
            },
            _ => Self::Io,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Exists => f.write_str("exists already"),
            Self::NotRunning => f.write_str("not running"),
            Self::Running => f.write_str("still running"),
            Self::Paused => f.write_str("paused"),
            Self::InvalidId => f.write_str("invalid container id"),
            Self::InvalidSpec { field } => write!(f, "invalid specification: {field}"),
            Self::UnknownUser => f.write_str("unknown user"),
            Self::PermissionDenied => f.write_str("permission denied"),
            Self::Unsupported { feature } => write!(f, "unsupported: {feature}"),
            Self::ExecNotFound => f.write_str("executable file not found"),
            Self::ExecNotPermitted => f.write_str("not executable"),
            Self::Hook { .. } => f.write_str("hook failed"),
            Self::Criu => f.write_str("CRIU failed"),
            Self::NoSpace => f.write_str("no space left"),
            Self::Io => f.write_str("input/output error"),
        }
    }
}

/// A failure: its kind, the step that failed, and what is known about it.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    step: Cow<'static, str>,
    path: Option<PathBuf>,
    errno: Option<i32>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of `kind` in `step` (a few words: what was being done).
    pub fn new(kind: ErrorKind, step: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            step: step.into(),
            path: None,
            errno: None,
            hint: None,
            source: None,
        }))
    }

    /// Makes an error from an error number, with the kind that the number stands for.
    pub fn from_errno(errno: i32, step: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::from_errno(errno), step).with_errno(errno)
    }

    /// Makes an error from an I/O error, with the kind that its error number stands for.
    pub fn from_io(source: std::io::Error, step: impl Into<Cow<'static, str>>) -> Self {
        match source.raw_os_error() {
            Some(errno) => Self::from_errno(errno, step),
            None => Self::new(ErrorKind::Io, step).with_source(source),
        }
    }

    /// Adds the path the step worked on.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Adds the kernel's error number.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Adds advice for the person who has to mend it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Replaces the kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The step that failed.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.0.step
    }

    /// The path the step worked on.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The kernel's error number.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// Advice for the person who has to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.step)?;
        if let Some(path) = &self.0.path {
            write!(f, " {}", path.display())?;
        }
        match (&self.0.kind, self.0.errno) {
            // The number says the same as the kind, in the words people search for.
            (
                ErrorKind::Io
                | ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::NoSpace,
                Some(errno),
            ) => {
                write!(f, ": {}", describe(errno))
            }
            (kind, Some(errno)) => write!(f, ": {kind} ({})", describe(errno)),
            // The cause says it, one level further down.
            (ErrorKind::Io, None) if self.0.source.is_some() => Ok(()),
            (kind, None) => write!(f, ": {kind}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// The kernel's words for an error number, without the number that `std` appends.
fn describe(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_one_level_with_path_and_words() {
        let error = Error::from_errno(libc::ENOENT, "open").with_path("/x");
        assert_eq!(error.to_string(), "open /x: no such file or directory");
        assert_eq!(*error.kind(), ErrorKind::NotFound);
        let error = Error::new(
            ErrorKind::InvalidSpec {
                field: "process.cwd".into(),
            },
            "plan",
        );
        assert_eq!(
            error.to_string(),
            "plan: invalid specification: process.cwd"
        );
    }

    #[test]
    fn is_small_and_crosses_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
        assert!(size_of::<Error>() <= 16);
    }
}
