//! Blobs of the store.

use std::{
    fs::File,
    io::{self, Write},
};

use super::{Hold, Store, StoreError};
#[cfg(feature = "registry")]
use crate::{digest::Algorithm, layout::LayoutError};
use crate::{digest::Digest, layout::BlobWriter};

/// A blob on its way into the store. Dropping it (or dying) undoes it.
#[derive(Debug)]
#[must_use = "dropping it throws the written bytes away"]
pub struct Upload {
    blob: BlobWriter,
    _hold: Hold,
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blob.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

impl Upload {
    /// Returns the number of bytes written so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blob.size()
    }

    /// Publishes the blob, and returns its digest and size in bytes.
    ///
    /// # Errors
    /// If the content is not what was `expected`, or cannot be written.
    ///
    /// # Durability
    /// None: [`Store::publish`] makes durable what a manifest names.
    pub fn finish(self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), StoreError> {
        Ok(self.blob.finish(expected)?)
    }
}

impl Store {
    /// Returns the size of a blob in bytes; `None` if missing.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.0.layout.blob_size(digest)?)
    }

    /// Opens a blob; its content is not verified (see [`crate::digest::VerifyingReader`]).
    ///
    /// # Errors
    /// If it is missing.
    pub fn read_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        Ok(self.0.layout.open_blob(digest)?)
    }

    /// Reads a blob whole and verifies it.
    ///
    /// # Errors
    /// If it is missing, larger than `limit` bytes, or corrupt.
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        Ok(self.0.layout.read_blob(digest, limit)?)
    }

    /// Starts a blob.
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub fn upload(&self) -> Result<Upload, StoreError> {
        let hold = self.hold()?;
        Ok(Upload {
            blob: self.0.layout.blob_writer()?,
            _hold: hold,
        })
    }

    /// Starts a blob whose bytes are hashed on their way here: [`Upload::finish`] is only called after all of them were found to be
    /// what the digest says.
    ///
    /// # Errors
    /// If no temporary file can be made, or the digest is not of the store's algorithm.
    #[cfg(feature = "registry")]
    pub(crate) fn upload_verified(&self, digest: &Digest) -> Result<Upload, StoreError> {
        if digest.algorithm() != Algorithm::Sha256 {
            return Err(LayoutError::Algorithm {
                digest: digest.clone(),
            }
            .into());
        }
        let hold = self.hold()?;
        Ok(Upload {
            blob: self.0.layout.blob_writer_verified(digest)?,
            _hold: hold,
        })
    }
}
