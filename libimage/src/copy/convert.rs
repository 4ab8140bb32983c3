//! From one family of media types, or one compression, to another.

use crate::error::{Error, ErrorKind};
pub use crate::media::Compression;

/// A family of media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCI image specification 1.
    Oci,
    /// Docker image manifest version 2, schema 2.
    V2s2,
}

/// How layers are to be compressed.
#[derive(Debug, Clone)]
pub struct Recompress {
    /// The compression.
    pub algorithm: Compression,
    /// The level; without one, the algorithm's default.
    pub level: Option<i32>,
    /// Whether layers that have this compression already are compressed again too.
    pub force: bool,
}

impl Recompress {
    /// Compresses what is not compressed so already, at the algorithm's default level.
    #[must_use]
    pub fn new(algorithm: Compression) -> Self {
        Self {
            algorithm,
            level: None,
            force: false,
        }
    }
}

/// Why an image cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// It is an artifact, not an image.
    #[error("{image} is an artifact, there is nothing to convert")]
    Artifact {
        /// The reference.
        image: String,
    },
}

impl ConvertError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Artifact { .. } => ErrorKind::Unsupported,
        }
    }
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Self {
        Self::new(error.kind(), error)
    }
}
