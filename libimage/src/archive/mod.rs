//! Archives of images: `oci-archive:` and `docker-archive:`, read and written as tar, without unpacking them anywhere.
//!
//! ```text
//! file  -> Tar (index of members) -> OciArchive | DockerArchive -> Found (manifest, and where each blob is)
//! blobs -> TarWriter (regions of a file, or a pipe) -> Contents (index.json, manifest.json) -> file under its name
//! ```
//!
//! Reading: the headers are read once and contents skipped; blobs are then read where they lie, several at once. A whole archive
//! that is compressed is inflated in one pass to find what is in it, and in one more to copy the blobs in the order in which they
//! lie; nothing is written to disk. Only what can be read just once, a pipe or an engine's answer, goes into a nameless file first
//! (see `spool`).
//!
//! Writing: into a file, each blob gets a region of its own, so that several are written at once and nothing is kept in between; into
//! a pipe they follow each other. The file gets its name when it is complete.
//!
//! # References
//!
//! - <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>
//! - <https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format>
//! - <https://github.com/moby/moby/blob/v25.0.0/image/spec/v1.2.md>: the older forms

mod contents;
mod docker;
mod error;
mod legacy;
mod oci;
mod packed;
mod spool;
mod tarball;
mod writer;

pub(crate) use contents::{BlobOut, Contents, Form};
pub(crate) use docker::DockerArchive;
pub use error::ArchiveError;
pub(crate) use oci::OciArchive;
pub(crate) use spool::{Input, spool};
pub(crate) use tarball::Tar;
pub(crate) use writer::{Pipe, TarWriter, Target};

use std::{collections::BTreeMap, io::Read};

use crate::{digest::Digest, error::Error, name::Name};

/// An image that was found in an archive.
#[derive(Debug)]
pub(crate) struct Found {
    /// The type of the manifest or index.
    pub(crate) media_type: String,
    /// The manifest or index, byte for byte.
    pub(crate) raw: Vec<u8>,
    /// The names it has in the archive, if those are whole names.
    pub(crate) names: Vec<Name>,
    /// Contents that are not at the place their digest says.
    pub(crate) elsewhere: BTreeMap<Digest, Place>,
}

/// Where content is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A member.
    Member(String),
    /// Made here.
    Bytes(Vec<u8>),
}

/// Returns where a layout keeps a blob.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

impl Found {
    fn path(&self, digest: &Digest) -> Result<String, &[u8]> {
        match self.elsewhere.get(digest) {
            None => Ok(blob_path(digest)),
            Some(Place::Member(path)) => Ok(path.clone()),
            Some(Place::Bytes(bytes)) => Err(bytes),
        }
    }

    /// Opens a blob of the image; its content is not verified.
    pub(crate) fn open(&self, tar: &Tar, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        match self.path(digest) {
            Ok(path) => Ok(tar.open_member(&path)?),
            Err(bytes) => Ok(Box::new(std::io::Cursor::new(bytes.to_vec()))),
        }
    }

    /// Returns the size of a blob of the image in bytes; `None` if it is missing.
    pub(crate) fn blob_size(&self, tar: &Tar, digest: &Digest) -> Option<u64> {
        match self.path(digest) {
            Ok(path) => tar.size(&path).ok(),
            Err(bytes) => Some(bytes.len() as u64),
        }
    }

    /// Returns where a blob begins, if the archive has to be read in order.
    pub(crate) fn place(&self, tar: &Tar, digest: &Digest) -> Option<u64> {
        match self.path(digest) {
            Ok(path) => tar.place(&path),
            Err(_) => Some(0).filter(|_| tar.is_packed()),
        }
    }
}
