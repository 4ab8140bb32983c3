//! Blobs on their way into a layout.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{Layout, LayoutError, WRITTEN};
use crate::{
    digest::{Digest, DigestError, Hasher},
    durable::TempFile,
};

/// A blob on its way; nothing is visible before [`BlobWriter::finish`], dropping it (or dying) undoes it.
#[derive(Debug)]
#[must_use = "dropping it throws the written bytes away"]
pub struct BlobWriter {
    layout: Layout,
    file: TempFile,
    hasher: Hasher,
    size: u64,
}

impl Layout {
    /// Starts to write a blob.
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, LayoutError> {
        let file =
            TempFile::new(Arc::clone(self.blobs_dir())).map_err(|source| LayoutError::NewBlob {
                operation: "start",
                path: self.path().to_owned(),
                source,
            })?;
        Ok(BlobWriter {
            layout: self.clone(),
            file,
            hasher: Hasher::new(WRITTEN),
            size: 0,
        })
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter {
    /// Returns the number of bytes written so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Publishes the blob under its digest, and returns that and the size in bytes. One that is there is replaced: it may be damaged.
    ///
    /// # Errors
    /// If the content is not what was `expected`, or cannot be written.
    ///
    /// # Durability
    /// None: [`Layout::put_manifest`] makes durable what it names.
    pub fn finish(self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), LayoutError> {
        let found = self.hasher.finish();
        if let Some((digest, size)) = expected {
            if digest.algorithm() != WRITTEN {
                return Err(LayoutError::Algorithm {
                    digest: digest.clone(),
                });
            }
            if size != self.size {
                return Err(DigestError::Size {
                    digest: digest.clone(),
                    expected: size,
                    found: self.size,
                    more: false,
                }
                .into());
            }
            if *digest != found {
                return Err(DigestError::Mismatch {
                    expected: digest.clone(),
                    found,
                }
                .into());
            }
        }
        self.file
            .persist(self.layout.blobs_dir(), found.hex())
            .map_err(|source| LayoutError::Blob {
                operation: "name",
                path: self.layout.path().to_owned(),
                digest: found.clone(),
                source,
            })?;
        Ok((found, self.size))
    }
}
