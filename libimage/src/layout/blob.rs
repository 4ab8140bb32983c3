//! Blobs on their way into a layout.

use std::{
    io::{self, Write},
    sync::Arc,
};

use cap_std::fs::Dir;

use super::{Layout, LayoutError};
use crate::{
    digest::{Algorithm, Digest, DigestError, Hasher},
    durable::TempFile,
};

/// A blob on its way; nothing is visible before [`BlobWriter::finish`], dropping it (or dying) undoes it.
#[derive(Debug)]
#[must_use = "dropping it throws the written bytes away"]
pub struct BlobWriter {
    layout: Layout,
    /// Where blobs of this algorithm are.
    directory: Arc<Dir>,
    algorithm: Algorithm,
    file: TempFile,
    naming: Naming,
    size: u64,
}

/// How a blob gets its name.
#[derive(Debug)]
enum Naming {
    Hashing(Hasher),
    /// Whoever writes finishes only after the content was found right.
    #[cfg(feature = "registry")]
    Known(Digest),
}

impl Layout {
    /// Starts to write a blob that will be known by its sha256.
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, LayoutError> {
        self.blob_writer_as(Algorithm::Sha256)
    }

    /// Starts to write a blob that will be known by its digest of that algorithm. The store holds sha256 only: see
    /// [`crate::store`].
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub fn blob_writer_as(&self, algorithm: Algorithm) -> Result<BlobWriter, LayoutError> {
        self.writer(algorithm, Naming::Hashing(Hasher::new(algorithm)))
    }

    /// Starts to write a blob whose bytes are hashed on their way here: [`BlobWriter::finish`] is only called after all of them were found
    /// to be what the digest says.
    ///
    /// # Errors
    /// If no temporary file can be made.
    #[cfg(feature = "registry")]
    pub(crate) fn blob_writer_verified(&self, digest: &Digest) -> Result<BlobWriter, LayoutError> {
        self.writer(digest.algorithm(), Naming::Known(digest.clone()))
    }

    fn writer(&self, algorithm: Algorithm, naming: Naming) -> Result<BlobWriter, LayoutError> {
        let failed = |source| LayoutError::NewBlob {
            operation: "start",
            path: self.path().to_owned(),
            source,
        };
        let directory = self.blobs_of(algorithm).map_err(failed)?;
        let file = TempFile::new(Arc::clone(&directory)).map_err(failed)?;
        Ok(BlobWriter {
            layout: self.clone(),
            directory,
            algorithm,
            file,
            naming,
            size: 0,
        })
    }

    /// Returns the directory of an algorithm's blobs; makes it if `ocidir`, which knows sha256 alone, has not.
    fn blobs_of(&self, algorithm: Algorithm) -> io::Result<Arc<Dir>> {
        if algorithm == Algorithm::Sha256 {
            return Ok(Arc::clone(self.blobs_dir()));
        }
        let path = format!("blobs/{}", algorithm.as_str());
        match self.dir().create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Ok(Arc::new(self.dir().open_dir(&path)?))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        #[cfg_attr(
            not(feature = "registry"),
            expect(irrefutable_let_patterns, reason = "all blobs are hashed here then")
        )]
        if let Naming::Hashing(hasher) = &mut self.naming {
            hasher.update(&bytes[..count]);
        }
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
        let found = match self.naming {
            Naming::Hashing(hasher) => hasher.finish(),
            #[cfg(feature = "registry")]
            Naming::Known(digest) => digest,
        };
        if let Some((digest, size)) = expected {
            if digest.algorithm() != self.algorithm {
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
            .persist(&self.directory, found.hex())
            .map_err(|source| LayoutError::Blob {
                operation: "name",
                path: self.layout.path().to_owned(),
                digest: found.clone(),
                source,
            })?;
        Ok((found, self.size))
    }
}
