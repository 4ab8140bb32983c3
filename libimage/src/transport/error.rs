//! Why an end of a transfer cannot be used.

use std::path::PathBuf;

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
};

/// Why an end of a transfer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// `store:` was named, and no store was given.
    #[error("{image} needs a store, and none was given")]
    NoStore {
        /// The reference.
        image: String,
    },
    /// A word without transport, where one is needed.
    #[error("{image:?} needs a transport (docker://, oci:, store:)")]
    NoTransport {
        /// The reference.
        image: String,
    },
    /// The destination names a digest, and the image has another.
    #[error("the destination wants {wanted}, the image is {found}")]
    DestinationDigest {
        /// The digest in the destination's name.
        wanted: Digest,
        /// The digest of what would be written.
        found: Digest,
    },
    /// There is no such image.
    #[error("there is no image {image}")]
    NotFound {
        /// The reference.
        image: String,
    },
    /// A local destination cannot be written.
    #[error("cannot write to {}", .place.display())]
    Write {
        /// The layout or store.
        place: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Tags of something that has none.
    #[error("{image} has no list of tags")]
    NoTags {
        /// The reference.
        image: String,
    },
}

impl TransportError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoStore { .. } | Self::NoTags { .. } => ErrorKind::Unsupported,
            Self::NoTransport { .. } => ErrorKind::InvalidReference,
            Self::DestinationDigest { .. } => ErrorKind::DigestMismatch,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Write { source, .. } => ErrorKind::of_io(source),
        }
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind(), error)
    }
}
