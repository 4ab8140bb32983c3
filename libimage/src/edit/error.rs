//! Why an image cannot be changed.

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    limits,
};

/// Why an image cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// Settings of something that has none.
    #[error(
        "{image} ({digest}) is an artifact, it has no settings to change; annotations it may have"
    )]
    Artifact {
        /// The reference.
        image: String,
        /// The manifest.
        digest: Digest,
    },
    /// Docker's format has no annotations.
    #[error(
        "{image} ({digest}) is in Docker's format (v2s2), which has no annotations: convert it to the OCI format first"
    )]
    NoAnnotations {
        /// The reference.
        image: String,
        /// The manifest.
        digest: Digest,
    },
    /// An index was expected.
    #[error("{image} is an image, not an index")]
    NoIndex {
        /// The reference.
        image: String,
    },
    /// A changed image has another digest.
    #[error("{image} names a digest, and what is changed has another: name a tag")]
    ByDigest {
        /// The reference.
        image: String,
    },
    /// The index has no such entry.
    #[error("the index {image} has no entry {selector}")]
    NoEntry {
        /// The reference.
        image: String,
        /// What was looked for.
        selector: String,
    },
    /// An image for this platform is in the index already.
    #[error("the index {image} has an image for {platform} already: {digest}")]
    Occupied {
        /// The reference.
        image: String,
        /// The platform.
        platform: String,
        /// The image that is there.
        digest: Digest,
    },
    /// Docker's lists hold Docker's manifests only.
    #[error(
        "{image} is a list in Docker's format (v2s2), and {added} an OCI image: convert one of them"
    )]
    MixedFormats {
        /// The index.
        image: String,
        /// What was to be added.
        added: String,
    },
    /// A configuration cannot be read.
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
    /// A configuration has grown too large.
    #[error(
        "the configuration of {image} would have more than {} bytes",
        limits::CONFIG_BYTES
    )]
    TooLarge {
        /// The reference.
        image: String,
    },
    /// A value cannot be what it is to be.
    #[error("{value:?} is no {what}")]
    Value {
        /// `name of a variable`, `port` ….
        what: &'static str,
        /// The value.
        value: String,
    },
}

impl EditError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Artifact { .. }
            | Self::NoAnnotations { .. }
            | Self::NoIndex { .. }
            | Self::ByDigest { .. }
            | Self::MixedFormats { .. }
            | Self::Value { .. } => ErrorKind::Unsupported,
            Self::NoEntry { .. } => ErrorKind::NotFound,
            Self::Occupied { .. } => ErrorKind::Conflict,
            Self::Config { .. } => ErrorKind::Malformed,
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
        }
    }
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        Self::new(error.kind(), error)
    }
}
