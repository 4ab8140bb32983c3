//! Deleting: a tag alone where that is possible, a manifest only if nobody else means it.

use super::OptionalStore;
use crate::{context::Context, digest::Digest, error::Error, name::ImageRef};

/// What is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeleteMode {
    /// What the reference says: a tag alone, or the manifest if it names a digest.
    #[default]
    AsNamed,
    /// The manifest, also if a tag names it.
    Manifest,
}

/// How to delete.
#[derive(Debug, Clone)]
pub struct DeleteOptions {
    /// What is to be deleted.
    pub mode: DeleteMode,
    /// Delete a manifest that other tags point to (they go too), and the manifest where a tag cannot be deleted alone.
    pub force: bool,
    /// In a layout: remove the blobs that nothing needs any more. Nobody else may write to it meanwhile.
    pub collect: bool,
    /// How many tags are asked at once for what they point to.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: OptionalStore,
}

impl Default for DeleteOptions {
    fn default() -> Self {
        Self {
            mode: DeleteMode::AsNamed,
            force: false,
            collect: false,
            jobs: 8,
            store: None,
        }
    }
}

/// What was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Tags that are gone.
    pub tags: Vec<String>,
    /// The manifest that is gone; none if only a tag was deleted.
    pub manifest: Option<Digest>,
    /// Blobs removed (layouts and the store; registries collect by themselves).
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Deletes a tag or a manifest.
///
/// A tag is deleted alone: its manifest, and other tags of it, stay. A manifest (a reference with a digest, or
/// [`DeleteMode::Manifest`]) is deleted only if no other tag of the repository points to it, unless forced.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: `NotFound` if it is not there, `Conflict` if other tags point to the manifest, `Unsupported` if the
/// registry cannot delete a tag alone: then nothing was deleted.
pub async fn delete(
    _cx: &Context,
    _image: &ImageRef,
    _options: &DeleteOptions,
) -> Result<Deleted, Error> {
    unimplemented!()
}
