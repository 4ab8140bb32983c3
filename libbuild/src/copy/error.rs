//! Why files could not be copied.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, io_kind};
use crate::rooted::RootedError;

/// Why files could not be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// No source was given.
    #[error("nothing to copy: a source and a destination are needed")]
    Nothing,
    /// A source is missing, or a pattern matches nothing.
    #[error("no file matches the source {source_path:?}")]
    NoSource {
        /// As it was given.
        source_path: String,
    },
    /// A pattern with an unfinished class or escape.
    #[error("malformed pattern {pattern:?}")]
    Pattern {
        /// As it was given.
        pattern: String,
    },
    /// Reading a source failed.
    #[error("cannot {operation} {}", path.display())]
    Source {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Copying the content failed.
    #[error("cannot copy {} to {} in the container", from.display(), to.display())]
    Content {
        /// The source.
        from: PathBuf,
        /// The path in the container.
        to: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file would replace a directory.
    #[error("{} is a directory in the container, and what is copied there is none", path.display())]
    DirectoryInTheWay {
        /// The path in the container.
        path: PathBuf,
    },
    /// Something that is neither a file nor a directory as source.
    #[error("{} is neither a file nor a directory", path.display())]
    Kind {
        /// The source.
        path: PathBuf,
    },
    /// An archive in a format that is not understood here.
    #[error("{} is packed with {format}, which is not understood", path.display())]
    Format {
        /// The source.
        path: PathBuf,
        /// The format.
        format: &'static str,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack {}", path.display())]
    Archive {
        /// The source.
        path: PathBuf,
        /// The reason.
        source: libimage::Error,
    },
    /// The source holds the directory that is written to.
    #[error("{} is the upper directory of this very container: the copy would never end", path.display())]
    HoldsContainer {
        /// The source.
        path: PathBuf,
    },
    /// A container cannot be its own source.
    #[error("{name:?} is the container that is copied to")]
    Itself {
        /// As it was given.
        name: String,
    },
    /// The owner is unknown in the container.
    #[error("cannot resolve the owner {owner:?}")]
    Owner {
        /// As it was given.
        owner: String,
        /// The reason.
        source: libcontainer::spec::UserError,
    },
    /// A path inside the container.
    #[error(transparent)]
    Rooted(#[from] RootedError),
}

impl CopyError {
    pub(super) fn source<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::Source {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<CopyError> for Error {
    fn from(error: CopyError) -> Self {
        let kind = match error {
            CopyError::Rooted(inner) => return inner.into(),
            CopyError::NoSource { .. } => ErrorKind::NotFound,
            CopyError::Owner { .. } => ErrorKind::UnknownUser,
            CopyError::Format { .. } => ErrorKind::Unsupported,
            CopyError::Archive { ref source, .. } => ErrorKind::Image(source.kind()),
            CopyError::Source { ref source, .. } | CopyError::Content { ref source, .. } => {
                io_kind(source)
            }
            _ => ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
