//! Why a layout could not be used.

use std::{io, path::PathBuf};

use crate::{
    digest::{Digest, DigestError},
    error::{Error, ErrorKind},
    manifest::ManifestError,
};

/// Why a layout could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The directory could not be opened or made a layout.
    #[error("cannot open the OCI layout {path:?}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("{path:?} is no OCI image layout: {what}")]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The layer below, `ocidir`, refused.
    #[error("cannot use the OCI layout {path:?}")]
    Oci {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// index.json cannot be read, locked or replaced.
    #[error("cannot {operation} index.json of {path:?}")]
    Index {
        /// What was tried.
        operation: &'static str,
        /// The layout.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// index.json is no index.
    #[error("index.json of {path:?} is malformed: {what}")]
    MalformedIndex {
        /// The layout.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A blob cannot be read or written.
    #[error("cannot {operation} blob {digest} of {path:?}")]
    Blob {
        /// What was tried.
        operation: &'static str,
        /// The layout.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// What the system said.
        source: io::Error,
    },
    /// A new blob cannot be written; its digest is not known yet.
    #[error("cannot {operation} a new blob in {path:?}")]
    NewBlob {
        /// What was tried.
        operation: &'static str,
        /// The layout.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A blob is missing.
    #[error("blob {digest} is not in {path:?}")]
    NoBlob {
        /// The layout.
        path: PathBuf,
        /// The blob.
        digest: Digest,
    },
    /// A blob is a symlink, a directory or worse.
    #[error("blob {digest} of {path:?} is not a regular file")]
    NotAFile {
        /// The layout.
        path: PathBuf,
        /// The blob.
        digest: Digest,
    },
    /// A blob is larger than what it is read for.
    #[error("blob {digest} has more than {limit} bytes")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// The limit in bytes.
        limit: u64,
    },
    /// Blobs of this algorithm are not written.
    #[error("cannot store {digest}: only sha256 blobs are written here")]
    Algorithm {
        /// The digest asked for.
        digest: Digest,
    },
    /// Content is not what its digest or size says.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A manifest is not acceptable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No manifest has this tag or digest.
    #[error("{reference:?} is not in the OCI layout {path:?}")]
    NoManifest {
        /// The layout.
        path: PathBuf,
        /// The tag or digest.
        reference: String,
    },
    /// There is no manifest at all.
    #[error("the OCI layout {path:?} is empty")]
    Empty {
        /// The layout.
        path: PathBuf,
    },
    /// There is more than one manifest, and none was named.
    #[error("the OCI layout {path:?} holds several images, name one of them: {}", names.join(", "))]
    Ambiguous {
        /// The layout.
        path: PathBuf,
        /// Their tags, or digests.
        names: Vec<String>,
    },
}

impl LayoutError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { source, .. }
            | Self::Index { source, .. }
            | Self::Blob { source, .. }
            | Self::NewBlob { source, .. } => ErrorKind::of_io(source),
            Self::Oci { source, .. } => of_chain(&**source),
            Self::NotALayout { .. } | Self::MalformedIndex { .. } | Self::NotAFile { .. } => {
                ErrorKind::Malformed
            }
            Self::NoBlob { .. } | Self::NoManifest { .. } | Self::Empty { .. } => {
                ErrorKind::NotFound
            }
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
            Self::Algorithm { .. } => ErrorKind::Unsupported,
            Self::Digest(error) => error.kind(),
            Self::Manifest(error) => error.kind(),
            Self::Ambiguous { .. } => ErrorKind::Conflict,
        }
    }
}

/// Finds the system's word in a chain of errors.
fn of_chain(error: &(dyn std::error::Error + 'static)) -> ErrorKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return ErrorKind::of_io(io);
        }
        next = error.source();
    }
    ErrorKind::Io
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::new(error.kind(), error)
    }
}
