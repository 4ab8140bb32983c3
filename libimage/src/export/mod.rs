//! An image's root file system as one archive, without unpacking it.

use std::{io::Write, sync::Arc};

use crate::{
    context::Context, digest::Digest, error::Error, name::ImageRef, platform::Platform,
    store::Store,
};

/// How to export.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Which image of an index; without it, this machine's.
    pub platform: Option<Platform>,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// Members of the archive.
    pub entries: u64,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// Writes an image's root file system as an archive: what `run` would see as `/`.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. What was written before a failure is incomplete.
pub async fn export(
    _cx: &Context,
    _image: &ImageRef,
    _out: impl Write + Send + 'static,
    _options: &ExportOptions,
) -> Result<ExportReport, Error> {
    unimplemented!()
}
