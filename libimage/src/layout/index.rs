//! index.json: read as entries, edited as JSON so that what we do not understand survives.

use std::{fs::File, io::Read};

use cap_std::fs::Dir;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use serde_json::{Value, json};

use super::{Layout, LayoutError};
use crate::{
    digest::Digest,
    durable, limits,
    lock::{FileLock, LockMode},
    manifest::Manifest,
    media,
    platform::Platform,
};

const INDEX: &str = "index.json";

/// The annotation that saves reading a manifest to know the image's id (the digest of its configuration).
#[must_use]
pub fn id_annotation() -> &'static str {
    "dev.trimaran.image.id"
}

/// An entry of index.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's size in bytes.
    pub size: u64,
    /// The manifest's media type.
    pub media_type: String,
    /// The annotation `org.opencontainers.image.ref.name`.
    pub tag: Option<String>,
    /// For which machines, if said.
    pub platform: Option<Platform>,
    /// The other annotations, sorted by key.
    pub annotations: Vec<(String, String)>,
}

impl Entry {
    /// Describes a manifest, without a tag.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            digest: manifest.digest().clone(),
            size: manifest.raw().len() as u64,
            media_type: manifest.media_type().to_owned(),
            tag: None,
            platform: None,
            annotations: Vec::new(),
        }
    }

    /// Returns an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let mut annotations: Vec<(String, String)> = value
            .get("annotations")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        annotations.sort();
        let tag = annotations
            .iter()
            .position(|(key, _)| key == media::REF_NAME)
            .map(|at| annotations.remove(at).1);
        Some(Self {
            digest: value.get("digest")?.as_str()?.parse().ok()?,
            size: value.get("size")?.as_u64()?,
            media_type: value
                .get("mediaType")
                .and_then(Value::as_str)
                .unwrap_or(media::OCI_MANIFEST)
                .to_owned(),
            tag,
            platform: value
                .get("platform")
                .and_then(|platform| serde_json::from_value(platform.clone()).ok()),
            annotations,
        })
    }

    pub(crate) fn to_json(&self, tag: Option<&str>) -> Value {
        let mut value = json!({ "mediaType": self.media_type, "digest": self.digest.as_str(), "size": self.size });
        if let Some(platform) = &self.platform {
            value["platform"] = json!(platform);
        }
        for (key, text) in &self.annotations {
            value["annotations"][key] = json!(text);
        }
        if let Some(tag) = tag {
            value["annotations"][media::REF_NAME] = json!(tag);
        }
        value
    }
}

/// index.json while its lock is held.
#[derive(Debug)]
pub(crate) struct IndexEdit {
    value: Value,
    changed: bool,
}

impl IndexEdit {
    fn manifests(&mut self) -> &mut Vec<Value> {
        // `Layout::index` checked that this is an array.
        self.value["manifests"]
            .as_array_mut()
            .expect("an index has an array of manifests")
    }

    /// Makes sure that there is a file at all.
    #[expect(clippy::unnecessary_wraps, reason = "it is handed to `edit_index`")]
    pub(crate) fn ensure(&mut self) -> Result<(), LayoutError> {
        self.changed = true;
        Ok(())
    }

