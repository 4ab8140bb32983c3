//! A repository and its mirrors, read as one: whoever is asked first, what comes is the image that was named.
//!
//! Mirrors are asked in their order, then the registry itself. What a mirror does not have, or will not give, is taken from the
//! next, also in the middle of a blob. Content is verified by digest wherever it is from; what only a tag names is what the mirror says
//! it is, as configured.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, stream};

use super::TransportError;
use crate::{
    context::{Context, Side},
    digest::{Digest, Hasher},
    error::{Error, ErrorKind},
    manifest::Descriptor,
    name::Name,
    progress::{Event, Progress},
    registry::{Answer, BlobStream, Registry, RegistryError},
};

/// A repository with its mirrors. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mirrors {
    /// In the order in which they are asked; the last is the registry itself.
    ends: Arc<[Registry]>,
    /// The first that is still asked.
    current: Arc<AtomicUsize>,
    progress: Arc<dyn Progress>,
}

impl Mirrors {
    /// Prepares access to an image's repository and its mirrors.
    ///
    /// # Errors
    ///
    /// `registries.conf` forbids the image, or the HTTP client cannot be set up.
    pub(super) fn open(cx: &Context, name: &Name) -> Result<Self, RegistryError> {
        let itself = Registry::new(cx, Side::Source, name, Vec::new())?;
        let mut ends = Vec::new();
        for endpoint in cx.registries().place(name)?.mirrors {
            match Registry::mirror(cx, &endpoint) {
                Ok(mirror) => ends.push(mirror),
                Err(error) => warn(&**cx.progress(), &endpoint.name, &error),
            }
        }
        ends.push(itself);
        Ok(Self {
            ends: ends.into(),
            current: Arc::default(),
            progress: Arc::clone(cx.progress()),
        })
    }

    /// Returns the one that has the image, as far as is known.
    pub(super) fn registry(&self) -> &Registry {
        &self.ends[self.first()]
    }

    /// Returns how many HTTP requests were sent.
    pub(super) fn requests(&self) -> u64 {
        self.ends.iter().map(Registry::requests).sum()
    }

    /// Asks for the digest of the image. The outer `None` says that there is no such image, the inner that the registry does not say.
    pub(super) async fn head(&self) -> Result<Option<Option<Digest>>, RegistryError> {
        let head = async |end: &Registry| match end.head_manifest(end.name().reference()).await {
            Ok(Some(head)) => Ok(Some(head.digest)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        for (at, end) in self.mirrors() {
            match head(end).await {
                Ok(None) => {}
                Ok(found) => {
                    self.settle(at);
                    return Ok(found);
                }
                Err(error) => self.left(end, &error),
            }
        }
        self.settle(self.ends.len() - 1);
        head(self.itself()).await
    }

    /// Fetches the manifest of the image, or the one with a digest.
    pub(super) async fn manifest(&self, digest: Option<&Digest>) -> Result<Answer, RegistryError> {
        let get = async |end: &Registry| {
            let reference = digest.map_or(end.name().reference(), Digest::as_str);
            end.get_manifest(reference).await
        };
        for (at, end) in self.mirrors() {
            match get(end).await {
                Ok(answer) => {
                    self.settle(at);
                    return Ok(answer);
                }
                // It would be no surprise.
                Err(RegistryError::NotFound { .. }) if digest.is_none() => {}
                Err(error) => self.left(end, &error),
            }
        }
        get(self.itself()).await
    }

    /// Asks how many bytes a blob has; `None` if it is not there.
    pub(super) async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        for (_, end) in self.mirrors() {
            match end.blob_size(digest).await {
                Ok(None) => {}
                Ok(size) => return Ok(size),
                Err(error) => self.left(end, &error),
            }
        }
        self.itself().blob_size(digest).await
    }

    /// Reads a small blob whole.
    pub(super) async fn read_blob(
        &self,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        for (_, end) in self.mirrors() {
            match end.read_blob(blob, limit).await {
                Ok(content) => return Ok(content),
                Err(error) => self.left(end, &error),
            }
        }
        self.itself().read_blob(blob, limit).await
    }

    /// Reads a blob, verifying it.
    pub(super) fn blob(&self, blob: &Descriptor) -> BlobStream<Error> {
        if self.mirrors().next().is_none() {
            let stream = self.itself().blob(blob);
            return Box::pin(stream.map(|piece| piece.map_err(Error::from)));
        }
        let reading = Reading {
            at: self.first(),
            mirrors: self.clone(),
            blob: blob.clone(),
            stream: None,
            done: 0,
            seen: Hasher::new(blob.digest.algorithm()),
            again: None,
        };
        Box::pin(stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (piece, reading)))
        }))
    }

    /// The mirrors that are still asked.
    fn mirrors(&self) -> impl Iterator<Item = (usize, &Registry)> {
        let mirrors = &self.ends[..self.ends.len() - 1];
        mirrors.iter().enumerate().skip(self.first())
    }

    fn itself(&self) -> &Registry {
        &self.ends[self.ends.len() - 1]
    }

    fn first(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Asks nobody before this one any more: the image has been found there.
    fn settle(&self, at: usize) {
        self.current.fetch_max(at, Ordering::Relaxed);
    }

    /// Tells that something is not had from a mirror. One that cannot be reached is not tried for every blob.
    fn left(&self, end: &Registry, error: &RegistryError) {
        warn(&*self.progress, end.name(), error);
        if matches!(error.kind(), ErrorKind::Network { .. })
            && let Some(at) = self
                .ends
                .iter()
                .position(|other| other.name() == end.name())
        {
            self.settle(at + 1);
        }
    }
}

