//! Where images go.

mod referrers;

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};

use super::{Source, TransportError, local, local::Message, worker, worker::Crew};
use crate::{
    context::{Context, Side},
    digest::Digest,
    error::{Error, ErrorKind},
    layout::Layout,
    manifest::{Descriptor, Manifest},
    name::{ImageRef, Name},
    registry::{Begun, BlobStream, Location, Registry, UploadFailure},
    store::{Hold, Store},
};

/// An image to be, somewhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sink {
    medium: Medium,
    /// The source's repository, if blobs can be mounted from it.
    mount_from: Option<String>,
}

#[derive(Debug, Clone)]
enum Medium {
    Registry(Registry),
    Layout {
        layout: Layout,
        tag: Option<String>,
    },
    Store {
        store: Arc<Store>,
        name: Name,
        hold: Arc<Hold>,
    },
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
    /// The layout cannot be made, or no store was given for `store:`.
    pub async fn open(
        cx: &Context,
        image: &ImageRef,
        store: Option<&Arc<Store>>,
        source: &Source,
    ) -> Result<Self, Error> {
        let mut mount_from = None;
        let medium = match image {
            ImageRef::Docker(name) => {
                mount_from = source
                    .registry()
                    .map(Registry::name)
                    .filter(|from| from.registry() == name.registry());
                let also_pull = mount_from
                    .into_iter()
                    .map(|from| from.repository().to_owned())
                    .collect();
                Medium::Registry(Registry::new(cx, Side::Destination, name, also_pull)?)
            }
            ImageRef::Oci { path, tag } => {
                let (path, tag) = (path.clone(), tag.clone());
                Medium::Layout {
                    layout: worker::run("create layout", move || Layout::create(&path)).await?,
                    tag,
                }
            }
            ImageRef::Store(name) => {
                let store = store.ok_or_else(|| TransportError::NoStore {
                    image: image.to_string(),
                })?;
                let (name, store) = (name.parse()?, Arc::clone(store));
                let held = Arc::clone(&store);
                let hold = Arc::new(worker::run("hold store", move || held.hold()).await?);
                Medium::Store { store, name, hold }
            }
            ImageRef::Bare(name) => {
                return Err(TransportError::NoTransport {
                    image: name.clone(),
                }
                .into());
            }
        };
        Ok(Self {
            medium,
            mount_from: mount_from.map(|from| from.repository().to_owned()),
        })
    }

    /// Tells whether source and destination are one repository, where every blob of the source is already.
    #[must_use]
    pub fn is_repository_of(&self, source: &Source) -> bool {
        match (&self.medium, source.registry()) {
            (Medium::Registry(registry), Some(from)) => {
                registry.name().without_reference() == from.name().without_reference()
            }
            _ => false,
        }
    }

