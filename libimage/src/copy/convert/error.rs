//! Why an image cannot be converted.

use std::io;

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    media::Compression,
};

/// Why an image cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// It is an artifact, not an image.
    #[error("{image} ({digest}) is an artifact, not an image: it cannot be converted")]
    Artifact {
        /// The reference.
        image: String,
        /// The manifest.
        digest: Digest,
    },
    /// Docker's format knows no zstd.
    #[error(
        "layer {layer} of {image} is compressed with zstd, which Docker's format (v2s2) does not have: compress with gzip too"
    )]
    ZstdLayer {
        /// The reference.
        image: String,
        /// The layer.
        layer: Digest,
    },
    /// zstd was asked for, in Docker's format.
    #[error(
        "Docker's format (v2s2) has no zstd: convert {image} to the OCI format too, or compress with gzip"
    )]
    ZstdInDocker {
        /// The reference.
        image: String,
    },
    /// Docker's format knows no such layer.
    #[error(
        "layer {layer} of {image} has the type {media_type:?}, which Docker's format (v2s2) does not have"
    )]
    LayerType {
        /// The reference.
        image: String,
        /// The layer.
        layer: Digest,
        /// Its type.
        media_type: String,
    },
    /// Docker's lists hold images only.
    #[error(
        "{image} has indexes inside of an index ({digest}), which Docker's format (v2s2) does not have: choose one of them, or a platform"
    )]
    NestedIndex {
        /// The reference.
        image: String,
        /// The outer index.
        digest: Digest,
    },
    /// Docker's lists need a platform for every entry.
    #[error(
        "neither the index nor the configuration says for which platform {digest} of {image} is"
    )]
    NoPlatform {
        /// The reference.
        image: String,
        /// The manifest.
        digest: Digest,
    },
    /// A sparse copy keeps the index, a conversion changes it.
    #[error(
        "{image} cannot be converted and copied sparsely: the index would name manifests that do not exist"
    )]
    Sparse {
        /// The reference.
        image: String,
    },
    /// The level is none of the algorithm's.
    #[error("{algorithm:?} has no level {level}")]
    Level {
        /// The algorithm.
        algorithm: Compression,
        /// The level.
        level: i32,
    },
    /// The text names no compression.
    #[error("{input:?} is no compression (gzip, zstd or none, with a level if you like: gzip:9)")]
    Compression {
        /// What was given.
        input: String,
    },
    /// The configuration cannot be read.
    #[error("the configuration {config} of {image} is not valid")]
    Config {
        /// The reference.
        image: String,
        /// The configuration.
        config: Digest,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// The configuration does not tell what the layers hold.
    #[error(
        "the configuration {config} of {image} lists {found} layers, the manifest has {wanted}"
    )]
    DiffIds {
        /// The reference.
        image: String,
        /// The configuration.
        config: Digest,
        /// The number of layers.
        wanted: usize,
        /// The number of diffIDs.
        found: usize,
    },
    /// A layer's content is not what its configuration says.
    #[error("layer {layer} unpacks to {found}, the configuration says {wanted}")]
    DiffId {
        /// The layer.
        layer: Digest,
        /// What the configuration says.
        wanted: Digest,
        /// What came out.
        found: Digest,
    },
    /// A layer cannot be decoded, or not be encoded again.
    #[error("layer {layer} cannot be compressed again")]
    Layer {
        /// The layer.
        layer: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ConvertError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Level { .. } | Self::Compression { .. } => ErrorKind::Unsupported,
            Self::Artifact { .. }
            | Self::ZstdLayer { .. }
            | Self::ZstdInDocker { .. }
            | Self::LayerType { .. }
            | Self::NestedIndex { .. }
            | Self::Sparse { .. } => ErrorKind::Unsupported,
            Self::NoPlatform { .. } | Self::Config { .. } | Self::DiffIds { .. } => {
                ErrorKind::Malformed
            }
            Self::DiffId { .. } => ErrorKind::DigestMismatch,
            Self::Layer { source, .. } => ErrorKind::of_io(source),
        }
    }
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Self {
        Self::new(error.kind(), error)
    }
}
