//! Why a synchronisation cannot be begun, or an image of it not be copied.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind};

/// Why a text selects nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// A glob makes no sense.
    #[error("{glob:?} is no pattern: {problem}")]
    Glob {
        /// What was given.
        glob: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A regular expression makes no sense, or is too large.
    #[error("{regex:?} is no regular expression that can be used")]
    Regex {
        /// What was given.
        regex: String,
        /// Why.
        #[source]
        source: regex_lite::Error,
    },
    /// A range of versions makes no sense.
    #[error(
        "{range:?} is no range of versions: {problem} (examples: \">=1.2 <2\", \"^1.4\", \"~1.4.2\", \"1.x\")"
    )]
    Range {
        /// What was given.
        range: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl From<SelectionError> for Error {
    fn from(error: SelectionError) -> Self {
        Self::new(ErrorKind::Malformed, error)
    }
}

/// Why a plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The plan's file is larger than anything sensible.
    #[error("{file} has more than {limit} bytes")]
    FileTooLarge {
        /// The file's name.
        file: String,
        /// How many it may have.
        limit: usize,
    },
    /// The plan's file does not say what is to be done.
    #[error("{file}:{line}:{column}: {problem}")]
    File {
        /// The file's name.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong there, with the key.
        problem: String,
    },
    /// A place to read from cannot be understood.
    #[error("{text:?} names no repository: {problem}")]
    Repository {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A directory holds no images of the kind wanted.
    #[error("there are no images in {}", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// A directory cannot be read.
    #[error("cannot read {}", path.display())]
    Walk {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A directory to write to cannot be made.
    #[error("cannot make the directory {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A directory tree is deeper, or a plan larger, than anything sensible.
    #[error("{what} has more than {limit} {unit}")]
    TooMuch {
        /// What.
        what: String,
        /// How many.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// An image cannot have a name at the destination.
    #[error("{image} cannot be named below {place}: {problem}")]
    Unnameable {
        /// The image at the source.
        image: String,
        /// Where it should go.
        place: String,
        /// Why not.
        problem: String,
    },
    /// Two images would be written to one place.
    #[error("{first} and {second} would both become {to}")]
    Collision {
        /// The first.
        first: String,
        /// The second.
        second: String,
        /// Where both would go.
        to: String,
    },
    /// An entry of the plan says nothing about where its images go.
    #[error("nothing says where the images of {source_name} go")]
    NoTarget {
        /// The source.
        source_name: String,
    },
    /// The newest images were asked for by their date, and one has none.
    #[error("{image} does not say when it was made")]
    NoDate {
        /// The image.
        image: String,
    },
}

impl SyncError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { .. } | Self::NoDate { .. } => ErrorKind::Malformed,
            Self::FileTooLarge { .. } | Self::TooMuch { .. } => ErrorKind::LimitExceeded,
            Self::Repository { .. } | Self::Unnameable { .. } | Self::NoTarget { .. } => {
                ErrorKind::InvalidReference
            }
            Self::Nothing { .. } => ErrorKind::NotFound,
            Self::Walk { source, .. } | Self::Make { source, .. } => ErrorKind::of_io(source),
            Self::Collision { .. } => ErrorKind::Conflict,
        }
    }
}

impl From<SyncError> for Error {
    fn from(error: SyncError) -> Self {
        Self::new(error.kind(), error)
    }
}
