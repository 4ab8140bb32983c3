//! `oci-archive:` and `docker-archive:`, images in tar archives.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    TransportError,
    local::{BlobWrite, LocalSink, LocalSource},
};
use crate::{
    archive::{
        BlobOut, Contents, DockerArchive, Form, Found, Input, OciArchive, Tar, TarWriter, Target,
    },
    context::Context,
    digest::Digest,
    error::Error,
    layout::Referrer,
    manifest::{Descriptor, Manifest},
    name::{ImageRef, Name},
};

/// An image in an archive.
#[derive(Debug)]
pub(super) struct ArchiveSource {
    archive: Archive,
    found: Found,
}

#[derive(Debug)]
enum Archive {
    Oci(OciArchive),
    Docker(DockerArchive),
}

impl ArchiveSource {
    /// Finds an image of a layout.
    pub(super) fn oci(input: Input, tag: Option<&str>) -> Result<Self, Error> {
        let archive = OciArchive::new(Tar::open(input)?)?;
        Ok(Self {
            found: archive.find(tag)?,
            archive: Archive::Oci(archive),
        })
    }

    /// Finds an image among those that docker saved.
    pub(super) fn docker(
        input: Input,
        name: Option<&Name>,
        index: Option<usize>,
    ) -> Result<Self, Error> {
        let archive = DockerArchive::new(Tar::open(input)?)?;
        Ok(Self {
            found: archive.find(name, index)?,
            archive: Archive::Docker(archive),
        })
    }

    fn tar(&self) -> &Tar {
        match &self.archive {
            Archive::Oci(archive) => archive.tar(),
            Archive::Docker(archive) => archive.tar(),
        }
    }
}

impl LocalSource for ArchiveSource {
    fn manifest(&self) -> Result<(Option<String>, Vec<u8>), Error> {
        Ok((Some(self.found.media_type.clone()), self.found.raw.clone()))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        self.found.open(self.tar(), digest)
    }

    fn names(&self) -> &[Name] {
        &self.found.names
    }

    fn place(&self, digest: &Digest) -> Option<u64> {
        self.found.place(self.tar(), digest)
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.found.blob_size(self.tar(), digest))
    }

    fn held_referrers(&self) -> Result<Vec<Referrer>, Error> {
        Ok(match &self.archive {
            Archive::Oci(archive) => archive.referrers(),
            Archive::Docker(_) => Vec::new(),
        })
    }

    fn tags(&self) -> Result<Vec<String>, Error> {
        Ok(match &self.archive {
            Archive::Oci(archive) => archive.tags(),
            Archive::Docker(_) => Vec::new(),
        })
    }

    fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.archive {
            Archive::Oci(archive) => archive.tagged(tag),
            Archive::Docker(_) => Ok(None),
        }
    }
}

/// Opens a file, or stdin: that can be read once, and is kept for whoever reads it again in the same context.
pub(super) fn input(cx: &Context, path: &Path) -> Result<Input, Error> {
    if path.as_os_str() != "-" {
        return Ok(Input::open(path, cx.temporary())?);
    }
    let stdin = cx.kept("stdin", || Mutex::new(None::<Input>));
    let mut stdin = stdin.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(input) = &*stdin {
        return Ok(input.clone());
    }
    let input = Input::open(path, cx.temporary())?;
    *stdin = Some(input.clone());
    Ok(input)
}

/// Lists the names of the images in an archive.
pub(super) fn names(cx: &Context, image: &ImageRef) -> Result<Vec<String>, Error> {
    match image {
        ImageRef::OciArchive { path, .. } => {
            Ok(OciArchive::new(Tar::open(input(cx, path)?)?)?.tags())
        }
        ImageRef::DockerArchive { path, .. } => {
            let archive = DockerArchive::new(Tar::open(input(cx, path)?)?)?;
            Ok(archive.names().iter().map(Name::to_string).collect())
        }
        _ => Err(TransportError::NoTags {
            image: image.to_string(),
        }
        .into()),
    }
}

/// A place in an archive that is being written.
#[derive(Debug, Clone)]
pub(super) struct ArchiveSink {
    contents: Arc<Contents>,
    path: PathBuf,
    /// Of a layout; without one, the image has no name.
    tags: Vec<String>,
    /// Of a docker archive.
    names: Vec<Name>,
}