impl fmt::Debug for Mirrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirrors")
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

fn warn(progress: &dyn Progress, mirror: &Name, error: &RegistryError) {
    let message = format!(
        "not from the mirror {}: {error}",
        mirror.without_reference()
    );
    progress.event(&Event::Warning { message: &message });
}

/// A blob being read.
struct Reading {
    mirrors: Mirrors,
    blob: Descriptor,
    /// Who is being read from.
    at: usize,
    stream: Option<BlobStream>,
    /// Bytes handed out, and their digest.
    done: u64,
    seen: Hasher,
    /// What of those has not come again yet from the one that is read from now.
    again: Option<Again>,
}

/// The beginning of a blob, once more: has it been the same?
struct Again {
    left: u64,
    hasher: Hasher,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let end = &self.mirrors.ends[self.at];
            let stream = self.stream.get_or_insert_with(|| end.blob(&self.blob));
            let Some(piece) = stream.next().await else {
                return Ok(None);
            };
            match piece {
                Ok(piece) => {
                    let new = self.caught_up(piece)?;
                    if !new.is_empty() {
                        self.seen.update(&new);
                        self.done += new.len() as u64;
                        return Ok(Some(new));
                    }
                }
                Err(error) if self.at + 1 == self.mirrors.ends.len() => return Err(error.into()),
                Err(error) => {
                    self.mirrors.left(end, &error);
                    (self.at, self.stream) = (self.at + 1, None);
                    self.again = (self.done > 0).then(|| Again {
                        left: self.done,
                        hasher: Hasher::new(self.blob.digest.algorithm()),
                    });
                }
            }
        }
    }

    /// Drops what has been handed out before, after a look at whether it was the same: what a mirror sent and did not finish has been
    /// verified by nobody.
    fn caught_up(&mut self, mut piece: Bytes) -> Result<Bytes, Error> {
        let Some(again) = &mut self.again else {
            return Ok(piece);
        };
        let known = usize::try_from(again.left).map_or(piece.len(), |left| left.min(piece.len()));
        again.hasher.update(&piece[..known]);
        again.left -= known as u64;
        piece.advance(known);
        if again.left > 0 {
            return Ok(piece);
        }
        if again.hasher.clone().finish() != self.seen.clone().finish() {
            return Err(TransportError::MirrorsDiffer {
                digest: self.blob.digest.clone(),
                repository: self.mirrors.itself().name().without_reference(),
            }
            .into());
        }
        self.again = None;
        Ok(piece)
    }
}
