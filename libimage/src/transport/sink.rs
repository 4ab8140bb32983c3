//! Where images go.

mod referrers;
mod signatures;

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};

use super::{
    Source, TransportError,
    archive::ArchiveSink,
    daemon,
    dir::DirSink,
    layout::LayoutSink,
    local::{self, LocalSink, Message},
    registry::RegistrySink,
    store::StoreSink,
    worker::{self, Crew},
};
use crate::{
    context::{Context, Side},
    digest::Digest,
    error::Error,
    layout::Layout,
    manifest::{Descriptor, Manifest},
    name::{ImageRef, Name},
    registry::{BlobStream, Registry},
    store::Store,
    traffic::Host,
};

/// An image to be, somewhere. Cheap to clone.
///
/// Blobs come first, then the manifests of an index, then [`Sink::publish`], which gives the image its names. An archive stays
/// open for more images until [`Sink::finish`].
#[derive(Debug, Clone)]
pub struct Sink {
    image: ImageRef,
    medium: Medium,
}

#[derive(Debug, Clone)]
enum Medium {
    Registry(RegistrySink),
    Local(Arc<dyn LocalSink>),
}

/// How a blob came to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// Its bytes were transferred.
    Copied,
    /// The registry took it from this repository of its own.
    Mounted(String),
}

impl Sink {
    /// Opens a reference for writing what comes from `source`.
    ///
    /// # Errors
    ///
    /// The destination cannot be made, or no store was given for `store:`.
    pub async fn open(
        cx: &Context,
        image: &ImageRef,
        store: Option<&Arc<Store>>,
        source: &Source,
    ) -> Result<Self, Error> {
        let mount_from = match image {
            ImageRef::Docker(name) => source
                .registry()
                .map(Registry::name)
                .filter(|from| from.registry() == name.registry()),
            _ => None,
        };
        Self::open_from(cx, image, store, mount_from.map(Name::repository)).await
    }

    /// Opens a reference for writing what comes from nowhere in particular.
    ///
    /// # Errors
    ///
    /// As [`Sink::open`].
    pub async fn open_alone(
        cx: &Context,
        image: &ImageRef,
        store: Option<&Arc<Store>>,
    ) -> Result<Self, Error> {
        Self::open_from(cx, image, store, None).await
    }

    async fn open_from(
        cx: &Context,
        image: &ImageRef,
        store: Option<&Arc<Store>>,
        mount_from: Option<&str>,
    ) -> Result<Self, Error> {
        let medium = match image {
            ImageRef::Docker(name) => {
                let also_pull = mount_from.into_iter().map(str::to_owned).collect();
                Medium::Registry(RegistrySink {
                    registry: Registry::new(cx, Side::Destination, name, also_pull)?,
                    mount_from: mount_from.map(str::to_owned),
                    more: Vec::new(),
                })
            }
            _ => Medium::Local(open_local(cx, image, store).await?),
        };
        Ok(Self {
            image: image.clone(),
            medium,
        })
    }

    /// Returns the reference.
    #[must_use]
    pub fn image(&self) -> &ImageRef {
        &self.image
    }

    /// Returns the same destination, where the image gets more names: tags of the same repository or layout, or names of the same
    /// store, archive or engine.
    ///
    /// # Errors
    ///
    /// One of them is no name, or not one of the same place.
    pub fn with_names(mut self, names: &[String]) -> Result<Self, Error> {
        if names.is_empty() {
            return Ok(self);
        }
        match &mut self.medium {
            Medium::Registry(sink) => sink.add_tags(names)?,
            Medium::Local(sink) => *sink = sink.with_names(names)?,
        }
        Ok(self)
    }

    /// Returns a destination for another image in the same archive, which is open already.
    ///
    /// # Errors
    ///
    /// The reference is in another place, or this is no archive.
    pub fn beside(&self, image: &ImageRef) -> Result<Self, Error> {
        let beside = match &self.medium {
            Medium::Registry(_) => None,
            Medium::Local(sink) => sink.beside(image),
        };
        let sink = beside.ok_or_else(|| TransportError::NotBeside {
            image: image.to_string(),
            archive: self.image.to_string(),
        })?;
        Ok(Self {
            image: image.clone(),
            medium: Medium::Local(sink),
        })
    }

    /// Returns the repository's registry and path, if this is one.
    #[must_use]
    pub fn registry(&self) -> Option<&Registry> {
        match &self.medium {
            Medium::Registry(sink) => Some(&sink.registry),
            Medium::Local(_) => None,
        }
    }

    /// Returns what this run knows about where the image goes: the registry's host, or the directory.
    pub(crate) fn traffic(&self, cx: &Context) -> Arc<Host> {
        match &self.medium {
            Medium::Registry(sink) => Arc::clone(sink.registry.traffic()),
            Medium::Local(sink) => cx.traffic.host(&sink.place().to_string_lossy()),
        }
    }

