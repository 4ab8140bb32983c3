//! `oci:`, an image layout directory.

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use super::local::{self, BlobWrite, LocalSink, LocalSource};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    layout::{BlobWriter, Layout, Referrer},
    limits,
    manifest::{Descriptor, Manifest},
};

/// An image in a layout.
#[derive(Debug)]
pub(super) struct LayoutSource {
    pub(super) layout: Layout,
    pub(super) tag: Option<String>,
}

impl LocalSource for LayoutSource {
    fn manifest(&self) -> Result<(Option<String>, Vec<u8>), Error> {
        let entry = self.layout.resolve(self.tag.as_deref())?;
        let raw = self
            .layout
            .read_blob(&entry.digest, limits::MANIFEST_BYTES)?;
        Ok((Some(entry.media_type), raw))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(self.layout.open_blob(digest)?))
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.layout.blob_size(digest)?)
    }

    fn held_referrers(&self) -> Result<Vec<Referrer>, Error> {
        Ok(self.layout.referrers()?)
    }

    fn tags(&self) -> Result<Vec<String>, Error> {
        let entries = self.layout.entries()?;
        Ok(entries.into_iter().filter_map(|entry| entry.tag).collect())
    }

    fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        tagged(&self.layout, tag)
    }

    fn layout(&self) -> Option<&Layout> {
        Some(&self.layout)
    }
}

fn tagged(layout: &Layout, tag: &str) -> Result<Option<Vec<u8>>, Error> {
    let found = layout
        .resolve(Some(tag))
        .and_then(|entry| layout.read_blob(&entry.digest, limits::MANIFEST_BYTES));
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// A place in a layout.
#[derive(Debug, Clone)]
pub(super) struct LayoutSink {
    layout: Layout,
    tag: Option<String>,
    /// Further tags for the same image.
    more: Vec<String>,
}

impl LayoutSink {
    pub(super) fn new(layout: Layout, tag: Option<String>) -> Self {
        Self {
            layout,
            tag,
            more: Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = Option<&str>> {
        let more = self.more.iter().map(|tag| Some(tag.as_str()));
        std::iter::once(self.tag.as_deref()).chain(more)
    }
}

impl LocalSink for LayoutSink {
    fn place(&self) -> &Path {
        self.layout.path()
    }

    fn head(&self) -> Result<Option<Digest>, Error> {
        let entries = self.layout.entries()?;
        let find = |tag: Option<&str>| {
            let entry = entries
                .iter()
                .find(|entry| tag.is_some() && entry.tag.as_deref() == tag);
            entry.map(|entry| &entry.digest)
        };
        Ok(local::common(self.tags().map(find)).cloned())
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.layout.blob_size(digest)?)
    }

    fn blob(&self, expected: Option<&Descriptor>) -> Result<Box<dyn BlobWrite>, Error> {
        Ok(Box::new(LayoutBlob {
            writer: match expected {
                Some(blob) => self.layout.blob_writer_verified(&blob.digest)?,
                None => self.layout.blob_writer()?,
            },
            expected: expected.cloned(),
        }))
    }

    fn put_child(&self, manifest: &Manifest, digest: &Digest) -> Result<(), Error> {
        let mut writer = self.layout.blob_writer_as(digest.algorithm())?;
        local::write(&mut writer, manifest.raw(), self.layout.path())?;
        writer.finish(Some((digest, manifest.raw().len() as u64)))?;
        Ok(())
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        for tag in self.tags() {
            self.layout
                .put_manifest(manifest.raw(), manifest.media_type(), tag)?;
        }
        Ok(())
    }

    fn keeps_referrers(&self) -> bool {
        true
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let found = self.layout.referrers()?.into_iter();
        Ok(found
            .filter(|referrer| referrer.subject == *subject)
            .map(|referrer| referrer.descriptor)
            .collect())
    }

    fn put_entry(&self, manifest: &Manifest, tag: Option<&str>) -> Result<(), Error> {
        match tag {
            None => self.layout.put_referrer(manifest)?,
            Some(_) => {
                self.layout
                    .put_manifest(manifest.raw(), manifest.media_type(), tag)?;
            }
        }
        Ok(())
    }

    fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        tagged(&self.layout, tag)
    }

    fn with_names(&self, names: &[String]) -> Result<Arc<dyn LocalSink>, Error> {
        let mut sink = self.clone();
        sink.more.extend_from_slice(names);
        Ok(Arc::new(sink))
    }

    fn layout(&self) -> Option<&Layout> {
        Some(&self.layout)
    }
}

struct LayoutBlob {
    writer: BlobWriter,
    expected: Option<Descriptor>,
}

impl Write for LayoutBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl BlobWrite for LayoutBlob {
    fn finish(self: Box<Self>) -> Result<(Digest, u64), Error> {
        let expected = self.expected.as_ref().map(|blob| (&blob.digest, blob.size));
        Ok(self.writer.finish(expected)?)
    }
}
