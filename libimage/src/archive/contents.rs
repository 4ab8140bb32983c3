//! What goes into an archive, and the documents at its end that say what it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Seek as _, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use super::{
    ArchiveError, TarWriter, blob_path,
    docker::IMAGE_NAME,
    spool::nameless,
    writer::{MemberWriter, Region},
};
use crate::{
    digest::{Algorithm, Digest, Hasher},
    durable::TempFile,
    error::Error,
    layout::Entry,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    name::Name,
    platform::Platform,
};

/// What kind of archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A layout.
    Oci,
    /// A layout with a manifest.json beside it, as Docker writes it since version 25: what reads one of them finds everything, and
    /// blobs and digests stay as they are.
    Docker,
}

/// An archive that is being written.
#[derive(Debug)]
pub(crate) struct Contents {
    form: Form,
    writer: Arc<TarWriter>,
    temporary: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything that has a region, with its size in bytes.
    blobs: BTreeMap<Digest, u64>,
    /// Regions that wait for their blobs.
    reserved: BTreeMap<Digest, (Region, u64)>,
    /// What indexes may name.
    manifests: BTreeMap<Digest, Manifest>,
    /// What index.json will name.
    entries: Vec<(Manifest, Option<String>)>,
    /// What manifest.json will name.
    images: Vec<(Manifest, Vec<Name>)>,
}

impl Contents {
    /// Begins an archive. `temporary` is where blobs are kept whose size is not known, if that cannot be beside the archive.
    pub(crate) fn new(
        form: Form,
        writer: TarWriter,
        temporary: PathBuf,
    ) -> Result<Self, ArchiveError> {
        let writer = Arc::new(writer);
        writer.put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self {
            form,
            writer,
            temporary,
            state: Mutex::default(),
        })
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn writer(&self) -> &TarWriter {
        &self.writer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the size of a blob that the archive has or is getting.
    pub(crate) fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.state().blobs.get(digest).copied()
    }

    /// Enters a blob; false if it is there.
    fn claim(&self, digest: &Digest, size: u64) -> bool {
        self.state().blobs.insert(digest.clone(), size).is_none()
    }

    /// Sets regions aside, in this order: blobs that come at once, one faster than the other, make the same archive every time.
    pub(crate) fn reserve(&self, blobs: &[Descriptor]) -> Result<(), ArchiveError> {
        let mut state = self.state();
        for blob in blobs {
            if state.blobs.contains_key(&blob.digest) || state.reserved.contains_key(&blob.digest) {
                continue;
            }
            let region = self.writer.reserve(&blob_path(&blob.digest), blob.size)?;
            if let Some(region) = region {
                state
                    .reserved
                    .insert(blob.digest.clone(), (region, blob.size));
            }
        }
        Ok(())
    }

    /// Begins a blob.
    pub(crate) fn blob(
        self: &Arc<Self>,
        expected: Option<&Descriptor>,
    ) -> Result<BlobOut, ArchiveError> {
        let Some(expected) = expected else {
            return self.unsized_blob();
        };
        let (digest, size) = (expected.digest.clone(), expected.size);
        let member = self.member(&digest, size)?;
        Ok(BlobOut::Sized {
            member,
            digest,
            size,
        })
    }

    /// Begins a blob where it belongs; `None` if it is there.
    fn member(&self, digest: &Digest, size: u64) -> Result<Option<MemberWriter>, ArchiveError> {
        if !self.claim(digest, size) {
            return Ok(None);
        }
        let reserved = self.state().reserved.remove(digest);
        let path = blob_path(digest);
        Ok(Some(match reserved {
            Some((region, expected)) if expected == size => {
                self.writer.member_at(region, &path, size)?
            }
            // Somebody is wrong about the size, and the region stays a hole.
            Some((_, expected)) => {
                return Err(ArchiveError::Length {
                    expected,
                    found: size,
                });
            }
            None => self.writer.member(&path, size)?,
        }))
    }

    /// Begins a blob of unknown size: tar wants that first, so the blob is kept in a nameless file until it is known.
    fn unsized_blob(self: &Arc<Self>) -> Result<BlobOut, ArchiveError> {
        let file = match self.writer.directory() {
            Some(directory) => TempFile::new(Arc::clone(directory)),
            None => nameless(&self.temporary),
        };
        Ok(BlobOut::Unsized(Box::new(Unsized {
            file: file.map_err(|source| self.unkept(source))?,
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            archive: Arc::clone(self),
        })))
    }

