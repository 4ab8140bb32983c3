//! Single manifests and blobs, as they are.

use super::OptionalStore;
use crate::{
    context::Context, digest::Digest, error::Error, manifest::Manifest, name::ImageRef,
    platform::Platform, registry::BlobStream,
};

/// What is known of a manifest without fetching it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestHead {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, if the registry says so.
    pub size: Option<u64>,
    /// Its media type, if the registry says so.
    pub media_type: Option<String>,
}

/// A blob, to be read.
pub struct BlobContent {
    /// Its size in bytes.
    pub size: u64,
    /// Its content: verified, the last piece comes only when all of it was right.
    pub content: BlobStream<Error>,
}

impl std::fmt::Debug for BlobContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobContent")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Fetches a manifest or index, byte for byte; with a platform, that of the platform's image.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn manifest(
    _cx: &Context,
    _image: &ImageRef,
    _platform: Option<&Platform>,
    _store: OptionalStore,
) -> Result<Manifest, Error> {
    unimplemented!()
}

/// Asks for a manifest's digest, size and type: one HEAD.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn head(
    _cx: &Context,
    _image: &ImageRef,
    _store: OptionalStore,
) -> Result<ManifestHead, Error> {
    unimplemented!()
}

/// Writes a manifest byte for byte under a reference: under its tag, or its digest, which must then be right.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: among others if something it names is missing.
pub async fn put_manifest(
    _cx: &Context,
    _image: &ImageRef,
    _manifest: &Manifest,
    _store: OptionalStore,
) -> Result<(), Error> {
    unimplemented!()
}

/// Asks for the size of a blob in bytes; `None` if the repository does not have it.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn blob_size(
    _cx: &Context,
    _repository: &ImageRef,
    _digest: &Digest,
    _store: OptionalStore,
) -> Result<Option<u64>, Error> {
    unimplemented!()
}

/// Opens a blob.
///
/// # Errors
///
/// See [`crate::ErrorKind`]; `NotFound` if the repository does not have it.
pub async fn blob(
    _cx: &Context,
    _repository: &ImageRef,
    _digest: &Digest,
    _store: OptionalStore,
) -> Result<BlobContent, Error> {
    unimplemented!()
}

/// Writes a blob whose digest is known only at its end; returns digest and size in bytes.
///
/// # Errors
///
/// See [`crate::ErrorKind`]; nothing is visible then.
pub async fn put_blob(
    _cx: &Context,
    _repository: &ImageRef,
    _content: BlobStream<Error>,
    _store: OptionalStore,
) -> Result<(Digest, u64), Error> {
    unimplemented!()
}