    /// Asks which digest the reference has now; `None` if it does not exist (or the registry does not say).
    ///
    /// # Errors
    ///
    /// The destination cannot be asked.
    pub async fn head(&self) -> Result<Option<Digest>, Error> {
        match &self.medium {
            Medium::Registry(registry) => {
                let head = registry.head_manifest(registry.name().reference()).await?;
                Ok(head.and_then(|head| head.digest))
            }
            Medium::Layout { layout, tag } => {
                let (layout, tag) = (layout.clone(), tag.clone());
                let entries = worker::run("read index", move || layout.entries()).await?;
                Ok(entries
                    .into_iter()
                    .find(|entry| entry.tag.is_some() && entry.tag == tag)
                    .map(|entry| entry.digest))
            }
            Medium::Store { store, name, .. } => {
                let (store, name) = (Arc::clone(store), name.to_string());
                let images = worker::run("list images", move || store.images()).await?;
                let image = images
                    .into_iter()
                    .find(|image| image.name.as_deref() == Some(name.as_str()));
                Ok(image.map(|image| image.manifest_digest))
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
            Medium::Registry(registry) => {
                Ok(registry.head_manifest(digest.as_str()).await?.is_some())
            }
            // Local blobs are looked at one by one, which costs nothing: a layout may have lost some.
            Medium::Layout { .. } | Medium::Store { .. } => Ok(false),
        }
    }

    /// Tells whether a blob is there. A registry that can mount it is not asked: the mount itself is the question.
    ///
    /// # Errors
    ///
    /// The destination cannot be asked.
    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let digest = blob.digest.clone();
        let size = match &self.medium {
            Medium::Registry(_) if self.mount_from.is_some() => return Ok(false),
            Medium::Registry(registry) => return Ok(registry.has_blob(blob).await?),
            Medium::Layout { layout, .. } => {
                let layout = layout.clone();
                worker::run("look for blob", move || layout.blob_size(&digest)).await?
            }
            Medium::Store { store, .. } => {
                let store = Arc::clone(store);
                worker::run("look for blob", move || store.blob_size(&digest)).await?
            }
        };
        // A file of another length is what a crash left: it is written anew.
        Ok(size == Some(blob.size))
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
            Medium::Registry(registry) => self.upload(registry, blob, open, crew).await,
            Medium::Layout { layout, .. } => {
                let (layout, expected) = (layout.clone(), blob.clone());
                let write = move |receiver| {
                    let mut writer = layout.blob_writer()?;
                    local::write_pieces(receiver, &mut writer, layout.path())?;
                    writer.finish(Some((&expected.digest, expected.size)))?;
                    Ok(())
                };
                write_local(open(), write, crew).await
            }
            Medium::Store { store, .. } => {
                let (store, expected) = (Arc::clone(store), blob.clone());
                let write = move |receiver| {
                    let mut upload = store.upload()?;
                    local::write_pieces(receiver, &mut upload, store.path())?;
                    upload.finish(Some((&expected.digest, expected.size)))?;
                    Ok(())
                };
                write_local(open(), write, crew).await
            }
        }
    }

    /// Announces an upload, in a task of its own: if nobody waits for the answer any more, because another blob failed, the upload
    /// that it opened is cancelled.
    async fn begin(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        crew: &Crew,
    ) -> Result<Begun, Error> {
        let (answer, waiting) = oneshot::channel();
        let (registry, crew) = (registry.clone(), crew.clone());
        let (digest, from) = (blob.digest.clone(), self.mount_from.clone());
        tokio::spawn(async move {
            let begun = registry.begin_upload(&digest, from.as_deref()).await;
            if let Err(Ok(Begun::At(location))) = answer.send(begun) {
                registry.cancel_upload(location).await;
            }
            drop(crew);
        });
        match waiting.await {
            Ok(begun) => Ok(begun?),
            // Only a runtime that is being shut down drops a task in the middle.
            Err(gone) => Err(Error::new(ErrorKind::Canceled, gone)),
        }
    }

    async fn upload(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        open: impl Fn() -> BlobStream<Error>,
        crew: &Crew,
    ) -> Result<Put, Error> {
        let mut attempt = 1;
        loop {
            let location = match self.begin(registry, blob, crew).await? {
                Begun::Mounted => {
                    return Ok(Put::Mounted(self.mount_from.clone().unwrap_or_default()));
                }
                Begun::At(location) => location,
            };
            let unfinished = Unfinished::new(registry, &location, crew);
            let sent = registry.upload(location.clone(), blob, open()).await;
            unfinished.disarm();
            match sent {
                Ok(()) => return Ok(Put::Copied),
                Err(UploadFailure::Source(error)) => {
                    registry.cancel_upload(location).await;
                    return Err(error);
                }
                Err(UploadFailure::Registry(error)) => {
                    registry.cancel_upload(location).await;
                    registry.again(&mut attempt, &blob.digest, error).await?;
                }
            }
        }
    }

    /// Writes a manifest byte for byte, by the digest that an index knows it by.
    ///
    /// # Errors
    ///
    /// Something it names is missing, or it cannot be written.
    pub async fn put_child(&self, manifest: &Manifest, digest: &Digest) -> Result<(), Error> {
        let (raw, digest) = (manifest.raw().to_vec(), digest.clone());
        let size = raw.len() as u64;
        match &self.medium {
            Medium::Registry(registry) => {
                Ok(registry.put_manifest(manifest, digest.as_str()).await?)
            }
            Medium::Layout { layout, .. } => {
                let layout = layout.clone();
                let write = move || {
                    let mut writer = layout.blob_writer()?;
                    local::write(&mut writer, &raw, layout.path())?;
                    writer.finish(Some((&digest, size)))?;
                    Ok::<(), Error>(())
                };
                worker::run("write manifest", write).await
            }
            Medium::Store { store, .. } => {
                let store = Arc::clone(store);
                let write = move || {
                    let mut upload = store.upload()?;
                    local::write(&mut upload, &raw, store.path())?;
                    upload.finish(Some((&digest, size)))?;
                    Ok::<(), Error>(())
                };
                worker::run("write manifest", write).await
            }
        }
    }

    /// Writes a manifest byte for byte under the reference's name: the last step, which makes the image visible.
    ///
    /// # Errors
    ///
    /// Something it names is missing, it has another digest than the reference, or it cannot be written.
    pub async fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        match &self.medium {
            Medium::Registry(registry) => match registry.name().digest() {
                Some(wanted) if wanted != manifest.digest() => {
                    let (wanted, found) = (wanted.clone(), manifest.digest().clone());
                    Err(TransportError::DestinationDigest { wanted, found }.into())
                }
                _ => Ok(registry
                    .put_manifest(manifest, registry.name().reference())
                    .await?),
            },
            Medium::Layout { layout, tag } => {
                let (layout, tag, manifest) = (layout.clone(), tag.clone(), manifest.clone());
                let write = move || {
                    layout.put_manifest(manifest.raw(), manifest.media_type(), tag.as_deref())
                };
                worker::run("write manifest", write).await.map(drop)
            }
            Medium::Store { store, name, hold } => {
                let (store, name, raw, hold) = (
                    Arc::clone(store),
                    name.clone(),
                    manifest.raw().to_vec(),
                    Arc::clone(hold),
                );
                let write = move || {
                    let published = store.publish(&raw, &[name]);
                    // The collector must not run between the first blob and the name.
                    drop(hold);
                    published
                };
                worker::run("write manifest", write).await.map(drop)
            }
        }
    }

    /// Returns how many HTTP requests were sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        match &self.medium {
            Medium::Registry(registry) => registry.requests(),
            _ => 0,
        }
    }
}

