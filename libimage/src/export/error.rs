//! Why an image could not be exported.

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
};

/// Why an image has no root file system to export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It is an artifact, or an index inside of an index.
    #[error("{image} is no image with a root file system (it is {media_type:?})")]
    NotAnImage {
        /// The reference.
        image: String,
        /// What it is.
        media_type: String,
    },
    /// A layer is nothing that can be unpacked.
    #[error("layer {digest} of {image} cannot be unpacked: its type is {media_type:?}")]
    Layer {
        /// The reference.
        image: String,
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
}

impl ExportError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Unsupported
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Self {
        Self::new(error.kind(), error)
    }
}
