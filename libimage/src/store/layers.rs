//! Unpacked layers: staged where nobody looks, renamed when they are what they should be, removed by way of the trash.

use std::{fs::File, io::Read, path::Path};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Hold, IdMode, Store, StoreError, lease::layer_path};
use crate::{
    digest::{Digest, DigestError, DigestReader},
    durable::unique_name,
    inroot::{names, remove_tree},
    layer::{self, ApplyOptions, Devices, LayerStats, Owners},
    lock::{FileLock, LockMode},
};

const RECORD: &str = "layer.json";

/// Marks a layer whose files all belong to the caller, because it had no other ids: no use to a caller that has them.
const SQUASHED: &str = "squashed";

/// What layer.json says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Digest,
    /// The synchronisation it waits for; see `state`.
    pub(super) generation: u64,
    pub(crate) stats: LayerStats,
}

/// A layer on its way into the store. Dropping it undoes it; what a killed process leaves is cleared when a store is opened.
#[derive(Debug)]
#[must_use = "dropping it throws the unpacked files away"]
pub struct StagedLayer {
    store: Store,
    diff_id: Digest,
    name: String,
    directory: Dir,
    tree: Dir,
    applied: Option<(Digest, LayerStats)>,
    done: bool,
    /// Tells the living from the dead; see `clear_remains`.
    _alive: FileLock,
    claim: Option<FileLock>,
    _hold: Hold,
}

