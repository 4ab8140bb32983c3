//! An OCI image layout in a tar archive.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{ArchiveError, Found, Tar, blob_path};
use crate::{
    digest::{Digest, Hasher},
    error::Error,
    layout::{Entry, Referrer},
    limits,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    name::Name,
};

/// How deep an index may hold indexes whose content is followed.
const DEPTH: usize = 4;
/// Bytes of the file oci-layout.
const MARKER_BYTES: u64 = 4 << 10;
/// Where docker and containerd write the whole name of an image.
const IMAGE_NAME: &str = "io.containerd.image.name";
const FORM: &str = "OCI archive";

/// A layout inside of an archive.
#[derive(Debug)]
pub(crate) struct OciArchive {
    tar: Tar,
    entries: Vec<Entry>,
}

impl OciArchive {
    /// Reads the index of an archive.
    pub(crate) fn new(tar: Tar) -> Result<Self, ArchiveError> {
        let entries = entries(&tar)?;
        Ok(Self { tar, entries })
    }

    pub(crate) fn tar(&self) -> &Tar {
        &self.tar
    }

    /// Returns the names of the images.
    pub(crate) fn tags(&self) -> Vec<String> {
        let tags = self.entries.iter().filter_map(|entry| entry.tag.clone());
        tags.collect()
    }

    /// Finds an image: by its tag, by the whole name that docker or containerd wrote, by `@INDEX` or digest, or the only one.
    pub(crate) fn find(&self, wanted: Option<&str>) -> Result<Found, Error> {
        let entry = match wanted {
            None => self.only()?,
            Some(wanted) => self.named(wanted)?,
        };
        Ok(Found {
            raw: read_manifest(&self.tar, &entry.digest)?,
            media_type: entry.media_type.clone(),
            names: names_of(entry),
            elsewhere: BTreeMap::new(),
        })
    }

    fn named(&self, wanted: &str) -> Result<&Entry, ArchiveError> {
        let by_index = wanted.strip_prefix('@').and_then(|at| at.parse().ok());
        if let Some(entry) = by_index.and_then(|at: usize| self.entries.get(at)) {
            return Ok(entry);
        }
        let by_digest = |entry: &&Entry| entry.digest.as_str() == wanted.trim_start_matches('@');
        self.entries
            .iter()
            .find(|entry| entry.tag.as_deref() == Some(wanted))
            .or_else(|| {
                self.entries
                    .iter()
                    .find(|entry| entry.annotation(IMAGE_NAME) == Some(wanted))
            })
            .or_else(|| self.entries.iter().find(by_digest))
            .ok_or_else(|| ArchiveError::NoImage {
                place: self.tar.place_name().to_owned(),
                wanted: wanted.to_owned(),
                available: self.available(),
            })
    }

    /// The same manifest under several names is still the only one; what refers to another is no image.
    fn only(&self) -> Result<&Entry, ArchiveError> {
        let place = || self.tar.place_name().to_owned();
        let mut images = self
            .entries
            .iter()
            .filter(|entry| self.entries.len() == 1 || !self.is_about_another(entry));
        let first = images.next().ok_or_else(|| ArchiveError::NoImage {
            place: place(),
            wanted: "at all".to_owned(),
            available: "nothing".to_owned(),
        })?;
        if images.any(|other| other.digest != first.digest) {
            return Err(ArchiveError::Ambiguous {
                place: place(),
                available: self.available(),
            });
        }
        Ok(first)
    }

    fn is_about_another(&self, entry: &Entry) -> bool {
        if let Some(tag) = &entry.tag {
            return crate::layout::is_digest_tag(tag);
        }
        manifest(&self.tar, &entry.digest).is_ok_and(|manifest| manifest.subject().is_some())
    }

