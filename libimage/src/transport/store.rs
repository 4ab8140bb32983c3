//! `store:`, the local store.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use super::local::{self, BlobWrite, LocalSink, LocalSource};
use crate::{
    digest::Digest,
    error::Error,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    name::Name,
    store::{Hold, Store, Upload},
};

/// How deep an index may hold indexes.
const DEPTH: usize = 4;

/// An image of the store.
#[derive(Debug)]
pub(super) struct StoreSource {
    pub(super) store: Arc<Store>,
    pub(super) name: String,
}

impl StoreSource {
    /// What was met is not looked into again: indexes may name each other any number of times.
    fn is_complete(
        &self,
        manifest: &Manifest,
        depth: usize,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<bool, Error> {
        let has = |blob: &Descriptor| {
            let size = self.store.blob_size(&blob.digest)?;
            Ok::<bool, Error>(size == Some(blob.size))
        };
        match manifest.content() {
            Content::Image { config, layers } => {
                for blob in layers
                    .iter()
                    .filter(|layer| !layer.is_foreign())
                    .chain([config])
                {
                    if !has(blob)? {
                        return Ok(false);
                    }
                }
            }
            Content::Index { entries } => {
                for entry in entries {
                    if !seen.insert(entry.digest.clone()) {
                        continue;
                    }
                    if !has(entry)? || depth == 0 {
                        return Ok(false);
                    }
                    if matches!(media::kind(&entry.media_type), Kind::Manifest | Kind::Index) {
                        let raw = self
                            .store
                            .read_small(&entry.digest, limits::MANIFEST_BYTES)?;
                        let child = Manifest::parse(raw, Some(&entry.media_type))?;
                        if !self.is_complete(&child, depth - 1, seen)? {
                            return Ok(false);
                        }
                    }
                }
            }
        }
        Ok(true)
    }
}

impl LocalSource for StoreSource {
    /// An index is the image if all of it is there; else what of it is for this machine.
    fn manifest(&self) -> Result<(Option<String>, Vec<u8>), Error> {
        let entry = self.store.find_entry(&self.name)?;
        let raw = self
            .store
            .read_small(&entry.digest, limits::MANIFEST_BYTES)?;
        let manifest = Manifest::parse(raw, Some(&entry.media_type))?;
        let is_index = matches!(manifest.content(), Content::Index { .. });
        if is_index && self.is_complete(&manifest, DEPTH, &mut BTreeSet::new())? {
            return Ok((Some(entry.media_type), manifest.into_raw()));
        }
        let image = self.store.find(&self.name)?;
        Ok((None, image.raw_manifest().to_vec()))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(self.store.read_blob(digest)?))
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.store.blob_size(digest)?)
    }
}

/// A name of the store.
#[derive(Debug, Clone)]
pub(super) struct StoreSink {
    store: Arc<Store>,
    names: Vec<Name>,
    /// The collector must not run between the first blob and the name.
    _hold: Arc<Hold>,
}

impl StoreSink {
    pub(super) fn new(store: Arc<Store>, name: Name) -> Result<Self, Error> {
        Ok(Self {
            _hold: Arc::new(store.hold()?),
            store,
            names: vec![name],
        })
    }
}

impl LocalSink for StoreSink {
    fn place(&self) -> &Path {
        self.store.path()
    }

    fn head(&self) -> Result<Option<Digest>, Error> {
        let images = self.store.images()?;
        let find = |name: &Name| {
            let name = name.to_string();
            let image = images
                .iter()
                .find(|image| image.name.as_deref() == Some(name.as_str()));
            image.map(|image| &image.manifest_digest)
        };
        Ok(local::common(self.names.iter().map(find)).cloned())
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.store.blob_size(digest)?)
    }

    fn blob(&self, expected: Option<&Descriptor>) -> Result<Box<dyn BlobWrite>, Error> {
        Ok(Box::new(StoreBlob {
            upload: match expected {
                Some(blob) => self.store.upload_verified(&blob.digest)?,
                None => self.store.upload()?,
            },
            expected: expected.cloned(),
        }))
    }

    fn put_child(&self, manifest: &Manifest, digest: &Digest) -> Result<(), Error> {
        let mut upload = self.store.upload()?;
        local::write(&mut upload, manifest.raw(), self.store.path())?;
        upload.finish(Some((digest, manifest.raw().len() as u64)))?;
        Ok(())
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        self.store.publish(manifest.raw(), &self.names)?;
        Ok(())
    }

    fn with_names(&self, names: &[String]) -> Result<Arc<dyn LocalSink>, Error> {
        let mut sink = self.clone();
        for name in names {
            sink.names.push(name.parse()?);
        }
        Ok(Arc::new(sink))
    }
}

struct StoreBlob {
    upload: Upload,
    expected: Option<Descriptor>,
}

impl Write for StoreBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.upload.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl BlobWrite for StoreBlob {
    fn finish(self: Box<Self>) -> Result<(Digest, u64), Error> {
        let expected = self.expected.as_ref().map(|blob| (&blob.digest, blob.size));
        Ok(self.upload.finish(expected)?)
    }
}