    fn unkept(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Output {
            operation: "write a blob of",
            path: self.writer.path().to_owned(),
            source,
        }
    }

    /// Writes a manifest.
    pub(crate) fn put_manifest(
        &self,
        manifest: &Manifest,
        digest: &Digest,
    ) -> Result<(), ArchiveError> {
        let raw = manifest.raw();
        self.state()
            .manifests
            .insert(digest.clone(), manifest.clone());
        if let Some(mut member) = self.member(digest, raw.len() as u64)? {
            member
                .write_all(raw)
                .map_err(|source| self.unkept(source))?;
            member.finish()?;
        }
        Ok(())
    }

    /// Enters a manifest in index.json, under a tag or none; a tag's old entry goes.
    pub(crate) fn enter(&self, manifest: &Manifest, tag: Option<&str>) -> Result<(), ArchiveError> {
        self.put_manifest(manifest, manifest.digest())?;
        let mut state = self.state();
        state
            .entries
            .retain(|(_, known)| known.is_none() || known.as_deref() != tag);
        let entry = (manifest.clone(), tag.map(str::to_owned));
        if tag.is_some() || !state.entries.contains(&entry) {
            state.entries.push(entry);
        }
        Ok(())
    }

    /// Enters an image in manifest.json.
    pub(crate) fn enter_image(
        &self,
        manifest: &Manifest,
        names: &[Name],
    ) -> Result<(), ArchiveError> {
        self.put_manifest(manifest, manifest.digest())?;
        let mut state = self.state();
        image_of(&state, manifest, &mut BTreeSet::new())?;
        for (_, known) in &mut state.images {
            known.retain(|name| !names.contains(name));
        }
        let same = |(known, _): &&mut (Manifest, Vec<Name>)| known.digest() == manifest.digest();
        match state.images.iter_mut().find(same) {
            Some((_, known)) => known.extend_from_slice(names),
            None => state.images.push((manifest.clone(), names.to_vec())),
        }
        Ok(())
    }

    /// Returns the manifest that a tag has.
    pub(crate) fn tagged(&self, tag: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let mut entries = state.entries.iter();
        let found = entries.find(|(_, known)| known.as_deref() == Some(tag));
        found.map(|(manifest, _)| manifest.raw().to_vec())
    }

    /// Lists what refers to a manifest.
    pub(crate) fn referrers(&self, subject: &Digest) -> Vec<Descriptor> {
        let refers = |manifest: &&Manifest| {
            let of = manifest.subject().map(|subject| &subject.digest);
            of == Some(subject)
        };
        let state = self.state();
        let entries = state.entries.iter().map(|(manifest, _)| manifest);
        entries.filter(refers).map(Descriptor::of).collect()
    }

    /// Writes the documents, and ends the archive.
    pub(crate) fn finish(&self) -> Result<(), ArchiveError> {
        let state = self.state();
        if !state.reserved.is_empty() {
            // An image that was begun is not complete.
            return Err(ArchiveError::Closed {
                path: self.writer.path().to_owned(),
            });
        }
        let mut entries = Vec::new();
        for (manifest, tag) in &state.entries {
            entries.push(entry_of(manifest, tag.as_deref()));
        }
        let mut items = Vec::new();
        for (manifest, names) in &state.images {
            entries.extend(docker_entries(manifest, names));
            items.push(item_of(
                image_of(&state, manifest, &mut BTreeSet::new())?,
                names,
            ));
        }
        drop(state);
        let index =
            json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries });
        self.put_json("index.json", &index)?;
        if self.form == Form::Docker {
            self.put_json("manifest.json", &Value::Array(items))?;
        }
        self.writer.end()
    }

    fn put_json(&self, name: &str, value: &Value) -> Result<(), ArchiveError> {
        self.writer.put(name, value.to_string().as_bytes())
    }
}

fn entry_of(manifest: &Manifest, tag: Option<&str>) -> Value {
    if manifest.subject().is_some() && tag.is_none() {
        return manifest.to_entry();
    }
    Entry::of(manifest).to_json(tag)
}