    /// Returns the entries.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.value["manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Entry::parse)
            .collect()
    }

    /// Enters a manifest, under a tag that nobody has (any more), unless it is there.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "it ends what is handed to `edit_index`"
    )]
    pub(crate) fn add(&mut self, entry: &Entry, tag: Option<&str>) -> Result<(), LayoutError> {
        let there =
            |value: &Value| Entry::parse(value).filter(|known| known.digest == entry.digest);
        let manifests = self.manifests();
        let same: Vec<usize> = (0..manifests.len())
            .filter(|at| there(&manifests[*at]).is_some())
            .collect();
        let untagged = same
            .iter()
            .copied()
            .find(|at| there(&manifests[*at]).is_some_and(|known| known.tag.is_none()));
        match (tag, untagged) {
            // Any entry will do, it is found by its digest.
            (None, _) if !same.is_empty() => return Ok(()),
            (Some(tag), Some(at)) => manifests[at]["annotations"][media::REF_NAME] = json!(tag),
            (tag, _) => manifests.push(entry.to_json(tag)),
        }
        self.changed = true;
        Ok(())
    }

    /// Enters a descriptor as it is.
    pub(super) fn push(&mut self, descriptor: Value) {
        self.manifests().push(descriptor);
        self.changed = true;
    }

    /// Removes the entry of a tag; tells whether there was one.
    pub(crate) fn remove_tag(&mut self, tag: &str) -> bool {
        self.remove(|entry| entry.tag.as_deref() == Some(tag))
    }

    /// Removes the entries that `which` chooses; tells whether there were any.
    pub(crate) fn remove(&mut self, which: impl Fn(&Entry) -> bool) -> bool {
        let manifests = self.manifests();
        let before = manifests.len();
        manifests.retain(|value| !Entry::parse(value).is_some_and(|entry| which(&entry)));
        let removed = manifests.len() != before;
        self.changed |= removed;
        removed
    }

    /// Takes a tag away from its manifest, which stays in the index: without a name, unless it has another one.
    pub(crate) fn strip_tag(&mut self, tag: &str) -> bool {
        let Some(entry) = self
            .entries()
            .into_iter()
            .find(|entry| entry.tag.as_deref() == Some(tag))
        else {
            return false;
        };
        if self
            .entries()
            .iter()
            .filter(|other| other.digest == entry.digest)
            .count()
            > 1
        {
            return self.remove_tag(tag);
        }
        for value in self.manifests().iter_mut() {
            if let Some(annotations) = value.get_mut("annotations").and_then(Value::as_object_mut)
                && annotations.get(media::REF_NAME).and_then(Value::as_str) == Some(tag)
            {
                annotations.remove(media::REF_NAME);
            }
        }
        self.changed = true;
        true
    }
}

/// Locks the directory itself: index.json is replaced by every edit, and a foreign layout should get no file it does not know.
pub(super) fn lock_directory(dir: &Dir) -> std::io::Result<FileLock> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    FileLock::of(directory.into(), LockMode::Exclusive)
}

impl Layout {
    /// Returns the entries of index.json in their order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, LayoutError> {
        let index = self.index()?;
        let manifests = index["manifests"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let parse = |value: &Value| {
            Entry::parse(value).ok_or_else(|| {
                let shown: String = value.to_string().chars().take(200).collect();
                self.malformed(format!("{shown} is no descriptor"))
            })
        };
        manifests.iter().map(parse).collect()
    }

    /// Changes index.json under its lock: nobody else's change is lost. A failed edit changes nothing.
    pub(crate) fn edit_index<T>(
        &self,
        edit: impl FnOnce(&mut IndexEdit) -> Result<T, LayoutError>,
    ) -> Result<T, LayoutError> {
        let _lock = lock_directory(self.dir()).map_err(self.index_error("lock"))?;
        let mut index = IndexEdit {
            value: self.index()?,
            changed: false,
        };
        let result = edit(&mut index)?;
        if index.changed {
            if index.manifests().len() > limits::INDEX_ENTRIES {
                return Err(self.malformed(format!("more than {} entries", limits::INDEX_ENTRIES)));
            }
            let bytes = serde_json::to_vec(&index.value)
                .map_err(|error| self.malformed(error.to_string()))?;
            durable::write_atomic(self.dir(), INDEX, &bytes)
                .map_err(self.index_error("replace"))?;
        }
        Ok(result)
    }

    /// Reads index.json; an empty index if there is none.
    fn index(&self) -> Result<Value, LayoutError> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(self.dir(), INDEX, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => {
                return Ok(
                    json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [] }),
                );
            }
            Err(errno) => return Err(self.index_error("open")(errno.into())),
        };
        let mut bytes = Vec::new();
        file.take(limits::INDEX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(self.index_error("read"))?;
        if bytes.len() as u64 > limits::INDEX_BYTES {
            return Err(self.malformed(format!("more than {} bytes", limits::INDEX_BYTES)));
        }
        let mut value: Value =
            serde_json::from_slice(&bytes).map_err(|error| self.malformed(error.to_string()))?;
        match value.get_mut("manifests") {
            Some(Value::Array(_)) => Ok(value),
            // Go writes an empty list as null.
            Some(manifests @ Value::Null) => {
                *manifests = json!([]);
                Ok(value)
            }
            _ => Err(self.malformed("it has no list of manifests".to_owned())),
        }
    }

    pub(super) fn index_error(
        &self,
        operation: &'static str,
    ) -> impl FnOnce(std::io::Error) -> LayoutError {
        let path = self.path().to_owned();
        move |source| LayoutError::Index {
            operation,
            path,
            source,
        }
    }

    fn malformed(&self, what: String) -> LayoutError {
        LayoutError::MalformedIndex {
            path: self.path().to_owned(),
            what,
        }
    }
}
