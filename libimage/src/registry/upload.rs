//! The endpoint `/blobs/uploads/`: mounts, and uploads in one piece.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};

use super::{BlobStream, Registry, RegistryError, request::Call};
use crate::{auth::Access, digest::Digest, manifest::Descriptor};

/// How long a registry may take to store a blob after its last byte: object stores copy it once more.
pub(super) const COMMIT: Duration = Duration::from_secs(10 * 60);

/// Where the registry wants the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(pub(super) Url);

/// What a registry answers to the wish to write a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It took the blob from another repository: nothing is left to do.
    Mounted,
    /// It waits for the bytes.
    At(Location),
}

/// Which end of an upload failed.
#[derive(Debug)]
pub enum UploadFailure<E> {
    /// The content could not be read.
    Source(E),
    /// The registry could not be written to.
    Registry(RegistryError),
}

impl<E> From<RegistryError> for UploadFailure<E> {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl Registry {
    fn what_upload(&self, digest: &Digest) -> String {
        self.of_repository(&format!("upload of blob {digest}"))
    }

    /// Announces a blob, and asks the registry to take it from another of its repositories if one is named. A registry that does
    /// not want to mount waits for the bytes instead, in the same answer.
    ///
    /// # Errors
    ///
    /// The registry does not accept uploads here.
    pub async fn begin_upload(
        &self,
        digest: &Digest,
        mount_from: Option<&str>,
    ) -> Result<Begun, RegistryError> {
        let what = self.what_upload(digest);
        let plain = self
            .call(Method::POST, "blobs/uploads/", Access::Push, what)
            .await?
            .empty_body();
        let Some(from) = mount_from else {
            return self.announce(&plain, false).await;
        };
        let mut mount = plain.clone();
        mount
            .url
            .query_pairs_mut()
            .append_pair("mount", digest.as_str())
            .append_pair("from", from);
        match self.announce(&mount, true).await {
            // Some registries refuse where the specification wants them to fall back.
            Err(
                RegistryError::NotFound { .. }
                | RegistryError::Status {
                    status: 400..=499, ..
                },
            ) => self.announce(&plain, false).await,
            other => other,
        }
    }

    pub(super) async fn announce(
        &self,
        call: &Call,
        mounting: bool,
    ) -> Result<Begun, RegistryError> {
        let response = self
            .send(call, &[StatusCode::ACCEPTED, StatusCode::CREATED])
            .await?;
        match response.status() {
            StatusCode::CREATED if mounting => Ok(Begun::Mounted),
            StatusCode::CREATED => {
                Err(self.nonsense(&call.what, "it says created before anything was sent"))
            }
            _ => Ok(Begun::At(self.location_of(&call.what, &response)?)),
        }
    }

    pub(super) fn location_of(
        &self,
        what: &str,
        response: &Response,
    ) -> Result<Location, RegistryError> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let location =
            location.ok_or_else(|| self.nonsense(what, "it names no location for the upload"))?;
        let url = response
            .url()
            .join(location)
            .map_err(|_| self.nonsense(what, "the location for the upload is no URL"))?;
        // Whether credentials may go there is the authorizer's decision; the content must not go out in the clear either.
        let downgrade = response.url().scheme() == "https" && url.scheme() != "https";
        if downgrade || !matches!(url.scheme(), "http" | "https") {
            return Err(self.nonsense(what, "the location for the upload is not https"));
        }
        Ok(Location(url))
    }

