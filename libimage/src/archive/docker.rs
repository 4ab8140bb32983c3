//! What `docker save` writes: manifest.json says which members are the configuration and the layers of which image.
//!
//! Since Docker 25 the same archive is an OCI layout too, and then the image's own manifest is used, byte for byte. Older ones have
//! none: a manifest is made for them, the same one every time, from what is there: the configuration, and the layers as they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use serde::{Deserialize, Serialize};

use super::{ArchiveError, Found, Place, Tar, blob_path, legacy, oci};
use crate::{
    compress::Compression,
    digest::{Algorithm, Digest, DigestReader},
    error::Error,
    layout::Entry,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    name::Name,
};

/// How deep an index may hold indexes whose content is followed.
const DEPTH: usize = 4;
/// Images of an archive.
const IMAGES: usize = 10_000;
/// Where docker and containerd write the whole name of an image.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";
const FORM: &str = "docker archive";

/// An image of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) layers: Option<Vec<String>>,
}

/// A member of a made manifest; the order of the fields is that of every other tool's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub(super) media_type: &'static str,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// A made manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    pub(super) schema_version: u8,
    pub(super) media_type: &'static str,
    pub(super) config: Part,
    pub(super) layers: Vec<Part>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// An image that is looked for.
struct Wanted<'a> {
    config: &'a Digest,
    layers: &'a [String],
}

/// An archive as `docker save` writes it.
#[derive(Debug)]
pub(crate) struct DockerArchive {
    tar: Tar,
    /// Empty for archives older than manifest.json.
    items: Vec<Item>,
    /// The names of those, with the identifiers of their topmost layers.
    legacy: Vec<(Name, String)>,
}

impl DockerArchive {
    /// Reads the list of images of an archive.
    pub(crate) fn new(tar: Tar) -> Result<Self, ArchiveError> {
        let (mut items, mut named) = (Vec::new(), Vec::new());
        if tar.has("manifest.json") {
            items = tar.json("manifest.json", limits::INDEX_BYTES)?;
        } else if tar.has("repositories") {
            named = legacy::names(&tar)?;
        } else {
            let hint = if tar.has("oci-layout") {
                " (oci-archive: reads it)"
            } else {
                ""
            };
            return Err(ArchiveError::Malformed {
                place: tar.place_name().to_owned(),
                form: FORM,
                what: format!("it has no file manifest.json{hint}"),
            });
        }
        if items.len() > IMAGES {
            return Err(ArchiveError::Limit {
                place: tar.place_name().to_owned(),
                what: "images",
                limit: IMAGES as u64,
            });
        }
        Ok(Self {
            tar,
            items,
            legacy: named,
        })
    }

    pub(crate) fn tar(&self) -> &Tar {
        &self.tar
    }

    /// Returns the names of all images.
    pub(crate) fn names(&self) -> Vec<Name> {
        let items = self.items.iter().flat_map(names_of);
        let legacy = self.legacy.iter().map(|(name, _)| name.clone());
        items.chain(legacy).collect()
    }

    /// Finds an image: by its name, by its position, or the only one.
    pub(crate) fn find(&self, name: Option<&Name>, index: Option<usize>) -> Result<Found, Error> {
        if self.items.is_empty() {
            let top = self.pick_legacy(name, index)?;
            let names = self.legacy.iter().filter(|(_, id)| id == top);
            return Ok(Found {
                names: names.map(|(name, _)| name.clone()).collect(),
                ..legacy::image(&self.tar, top)?
            });
        }
        let item = self.pick(name, index)?;
        let layers = item.layers.as_deref().unwrap_or_default();
        if layers.len() > limits::LAYERS {
            return Err(ArchiveError::Limit {
                place: self.tar.place_name().to_owned(),
                what: "layers in an image",
                limit: limits::LAYERS as u64,
            }
            .into());
        }
        match self.original(item, name)? {
            Some(found) => Ok(found),
            None => self.made(item),
        }
    }

    fn pick(&self, name: Option<&Name>, index: Option<usize>) -> Result<&Item, ArchiveError> {
        match (name, index) {
            (Some(name), _) => {
                let has = |item: &&Item| names_of(item).any(|known| known == *name);
                let found = self.items.iter().find(has);
                found.ok_or_else(|| self.no_image(name.to_string()))
            }
            (None, Some(index)) => {
                let found = self.items.get(index);
                found.ok_or_else(|| self.no_image(format!("@{index}")))
            }
            (None, None) => {
                let first = self.items.first();
                let first = first.ok_or_else(|| self.no_image("at all".to_owned()))?;
                if self.items.iter().any(|item| item.config != first.config) {
                    return Err(self.ambiguous());
                }
                Ok(first)
            }
        }
    }

