//! What nothing needs: mark from names, pins and the live set, sweep blobs and layers, never what is in use.

use std::collections::HashSet;

use super::{Store, StoreError};
use crate::{
    digest::Digest,
    layout::Entry,
    limits,
    manifest::{Content, Manifest},
    media::{self, Kind},
    name::Name,
};

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

/// How deep indexes are followed; deeper ones are kept whole by keeping what they name directly.
const DEPTH: usize = 8;

/// What is needed.
#[derive(Default)]
struct Marks {
    blobs: HashSet<String>,
    layers: HashSet<String>,
}

impl Store {
    /// Removes a name; with the last one the image too, and what only it used. By id: all names, if `force` or there is just one.
    ///
    /// Layers that running containers use stay until a later collection; so does what is pinned.
    ///
    /// # Errors
    /// If there is no such image, or it has several names and not `force`.
    pub fn remove(&self, name_or_id: &str, force: bool) -> Result<Removed, StoreError> {
        let target = self.find_entry(name_or_id)?;
        let id = self.id_of(&target).unwrap_or_else(|| target.digest.clone());
        let mut removed = self.0.layout.edit_index(|index| {
            let names = |entries: Vec<Entry>| -> Vec<String> {
                entries
                    .into_iter()
                    .filter(|entry| entry.digest == target.digest)
                    .filter_map(|entry| entry.tag)
                    .collect()
            };
            let all = names(index.entries());
            let mut removed = Removed::default();
            match &target.tag {
                Some(name) if !force && all.len() > 1 => {
                    index.remove_tag(name);
                    removed.untagged.push(name.clone());
                }
                None if !force && all.len() > 1 => {
                    return Ok(Err(StoreError::SeveralNames {
                        id: id.clone(),
                        names: all,
                    }));
                }
                _ => {
                    index.remove(|entry| entry.digest == target.digest);
                    removed.untagged = all;
                    removed.deleted = Some(target.digest.clone());
                }
            }
            Ok(Ok(removed))
        })??;
        if removed.deleted.is_some() {
            removed.freed = self.gc(&[])?;
        }
        Ok(removed)
    }

    /// Removes what no name, no pin, no lease and nothing of `live` (manifests and diffIDs) needs.
    ///
    /// # Errors
    /// If the file system fails, or something that is named cannot be read: then nothing is removed.
    pub fn gc(&self, live: &[Digest]) -> Result<Freed, StoreError> {
        let Some(lock) = self.try_gc_lock()? else {
            return Ok(Freed {
                deferred: true,
                ..Freed::default()
            });
        };
        let mut marks = Marks::default();
        for entry in self.0.layout.entries()? {
            self.mark(&entry.digest, Some(&entry.media_type), &mut marks, DEPTH)?;
        }
        for digest in self.pinned()?.iter().chain(live) {
            marks.layers.insert(digest.hex().to_owned());
            self.mark(digest, None, &mut marks, DEPTH)?;
        }
        let (blobs, blob_bytes) = self.sweep_blobs(&marks)?;
        let (layers, layer_bytes) = self.drop_layers(|record| {
            record.is_none_or(|record| !marks.layers.contains(record.diff_id.hex()))
        })?;
        drop(lock);
        self.clear_remains();
        self.settle()?;
        Ok(Freed {
            blobs,
            layers,
            bytes: blob_bytes + layer_bytes,
            deferred: false,
        })
    }

    /// Marks a manifest and all it needs. What is missing or no manifest marks itself only; [`Store::check`] tells of it.
    fn mark(
        &self,
        digest: &Digest,
        media_type: Option<&str>,
        marks: &mut Marks,
        depth: usize,
    ) -> Result<(), StoreError> {
        if !marks.blobs.insert(digest.hex().to_owned()) || depth == 0 {
            return Ok(());
        }
        match self.blob_size(digest)? {
            Some(size) if size <= limits::MANIFEST_BYTES => {}
            _ => return Ok(()),
        }
        let raw = self.read_small(digest, limits::MANIFEST_BYTES)?;
        let Ok(manifest) = Manifest::parse(raw, media_type) else {
            return Ok(());
        };
        match manifest.content() {
            Content::Image { config, layers } => {
                marks.blobs.extend(
                    layers
                        .iter()
                        .chain([config])
                        .map(|part| part.digest.hex().to_owned()),
                );
                if media::kind(&config.media_type) == Kind::Config
                    && let Ok(raw) = self.read_small(&config.digest, limits::CONFIG_BYTES)
                {
                    marks.layers.extend(diff_ids(&raw));
                }
            }
            Content::Index { entries } => {
                for entry in entries {
                    self.mark(&entry.digest, None, marks, depth - 1)?;
                }
            }
        }
        Ok(())
    }

    fn sweep_blobs(&self, marks: &Marks) -> Result<(u64, u64), StoreError> {
        let blobs = self.0.layout.blobs_dir();
        let (mut count, mut bytes) = (0, 0);
        for entry in blobs.entries().map_err(self.io("read", "blobs/sha256"))? {
            let entry = entry.map_err(self.io("read", "blobs/sha256"))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Half-written ones of dead processes are swept too: the lock says that no living process has any.
            if marks.blobs.contains(name) {
                continue;
            }
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            blobs
                .remove_file(name)
                .map_err(self.io("remove", std::path::Path::new("blobs/sha256").join(name)))?;
            count += 1;
        }
        Ok((count, bytes))
    }

    /// Removes every image without a name, and what only those used.
    ///
    /// # Errors
    /// As [`Store::gc`].
    pub fn prune(&self, live: &[Digest]) -> Result<Freed, StoreError> {
        self.0.layout.edit_index(|index| {
            let kept: HashSet<Digest> = live.iter().cloned().collect();
            Ok(index.remove(|entry| entry.tag.is_none() && !kept.contains(&entry.digest)))
        })?;
        self.gc(live)
    }

    /// Returns the names of an image.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn names(&self, manifest: &Digest) -> Result<Vec<Name>, StoreError> {
        let entries = self.0.layout.entries()?;
        Ok(entries
            .iter()
            .filter(|entry| entry.digest == *manifest)
            .filter_map(|entry| entry.tag.as_deref()?.parse().ok())
            .collect())
    }
}

/// Returns the hexadecimal part of each diffID a configuration names.
fn diff_ids(raw_config: &[u8]) -> Vec<String> {
    let config: serde_json::Value = serde_json::from_slice(raw_config).unwrap_or_default();
    let ids = config
        .pointer("/rootfs/diff_ids")
        .and_then(serde_json::Value::as_array);
    let parse =
        |id: &serde_json::Value| Some(id.as_str()?.parse::<Digest>().ok()?.hex().to_owned());
    ids.into_iter().flatten().filter_map(parse).collect()
}