impl Store {
    /// Tells whether a layer is unpacked, with the owners this store is opened for.
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        let squashed = || {
            let mark = Path::new(diff_id.hex()).join(SQUASHED);
            self.0.options.ids == IdMode::Full && self.0.layers.exists(mark)
        };
        self.0.layers.exists(diff_id.hex()) && !squashed()
    }

    /// Starts a layer; `None` if it is there, also if another thread or process finished it while this one waited for it.
    ///
    /// # Concurrency
    /// Waits while someone else unpacks the same layer: call it on a blocking thread that holds no other staged layer.
    ///
    /// # Errors
    /// If the staging directory cannot be made.
    pub fn stage(&self, diff_id: &Digest) -> Result<Option<StagedLayer>, StoreError> {
        let hold = self.hold()?;
        if self.has_layer(diff_id) {
            return Ok(None);
        }
        let claim = FileLock::acquire(&self.0.locks, diff_id.hex(), LockMode::Exclusive)
            .map_err(self.io("lock", Path::new("locks").join(diff_id.hex())))?;
        if self.has_layer(diff_id) {
            self.release(claim, diff_id);
            return Ok(None);
        }
        let (name, directory, alive) = self
            .make_staging()
            .map_err(self.io("make a directory in", "tmp"))?;
        let tree =
            make_dir(&directory, "fs", 0o755).map_err(self.io("make a directory in", "tmp"))?;
        Ok(Some(StagedLayer {
            store: self.clone(),
            diff_id: diff_id.clone(),
            name,
            directory,
            tree,
            applied: None,
            done: false,
            _alive: alive,
            claim: Some(claim),
            _hold: hold,
        }))
    }

    /// Makes a directory in tmp/ and locks it; starts over if a cleaner took it for a dead one's in between.
    fn make_staging(&self) -> std::io::Result<(String, Dir, FileLock)> {
        loop {
            let name = unique_name("layer-");
            let directory = match make_dir(&self.0.tmp, &name, 0o700) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle: File = rustix::fs::openat(&directory, ".", flags, Mode::empty())?.into();
            let Some(lock) = FileLock::try_of(handle, LockMode::Exclusive)? else {
                continue;
            };
            if self.0.tmp.exists(&name) {
                return Ok((name, directory, lock));
            }
        }
    }

    /// Gives a staged layer its name; false if someone without its lock was faster, and did the same.
    fn place_layer(&self, staged: &str, diff_id: &Digest) -> Result<bool, StoreError> {
        if self.0.layers.exists(diff_id.hex())
            && !self.has_layer(diff_id)
            && !self.drop_layer(diff_id.hex())?
        {
            return Err(StoreError::LayerInUse {
                diff_id: diff_id.clone(),
            });
        }
        match rustix::fs::renameat(&self.0.tmp, staged, &self.0.layers, diff_id.hex()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(self.io("rename to", layer_path(diff_id))(errno.into())),
        }
    }

    fn release(&self, claim: FileLock, diff_id: &Digest) {
        // A lock file that stays is harmless.
        claim.remove(&self.0.locks, diff_id.hex()).ok();
    }

    pub(super) fn apply_options(&self) -> ApplyOptions {
        let owners = match self.0.options.ids {
            IdMode::Full => Owners::Keep,
            IdMode::Single => Owners::Squash,
        };
        match self.0.options.privileged {
            true => ApplyOptions {
                owners,
                devices: Devices::Create,
                ..ApplyOptions::privileged()
            },
            false => ApplyOptions::rootless(owners),
        }
    }

    /// Reads a layer's record; `None` if there is none, or it makes no sense.
    pub(crate) fn layer_record(&self, diff_id: &Digest) -> Option<LayerRecord> {
        self.record_of(diff_id.hex())
    }

    fn record_of(&self, name: &str) -> Option<LayerRecord> {
        let bytes = self.0.layers.read(Path::new(name).join(RECORD)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Moves the layers that `which` chooses to the trash, except those in use, and returns how many and how many bytes.
    ///
    /// The caller holds the gc lock exclusively.
    pub(super) fn drop_layers(
        &self,
        which: impl Fn(Option<&LayerRecord>) -> bool,
    ) -> Result<(u64, u64), StoreError> {
        let (mut count, mut bytes) = (0, 0);
        for entry in self.0.layers.entries().map_err(self.io("read", "layers"))? {
            let name = entry.map_err(self.io("read", "layers"))?.file_name();
            let Some(name) = name.to_str() else { continue };
            let record = self.record_of(name);
            if !which(record.as_ref()) {
                continue;
            }
            if self.drop_layer(name)? {
                count += 1;
                bytes += record.map_or(0, |record| record.stats.content_bytes);
            }
        }
        Ok((count, bytes))
    }

    /// Moves a layer to the trash; false if someone uses it.
    pub(super) fn drop_layer(&self, name: &str) -> Result<bool, StoreError> {
        let path = Path::new("layers").join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(&self.0.layers, name, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(self.io("open", path)(errno.into())),
        };
        let Some(_lock) = FileLock::try_of(directory.into(), LockMode::Exclusive)
            .map_err(self.io("lock", &path))?
        else {
            return Ok(false);
        };
        rustix::fs::renameat(
            &self.0.layers,
            name,
            &self.0.trash,
            unique_name("layer-").as_str(),
        )
        .map_err(|errno| self.io("move to the trash", path)(errno.into()))?;
        Ok(true)
    }

    /// Removes what dead processes left in tmp/ and what is in the trash. Failures are left to the next one to open the store:
    /// outside of its user namespace, a user cannot remove what belongs to its sub-ids.
    pub(super) fn clear_remains(&self) {
        for (directory, what) in [(&self.0.tmp, "tmp"), (&self.0.trash, "trash")] {
            let Ok(handle) = rustix::fs::openat(
                directory,
                ".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            ) else {
                continue;
            };
            for name in names(handle).unwrap_or_default() {
                self.clear_one(directory, &name, what == "tmp").ok();
            }
        }
    }

    fn clear_one(&self, directory: &Dir, name: &[u8], probe: bool) -> std::io::Result<()> {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let path = OsStr::from_bytes(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(directory, path, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Ok(rustix::fs::unlinkat(directory, path, AtFlags::empty())?);
            }
            other => other?,
        };
        // In the trash only two cleaners can meet, and it does not matter which of them removes a file.
        let lock = FileLock::try_of(opened.into(), LockMode::Exclusive)?;
        if probe && lock.is_none() {
            return Ok(());
        }
        remove_tree(directory, name)
    }
}

impl StagedLayer {
    /// Unpacks the layer from its uncompressed archive, hashing on the way, and reads the stream to its end. Called once.
    ///
    /// # Errors
    /// See [`crate::layer::LayerError`].
    pub fn apply(&mut self, tar: impl Read) -> Result<LayerStats, StoreError> {
        let mut reader = DigestReader::new(tar, self.diff_id.algorithm());
        let stats = layer::apply(&mut reader, &self.tree, &self.store.apply_options()).map_err(
            |source| StoreError::Layer {
                diff_id: self.diff_id.clone(),
                source,
            },
        )?;
        let (digest, _) = reader.finish();
        self.applied = Some((digest, stats.clone()));
        Ok(stats)
    }

    /// Returns the diffID the layer should have.
    #[must_use]
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Makes the layer visible if its content had the promised diffID.
    ///
    /// # Errors
    /// If it had another one, or was never applied.
    ///
    /// # Durability
    /// None, on purpose: a power cut takes the layer, and [`Store::unpack`] makes it again from its blob.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let not_applied = || StoreError::NotApplied {
            diff_id: self.diff_id.clone(),
        };
        let (found, stats) = self.applied.take().ok_or_else(not_applied)?;
        if found != self.diff_id {
            return Err(StoreError::DiffId {
                source: DigestError::Mismatch {
                    expected: self.diff_id.clone(),
                    found,
                },
            });
        }
        let store = self.store.clone();
        let (_announced, generation) = store.announce_layer()?;
        let record = LayerRecord {
            diff_id: self.diff_id.clone(),
            generation,
            stats,
        };
        let bytes = serde_json::to_vec(&record).expect("numbers and texts become JSON");
        if store.0.options.ids == IdMode::Single {
            self.directory
                .write(SQUASHED, "")
                .map_err(store.io("write", Path::new("tmp").join(&self.name).join(SQUASHED)))?;
        }
        self.directory
            .write(RECORD, bytes)
            .map_err(store.io("write", Path::new("tmp").join(&self.name).join(RECORD)))?;
        self.done = store.place_layer(&self.name, &self.diff_id)?;
        Ok(())
    }
}

impl Drop for StagedLayer {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed now is cleared when a store is opened.
            remove_tree(&self.store.0.tmp, self.name.as_bytes()).ok();
        }
        if let Some(claim) = self.claim.take() {
            self.store.release(claim, &self.diff_id);
        }
    }
}

/// Makes a directory with exactly this mode, whatever the umask.
fn make_dir(parent: &Dir, name: &str, mode: u32) -> std::io::Result<Dir> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let made = parent.open_dir(name)?;
    let handle = rustix::fs::openat(
        &made,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::fchmod(handle, Mode::from_raw_mode(mode))?;
    Ok(made)
}