/// What Docker writes: the whole name, and the tag alone.
fn docker_entries(manifest: &Manifest, names: &[Name]) -> Vec<Value> {
    let entry = Entry::of(manifest);
    if names.is_empty() {
        return vec![entry.to_json(None)];
    }
    let named = names.iter().map(|name| {
        let mut entry = entry.to_json(name.tag());
        entry["annotations"][IMAGE_NAME] = json!(name.to_string());
        entry
    });
    named.collect()
}

fn item_of(image: &Manifest, names: &[Name]) -> Value {
    let Content::Image { config, layers } = image.content() else {
        return Value::Null;
    };
    let tags: Vec<String> = names.iter().map(Name::to_string).collect();
    let layers: Vec<String> = layers
        .iter()
        .map(|layer| blob_path(&layer.digest))
        .collect();
    json!({
        "Config": blob_path(&config.digest),
        "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
        "Layers": layers,
    })
}

/// Finds the image that manifest.json will describe: itself, or of an index the one for this machine, else the first there is.
/// What was met is not looked into again: indexes may name each other any number of times.
fn image_of<'a>(
    state: &'a State,
    manifest: &'a Manifest,
    seen: &mut BTreeSet<Digest>,
) -> Result<&'a Manifest, ArchiveError> {
    let not = |what| ArchiveError::NotForDocker {
        digest: manifest.digest().clone(),
        what,
    };
    match manifest.content() {
        Content::Image { config, layers } => {
            let foreign = layers.iter().any(Descriptor::is_foreign);
            if media::kind(&config.media_type) != Kind::Config {
                return Err(not("it is no image"));
            }
            if foreign {
                return Err(not("it has layers that are elsewhere"));
            }
            Ok(manifest)
        }
        Content::Index { entries } => {
            let host = Platform::host();
            let rank = |entry: &&Descriptor| {
                let platform = entry.platform.as_ref();
                platform.and_then(|platform| host.rank(platform)).is_none()
            };
            let mut entries: Vec<&Descriptor> = entries.iter().collect();
            entries.sort_by_key(rank);
            for entry in entries {
                if seen.insert(entry.digest.clone())
                    && let Some(child) = state.manifests.get(&entry.digest)
                    && let Ok(image) = image_of(state, child, seen)
                {
                    return Ok(image);
                }
            }
            Err(not("it has no image"))
        }
    }
}

/// A blob on its way into an archive.
#[derive(Debug)]
#[must_use = "the archive cannot be ended without this blob"]
pub(crate) enum BlobOut {
    /// Of known size: it goes where it will be. Without a member it is there already. Streams of blobs end only if they were right, so
    /// nothing is hashed once more.
    Sized {
        member: Option<MemberWriter>,
        digest: Digest,
        size: u64,
    },
    /// Of a size that its end tells.
    Unsized(Box<Unsized>),
}

/// A blob that is kept until its size is known.
#[derive(Debug)]
pub(crate) struct Unsized {
    file: TempFile,
    hasher: Hasher,
    size: u64,
    archive: Arc<Contents>,
}

impl Write for BlobOut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Sized { member, .. } => match member {
                Some(member) => member.write(bytes),
                None => Ok(bytes.len()),
            },
            Self::Unsized(kept) => {
                let count = kept.file.write(bytes)?;
                kept.hasher.update(&bytes[..count]);
                kept.size += count as u64;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobOut {
    /// Ends the blob, and returns its digest and size in bytes.
    pub(crate) fn finish(self) -> Result<(Digest, u64), Error> {
        match self {
            Self::Sized {
                member,
                digest,
                size,
            } => {
                member.map_or(Ok(()), MemberWriter::finish)?;
                Ok((digest, size))
            }
            Self::Unsized(kept) => {
                let Unsized {
                    file,
                    hasher,
                    size,
                    archive,
                } = *kept;
                let digest = hasher.finish();
                if let Some(mut member) = archive.member(&digest, size)? {
                    let mut kept = file.file();
                    kept.rewind()
                        .and_then(|()| io::copy(&mut kept, &mut member))
                        .map_err(|source| archive.unkept(source))?;
                    member.finish()?;
                }
                Ok((digest, size))
            }
        }
    }
}