    fn pick_legacy(&self, name: Option<&Name>, index: Option<usize>) -> Result<&str, ArchiveError> {
        let found = match (name, index) {
            (Some(name), _) => self.legacy.iter().find(|(known, _)| known == name),
            (None, Some(index)) => self.legacy.get(index),
            (None, None) => {
                let first = self.legacy.first();
                if self
                    .legacy
                    .iter()
                    .any(|(_, id)| first.is_some_and(|(_, other)| id != other))
                {
                    return Err(self.ambiguous());
                }
                first
            }
        };
        let wanted = || match (name, index) {
            (Some(name), _) => name.to_string(),
            (None, Some(index)) => format!("@{index}"),
            (None, None) => "at all".to_owned(),
        };
        let (_, id) = found.ok_or_else(|| self.no_image(wanted()))?;
        Ok(id)
    }

    fn no_image(&self, wanted: String) -> ArchiveError {
        ArchiveError::NoImage {
            place: self.tar.place_name().to_owned(),
            wanted,
            available: self.available(),
        }
    }

    fn ambiguous(&self) -> ArchiveError {
        ArchiveError::Ambiguous {
            place: self.tar.place_name().to_owned(),
            available: self.available(),
        }
    }

    fn available(&self) -> String {
        let of_item = |(at, item): (usize, &Item)| {
            let names: Vec<String> = names_of(item).map(|name| name.to_string()).collect();
            if names.is_empty() {
                vec![format!("@{at}")]
            } else {
                names
            }
        };
        let mut names: Vec<String> = self.items.iter().enumerate().flat_map(of_item).collect();
        names.extend(self.legacy.iter().map(|(name, _)| name.to_string()));
        if names.is_empty() {
            return "nothing".to_owned();
        }
        names.join(", ")
    }

    /// Finds the image's own manifest, in an archive that is a layout too. An index above it is used if everything it names is there:
    /// docker leaves out the platforms it does not have.
    fn original(&self, item: &Item, name: Option<&Name>) -> Result<Option<Found>, Error> {
        if !self.tar.has("oci-layout") || !self.tar.has("index.json") {
            return Ok(None);
        }
        let config = digest_of_path(&item.config);
        let Some(config) = config else {
            return Ok(None);
        };
        let mut entries = oci::entries(&self.tar)?;
        // Several entries may lead there; the one that has the name comes first.
        let wanted = name.cloned().into_iter().chain(names_of(item)).next();
        entries.sort_by_key(|entry| wanted.is_none() || named(entry) != wanted);
        let mut seen = BTreeSet::new();
        for entry in &entries {
            let wanted = Wanted {
                config: &config,
                layers: item.layers.as_deref().unwrap_or_default(),
            };
            let Some(below) = self.search(&entry.digest, &wanted, DEPTH, &mut seen)? else {
                continue;
            };
            let top = match oci::manifest(&self.tar, &entry.digest) {
                Ok(top) if self.is_complete(&top, DEPTH, &mut BTreeSet::new()) => top,
                _ => below,
            };
            return Ok(Some(Found {
                media_type: top.media_type().to_owned(),
                raw: top.into_raw(),
                names: names_of(item).collect(),
                elsewhere: BTreeMap::new(),
            }));
        }
        Ok(None)
    }

