//! What keeps content in the store: holds while it is added, leases while it is used, pins while nobody runs.

use std::{fs::File, path::Path};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Image, Store, StoreError};
use crate::{
    digest::Digest,
    durable,
    lock::{FileLock, LockMode},
};

/// Keeps the collector away while it is held: take one before the first upload or layer of an image, drop it after [`Store::publish`].
#[derive(Debug)]
#[must_use = "the collector may run when this is dropped"]
pub struct Hold {
    _lock: FileLock,
}

/// Keeps an image's layers from being removed; dies with its holder.
#[derive(Debug)]
#[must_use = "the layers may be removed when this is dropped"]
pub struct Lease {
    _locks: Vec<FileLock>,
}

/// What a pin keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pin {
    manifest: Digest,
    diff_ids: Vec<Digest>,
}

impl Store {
    /// Keeps the collector away; see [`Hold`].
    ///
    /// # Errors
    /// If the lock file cannot be locked.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        Ok(Hold {
            _lock: self.gc_lock(LockMode::Shared)?,
        })
    }

    pub(super) fn gc_lock(&self, mode: LockMode) -> Result<FileLock, StoreError> {
        FileLock::acquire(self.0.layout.dir(), "gc.lock", mode).map_err(self.io("lock", "gc.lock"))
    }

    pub(super) fn try_gc_lock(&self) -> Result<Option<FileLock>, StoreError> {
        FileLock::try_acquire(self.0.layout.dir(), "gc.lock", LockMode::Exclusive)
            .map_err(self.io("lock", "gc.lock"))
    }

    /// Keeps an image's layers from being removed.
    ///
    /// # Errors
    /// If a layer is not unpacked.
    pub fn lease(&self, image: &Image) -> Result<Lease, StoreError> {
        let locks = image
            .diff_ids()
            .iter()
            .map(|diff_id| self.lease_layer(diff_id))
            .collect::<Result<_, _>>()?;
        Ok(Lease { _locks: locks })
    }

    fn lease_layer(&self, diff_id: &Digest) -> Result<FileLock, StoreError> {
        let gone = || StoreError::NotUnpacked {
            diff_id: diff_id.clone(),
        };
        let file = self.open_layer(diff_id)?.ok_or_else(gone)?;
        // Only who removes it locks it exclusively.
        let lock = FileLock::try_of(file, LockMode::Shared)
            .map_err(self.io("lock", layer_path(diff_id)))?;
        let lock = lock.ok_or_else(gone)?;
        if self.has_layer(diff_id) {
            Ok(lock)
        } else {
            Err(gone())
        }
    }

    /// Opens a layer's directory, to lock it; `None` if it is not unpacked.
    pub(super) fn open_layer(&self, diff_id: &Digest) -> Result<Option<File>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0.layers, diff_id.hex(), flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.io("open", layer_path(diff_id))(errno.into())),
        }
    }

    /// Keeps an image in the store, also while nobody runs, until `owner` lets go: a stopped container, a build between two commands.
    ///
    /// `owner` is a file name (letters, digits, `.`, `_`, `-`), one pin each.
    ///
    /// # Errors
    /// If it cannot be written, or `owner` is no such name.
    ///
    /// # Durability
    /// A pin survives a power cut.
    pub fn pin(&self, owner: &str, image: &Image) -> Result<(), StoreError> {
        self.check_owner(owner)?;
        let _hold = self.hold()?;
        let pin = Pin {
            manifest: image.manifest_digest().clone(),
            diff_ids: image.diff_ids().to_vec(),
        };
        let bytes = serde_json::to_vec(&pin).expect("texts become JSON");
        durable::write_atomic(&self.0.pins, owner, &bytes)
            .map_err(self.io("write", Path::new("pins").join(owner)))
    }

    /// Lets go of what [`Store::pin`] keeps; a pin that is not there is none to let go of.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn unpin(&self, owner: &str) -> Result<(), StoreError> {
        self.check_owner(owner)?;
        match self.0.pins.remove_file(owner) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.io("remove", Path::new("pins").join(owner))(error))
            }
            _ => Ok(()),
        }
    }

    fn check_owner(&self, owner: &str) -> Result<(), StoreError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if owner.is_empty()
            || owner.starts_with('.')
            || owner.len() > 200
            || !owner.bytes().all(plain)
        {
            let error =
                std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a plain file name");
            return Err(self.io("pin for", Path::new("pins").join(owner))(error));
        }
        Ok(())
    }

    /// Returns what pins keep: manifests and diffIDs.
    pub(super) fn pinned(&self) -> Result<Vec<Digest>, StoreError> {
        let mut digests = Vec::new();
        for entry in self.0.pins.entries().map_err(self.io("read", "pins"))? {
            let name = entry.map_err(self.io("read", "pins"))?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let bytes = match self.0.pins.read(&name) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.io("read", Path::new("pins").join(&name))(error)),
            };
            // Removing what an unreadable pin may keep would be worse than an error.
            let pin: Pin = serde_json::from_slice(&bytes).map_err(|error| {
                self.io("understand", Path::new("pins").join(&name))(error.into())
            })?;
            digests.push(pin.manifest);
            digests.extend(pin.diff_ids);
        }
        Ok(digests)
    }
}

pub(super) fn layer_path(diff_id: &Digest) -> std::path::PathBuf {
    Path::new("layers").join(diff_id.hex())
}