impl ArchiveSink {
    /// Begins an archive. A layout's is replaced if it is there, as skopeo does it; one of docker's is not: whoever names one again
    /// mostly means to add an image to it, which cannot be done.
    pub(super) fn create(cx: &Context, image: &ImageRef) -> Result<Self, Error> {
        let (path, form) = match image {
            ImageRef::OciArchive { path, .. } => (path, Form::Oci),
            ImageRef::DockerArchive { path, .. } => (path, Form::Docker),
            _ => {
                let image = image.to_string();
                return Err(TransportError::NoTransport { image }.into());
            }
        };
        let target = Target::Path {
            path: path.clone(),
            replace: form == Form::Oci,
        };
        let contents = Contents::new(form, TarWriter::new(target)?, cx.temporary().to_owned())?;
        Self::of(&Arc::new(contents), path, image)
    }

    /// Wraps an archive that goes somewhere else, for one image.
    pub(super) fn wrap(contents: Contents, name: Name) -> Self {
        Self {
            path: contents.writer().path().to_owned(),
            contents: Arc::new(contents),
            tags: Vec::new(),
            names: vec![name],
        }
    }

    fn of(contents: &Arc<Contents>, path: &Path, image: &ImageRef) -> Result<Self, Error> {
        let (mut tags, mut names) = (Vec::new(), Vec::new());
        match image {
            ImageRef::OciArchive { tag, .. } => tags.extend(tag.clone()),
            ImageRef::DockerArchive { index: Some(_), .. } => {
                let image = image.to_string();
                return Err(TransportError::OnlyForReading { image }.into());
            }
            ImageRef::DockerArchive { name, .. } => names.extend(name.clone()),
            _ => {}
        }
        Ok(Self {
            contents: Arc::clone(contents),
            path: path.to_owned(),
            tags,
            names,
        })
    }
}

impl LocalSink for ArchiveSink {
    fn place(&self) -> &Path {
        &self.path
    }

    /// An archive is always written anew.
    fn head(&self) -> Result<Option<Digest>, Error> {
        Ok(None)
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.contents.blob_size(digest))
    }

    fn expect(&self, blobs: &[Descriptor]) -> Result<usize, Error> {
        self.contents.reserve(blobs)?;
        Ok(match self.contents.writer().is_pipe() {
            true => 1,
            false => usize::MAX,
        })
    }

    fn blob(&self, expected: Option<&Descriptor>) -> Result<Box<dyn BlobWrite>, Error> {
        Ok(Box::new(self.contents.blob(expected)?))
    }

    fn put_child(&self, manifest: &Manifest, digest: &Digest) -> Result<(), Error> {
        Ok(self.contents.put_manifest(manifest, digest)?)
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        match self.contents.form() {
            Form::Docker => self.contents.enter_image(manifest, &self.names)?,
            Form::Oci if self.tags.is_empty() => self.contents.enter(manifest, None)?,
            Form::Oci => {
                for tag in &self.tags {
                    self.contents.enter(manifest, Some(tag))?;
                }
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        Ok(self.contents.finish()?)
    }

    fn with_names(&self, names: &[String]) -> Result<Arc<dyn LocalSink>, Error> {
        let mut sink = self.clone();
        for name in names {
            match self.contents.form() {
                Form::Oci => sink.tags.push(name.clone()),
                Form::Docker => sink.names.push(name.parse()?),
            }
        }
        Ok(Arc::new(sink))
    }

    fn beside(&self, image: &ImageRef) -> Option<Arc<dyn LocalSink>> {
        let same = match (image, self.contents.form()) {
            (ImageRef::OciArchive { path, .. }, Form::Oci)
            | (ImageRef::DockerArchive { path, .. }, Form::Docker) => *path == self.path,
            _ => false,
        };
        let sink = Self::of(&self.contents, &self.path, image).ok();
        let sink = sink.filter(|_| same)?;
        Some(Arc::new(sink))
    }

    fn keeps_referrers(&self) -> bool {
        self.contents.form() == Form::Oci
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(self.contents.referrers(subject))
    }

    fn put_entry(&self, manifest: &Manifest, tag: Option<&str>) -> Result<(), Error> {
        Ok(self.contents.enter(manifest, tag)?)
    }

    fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.contents.tagged(tag))
    }
}

impl BlobWrite for BlobOut {
    fn finish(self: Box<Self>) -> Result<(Digest, u64), Error> {
        (*self).finish()
    }
}