    /// Looks for the manifest of an image, below an entry. What was met is not looked into again: indexes may name each other any
    /// number of times.
    fn search(
        &self,
        digest: &Digest,
        wanted: &Wanted<'_>,
        depth: usize,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<Option<Manifest>, Error> {
        if !seen.insert(digest.clone()) || !self.tar.has(&blob_path(digest)) {
            return Ok(None);
        }
        let manifest = oci::manifest(&self.tar, digest)?;
        match manifest.content() {
            Content::Image { config, layers } => {
                let paths = layers.iter().map(|layer| blob_path(&layer.digest));
                let same =
                    config.digest == *wanted.config && paths.eq(wanted.layers.iter().cloned());
                Ok(same.then_some(manifest))
            }
            Content::Index { entries } if depth > 0 => {
                for entry in entries.iter().filter(|entry| is_manifest(entry)) {
                    let found = self.search(&entry.digest, wanted, depth - 1, seen)?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Ok(None)
            }
            Content::Index { .. } => Ok(None),
        }
    }

    /// Tells whether everything a manifest names is in the archive.
    fn is_complete(&self, manifest: &Manifest, depth: usize, seen: &mut BTreeSet<Digest>) -> bool {
        let has = |blob: &Descriptor| self.tar.has(&blob_path(&blob.digest));
        match manifest.content() {
            Content::Image { config, layers } => {
                has(config) && layers.iter().all(|layer| layer.is_foreign() || has(layer))
            }
            Content::Index { entries } => entries.iter().all(|entry| {
                if !seen.insert(entry.digest.clone()) {
                    return true;
                }
                if !has(entry) || !is_manifest(entry) {
                    return has(entry);
                }
                depth > 0
                    && oci::manifest(&self.tar, &entry.digest)
                        .is_ok_and(|child| self.is_complete(&child, depth - 1, seen))
            }),
        }
    }

    /// Makes the manifest of an image that has none.
    fn made(&self, item: &Item) -> Result<Found, Error> {
        let raw_config = self.tar.small(&item.config, limits::CONFIG_BYTES)?;
        let config: Config = self.tar.parse(&item.config, &raw_config)?;
        let paths = item.layers.as_deref().unwrap_or_default();
        let diff_ids = config.rootfs.diff_ids;
        if paths.len() != diff_ids.len() {
            return Err(ArchiveError::Malformed {
                place: self.tar.place_name().to_owned(),
                form: FORM,
                what: format!(
                    "{} names {} layers, manifest.json {}",
                    item.config,
                    diff_ids.len(),
                    paths.len()
                ),
            }
            .into());
        }
        let mut elsewhere = BTreeMap::new();
        let mut layers = Vec::new();
        for (path, diff_id) in paths.iter().zip(diff_ids) {
            let layer = layer(&self.tar, path, diff_id)?;
            elsewhere.insert(layer.digest.clone(), Place::Member(path.clone()));
            layers.push(layer);
        }
        let digest = Digest::of(&raw_config);
        elsewhere.insert(digest.clone(), Place::Member(item.config.clone()));
        let config = Part {
            media_type: media::DOCKER_CONFIG,
            size: raw_config.len() as u64,
            digest,
        };
        Ok(Found {
            names: names_of(item).collect(),
            ..made(config, layers, elsewhere)
        })
    }
}

/// Ends a made manifest.
pub(super) fn made(config: Part, layers: Vec<Part>, elsewhere: BTreeMap<Digest, Place>) -> Found {
    let made = Made {
        schema_version: 2,
        media_type: media::DOCKER_MANIFEST,
        config,
        layers,
    };
    Found {
        media_type: media::DOCKER_MANIFEST.to_owned(),
        raw: serde_json::to_vec(&made).expect("strings and numbers make JSON"),
        names: Vec::new(),
        elsewhere,
    }
}

/// Describes a layer as it is. A plain one is known by its diffID, which whoever reads it verifies; a compressed one has to be read
/// to be named, unless its place says it.
pub(super) fn layer(tar: &Tar, path: &str, diff_id: Digest) -> Result<Part, ArchiveError> {
    let compression = tar.compression(path)?;
    let media_type = match compression {
        Compression::None => media::DOCKER_LAYER,
        Compression::Gzip => media::DOCKER_LAYER_GZIP,
        Compression::Zstd => media::DOCKER_LAYER_ZSTD,
    };
    let digest = match (compression, digest_of_path(path)) {
        (Compression::None, _) => diff_id,
        (_, Some(digest)) => digest,
        (_, None) => digest_of(tar, path)?,
    };
    Ok(Part {
        media_type,
        size: tar.size(path)?,
        digest,
    })
}

/// Hashes a member.
pub(super) fn digest_of(tar: &Tar, path: &str) -> Result<Digest, ArchiveError> {
    let mut reader = DigestReader::new(tar.open_member(path)?, Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    while reader
        .read(&mut buffer)
        .map_err(|source| tar.unreadable(source))?
        > 0
    {}
    Ok(reader.finish().0)
}

/// Returns the digest that a blob's place says; docker never names sha512.
fn digest_of_path(path: &str) -> Option<Digest> {
    let hex = path.strip_prefix("blobs/sha256/")?;
    format!("sha256:{hex}").parse().ok()
}

fn is_manifest(entry: &Descriptor) -> bool {
    matches!(media::kind(&entry.media_type), Kind::Manifest | Kind::Index)
}

fn names_of(item: &Item) -> impl Iterator<Item = Name> {
    let tags = item.repo_tags.iter().flatten();
    tags.filter_map(|tag| tag.parse().ok())
}

/// Returns the whole name of an entry of index.json.
fn named(entry: &Entry) -> Option<Name> {
    let name = entry.annotation(IMAGE_NAME).or(entry.tag.as_deref())?;
    name.parse().ok()
}
