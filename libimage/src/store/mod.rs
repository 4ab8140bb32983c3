//! The local store: a standard OCI layout as the truth, unpacked layers by diffID as a cache of it.
//!
//! ```text
//! oci-layout, index.json, blobs/sha256/*    durable: manifests, configs, compressed layers
//! layers/<diffid>/{fs/, layer.json}         cache: one directory per layer, whatever its parent
//! tmp/  trash/  locks/  index.lock  gc.lock  state.json
//! ```

mod error;
mod image;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

pub use error::StoreError;
pub use image::{Image, ImageRecord};

use crate::{digest::Digest, layer::LayerStats, name::Name, progress::Progress};

/// Which user and group ids the caller can give to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMode {
    /// All that images use: root, or a user namespace with subordinate ids.
    Full,
    /// Only its own: everything in layers belongs to the caller.
    Single,
}

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Which ids can be given to files.
    pub ids: IdMode,
    /// Whether the caller is root on the machine: `trusted.` instead of `user.` overlay attributes, device nodes.
    pub privileged: bool,
}

/// A local store. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Store {}

/// What [`Store::remove`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that no longer exist.
    pub untagged: Vec<String>,
    /// The manifest that is gone, if it was the last name.
    pub deleted: Option<Digest>,
    /// What the collection after it freed.
    pub freed: Freed,
}

/// What a collection freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs removed.
    pub blobs: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// Bytes removed.
    pub bytes: u64,
    /// Nothing was done because pulls or commits were under way; a later collection will do it.
    pub deferred: bool,
}

/// Something wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, for people.
    pub problem: String,
    /// Whether it is repaired now.
    pub repaired: bool,
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order found; empty is good.
    pub findings: Vec<Finding>,
}

/// Keeps the collector away while it is held: take one before the first upload or layer of an image, drop it after `publish`.
#[derive(Debug)]
#[must_use = "the collector may run when this is dropped"]
pub struct Hold {}

/// Keeps an image's layers from being removed; dies with its holder.
#[derive(Debug)]
#[must_use = "the layers may be removed when this is dropped"]
pub struct Lease {}

/// A blob on its way into the store. Send; write on one thread. Dropping it undoes it.
#[derive(Debug)]
#[must_use = "dropping it throws the written bytes away"]
pub struct Upload {}

impl Write for Upload {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        unimplemented!()
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload {
    /// Publishes the blob, and returns its digest and size in bytes.
    ///
    /// # Errors
    /// If the content is not what was `expected`, or cannot be written.
    pub fn finish(self, _expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), StoreError> {
        unimplemented!()
    }
}

/// A layer on its way into the store. Send. Dropping it undoes it.
#[derive(Debug)]
#[must_use = "dropping it throws the unpacked files away"]
pub struct StagedLayer {}

impl StagedLayer {
    /// Unpacks the layer from its uncompressed archive, hashing on the way, and reads the stream to its end. Called once.
    ///
    /// # Errors
    /// See [`crate::layer::LayerError`].
    pub fn apply(&mut self, _tar: impl Read) -> Result<LayerStats, StoreError> {
        unimplemented!()
    }

    /// Makes the layer visible if its content had the promised diffID.
    ///
    /// # Errors
    /// If it had another one, or was never applied.
    pub fn finish(self) -> Result<(), StoreError> {
        unimplemented!()
    }
}

impl Store {
    /// Opens the store at `path`, making it if missing, and clears what dead processes left behind.
    ///
    /// # Errors
    /// If it cannot be made, or was written by a newer version.
    pub fn open(_path: &Path, _options: &StoreOptions) -> Result<Self, StoreError> {
        unimplemented!()
    }

    /// Returns where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        unimplemented!()
    }

    /// Returns how the store was opened.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        unimplemented!()
    }

    /// Lists the images: a row per name, and one for each manifest without any.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        unimplemented!()
    }

    /// Finds an image by full or short name, manifest digest, or a unique prefix of its id.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn find(&self, _name_or_id: &str) -> Result<Image, StoreError> {
        unimplemented!()
    }

    /// Gives an image another name, taking it from another image if need be.
    ///
    /// # Errors
    /// If the index cannot be replaced.
    pub fn tag(&self, _image: &Image, _name: &Name) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Removes a name and nothing else; tells whether it was there.
    ///
    /// # Errors
    /// If the index cannot be replaced.
    pub fn untag(&self, _name: &Name) -> Result<bool, StoreError> {
        unimplemented!()
    }

    /// Removes a name; with the last one the image too, and what only it used. By id: all names, if `force` or there is just one.
    ///
    /// # Errors
    /// If there is no such image, it has several names and not `force`, or it is in use.
    pub fn remove(&self, _name_or_id: &str, _force: bool) -> Result<Removed, StoreError> {
        unimplemented!()
    }

    /// Returns the size of a blob in bytes; `None` if missing.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn blob_size(&self, _digest: &Digest) -> Result<Option<u64>, StoreError> {
        unimplemented!()
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// If it is missing.
    pub fn read_blob(&self, _digest: &Digest) -> Result<File, StoreError> {
        unimplemented!()
    }

    /// Reads a blob whole and verifies it.
    ///
    /// # Errors
    /// If it is missing, larger than `limit` bytes, or corrupt.
    pub fn read_small(&self, _digest: &Digest, _limit: u64) -> Result<Vec<u8>, StoreError> {
        unimplemented!()
    }

    /// Keeps the collector away; see [`Hold`].
    ///
    /// # Errors
    /// If the lock file cannot be locked.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        unimplemented!()
    }

    /// Starts a blob.
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub fn upload(&self) -> Result<Upload, StoreError> {
        unimplemented!()
    }

    /// Tells whether a layer is unpacked.
    #[must_use]
    pub fn has_layer(&self, _diff_id: &Digest) -> bool {
        unimplemented!()
    }

    /// Starts a layer; `None` if it is there, also if another process finished it while this one waited for it.
    ///
    /// # Concurrency
    /// Waits while another thread or process unpacks the same layer: call it on a blocking thread that holds no other staged layer.
    ///
    /// # Errors
    /// If the staging directory cannot be made.
    pub fn stage(&self, _diff_id: &Digest) -> Result<Option<StagedLayer>, StoreError> {
        unimplemented!()
    }

    /// Enters a manifest (or index) under names, taking them from others; without a name it is found by digest.
    ///
    /// # Errors
    /// If a blob it names is missing or has another size.
    ///
    /// # Durability
    /// After it returns, the image survives a power cut (its unpacked layers may have to be unpacked again, offline).
    pub fn publish(&self, _raw_manifest: &[u8], _names: &[Name]) -> Result<Image, StoreError> {
        unimplemented!()
    }

    /// Unpacks the layers that are not, from local blobs, several at once, the largest first.
    ///
    /// # Errors
    /// If a blob is missing or corrupt, or a layer cannot be applied.
    pub fn unpack(&self, _image: &Image, _progress: &dyn Progress) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Keeps an image's layers from being removed.
    ///
    /// # Errors
    /// If a layer is not unpacked.
    pub fn lease(&self, _image: &Image) -> Result<Lease, StoreError> {
        unimplemented!()
    }

    /// Removes what no name, no lease and nothing of `live` (manifests and diffIDs) needs.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn gc(&self, _live: &[Digest]) -> Result<Freed, StoreError> {
        unimplemented!()
    }

    /// Looks for missing and corrupt content; with `repair`, drops what cannot be used and unpacks what can be.
    ///
    /// # Errors
    /// If the file system fails; findings are no errors.
    pub fn check(&self, _repair: bool) -> Result<Findings, StoreError> {
        unimplemented!()
    }
}
