//! Why an artifact cannot be pushed, attached or pulled.

use std::path::PathBuf;

use crate::{
    error::{Error, ErrorKind},
    manifest::ManifestError,
};

/// Why an artifact cannot be pushed, attached or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is a directory, a device, or something else that is no file.
    #[error("{} is no regular file (directories have to be packed before)", .path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// A file has no name to be pulled under.
    #[error("{} has no name that could be written anywhere else", .path.display())]
    NoName {
        /// What was named.
        path: PathBuf,
    },
    /// Two files have the same name.
    #[error("two files are called {title:?}: only one could be pulled")]
    Twice {
        /// The name.
        title: String,
    },
    /// The kind of artifact is no media type.
    #[error("{input:?} is no media type (such as application/spdx+json)")]
    MediaType {
        /// What was given.
        input: String,
    },
    /// The manifest that would be written is none that anybody accepts.
    #[error("the artifact's manifest cannot be made")]
    Manifest(#[source] ManifestError),
    /// It is an index, which has no files of its own.
    #[error("{image} is an index: name one of its manifests by digest")]
    Index {
        /// The reference.
        image: String,
    },
    /// Nothing in it has a file name, or nothing that was asked for.
    #[error("{image} has no files{}", if *.filtered { " that were asked for" } else { ": none of its parts has a name" })]
    NoFiles {
        /// The reference.
        image: String,
        /// Whether there are files, but no wanted ones.
        filtered: bool,
    },
    /// A file's name would lead out of the directory, or is none.
    #[error("{image} has a file called {title:?}, which is no path below a directory")]
    Title {
        /// The reference.
        image: String,
        /// The name, shortened.
        title: String,
    },
    /// There is a file of that name.
    #[error("{title:?} is there already")]
    Exists {
        /// The name.
        title: String,
    },
    /// A file cannot be written.
    #[error("cannot write {title:?}")]
    Write {
        /// The name.
        title: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The image is where nothing can be added.
    #[error("nothing can be attached to {image}: only to an image in a registry or an OCI layout")]
    NoPlace {
        /// The reference.
        image: String,
    },
}

impl ArtifactError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => ErrorKind::of_io(source),
            Self::NotAFile { .. } | Self::Index { .. } | Self::NoPlace { .. } => {
                ErrorKind::Unsupported
            }
            Self::NoName { .. } | Self::MediaType { .. } => ErrorKind::InvalidReference,
            Self::Twice { .. } | Self::Exists { .. } => ErrorKind::Conflict,
            Self::Manifest(source) => source.kind(),
            Self::NoFiles { .. } => ErrorKind::NotFound,
            Self::Title { .. } => ErrorKind::Malformed,
        }
    }
}

impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        Self::new(error.kind(), error)
    }
}
