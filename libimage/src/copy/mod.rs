//! From any transport to any other: manifests byte for byte, missing blobs only, several at once.

use std::sync::Arc;

use crate::{
    context::Context, digest::Digest, error::Error, manifest::Descriptor, name::ImageRef,
    platform::Platform, store::Store,
};

/// How to copy. The default copies an index whole.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Which platforms of an index: none is all of them; one copies that manifest alone; several make a smaller index, whose
    /// digest is another.
    pub platforms: Vec<Platform>,
    /// How many blobs are under way at once.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            platforms: Vec::new(),
            jobs: 4,
            store: None,
        }
    }
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The digest at the destination.
    pub digest: Digest,
    /// The digest the source's reference has; another one only if platforms were selected.
    pub source_digest: Digest,
    /// Whether the destination had it already.
    pub unchanged: bool,
    /// Manifests written.
    pub manifests: u64,
    /// Blobs transferred.
    pub copied: u64,
    /// Blobs that were there.
    pub skipped: u64,
    /// Blobs the registry took from another of its repositories.
    pub mounted: u64,
    /// Bytes of the blobs transferred.
    pub bytes: u64,
    /// HTTP requests sent, to both ends.
    pub requests: u64,
}

/// Copies an image.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. Blobs copied before a failure stay at the destination, unnamed; a manifest is only written when
/// everything it names is there.
///
/// # Concurrency
///
/// Dropping the future stops the transfer; no temporary file and no changed tag remains.
pub async fn copy(
    _cx: &Context,
    _from: &ImageRef,
    _to: &ImageRef,
    _options: &CopyOptions,
) -> Result<CopyReport, Error> {
    unimplemented!()
}

/// How to inspect.
#[derive(Debug, Clone, Default)]
pub struct InspectOptions {
    /// Which image of an index to describe; without it, this machine's, if there is one.
    pub platform: Option<Platform>,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

/// What is known about an image without fetching its layers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspected {
    /// The digest of [`Inspected::raw`].
    pub digest: Digest,
    /// The media type of [`Inspected::raw`].
    pub media_type: String,
    /// The manifest or index, byte for byte.
    pub raw: Vec<u8>,
    /// The entries of an index; empty for a single image.
    pub entries: Vec<Descriptor>,
    /// The image itself; none if it is an artifact, or the index has nothing for the platform.
    pub image: Option<InspectedImage>,
}

/// One image, inspected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InspectedImage {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The platform its configuration names.
    pub platform: Platform,
    /// The manifest, byte for byte.
    pub raw_manifest: Vec<u8>,
    /// The configuration's descriptor; its digest is the image id.
    pub config: Descriptor,
    /// The configuration, byte for byte (JSON).
    pub raw_config: Vec<u8>,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
}

/// Describes an image.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn inspect(
    _cx: &Context,
    _image: &ImageRef,
    _options: &InspectOptions,
) -> Result<Inspected, Error> {
    unimplemented!()
}

/// Lists the tags of a repository, or the names in a layout; the reference's own tag does not matter.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn tags(_cx: &Context, _repository: &ImageRef) -> Result<Vec<String>, Error> {
    unimplemented!()
}
