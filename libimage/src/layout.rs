//! OCI image layouts on disk; the only importer of `ocidir`.
//!
//! `ocidir` makes and opens layouts. What it leaves open is filled in here: blobs reach the disk before the index names them, edits of
//! index.json are made under a lock on the layout's directory and keep what we do not understand, and manifests keep their bytes.
//! Blobs have a writer of their own: `ocidir`'s borrows the layout and hashes a second time, with OpenSSL, which would be a quarter of
//! every binary, and most of what each start relocates.

mod blob;
mod collect;
mod error;
mod index;
mod referrers;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};
use ocidir::OciDir;
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

pub use blob::BlobWriter;
pub use collect::Collected;
pub use error::LayoutError;
pub(crate) use index::IndexEdit;
pub use index::{Entry, id_annotation};
pub use referrers::{Referrer, is_digest_tag};

use crate::{
    digest::{Algorithm, Digest, DigestError},
    durable, limits,
    manifest::{Content, Descriptor, Manifest},
};

/// An OCI image layout directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Layout(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    oci: OciDir,
    blobs: Arc<Dir>,
}

/// How deep an index may hold indexes whose content is followed: the specification allows any, nobody nests more than once.
const INDEX_DEPTH: usize = 4;

/// What every layout has.
const PARTS: [&str; 3] = ["oci-layout", "index.json", "blobs/sha256"];

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let open = |source| LayoutError::Open {
            path: path.to_owned(),
            source,
        };
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(open)?;
        let not = |what| LayoutError::NotALayout {
            path: path.to_owned(),
            what,
        };
        let marker = match dir.read_to_string("oci-layout") {
            Ok(marker) => marker,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(not("it has no file oci-layout"));
            }
            Err(error) => return Err(open(error)),
        };
        let marker: serde_json::Value =
            serde_json::from_str(&marker).map_err(|_| not("its file oci-layout is not JSON"))?;
        let version = marker
            .get("imageLayoutVersion")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        if !version.starts_with("1.") {
            return Err(not("its imageLayoutVersion is not 1"));
        }
        let oci = OciDir::open(dir).map_err(|error| LayoutError::Oci {
            path: path.to_owned(),
            source: Box::new(error),
        })?;
        let blobs = Arc::new(oci.blobs_dir().try_clone().map_err(open)?);
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            oci,
            blobs,
        })))
    }

    /// Opens a layout, or makes an empty one; the directories above it must exist.
    ///
    /// # Errors
    /// If the directory cannot be made, or holds something else.
    pub fn create(path: &Path) -> Result<Self, LayoutError> {
        let open = |source| LayoutError::Open {
            path: path.to_owned(),
            source,
        };
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(open(error));
            }
            _ => {}
        }
        Self::begin(path, true)
    }

    /// Makes a directory a layout, whatever else it holds.
    pub(crate) fn ensure(path: &Path) -> Result<Self, LayoutError> {
        Self::begin(path, false)
    }

    /// Makes what is missing of a layout, one process at a time: what another one has half made is neither empty nor a layout.
    fn begin(path: &Path, only_if_empty: bool) -> Result<Self, LayoutError> {
        let open = |source| LayoutError::Open {
            path: path.to_owned(),
            source,
        };
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(open)?;
        let is_complete = || PARTS.iter().all(|name| dir.exists(name));
        if is_complete() {
            return Self::open(path);
        }
        let lock = index::lock_directory(&dir).map_err(open)?;
        let begun = dir.exists("oci-layout") || dir.exists("blobs");
        if only_if_empty && !begun && dir.entries().map_err(open)?.next().is_some() {
            let what = "it is neither empty nor a layout";
            return Err(LayoutError::NotALayout {
                path: path.to_owned(),
                what,
            });
        }
        if !is_complete() {
            let dir = dir.try_clone().map_err(open)?;
            OciDir::ensure(dir).map_err(|error| LayoutError::Oci {
                path: path.to_owned(),
                source: Box::new(error),
            })?;
        }
        // The edit takes the lock itself.
        drop(lock);
        let layout = Self::open(path)?;
        layout.edit_index(IndexEdit::ensure)?;
        Ok(layout)
    }

    /// Returns where the layout is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn dir(&self) -> &Dir {
        self.0.oci.dir()
    }

    pub(crate) fn blobs_dir(&self) -> &Arc<Dir> {
        &self.0.blobs
    }

    /// Finds a manifest by tag, by digest, or (`None`) the only one.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn resolve(&self, reference: Option<&str>) -> Result<Entry, LayoutError> {
        let entries = self.entries()?;
        let path = || self.0.path.clone();
        let Some(reference) = reference else {
            let entries = self.images(entries);
            let mut tags: Vec<String> = entries
                .iter()
                .map(|entry| {
                    entry
                        .tag
                        .clone()
                        .unwrap_or_else(|| entry.digest.to_string())
                })
                .collect();
            let first = entries.first().cloned();
            return match first {
                // The same manifest under several names is still the only one.
                Some(first) if entries.iter().all(|entry| entry.digest == first.digest) => {
                    Ok(first)
                }
                Some(_) => {
                    tags.sort();
                    Err(LayoutError::Ambiguous {
                        path: path(),
                        names: tags,
                    })
                }
                None => Err(LayoutError::Empty { path: path() }),
            };
        };
        let missing = || LayoutError::NoManifest {
            path: path(),
            reference: reference.to_owned(),
        };
        let Ok(digest) = reference.trim_start_matches('@').parse::<Digest>() else {
            return entries
                .into_iter()
                .find(|entry| entry.tag.as_deref() == Some(reference))
                .ok_or_else(missing);
        };
        if let Some(entry) = entries.into_iter().find(|entry| entry.digest == digest) {
            return Ok(entry);
        }
        // A manifest inside of an index.
        let size = self.blob_size(&digest)?.ok_or_else(missing)?;
        let manifest = Manifest::parse(self.read_blob(&digest, limits::MANIFEST_BYTES)?, None)?;
        Ok(Entry {
            digest,
            size,
            media_type: manifest.media_type().to_owned(),
            tag: None,
            platform: None,
            annotations: Vec::new(),
        })
    }

    /// Keeps the entries that are images of their own, if there is a choice: signatures and the like do not make it ambiguous.
    fn images(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        if entries.len() > 1 && entries.iter().any(|entry| !self.is_about_another(entry)) {
            entries.retain(|entry| !self.is_about_another(entry));
        }
        entries
    }

    /// Returns the size of a blob in bytes; `None` if missing.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, LayoutError> {
        match self.dir().symlink_metadata(blob_path(digest)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(LayoutError::NotAFile {
                path: self.0.path.clone(),
                digest: digest.clone(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.blob_error("find", digest, source)),
        }
    }

    /// Opens a blob; its content is not verified (see [`crate::digest::VerifyingReader`]).
    ///
    /// # Errors
    /// If it is missing.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, LayoutError> {
        // Without O_NONBLOCK a FIFO in a foreign layout would hang us; symlinks could lead anywhere.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(self.dir(), blob_path(digest), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => {
                return Err(LayoutError::NoBlob {
                    path: self.0.path.clone(),
                    digest: digest.clone(),
                });
            }
            Err(Errno::LOOP) => {
                return Err(LayoutError::NotAFile {
                    path: self.0.path.clone(),
                    digest: digest.clone(),
                });
            }
            Err(errno) => return Err(self.blob_error("open", digest, errno.into())),
        };
        let stat = rustix::fs::fstat(&file)
            .map_err(|errno| self.blob_error("find", digest, errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(LayoutError::NotAFile {
                path: self.0.path.clone(),
                digest: digest.clone(),
            });
        }
        Ok(file)
    }

    /// Reads a small blob whole and verifies it.
    ///
    /// # Errors
    /// If it is missing, larger than `limit` bytes, or its content has another digest.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, LayoutError> {
        let mut content = Vec::new();
        let file = self.open_blob(digest)?;
        file.take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|source| self.blob_error("read", digest, source))?;
        if content.len() as u64 > limit {
            return Err(LayoutError::TooLarge {
                digest: digest.clone(),
                limit,
            });
        }
        let mut hasher = crate::digest::Hasher::new(digest.algorithm());
        hasher.update(&content);
        let found = hasher.finish();
        if found != *digest {
            return Err(DigestError::Mismatch {
                expected: digest.clone(),
                found,
            }
            .into());
        }
        Ok(content)
    }

    /// Writes a manifest's raw bytes as a blob and enters it in index.json: under `tag` if given, whose old entry goes.
    ///
    /// # Errors
    /// If it is malformed, or names content that is not there (an index may), or cannot be written.
    ///
    /// # Durability
    /// What it names is on the disk before the index is replaced.
    pub fn put_manifest(
        &self,
        raw: &[u8],
        media_type: &str,
        tag: Option<&str>,
    ) -> Result<Entry, LayoutError> {
        let manifest = Manifest::parse(raw.to_vec(), Some(media_type))?;
        self.settle(&manifest)?;
        let entry = Entry::of(&manifest);
        self.edit_index(|index| {
            if let Some(tag) = tag {
                index.remove_tag(tag);
            }
            index.add(&entry, tag)
        })?;
        Ok(Entry {
            tag: tag.map(str::to_owned),
            ..entry
        })
    }

    /// Removes a tag and its entry; tells whether it was there. Blobs stay.
    ///
    /// # Errors
    /// If the index cannot be replaced.
    pub fn untag(&self, tag: &str) -> Result<bool, LayoutError> {
        self.edit_index(|index| Ok(index.remove_tag(tag)))
    }

    /// Stores a manifest's bytes, and makes them and all they name durable.
    pub(crate) fn settle(&self, manifest: &Manifest) -> Result<(), LayoutError> {
        let needs = self.needs(manifest, INDEX_DEPTH)?;
        self.write_small(manifest)?;
        for digest in needs.iter().chain([manifest.digest()]) {
            self.open_blob(digest)?
                .sync_all()
                .map_err(|source| self.blob_error("synchronise", digest, source))?;
        }
        let failed =
            |source| self.blob_error("synchronise the directory of", manifest.digest(), source);
        let other = needs
            .iter()
            .find(|digest| digest.algorithm() != Algorithm::Sha256);
        if let Some(other) = other {
            let path = format!("blobs/{}", other.algorithm().as_str());
            let directory = self.dir().open_dir(path).map_err(failed)?;
            durable::sync_dir(&directory).map_err(failed)?;
            let blobs = self.dir().open_dir("blobs").map_err(failed)?;
            durable::sync_dir(&blobs).map_err(failed)?;
        }
        durable::sync_dir(&self.0.blobs).map_err(failed)
    }

    /// Writes a manifest as a blob, by its bytes.
    fn write_small(&self, manifest: &Manifest) -> Result<(), LayoutError> {
        let digest = manifest.digest();
        let mut blob = self.blob_writer_as(digest.algorithm())?;
        blob.write_all(manifest.raw())
            .map_err(|source| self.blob_error("write", digest, source))?;
        blob.finish(Some((digest, manifest.raw().len() as u64)))?;
        Ok(())
    }

    /// Returns every blob a manifest needs, checked to be there with the right size. Entries of an index may be missing.
    pub(crate) fn needs(
        &self,
        manifest: &Manifest,
        depth: usize,
    ) -> Result<Vec<Digest>, LayoutError> {
        let mut digests = BTreeSet::new();
        self.collect_needs(manifest, depth, &mut digests)?;
        Ok(digests.into_iter().collect())
    }

    /// What was met is not looked into again: indexes may name each other any number of times.
    fn collect_needs(
        &self,
        manifest: &Manifest,
        depth: usize,
        digests: &mut BTreeSet<Digest>,
    ) -> Result<(), LayoutError> {
        match manifest.content() {
            Content::Image { config, layers } => {
                for part in layers.iter().chain([config]) {
                    match self.blob_size(&part.digest)? {
                        Some(size) if size == part.size => {
                            digests.insert(part.digest.clone());
                        }
                        Some(size) => return Err(wrong_size(part, size)),
                        None if part.is_foreign() => {}
                        None => {
                            return Err(LayoutError::NoBlob {
                                path: self.0.path.clone(),
                                digest: part.digest.clone(),
                            });
                        }
                    }
                }
            }
            Content::Index { entries } => {
                for entry in entries {
                    if self.blob_size(&entry.digest)?.is_none()
                        || depth == 0
                        || !digests.insert(entry.digest.clone())
                    {
                        continue;
                    }
                    if matches!(
                        crate::media::kind(&entry.media_type),
                        crate::media::Kind::Manifest | crate::media::Kind::Index
                    ) {
                        let raw = self.read_blob(&entry.digest, limits::MANIFEST_BYTES)?;
                        let inner = Manifest::parse(raw, Some(&entry.media_type))?;
                        self.collect_needs(&inner, depth - 1, digests)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn blob_error(
        &self,
        operation: &'static str,
        digest: &Digest,
        source: std::io::Error,
    ) -> LayoutError {
        LayoutError::Blob {
            operation,
            path: self.0.path.clone(),
            digest: digest.clone(),
            source,
        }
    }
}

fn wrong_size(part: &Descriptor, found: u64) -> LayoutError {
    DigestError::Size {
        digest: part.digest.clone(),
        expected: part.size,
        found,
        more: false,
    }
    .into()
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}
