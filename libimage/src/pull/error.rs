//! Why an image cannot be brought into the store.

use crate::error::{Error, ErrorKind};

/// Why an image cannot be brought into the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The store does not have it, and nothing else may be asked.
    #[error("the store has no image {image}")]
    NotInStore {
        /// The reference.
        image: String,
    },
    /// It is an artifact, or an image for another operating system.
    #[error("{image} is no image that can be unpacked: it holds {media_type:?}")]
    NotAnImage {
        /// The reference.
        image: String,
        /// The type that is none of an image's.
        media_type: String,
    },
    /// The configuration cannot be read.
    #[error("the configuration of {image} is not valid")]
    Config {
        /// The reference.
        image: String,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// Manifest and configuration disagree.
    #[error("the manifest of {image} has {layers} layers, its configuration {diff_ids}")]
    LayerCount {
        /// The reference.
        image: String,
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
}

impl PullError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotInStore { .. } => ErrorKind::NotFound,
            Self::NotAnImage { .. } => ErrorKind::Unsupported,
            Self::Config { .. } | Self::LayerCount { .. } => ErrorKind::Malformed,
        }
    }
}

impl From<PullError> for Error {
    fn from(error: PullError) -> Self {
        Self::new(error.kind(), error)
    }
}
