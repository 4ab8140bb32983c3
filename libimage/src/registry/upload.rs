//! The endpoint `/blobs/uploads/`: mounts, and uploads in one piece.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION},
};

use super::{BlobStream, Registry, RegistryError, request::Call, watch::Watch};
use crate::{auth::Access, digest::Digest, error::ErrorKind, manifest::Descriptor};

/// How registries announce the size of the smallest chunk they take.
const LEAST_CHUNK: &str = "oci-chunk-min-length";
/// What says that a blob is stored.
const STORED: [StatusCode; 3] = [StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT];

/// Where the registry wants the bytes. It moves with every part of an upload, and clones move along.
#[derive(Debug, Clone)]
pub struct Location {
    url: Arc<Mutex<Url>>,
    /// Bytes of the smallest chunk the registry takes, if it says so.
    pub(super) least_chunk: u64,
}

impl Location {
    /// Returns where the next part goes.
    pub(super) fn url(&self) -> Url {
        self.url
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Follows the registry to where it wants the next part.
    pub(super) fn follow(&self, next: &Location) {
        let next = next.url();
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

/// What a registry answers to the wish to write a blob.
#[derive(Debug, Clone)]
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
        self.base().await?.auth.also_pull(from);
        let mut mount = plain.clone();
        mount
            .url
            .query_pairs_mut()
            .append_pair("mount", digest.as_str())
            .append_pair("from", from);
        match self.announce(&mount, true).await {
            // Some registries refuse where the specification wants them to fall back, and the token server may not let us read
            // there.
            Err(error) if is_refusal(&error) => {
                self.may_not_mount(from);
                self.base().await?.auth.not_pull(from);
                self.announce(&plain, false).await
            }
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
        let header = |name| response.headers().get(name)?.to_str().ok();
        let location = header(LOCATION.as_str())
            .ok_or_else(|| self.nonsense(what, "it names no location for the upload"))?;
        let url = response
            .url()
            .join(location)
            .map_err(|_| self.nonsense(what, "the location for the upload is no URL"))?;
        // Whether credentials may go there is the authorizer's decision; the content must not go out in the clear either.
        let downgrade = response.url().scheme() == "https" && url.scheme() != "https";
        if downgrade || !matches!(url.scheme(), "http" | "https") {
            return Err(self.nonsense(what, "the location for the upload is not https"));
        }
        let least_chunk = header(LEAST_CHUNK).and_then(|text| text.trim().parse().ok());
        Ok(Location {
            url: Arc::new(Mutex::new(url)),
            least_chunk: least_chunk.unwrap_or(0),
        })
    }

    /// Sends a blob and names its digest, without which the registry stores nothing: in one request, or in chunks where the
    /// registry has refused others of that size as a whole. The stream has to end with an error if its content turns out wrong:
    /// the upload then stays incomplete.
    ///
    /// # Errors
    ///
    /// Either end failed. Nothing is stored then. A registry that refuses the blob as a whole is a transient failure: the next try
    /// sends chunks.
    pub async fn upload<E: std::fmt::Display + Send + 'static>(
        &self,
        location: Location,
        blob: &Descriptor,
        content: BlobStream<E>,
    ) -> Result<(), UploadFailure<E>> {
        let what = self.what_upload(&blob.digest);
        let chunks = &self.0.traffic.chunks;
        if chunks.wanted(blob.size) {
            self.send_chunks(&what, &location, content).await?;
            return Ok(self.name_upload(&what, &location, &blob.digest).await?);
        }
        let mut url = location.url();
        url.query_pairs_mut()
            .append_pair("digest", blob.digest.as_str());
        let call = Call::new(Method::PUT, url, Access::Push, what);
        let sent = self.send_stream(&call, Some(blob.size), content).await;
        let refusal = match sent {
            Ok(response) if STORED.contains(&response.status()) => return Ok(()),
            Ok(response) => self.failure(&call.what, response).await,
            Err(UploadFailure::Registry(error)) => error,
            Err(failure) => return Err(failure),
        };
        if blob.size > 0 && wants_chunks(&refusal) {
            chunks.whole_refused(blob.size);
            let problem = "the registry does not take it in one piece";
            return Err(self.interrupted(&call.what, problem).into());
        }
        if matches!(refusal.kind(), ErrorKind::Network { transient: true }) {
            chunks.whole_broke(blob.size);
        }
        Err(refusal.into())
    }

    /// Ends an upload whose bytes the registry has: it checks the digest, and stores the blob.
    pub(super) async fn name_upload(
        &self,
        what: &str,
        location: &Location,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let mut url = location.url();
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let call = Call::new(Method::PUT, url, Access::Push, what.to_owned());
        let mut attempt = 1;
        loop {
            let nothing: BlobStream<std::io::Error> = Box::pin(futures_util::stream::empty());
            let error = match self.send_stream(&call, Some(0), nothing).await {
                Ok(response) if STORED.contains(&response.status()) => return Ok(()),
                Ok(response) => self.failure(what, response).await,
                Err(UploadFailure::Registry(error)) => error,
                Err(UploadFailure::Source(error)) => self.interrupted(what, error),
            };
            // An earlier try may have done it, and only its answer was lost.
            if attempt > 1 && self.blob_size(digest).await?.is_some() {
                return Ok(());
            }
            self.pause(&mut attempt, what, error).await?;
        }
    }

    /// Sends a request whose body comes from elsewhere, once, with its own gate. A body of unknown size goes out in pieces.
    pub(super) async fn send_stream<E: std::fmt::Display + Send + 'static>(
        &self,
        call: &Call,
        size: Option<u64>,
        content: BlobStream<E>,
    ) -> Result<Response, UploadFailure<E>> {
        let gate = &self.0.traffic.uploads;
        let _turn = gate.turn().await;
        let base = self.base().await?;
        let proof = base.auth.proof(&call.url, call.access).await;
        let proof = proof.map_err(RegistryError::from)?;
        // Of an unknown length no byte is ever the last one.
        let watch = Watch::new(size.unwrap_or(u64::MAX));
        let mut request = call
            .build(&self.0.http)
            .header(CONTENT_TYPE, OCTETS)
            .body(Watch::over(&watch, content));
        if let Some(size) = size {
            request = request.header(CONTENT_LENGTH, size);
        }
        if let Some(header) = proof.header() {
            request = request.header(AUTHORIZATION, header);
        }
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let answer = tokio::select! {
            answer = request.send() => answer.map_err(|error| RegistryError::of_http(&self.0.host, &call.what, error)),
            after = watch.silence(self.0.patience.stall) => {
                Err(RegistryError::Stalled { host: self.0.host.clone(), what: call.what.clone(), after })
            }
        };
        if let Some(error) = watch.failure() {
            return Err(UploadFailure::Source(error));
        }
        let response = answer?;
        self.heed(&response, gate);
        if response.status() == StatusCode::UNAUTHORIZED
            && response.url().origin() == base.url.origin()
        {
            let challenge = super::challenge_of(response.headers());
            base.auth
                .answer(&challenge, &proof)
                .map_err(RegistryError::from)?;
            // The content cannot be sent again from here: whoever has it starts anew, with a fresh token.
            let problem = "the registry wants a newer token";
            return Err(self.interrupted(&call.what, problem).into());
        }
        Ok(response)
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
        let what = "end of an upload".to_owned();
        let call = Call::new(Method::DELETE, location.url(), Access::Push, what);
        let Ok(base) = self.base().await else { return };
        let Ok(proof) = base.auth.proof(&call.url, Access::Push).await else {
            return;
        };
        let mut request = call.build(&self.0.http);
        if let Some(header) = proof.header() {
            request = request.header(AUTHORIZATION, header);
        }
        drop(self.timed(&call.what, request.send()).await);
    }
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Tells whether the wish to mount was refused, rather than unheard.
fn is_refusal(error: &RegistryError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::Unauthorized
            | ErrorKind::Denied
            | ErrorKind::Unsupported
            | ErrorKind::Conflict
            | ErrorKind::LimitExceeded
    ) || matches!(error, RegistryError::Status { status: 400..=499, .. } if !error.is_transient())
}

/// Tells whether a registry may take in chunks what it refuses as a whole. A wrong digest stays wrong.
pub(super) fn wants_chunks(error: &RegistryError) -> bool {
    match error {
        RegistryError::Status {
            status, message, ..
        } => {
            matches!(status, 400 | 405 | 411 | 413 | 415 | 416 | 501)
                && !message.contains("DIGEST_INVALID")
        }
        _ => false,
    }
}