/// Feeds a thread that writes from a stream.
async fn write_local(
    mut content: BlobStream<Error>,
    write: impl FnOnce(mpsc::Receiver<Message>) -> Result<(), Error> + Send + 'static,
    crew: &Crew,
) -> Result<Put, Error> {
    let (sender, receiver) = mpsc::channel(local::WAITING);
    let writing = crew.run("write blob", move || write(receiver));
    let feeding = async move {
        while let Some(piece) = content.next().await {
            // A thread that is gone has failed, and says why itself.
            if sender.send(Message::Piece(piece?)).await.is_err() {
                return Ok(());
            }
        }
        drop(sender.send(Message::End).await);
        Ok::<(), Error>(())
    };
    let (fed, written) = tokio::join!(feeding, writing);
    fed.and(written).map(|()| Put::Copied)
}

/// An upload that is under way: dropped in the middle, because another blob failed, it is cancelled at the registry too.
#[must_use = "the upload is cancelled when this is dropped"]
struct Unfinished(Option<(Registry, Location, Crew)>);

impl Unfinished {
    fn new(registry: &Registry, location: &Location, crew: &Crew) -> Self {
        Self(Some((registry.clone(), location.clone(), crew.clone())))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some((registry, location, crew)) = self.0.take() else {
            return;
        };
        // Without a runtime (it is being shut down) the registry forgets the upload by itself, in time.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                registry.cancel_upload(location).await;
                // The copy's failure is returned after this.
                drop(crew);
            });
        }
    }
}
