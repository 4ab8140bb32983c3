//! OCI image layouts on disk; the only importer of `ocidir`.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
};

/// Why a layout could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The directory could not be opened or made a layout.
    #[error("cannot open the OCI layout {path:?}")]
    Open {
        /// The directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LayoutError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { source, .. } => ErrorKind::of_io(source),
        }
    }
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// An OCI image layout directory.
#[derive(Debug, Clone)]
pub struct Layout {}

/// An entry of index.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's size in bytes.
    pub size: u64,
    /// The manifest's media type.
    pub media_type: String,
    /// The annotation `org.opencontainers.image.ref.name`.
    pub tag: Option<String>,
}

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(_path: &Path) -> Result<Self, LayoutError> {
        unimplemented!()
    }

    /// Opens a layout, or makes an empty one.
    ///
    /// # Errors
    /// If the directory cannot be made, or holds something else.
    pub fn create(_path: &Path) -> Result<Self, LayoutError> {
        unimplemented!()
    }

    /// Returns the entries of index.json in their order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, LayoutError> {
        unimplemented!()
    }

    /// Finds a manifest by tag, by digest, or (`None`) the only one.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn resolve(&self, _reference: Option<&str>) -> Result<Entry, LayoutError> {
        unimplemented!()
    }

    /// Returns the size of a blob in bytes; `None` if missing.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn blob_size(&self, _digest: &Digest) -> Result<Option<u64>, LayoutError> {
        unimplemented!()
    }

    /// Opens a blob; its content is not verified (see [`crate::digest::VerifyingReader`]).
    ///
    /// # Errors
    /// If it is missing.
    pub fn open_blob(&self, _digest: &Digest) -> Result<File, LayoutError> {
        unimplemented!()
    }

    /// Reads a small blob whole and verifies it.
    ///
    /// # Errors
    /// If it is missing, larger than `limit`, or its content has another digest.
    pub fn read_blob(&self, _digest: &Digest, _limit: u64) -> Result<Vec<u8>, LayoutError> {
        unimplemented!()
    }

    /// Starts to write a blob.
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, LayoutError> {
        unimplemented!()
    }

    /// Writes a manifest's raw bytes as a blob and enters it in index.json, under `tag` if given (which it takes from others).
    ///
    /// # Errors
    /// If it is malformed or cannot be written.
    ///
    /// # Durability
    /// Blobs it names are fsynced before the index is replaced.
    pub fn put_manifest(
        &self,
        _raw: &[u8],
        _media_type: &str,
        _tag: Option<&str>,
    ) -> Result<Entry, LayoutError> {
        unimplemented!()
    }

    /// Removes a tag; tells whether it was there. The manifest stays in the index without a name if nothing else names it.
    ///
    /// # Errors
    /// If the index cannot be replaced.
    pub fn untag(&self, _tag: &str) -> Result<bool, LayoutError> {
        unimplemented!()
    }
}

/// A blob on its way; nothing is visible before [`BlobWriter::finish`], dropping it undoes it.
#[derive(Debug)]
#[must_use = "dropping it throws the written bytes away"]
pub struct BlobWriter {}

impl Write for BlobWriter {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        unimplemented!()
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter {
    /// Publishes the blob under its digest, and returns that and the size in bytes.
    ///
    /// # Errors
    /// If the content is not what was `expected`, or cannot be written.
    pub fn finish(self, _expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), LayoutError> {
        unimplemented!()
    }
}
