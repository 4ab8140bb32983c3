//! `docker://`, a repository of a registry, as a destination.

use tokio::{sync::oneshot, task::JoinHandle};

use super::{Put, TransportError, worker::Crew};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    manifest::{Descriptor, Manifest},
    name::{Name, NameError},
    registry::{Begun, BlobStream, Location, Registry, UploadFailure},
};

/// A place in a repository.
#[derive(Debug, Clone)]
pub(super) struct RegistrySink {
    pub(super) registry: Registry,
    /// The source's repository, if blobs can be mounted from it.
    pub(super) mount_from: Option<String>,
    /// Further tags for the same image.
    pub(super) more: Vec<String>,
}

impl RegistrySink {
    /// Adds tags: words, or whole names in the same repository.
    pub(super) fn add_tags(&mut self, names: &[String]) -> Result<(), Error> {
        for given in names {
            let name = self.registry.name();
            let tag = match name.with_tag(given) {
                Ok(_) => given.clone(),
                Err(error) => self.tag_of_name(given, error)?,
            };
            self.more.push(tag);
        }
        Ok(())
    }

    fn tag_of_name(&self, given: &str, error: NameError) -> Result<String, Error> {
        let given = given.strip_prefix("docker://").unwrap_or(given);
        // A word that is no tag is reported as such, not as a strange repository.
        if !given.contains([':', '/']) {
            return Err(error.into());
        }
        let wanted: Name = given.parse()?;
        let repository = self.registry.name().without_reference();
        match wanted.tag() {
            Some(tag) if wanted.without_reference() == repository => Ok(tag.to_owned()),
            _ => Err(TransportError::TagElsewhere {
                tag: given.to_owned(),
                repository,
            }
            .into()),
        }
    }

    /// Returns the digest all names have; the further ones are only asked for if the first has one.
    pub(super) async fn head(&self) -> Result<Option<Digest>, Error> {
        let registry = &self.registry;
        let head = registry.head_manifest(registry.name().reference()).await?;
        let Some(digest) = head.and_then(|head| head.digest) else {
            return Ok(None);
        };
        for tag in &self.more {
            let head = registry.head_manifest(tag).await?;
            if head.and_then(|head| head.digest).as_ref() != Some(&digest) {
                return Ok(None);
            }
        }
        Ok(Some(digest))
    }

    /// Tells whether a blob is there. A registry that can mount it is not asked: the mount itself is the question.
    pub(super) async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let registry = &self.registry;
        if registry.remembers(&blob.digest) {
            return Ok(true);
        }
        if self.candidate(&blob.digest).is_some() {
            return Ok(false);
        }
        let has = registry.has_blob(blob).await?;
        if has {
            registry.remember(&blob.digest);
        }
        Ok(has)
    }

    /// Returns the repository a blob can be mounted from: the source's, or another that this run has met.
    fn candidate(&self, digest: &Digest) -> Option<String> {
        self.registry
            .mount_candidate(digest, self.mount_from.as_deref())
    }

    /// Announces an upload, in a task of its own: if nobody waits for the answer any more, because another blob failed, the upload
    /// that it opened is cancelled.
    async fn begin(
        &self,
        digest: &Digest,
        from: Option<String>,
        crew: &Crew,
    ) -> Result<Begun, Error> {
        let registry = self.registry.clone();
        let digest = digest.clone();
        let begin = async move { registry.begin_upload(&digest, from.as_deref()).await };
        self.announced(begin, crew).await
    }

    async fn announced(
        &self,
        begin: impl Future<Output = Result<Begun, crate::registry::RegistryError>> + Send + 'static,
        crew: &Crew,
    ) -> Result<Begun, Error> {
        let (answer, waiting) = oneshot::channel();
        let (registry, crew) = (self.registry.clone(), crew.clone());
        tokio::spawn(async move {
            if let Err(Ok(Begun::At(location))) = answer.send(begin.await) {
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

    pub(super) async fn upload(
        &self,
        blob: &Descriptor,
        open: impl Fn() -> BlobStream<Error>,
        crew: &Crew,
    ) -> Result<Put, Error> {
        let registry = &self.registry;
        let mut attempt = 1;
        loop {
            let from = self.candidate(&blob.digest);
            let location = match self.begin(&blob.digest, from.clone(), crew).await? {
                Begun::Mounted => {
                    registry.remember(&blob.digest);
                    return Ok(Put::Mounted(from.unwrap_or_default()));
                }
                Begun::At(location) => location,
            };
            let unfinished = Unfinished::new(registry, &location, crew);
            let sent = registry.upload(location, blob, open()).await;
            match sent {
                Ok(()) => {
                    unfinished.disarm();
                    registry.remember(&blob.digest);
                    return Ok(Put::Copied);
                }
                Err(UploadFailure::Source(error)) => {
                    unfinished.cancel().await;
                    return Err(error);
                }
                Err(UploadFailure::Registry(error)) => {
                    unfinished.cancel().await;
                    registry.again(&mut attempt, &blob.digest, error).await?;
                }
            }
        }
    }

    /// Uploads content whose digest is only known at its end: announced, sent in one request, then named.
    pub(super) async fn upload_unsized(
        &self,
        open: impl Fn() -> BlobStream<Error>,
        crew: &Crew,
    ) -> Result<(Digest, u64), Error> {
        let registry = &self.registry;
        let mut attempt = 1;
        loop {
            let announcing = registry.clone();
            let begin = async move { announcing.begin_unsized().await };
            let location = match self.announced(begin, crew).await? {
                Begun::At(location) => location,
                Begun::Mounted => {
                    let nonsense = "a registry mounted what it was not told the digest of";
                    return Err(Error::new(ErrorKind::Malformed, nonsense));
                }
            };
            let unfinished = Unfinished::new(registry, &location, crew);
            let sent = registry.upload_unsized(location, open()).await;
            match sent {
                Ok(named) => {
                    unfinished.disarm();
                    return Ok(named);
                }
                Err(UploadFailure::Source(error)) => {
                    unfinished.cancel().await;
                    return Err(error);
                }
                Err(UploadFailure::Registry(error)) => {
                    unfinished.cancel().await;
                    registry.again_unsized(&mut attempt, error).await?;
                }
            }
        }
    }

    pub(super) async fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        let name = self.registry.name();
        match name.digest() {
            Some(wanted) if wanted != manifest.digest() => {
                let (wanted, found) = (wanted.clone(), manifest.digest().clone());
                return Err(TransportError::DestinationDigest { wanted, found }.into());
            }
            _ => {
                self.registry
                    .put_manifest(manifest, name.reference())
                    .await?
            }
        }
        for tag in &self.more {
            self.registry.put_manifest(manifest, tag).await?;
        }
        Ok(())
    }
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

    /// Cancels it and waits for the end of that; who stops waiting, because another blob failed, does not stop it.
    async fn cancel(mut self) {
        if let Some(task) = self.give_up() {
            drop(task.await);
        }
    }

    /// The copy's failure is returned after the task's end: it holds the crew. Without a runtime (it is being shut down) the registry
    /// forgets the upload by itself, in time.
    fn give_up(&mut self) -> Option<JoinHandle<()>> {
        let (registry, location, crew) = self.0.take()?;
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        Some(runtime.spawn(async move {
            registry.cancel_upload(location).await;
            drop(crew);
        }))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}
