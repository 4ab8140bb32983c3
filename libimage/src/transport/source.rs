//! Where images come from.

mod referrers;
mod signatures;

use std::sync::Arc;

use super::{
    TransportError,
    archive::{self, ArchiveSource},
    daemon,
    dir::DirSource,
    layout::LayoutSource,
    local::{self, LocalSource},
    mirrors::Mirrors,
    store::StoreSource,
    worker,
};
use crate::{
    context::Context,
    digest::Digest,
    error::Error,
    layout::Layout,
    limits,
    manifest::Descriptor,
    name::{ImageRef, Name},
    registry::{BlobStream, Registry},
    store::Store,
    trust::Resolved,
};

/// An image somewhere, to be read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Source {
    image: ImageRef,
    medium: Medium,
    /// For the policy, when a manifest below an index has to be verified by itself.
    cx: Context,
}

#[derive(Debug, Clone)]
enum Medium {
    Registry(Mirrors),
    Local(Arc<dyn LocalSource>),
}

impl Source {
    /// Opens a reference; a registry is not asked yet.
    ///
    /// # Errors
    ///
    /// What the reference names does not exist or cannot be read, or no store was given for `store:`.
    pub async fn open(
        cx: &Context,
        image: &ImageRef,
        store: Option<&Arc<Store>>,
    ) -> Result<Self, Error> {
        let medium = match image {
            ImageRef::Docker(name) => Medium::Registry(Mirrors::open(cx, name)?),
            _ => Medium::Local(open_local(cx, image, store).await?),
        };
        Ok(Self {
            image: image.clone(),
            medium,
            cx: cx.clone(),
        })
    }

    /// Returns the reference.
    #[must_use]
    pub fn image(&self) -> &ImageRef {
        &self.image
    }

    /// Returns the repository's registry and path, if this is one: the mirror, where the image comes from a mirror.
    #[must_use]
    pub fn registry(&self) -> Option<&Registry> {
        match &self.medium {
            Medium::Registry(mirrors) => Some(mirrors.registry()),
            Medium::Local(_) => None,
        }
    }

    /// Returns the layout the image is in, if it is in one.
    #[must_use]
    pub fn layout(&self) -> Option<&Layout> {
        match &self.medium {
            Medium::Registry(_) => None,
            Medium::Local(local) => local.layout(),
        }
    }