    fn available(&self) -> String {
        let names = self.entries.iter().enumerate();
        let names = names.map(|(at, entry)| match &entry.tag {
            Some(tag) => tag.clone(),
            None => format!("@{at}"),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    /// Lists everything that refers to a manifest.
    pub(crate) fn referrers(&self) -> Vec<Referrer> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        for entry in &self.entries {
            collect_referrers(&self.tar, &entry.digest, DEPTH, &mut seen, &mut found);
        }
        found
    }

    /// Returns the manifest that a tag has.
    pub(crate) fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.tag.as_deref() == Some(tag));
        entry
            .map(|entry| read_manifest(&self.tar, &entry.digest))
            .transpose()
    }
}

/// Returns the whole name of an entry; a tag alone could be anything's.
fn names_of(entry: &Entry) -> Vec<Name> {
    let tag = entry.tag.as_deref().filter(|tag| tag.contains('/'));
    let name = entry.annotation(IMAGE_NAME).or(tag);
    name.into_iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

fn collect_referrers(
    tar: &Tar,
    digest: &Digest,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
    found: &mut Vec<Referrer>,
) {
    if !seen.insert(digest.clone()) {
        return;
    }
    let Ok(manifest) = manifest(tar, digest) else {
        return;
    };
    if let Some(subject) = manifest.subject() {
        found.push(Referrer {
            subject: subject.digest.clone(),
            descriptor: Descriptor {
                digest: digest.clone(),
                ..Descriptor::of(&manifest)
            },
        });
    }
    if let (Content::Index { entries }, true) = (manifest.content(), depth > 0) {
        for entry in entries {
            if matches!(media::kind(&entry.media_type), Kind::Manifest | Kind::Index) {
                collect_referrers(tar, &entry.digest, depth - 1, seen, found);
            }
        }
    }
}

/// Reads index.json, once it is known to be that of a layout.
pub(super) fn entries(tar: &Tar) -> Result<Vec<Entry>, ArchiveError> {
    let malformed = |what: String| ArchiveError::Malformed {
        place: tar.place_name().to_owned(),
        form: FORM,
        what,
    };
    if !tar.has("oci-layout") {
        let hint = if tar.has("manifest.json") {
            " (docker-archive: reads it)"
        } else {
            ""
        };
        return Err(malformed(format!("it has no file oci-layout{hint}")));
    }
    let marker: Value = tar.json("oci-layout", MARKER_BYTES)?;
    let version = marker["imageLayoutVersion"].as_str().unwrap_or_default();
    if !version.starts_with("1.") {
        return Err(malformed("its imageLayoutVersion is not 1".to_owned()));
    }
    let index: Value = tar.json("index.json", limits::INDEX_BYTES)?;
    let manifests = match &index["manifests"] {
        Value::Array(manifests) => manifests.as_slice(),
        // Go writes an empty list as null.
        Value::Null => &[],
        _ => {
            return Err(malformed(
                "its index.json has no list of manifests".to_owned(),
            ));
        }
    };
    if manifests.len() > limits::INDEX_ENTRIES {
        return Err(ArchiveError::Limit {
            place: tar.place_name().to_owned(),
            what: "entries in its index.json",
            limit: limits::INDEX_ENTRIES as u64,
        });
    }
    let parse = |value: &Value| {
        Entry::parse(value).ok_or_else(|| {
            let shown: String = value.to_string().chars().take(200).collect();
            malformed(format!("{shown} in its index.json is no descriptor"))
        })
    };
    manifests.iter().map(parse).collect()
}

/// Reads a manifest by its digest, and verifies it.
pub(super) fn read_manifest(tar: &Tar, digest: &Digest) -> Result<Vec<u8>, Error> {
    let raw = tar.small(&blob_path(digest), limits::MANIFEST_BYTES)?;
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(&raw);
    let found = hasher.finish();
    if found != *digest {
        let expected = digest.clone();
        return Err(crate::digest::DigestError::Mismatch { expected, found }.into());
    }
    Ok(raw)
}

/// Reads and parses a manifest by its digest.
pub(super) fn manifest(tar: &Tar, digest: &Digest) -> Result<Manifest, Error> {
    Ok(Manifest::parse(read_manifest(tar, digest)?, None)?)
}
