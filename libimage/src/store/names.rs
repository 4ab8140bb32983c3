//! Which image a name means: index.json, an entry per name.

use std::collections::{BTreeSet, HashMap};

use super::{Image, ImageRecord, Store, StoreError};
use crate::{
    digest::Digest,
    layout::{Entry, id_annotation},
    manifest::{Content, Manifest},
    name::Name,
    platform::Platform,
};

/// Digits of an id that are enough to look for: fewer are more likely a slip.
const SHORTEST_ID: usize = 3;

impl Store {
    /// Lists the images: a row per name, and one for each manifest without any. Manifests that cannot be read are left to [`Store::check`].
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let mut sizes = HashMap::new();
        let mut rows = Vec::new();
        for entry in self.0.layout.entries()? {
            if let Ok(row) = self.row(&entry, &mut sizes) {
                rows.push(row);
            }
        }
        rows.sort_by(|left, right| {
            left.name
                .is_none()
                .cmp(&right.name.is_none())
                .then_with(|| left.name.cmp(&right.name))
        });
        Ok(rows)
    }

    fn row(
        &self,
        entry: &Entry,
        sizes: &mut HashMap<Digest, Option<u64>>,
    ) -> Result<ImageRecord, StoreError> {
        let manifest = self.read_manifest(&entry.digest, Some(&entry.media_type))?;
        let size_bytes = self.blob_bytes(&manifest)?;
        let mut record = ImageRecord {
            name: entry.tag.clone(),
            manifest_digest: entry.digest.clone(),
            id: entry.digest.clone(),
            created: None,
            size_bytes,
            unpacked_bytes: None,
            platform: None,
        };
        if let Content::Image { config, .. } = manifest.content() {
            record.id = config.digest.clone();
        }
        // An artifact has a row too, without what only images have.
        if let Ok(image) = self.load(manifest) {
            record.id = image.id().clone();
            record.created = image.config().created().clone();
            record.platform = Some(platform_of(&image));
            let unpacked = |diff_id: &Digest| {
                let known = sizes.entry(diff_id.clone());
                *known.or_insert_with(|| {
                    self.layer_record(diff_id)
                        .map(|record| record.stats.content_bytes)
                })
            };
            record.unpacked_bytes = image.diff_ids().iter().map(unpacked).sum();
        }
        Ok(record)
    }

    /// Returns the size of what a manifest names and is there, itself included.
    fn blob_bytes(&self, manifest: &Manifest) -> Result<u64, StoreError> {
        let own = manifest.raw().len() as u64;
        Ok(own
            + match manifest.content() {
                Content::Image { config, layers } => {
                    let distinct: BTreeSet<_> = layers
                        .iter()
                        .chain([config])
                        .map(|part| (&part.digest, part.size))
                        .collect();
                    distinct.iter().map(|(_, size)| size).sum()
                }
                Content::Index { entries } => {
                    let mut sum = 0;
                    for entry in entries {
                        if self.blob_size(&entry.digest)?.is_some() {
                            sum += self.blob_bytes(
                                &self.read_manifest(&entry.digest, Some(&entry.media_type))?,
                            )?;
                        }
                    }
                    sum
                }
            })
    }

    /// Finds an image by full or short name, manifest digest, or a unique prefix (3 digits at least) of its id or manifest digest.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn find(&self, name_or_id: &str) -> Result<Image, StoreError> {
        let entry = self.find_entry(name_or_id)?;
        let image = self.load(self.read_manifest(&entry.digest, Some(&entry.media_type))?)?;
        Ok(image.with_name(entry.tag.as_deref()))
    }

    /// Loads an image by the digest of its manifest, also one that is only pinned and that no name leads to.
    ///
    /// # Errors
    /// If the manifest or the configuration is missing or corrupt.
    pub fn image(&self, manifest: &Digest) -> Result<Image, StoreError> {
        self.load(self.read_manifest(manifest, None)?)
    }

    /// Finds what the index says about a name or id; see [`Store::find`]. The entry has a tag if it was found by it.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn find_entry(&self, name_or_id: &str) -> Result<Entry, StoreError> {
        let entries = self.0.layout.entries()?;
        let untagged = |entry: &Entry| Entry {
            tag: None,
            ..entry.clone()
        };
        if let Ok(digest) = name_or_id.parse::<Digest>() {
            return self.one_of(name_or_id, &entries, |entry, id| {
                entry.digest == digest || id == Some(&digest)
            });
        }
        if let Ok(name) = name_or_id.parse::<Name>() {
            let text = name.to_string();
            if let Some(entry) = entries
                .iter()
                .find(|entry| entry.tag.as_deref() == Some(&text))
            {
                return Ok(entry.clone());
            }
            // "name@digest" means the digest, whatever name it came under.
            if let Some(entry) = name
                .digest()
                .and_then(|digest| entries.iter().find(|entry| entry.digest == *digest))
            {
                return Ok(untagged(entry));
            }
        }
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if name_or_id.len() >= SHORTEST_ID && name_or_id.len() <= 64 && name_or_id.bytes().all(hex)
        {
            let starts = |digest: &Digest| digest.hex().starts_with(name_or_id);
            return self.one_of(name_or_id, &entries, |entry, id| {
                starts(&entry.digest) || id.is_some_and(starts)
            });
        }
        Err(StoreError::NoImage {
            name: name_or_id.to_owned(),
        })
    }

    /// Returns the one image whose manifest digest or id is meant.
    fn one_of(
        &self,
        name: &str,
        entries: &[Entry],
        means: impl Fn(&Entry, Option<&Digest>) -> bool,
    ) -> Result<Entry, StoreError> {
        let mut found: Vec<&Entry> = Vec::new();
        for entry in entries {
            let known = found.iter().any(|other| other.digest == entry.digest);
            if !known && means(entry, self.id_of(entry).as_ref()) {
                found.push(entry);
            }
        }
        match found[..] {
            [] => Err(StoreError::NoImage {
                name: name.to_owned(),
            }),
            [entry] => Ok(Entry {
                tag: None,
                ..entry.clone()
            }),
            _ => Err(StoreError::Ambiguous {
                name: name.to_owned(),
                candidates: found
                    .iter()
                    .map(|entry| {
                        entry
                            .tag
                            .clone()
                            .unwrap_or_else(|| entry.digest.to_string())
                    })
                    .collect(),
            }),
        }
    }

    /// Returns an entry's image id: from its annotation, else from the manifest.
    pub(super) fn id_of(&self, entry: &Entry) -> Option<Digest> {
        if let Some(id) = entry.annotation(id_annotation()) {
            return id.parse().ok();
        }
        let manifest = self
            .read_manifest(&entry.digest, Some(&entry.media_type))
            .ok()?;
        self.load(manifest).ok().map(|image| image.id().clone())
    }

    /// Enters a manifest (or index) under names, taking them from others; without a name it is found by digest or id.
    ///
    /// # Errors
    /// If a blob it names is missing or has another size (entries of an index may be missing), or it is no image.
    ///
    /// # Durability
    /// After it returns, the image survives a power cut (its unpacked layers may have to be unpacked again, offline).
    pub fn publish(&self, raw_manifest: &[u8], names: &[Name]) -> Result<Image, StoreError> {
        let _hold = self.hold()?;
        let manifest = Manifest::parse(raw_manifest.to_vec(), None)?;
        self.0.layout.settle(&manifest)?;
        let mut entry = Entry::of(&manifest);
        let image = self.load(manifest)?;
        entry
            .annotations
            .push((id_annotation().to_owned(), image.id().to_string()));
        self.enter(&entry, names)?;
        Ok(image.with_name(names.first().map(Name::to_string).as_deref()))
    }

    /// Enters a manifest that need not be an image for any machine (an artifact, an index), as [`Store::publish`] does.
    ///
    /// # Errors
    /// If a blob it names is missing or has another size (entries of an index may be missing).
    pub fn publish_any(
        &self,
        raw_manifest: &[u8],
        media_type: &str,
        names: &[Name],
    ) -> Result<Digest, StoreError> {
        let _hold = self.hold()?;
        let manifest = Manifest::parse(raw_manifest.to_vec(), Some(media_type))?;
        self.0.layout.settle(&manifest)?;
        let mut entry = Entry::of(&manifest);
        if let Ok(image) = self.load(manifest) {
            entry
                .annotations
                .push((id_annotation().to_owned(), image.id().to_string()));
        }
        self.enter(&entry, names)?;
        Ok(entry.digest)
    }

    fn enter(&self, entry: &Entry, names: &[Name]) -> Result<(), StoreError> {
        Ok(self.0.layout.edit_index(|index| {
            if names.is_empty() {
                return index.add(entry, None);
            }
            for name in names.iter().map(Name::to_string) {
                let has_it = |known: &Entry| {
                    known.tag.as_deref() == Some(&name) && known.digest == entry.digest
                };
                if !index.entries().iter().any(has_it) {
                    index.strip_tag(&name);
                    index.add(entry, Some(&name))?;
                }
            }
            Ok(())
        })?)
    }

    /// Gives an image another name, taking it from another image if need be.
    ///
    /// # Errors
    /// If the image is not in the store (any more), or the index cannot be replaced.
    pub fn tag(&self, image: &Image, name: &Name) -> Result<(), StoreError> {
        let _hold = self.hold()?;
        let known = self.0.layout.entries()?;
        let known = known
            .into_iter()
            .find(|entry| entry.digest == *image.manifest_digest());
        let entry = match known {
            Some(entry) => entry,
            // Part of an index: entered by itself.
            None => {
                let manifest = self.read_manifest(image.manifest_digest(), None)?;
                let mut entry = Entry::of(&manifest);
                entry
                    .annotations
                    .push((id_annotation().to_owned(), image.id().to_string()));
                entry
            }
        };
        self.enter(&entry, std::slice::from_ref(name))
    }

    /// Gives what the index has another name, taking it from another image if need be; see [`Store::find_entry`].
    ///
    /// # Errors
    /// If the index cannot be replaced.
    pub fn tag_entry(&self, entry: &Entry, name: &Name) -> Result<(), StoreError> {
        let _hold = self.hold()?;
        self.enter(entry, std::slice::from_ref(name))
    }

    /// Removes a name and nothing else; tells whether it was there.
    ///
    /// # Errors
    /// If the index cannot be replaced.
    pub fn untag(&self, name: &Name) -> Result<bool, StoreError> {
        Ok(self
            .0
            .layout
            .edit_index(|index| Ok(index.strip_tag(&name.to_string())))?)
    }
}

fn platform_of(image: &Image) -> String {
    let config = image.config();
    let platform = Platform {
        os: config.os().to_string(),
        architecture: config.architecture().to_string(),
        variant: config.variant().clone(),
        os_version: None,
    };
    platform.to_string()
}