    /// Returns the whole names that an archive has for the image.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        match &self.medium {
            Medium::Registry(_) => &[],
            Medium::Local(local) => local.names(),
        }
    }

    /// Returns where a blob begins, if blobs are best read in the order of their places and one at a time: in a compressed
    /// archive, which has to be unpacked from its beginning to get anywhere.
    #[must_use]
    pub fn place(&self, digest: &Digest) -> Option<u64> {
        match &self.medium {
            Medium::Registry(_) => None,
            Medium::Local(local) => local.place(digest),
        }
    }

    /// Returns signatures that are kept beside the image, in their order: in a `dir:`.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn kept_signatures(&self) -> Result<Vec<Vec<u8>>, Error> {
        match &self.medium {
            Medium::Registry(_) => Ok(Vec::new()),
            Medium::Local(local) => {
                let local = Arc::clone(local);
                worker::run("read signatures", move || local.signatures()).await
            }
        }
    }

    /// Asks for the image's digest without fetching it. `None` if the registry does not say.
    ///
    /// # Errors
    ///
    /// There is no such image.
    pub async fn head(&self) -> Result<Option<Digest>, Error> {
        match &self.medium {
            Medium::Registry(registry) => {
                let head = registry.head().await?;
                head.ok_or_else(|| {
                    TransportError::NotFound {
                        image: self.image.to_string(),
                    }
                    .into()
                })
            }
            _ => Ok(Some(Digest::of(&self.resolve(None).await?.raw))),
        }
    }

    /// Fetches the image's manifest or index; by digest if that is known, so that a tag that moves meanwhile does no harm.
    ///
    /// # Errors
    ///
    /// There is no such image, or it cannot be fetched.
    pub async fn resolve(&self, digest: Option<&Digest>) -> Result<Resolved, Error> {
        let expected = digest.cloned();
        let (media_type, raw) = match &self.medium {
            Medium::Registry(registry) => {
                let answer = registry.manifest(digest).await?;
                (answer.media_type, answer.raw)
            }
            Medium::Local(local) => {
                let local = Arc::clone(local);
                worker::run("read manifest", move || local.manifest()).await?
            }
        };
        Ok(Resolved {
            image: self.image.clone(),
            media_type,
            raw,
            expected,
        })
    }

    /// Fetches a manifest that an index names.
    ///
    /// # Errors
    ///
    /// It is missing, or cannot be fetched.
    pub async fn child(&self, entry: &Descriptor) -> Result<Vec<u8>, Error> {
        match &self.medium {
            Medium::Registry(registry) => Ok(registry.manifest(Some(&entry.digest)).await?.raw),
            _ => self.read(entry, limits::MANIFEST_BYTES).await,
        }
    }

    /// Asks how many bytes a blob has; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be asked for, or the registry does not say.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match &self.medium {
            Medium::Registry(registry) => Ok(registry.blob_size(digest).await?),
            Medium::Local(local) => {
                let (local, digest) = (Arc::clone(local), digest.clone());
                worker::run("look for blob", move || local.blob_size(&digest)).await
            }
        }
    }

    /// Reads a small blob whole.
    ///
    /// # Errors
    ///
    /// It is missing, larger than `limit` bytes, or not what its descriptor says.
    pub async fn read(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        match &self.medium {
            Medium::Registry(registry) => Ok(registry.read_blob(blob, limit).await?),
            Medium::Local(local) => {
                let (local, blob) = (Arc::clone(local), blob.clone());
                worker::run("read blob", move || local.read(&blob, limit)).await
            }
        }
    }

    /// Reads a blob, verifying it: the last piece comes only when all of it was right.
    #[must_use]
    pub fn blob(&self, blob: &Descriptor) -> BlobStream<Error> {
        match &self.medium {
            Medium::Registry(registry) => registry.blob(blob),
            Medium::Local(local) => {
                let (local, digest) = (Arc::clone(local), blob.digest.clone());
                local::stream_file(move || local.open(&digest), blob)
            }
        }
    }

    /// Returns how many HTTP requests were sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        match &self.medium {
            Medium::Registry(registry) => registry.requests(),
            Medium::Local(_) => 0,
        }
    }
}

async fn open_local(
    cx: &Context,
    image: &ImageRef,
    store: Option<&Arc<Store>>,
) -> Result<Arc<dyn LocalSource>, Error> {
    match image {
        ImageRef::Oci { path, tag } => {
            let (path, tag) = (path.clone(), tag.clone());
            let layout = worker::run("open layout", move || Layout::open(&path)).await?;
            Ok(Arc::new(LayoutSource { layout, tag }))
        }
        ImageRef::Store(name) => {
            let store = store.ok_or_else(|| TransportError::NoStore {
                image: image.to_string(),
            })?;
            Ok(Arc::new(StoreSource {
                store: Arc::clone(store),
                name: name.clone(),
            }))
        }
        ImageRef::OciArchive { path, tag } => {
            let (cx, path, tag) = (cx.clone(), path.clone(), tag.clone());
            let open = move || ArchiveSource::oci(archive::input(&cx, &path)?, tag.as_deref());
            Ok(Arc::new(worker::run("open archive", open).await?))
        }
        ImageRef::DockerArchive { path, name, index } => {
            let (cx, path, name, index) = (cx.clone(), path.clone(), name.clone(), *index);
            let open =
                move || ArchiveSource::docker(archive::input(&cx, &path)?, name.as_ref(), index);
            Ok(Arc::new(worker::run("open archive", open).await?))
        }
        ImageRef::Dir { path } => {
            let path = path.clone();
            let open = move || DirSource::open(&path);
            Ok(Arc::new(worker::run("open directory", open).await?))
        }
        ImageRef::DockerDaemon(name) => Ok(Arc::new(daemon::open(cx, name).await?)),
        ImageRef::Docker(_) | ImageRef::Bare(_) => Err(TransportError::NoTransport {
            image: image.to_string(),
        }
        .into()),
    }
}