    /// Returns the layout the image goes to, if it goes to one.
    #[must_use]
    pub fn layout(&self) -> Option<&Layout> {
        match &self.medium {
            Medium::Registry(_) => None,
            Medium::Local(sink) => sink.layout(),
        }
    }

    /// Tells whether source and destination are one repository, where every blob of the source is already.
    #[must_use]
    pub fn is_repository_of(&self, source: &Source) -> bool {
        match (self.registry(), source.registry()) {
            (Some(to), Some(from)) => {
                to.name().without_reference() == from.name().without_reference()
            }
            _ => false,
        }
    }

    /// Asks which digest all names of the destination have now; `None` if it is not the same, does not exist (or the registry does
    /// not say).
    ///
    /// # Errors
    ///
    /// The destination cannot be asked.
    pub async fn head(&self) -> Result<Option<Digest>, Error> {
        match &self.medium {
            Medium::Registry(sink) => sink.head().await,
            Medium::Local(sink) => {
                let sink = Arc::clone(sink);
                worker::run("look for image", move || sink.head()).await
            }
        }
    }

    /// Tells whether a manifest is there, with everything it names.
    ///
    /// # Errors
    ///
    /// The destination cannot be asked.
    pub async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        match &self.medium {
            Medium::Registry(sink) => {
                let head = sink.registry.head_manifest(digest.as_str()).await?;
                Ok(head.is_some())
            }
            // Local blobs are looked at one by one, which costs nothing: a layout may have lost some.
            Medium::Local(_) => Ok(false),
        }
    }

    /// Fetches a manifest of a registry, not verified beyond its digest; `None` of anything else.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be fetched.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        match &self.medium {
            Medium::Registry(sink) => {
                Ok(Some(sink.registry.get_manifest(digest.as_str()).await?.raw))
            }
            Medium::Local(_) => Ok(None),
        }
    }

    /// Tells whether a blob is there. A registry that can mount it is not asked: the mount itself is the question.
    ///
    /// # Errors
    ///
    /// The destination cannot be asked.
    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        match &self.medium {
            Medium::Registry(sink) => sink.has_blob(blob).await,
            Medium::Local(sink) => {
                let (sink, digest) = (Arc::clone(sink), blob.digest.clone());
                let size = worker::run("look for blob", move || sink.blob_size(&digest)).await?;
                // A file of another length is what a crash left: it is written anew.
                Ok(size == Some(blob.size))
            }
        }
    }

    /// Tells which blobs will come, in which order, and returns how many at once are any use: one for what is a pipe. Blobs that were
    /// announced have to come.
    ///
    /// # Errors
    ///
    /// The destination is closed.
    pub(crate) async fn expect(&self, blobs: Vec<Descriptor>) -> Result<usize, Error> {
        match &self.medium {
            Medium::Registry(_) => Ok(usize::MAX),
            Medium::Local(sink) => {
                let sink = Arc::clone(sink);
                worker::run("announce blobs", move || sink.expect(&blobs)).await
            }
        }
    }

    /// Writes a blob. `open` starts reading it, from the beginning, and may be called again after a failure of the destination.
    ///
    /// # Errors
    ///
    /// Either end failed; nothing of the blob is visible then.
    pub(crate) async fn put_blob(
        &self,
        blob: &Descriptor,
        open: impl Fn() -> BlobStream<Error>,
        crew: &Crew,
    ) -> Result<Put, Error> {
        match &self.medium {
            Medium::Registry(sink) => sink.upload(blob, open, crew).await,
            Medium::Local(sink) => {
                write_local(sink, Some(blob), open, crew).await?;
                Ok(Put::Copied)
            }
        }
    }

    /// Writes a blob whose digest and size are known only at its end, and returns them. `open` as in [`Sink::put_blob`].
    ///
    /// # Errors
    ///
    /// Either end failed; nothing of the blob is visible then.
    pub(crate) async fn put_unsized(
        &self,
        open: impl Fn() -> BlobStream<Error>,
        crew: &Crew,
    ) -> Result<(Digest, u64), Error> {
        match &self.medium {
            Medium::Registry(sink) => sink.upload_unsized(open, crew).await,
            Medium::Local(sink) => write_local(sink, None, open, crew).await,
        }
    }

    /// Writes a manifest byte for byte, by the digest that an index knows it by.
    ///
    /// # Errors
    ///
    /// Something it names is missing, or it cannot be written.
    pub async fn put_child(&self, manifest: &Manifest, digest: &Digest) -> Result<(), Error> {
        match &self.medium {
            Medium::Registry(sink) => Ok(sink
                .registry
                .put_manifest(manifest, digest.as_str())
                .await?),
            Medium::Local(sink) => {
                let (sink, manifest, digest) = (Arc::clone(sink), manifest.clone(), digest.clone());
                let write = move || sink.put_child(&manifest, &digest);
                worker::run("write manifest", write).await
            }
        }
    }

    /// Writes a manifest byte for byte under the reference's names: this makes the image visible, except in an archive, which
    /// becomes visible as a whole when it is finished.
    ///
    /// # Errors
    ///
    /// Something it names is missing, it has another digest than the reference, or it cannot be written.
    pub async fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        match &self.medium {
            Medium::Registry(sink) => sink.publish(manifest).await,
            Medium::Local(sink) => {
                let (sink, manifest) = (Arc::clone(sink), manifest.clone());
                worker::run("write manifest", move || sink.publish(&manifest)).await
            }
        }
    }

    /// Ends an archive, which is not there before; does nothing anywhere else.
    ///
    /// # Errors
    ///
    /// It cannot be written, or the engine that reads it refuses it.
    pub async fn finish(&self) -> Result<(), Error> {
        match &self.medium {
            Medium::Registry(_) => Ok(()),
            Medium::Local(sink) => {
                let sink = Arc::clone(sink);
                worker::run("end archive", move || sink.finish()).await
            }
        }
    }

    /// Keeps signatures beside the image; `false` where there is no place for them.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub async fn keep_signatures(&self, signatures: Vec<Vec<u8>>) -> Result<bool, Error> {
        match &self.medium {
            Medium::Registry(_) => Ok(false),
            Medium::Local(sink) => {
                let sink = Arc::clone(sink);
                let write = move || sink.put_signatures(&signatures);
                worker::run("write signatures", write).await
            }
        }
    }

    /// Returns how many HTTP requests were sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.registry().map_or(0, Registry::requests)
    }
}