    /// Sends a blob in one request and names its digest, without which the registry stores nothing. The stream has to end with an
    /// error if its content turns out wrong: the request then stays incomplete.
    ///
    /// # Errors
    ///
    /// Either end failed. Nothing is stored then.
    pub async fn upload<E: std::fmt::Display + Send + 'static>(
        &self,
        location: Location,
        blob: &Descriptor,
        content: BlobStream<E>,
    ) -> Result<(), UploadFailure<E>> {
        let what = self.what_upload(&blob.digest);
        let mut url = location.0;
        url.query_pairs_mut()
            .append_pair("digest", blob.digest.as_str());
        let base = self.base().await?;
        let proof = base
            .auth
            .proof(&self.0.http, &url, Access::Push)
            .await
            .map_err(RegistryError::from)?;
        let watch = Watch::new(blob.size);
        let mut request = self
            .0
            .http
            .put(url.clone())
            .header(CONTENT_LENGTH, blob.size)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Watch::over(&watch, content));
        if let Some(header) = proof.header() {
            request = request.header(AUTHORIZATION, header);
        }
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let answer = tokio::select! {
            answer = request.send() => answer.map_err(|error| RegistryError::of_http(&self.0.host, &what, error)),
            after = watch.silence(self.0.patience.stall) => {
                Err(RegistryError::Stalled { host: self.0.host.clone(), what: what.clone(), after })
            }
        };
        if let Some(error) = watch.failure() {
            return Err(UploadFailure::Source(error));
        }
        let response = answer?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            StatusCode::UNAUTHORIZED if response.url().origin() == base.url.origin() => {
                let challenge = super::challenge_of(response.headers());
                base.auth
                    .answer(&challenge, &proof, Access::Push)
                    .map_err(RegistryError::from)?;
                // The content cannot be sent again from here: whoever has it starts anew, with a fresh token.
                Err(self
                    .interrupted(&what, "the registry wants a newer token")
                    .into())
            }
            _ => Err(self.failure(&what, response).await.into()),
        }
    }

    /// Writes a small blob whose bytes are at hand; asks first whether it is there.
    ///
    /// # Errors
    ///
    /// The registry cannot be written to.
    pub async fn put_bytes(&self, blob: &Descriptor, bytes: Bytes) -> Result<(), RegistryError> {
        if self.has_blob(blob).await? {
            return Ok(());
        }
        let content = || -> BlobStream<RegistryError> {
            let piece = Some(Ok(bytes.clone())).filter(|_| !bytes.is_empty());
            Box::pin(futures_util::stream::iter(piece))
        };
        self.put_blob(blob, content).await
    }

    /// Writes a blob. `open` starts reading it, from the beginning, and may be called again after a failure of the registry.
    ///
    /// # Errors
    ///
    /// Either end failed. Nothing is stored then.
    pub async fn put_blob<E>(
        &self,
        blob: &Descriptor,
        open: impl Fn() -> BlobStream<E>,
    ) -> Result<(), E>
    where
        E: From<RegistryError> + std::fmt::Display + Send + 'static,
    {
        let mut attempt = 1;
        loop {
            let location = match self.begin_upload(&blob.digest, None).await? {
                Begun::At(location) => location,
                Begun::Mounted => return Ok(()),
            };
            match self.upload(location.clone(), blob, open()).await {
                Ok(()) => return Ok(()),
                Err(UploadFailure::Source(error)) => {
                    self.cancel_upload(location).await;
                    return Err(error);
                }
                Err(UploadFailure::Registry(error)) => {
                    self.cancel_upload(location).await;
                    self.again(&mut attempt, &blob.digest, error).await?;
                }
            }
        }
    }

    /// Gives up an upload, so that the registry can forget it. It would in time by itself: failure is no matter.
    pub async fn cancel_upload(&self, location: Location) {
        let call = Call::new(
            Method::DELETE,
            location.0,
            Access::Push,
            "end of an upload".to_owned(),
        );
        let Ok(base) = self.base().await else { return };
        let Ok(proof) = base.auth.proof(&self.0.http, &call.url, Access::Push).await else {
            return;
        };
        let mut request = self.0.http.delete(call.url.clone());
        if let Some(header) = proof.header() {
            request = request.header(AUTHORIZATION, header);
        }
        drop(self.timed(&call.what, request.send()).await);
    }
}

/// Sees whether an upload moves.
#[derive(Debug)]
pub(super) struct Watch<E> {
    size: u64,
    taken: AtomicU64,
    /// Whether it is the source that is being waited for, which has a watch of its own.
    starved: AtomicBool,
    /// The source's error, which would not survive its way through the HTTP client.
    failure: Mutex<Option<E>>,
}

impl<E: std::fmt::Display + Send + 'static> Watch<E> {
    pub(super) fn new(size: u64) -> Arc<Self> {
        Arc::new(Self {
            size,
            taken: AtomicU64::new(0),
            starved: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    pub(super) fn over(watch: &Arc<Self>, mut content: BlobStream<E>) -> reqwest::Body {
        let watch = Arc::clone(watch);
        let content = futures_util::stream::poll_fn(move |cx| {
            let polled = content.poll_next_unpin(cx);
            watch.starved.store(polled.is_pending(), Ordering::Relaxed);
            polled.map(|piece| piece.map(|piece| watch.see(piece)))
        });
        reqwest::Body::wrap_stream(content)
    }

    fn see(&self, piece: Result<Bytes, E>) -> std::io::Result<Bytes> {
        match piece {
            Ok(piece) => {
                self.taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Ok(piece)
            }
            Err(error) => {
                let message = error.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(std::io::Error::other(message))
            }
        }
    }

    pub(super) fn failure(&self) -> Option<E> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Returns once the registry has taken nothing for `stall`, or has been storing for too long.
    pub(super) async fn silence(&self, stall: Duration) -> Duration {
        let mut seen = 0;
        loop {
            tokio::time::sleep(stall).await;
            let taken = self.taken.load(Ordering::Relaxed);
            if taken == self.size {
                tokio::time::sleep(COMMIT).await;
                return COMMIT;
            }
            if taken == seen && !self.starved.load(Ordering::Relaxed) {
                return stall;
            }
            seen = taken;
        }
    }
}
