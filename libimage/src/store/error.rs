//! Why the store refused.

use std::path::PathBuf;

use crate::{
    compress::CompressError,
    digest::{Digest, DigestError},
    error::{Error, ErrorKind},
    layer::LayerError,
    layout::LayoutError,
    manifest::ManifestError,
};

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {operation} {path:?}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store was written by a newer version.
    #[error("the store {path:?} has format {found}, this program knows {known} at most")]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// There is no such image.
    #[error("no image {name:?} in the store")]
    NoImage {
        /// What was asked for.
        name: String,
    },
    /// More than one image is meant.
    #[error("{name:?} means more than one image: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What it may mean.
        candidates: Vec<String>,
    },
    /// An image has several names, and was to be removed by its id.
    #[error("image {id} has several names: {} (remove one of them, or all by force)", names.join(", "))]
    SeveralNames {
        /// The image.
        id: Digest,
        /// Its names.
        names: Vec<String>,
    },
    /// The manifest is that of an artifact, or its configuration is not one of an image.
    #[error("{digest} is not an image that can be run: {what}")]
    NotAnImage {
        /// The manifest.
        digest: Digest,
        /// What is missing.
        what: String,
    },
    /// None of an index's images fits this machine and is there.
    #[error("index {digest} has no image for {platform} in the store")]
    NoPlatform {
        /// The index.
        digest: Digest,
        /// This machine.
        platform: String,
    },
    /// A layer is not unpacked.
    #[error("layer {diff_id} is not unpacked")]
    NotUnpacked {
        /// The layer.
        diff_id: Digest,
    },
    /// A layer was unpacked without owners, is in use so, and is wanted with them.
    #[error(
        "layer {diff_id} was unpacked with squashed owners and is in use: stop what uses it first"
    )]
    LayerInUse {
        /// The layer.
        diff_id: Digest,
    },
    /// The layer was finished before it was applied.
    #[error("layer {diff_id} was not applied")]
    NotApplied {
        /// The layer.
        diff_id: Digest,
    },
    /// The content of a layer has another diffID than the configuration says.
    #[error("the layer does not unpack to what the image's configuration says")]
    DiffId {
        /// The two digests.
        source: DigestError,
    },
    /// The layout below refused.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A manifest is not acceptable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A layer cannot be applied.
    #[error("cannot unpack layer {diff_id}")]
    Layer {
        /// The layer.
        diff_id: Digest,
        /// Why.
        source: LayerError,
    },
    /// A layer cannot be decompressed.
    #[error("cannot decompress layer {diff_id}")]
    Compress {
        /// The layer.
        diff_id: Digest,
        /// Why.
        source: CompressError,
    },
}

impl StoreError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Newer { .. } | Self::NotAnImage { .. } => ErrorKind::Unsupported,
            Self::NoImage { .. } | Self::NoPlatform { .. } | Self::NotUnpacked { .. } => {
                ErrorKind::NotFound
            }
            Self::Ambiguous { .. }
            | Self::SeveralNames { .. }
            | Self::NotApplied { .. }
            | Self::LayerInUse { .. } => ErrorKind::Conflict,
            Self::DiffId { source } => source.kind(),
            Self::Layout(error) => error.kind(),
            Self::Manifest(error) => error.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::Compress { source, .. } => source.kind(),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::new(error.kind(), error)
    }
}