async fn open_local(
    cx: &Context,
    image: &ImageRef,
    store: Option<&Arc<Store>>,
) -> Result<Arc<dyn LocalSink>, Error> {
    match image {
        ImageRef::Oci { path, tag } => {
            let (path, tag) = (path.clone(), tag.clone());
            let layout = worker::run("create layout", move || Layout::create(&path)).await?;
            Ok(Arc::new(LayoutSink::new(layout, tag)))
        }
        ImageRef::Store(name) => {
            let store = store.ok_or_else(|| TransportError::NoStore {
                image: image.to_string(),
            })?;
            let (name, store) = (name.parse()?, Arc::clone(store));
            let sink = worker::run("hold store", move || StoreSink::new(store, name)).await?;
            Ok(Arc::new(sink))
        }
        ImageRef::OciArchive { .. } | ImageRef::DockerArchive { .. } => {
            let (cx, image) = (cx.clone(), image.clone());
            let create = move || ArchiveSink::create(&cx, &image);
            Ok(Arc::new(worker::run("create archive", create).await?))
        }
        ImageRef::Dir { path } => {
            let path = path.clone();
            let create = move || DirSink::create(&path);
            Ok(Arc::new(worker::run("create directory", create).await?))
        }
        ImageRef::DockerDaemon(name) => Ok(Arc::new(daemon::create(cx, name).await?)),
        ImageRef::Docker(_) | ImageRef::Bare(_) => Err(TransportError::NoTransport {
            image: image.to_string(),
        }
        .into()),
    }
}

/// Feeds a thread that writes from a stream, which is not opened before the thread is ready to write: archives take one blob
/// after the other, and a connection to a registry should not wait for its turn.
async fn write_local(
    sink: &Arc<dyn LocalSink>,
    expected: Option<&Descriptor>,
    open: impl Fn() -> BlobStream<Error>,
    crew: &Crew,
) -> Result<(Digest, u64), Error> {
    let (sender, receiver) = mpsc::channel(local::WAITING);
    let (ready, begun) = oneshot::channel();
    let (sink, expected) = (Arc::clone(sink), expected.cloned());
    let writing = crew.run("write blob", move || {
        let mut blob = sink.blob(expected.as_ref())?;
        // Nobody waits any more: the channel is closed, too.
        ready.send(()).ok();
        local::write_pieces(receiver, &mut *blob, sink.place())?;
        blob.finish()
    });
    let feeding = async move {
        // A thread that is gone has failed, and says why itself.
        if begun.await.is_err() {
            return Ok(());
        }
        let mut content = open();
        while let Some(piece) = content.next().await {
            if sender.send(Message::Piece(piece?)).await.is_err() {
                return Ok(());
            }
        }
        drop(sender.send(Message::End).await);
        Ok::<(), Error>(())
    };
    let (fed, written) = tokio::join!(feeding, writing);
    fed.and(written)
}
