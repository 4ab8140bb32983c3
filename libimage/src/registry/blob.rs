//! The endpoint `/blobs/`, reading: existence, and downloads that survive a broken connection.

use std::{io, pin::Pin, sync::atomic::Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use oci_client::{
    Reference, RegistryOperation,
    client::{BlobResponse, LayerDescriptor},
    errors::OciDistributionError,
    secrets::RegistryAuth,
    token_cache::{RegistryToken, RegistryTokenType},
};
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE},
};

use super::{Registry, RegistryError};
use crate::{
    auth::{Access, Proof},
    digest::{Digest, DigestError, Hasher},
    manifest::Descriptor,
};

/// The content of a blob. It is verified: the last piece is handed out only when all of it had the right digest and size, so
/// whoever passes the pieces on cannot complete anything wrong.
pub type BlobStream<E = RegistryError> = Pin<Box<dyn Stream<Item = Result<Bytes, E>> + Send>>;

/// Bytes after which a connection that breaks again has earned new attempts.
const PROGRESS: u64 = 64 << 10;

impl Registry {
    fn what_blob(&self, digest: &Digest) -> String {
        self.of_repository(&format!("blob {digest}"))
    }

    /// Asks whether a blob is there, and how large it is.
    ///
    /// # Errors
    ///
    /// The registry cannot be asked, or the size differs from the one expected.
    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        let what = self.what_blob(&blob.digest);
        let call = self
            .call(
                Method::HEAD,
                &format!("blobs/{}", blob.digest),
                Access::Pull,
                what,
            )
            .await?;
        let response = match self.send(&call, &[StatusCode::OK]).await {
            Err(RegistryError::NotFound { .. }) => return Ok(false),
            other => other?,
        };
        match length_of(&response) {
            Some(found) if found != blob.size => Err(self.wrong_size(blob, found, false)),
            _ => Ok(true),
        }
    }

    /// Asks how large a blob is; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// The registry cannot be asked, or does not say.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let what = self.what_blob(digest);
        let endpoint = format!("blobs/{digest}");
        let call = self
            .call(Method::HEAD, &endpoint, Access::Pull, what)
            .await?;
        let response = match self.send(&call, &[StatusCode::OK]).await {
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        length_of(&response)
            .map(Some)
            .ok_or_else(|| self.nonsense(&call.what, "it does not say how long the blob is"))
    }

    /// Reads a small blob whole.
    ///
    /// # Errors
    ///
    /// It is larger than `limit` bytes, missing, or not what its descriptor says.
    pub async fn read_blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, RegistryError> {
        if blob.size > limit {
            let what = self.what_blob(&blob.digest);
            return Err(RegistryError::TooLarge {
                host: self.0.host.clone(),
                what,
                limit,
            });
        }
        let mut content = Vec::new();
        let mut stream = self.blob(blob);
        while let Some(piece) = stream.next().await {
            content.extend_from_slice(&piece?);
        }
        Ok(content)
    }

    /// Reads a blob. A broken connection is taken up where it broke; other places the descriptor may name are never asked.
    #[must_use]
    pub fn blob(&self, blob: &Descriptor) -> BlobStream {
        let download = Download {
            what: self.what_blob(&blob.digest),
            registry: self.clone(),
            hasher: Some(Hasher::new(blob.digest.algorithm())),
            blob: blob.clone(),
            done: 0,
            skip: 0,
            body: None,
            held: None,
            attempt: 1,
            failed_at: 0,
        };
        Box::pin(stream::try_unfold(download, |mut download| async move {
            let piece = download.next().await?;
            Ok(piece.map(|piece| (piece, download)))
        }))
    }

    fn wrong_size(&self, blob: &Descriptor, found: u64, more: bool) -> RegistryError {
        let source = DigestError::Size {
            digest: blob.digest.clone(),
            expected: blob.size,
            found,
            more,
        };
        RegistryError::Content {
            host: self.0.host.clone(),
            what: self.what_blob(&blob.digest),
            source,
        }
    }

    /// Opens a blob at an offset. Returns the body, and how many bytes of it are to be skipped.
    async fn open_blob(
        &self,
        what: &str,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<(Body, u64), RegistryError> {
        let base = self.base().await?;
        let proof = base.auth.proof(&base.url, Access::Pull).await?;
        // oci-client shows neither challenge nor `Retry-After` nor `Content-Range`: what it was refused, and what has to begin in
        // the middle, is asked for by our own request.
        if offset == 0
            && let Some(client) = self.downloads(base.url.scheme()).await
            && let Some(opened) = self.open_with(client, what, &proof, blob).await?
        {
            return Ok((opened, 0));
        }
        let call = self
            .call(
                Method::GET,
                &format!("blobs/{}", blob.digest),
                Access::Pull,
                what.to_owned(),
            )
            .await?;
        let from_start = call.clone();
        let (response, start) = if offset == 0 {
            (self.send(&call, &[StatusCode::OK]).await?, 0)
        } else {
            let accepted = [
                StatusCode::OK,
                StatusCode::PARTIAL_CONTENT,
                StatusCode::RANGE_NOT_SATISFIABLE,
            ];
            let response = self.send(&call.starting_at(offset), &accepted).await?;
            match start_of(&response) {
                Some(start) if start <= offset => (response, start),
                // It cannot begin there, or begins beyond: so all of it again.
                _ => (self.send(&from_start, &[StatusCode::OK]).await?, 0),
            }
        };
        let pieces = response.bytes_stream();
        let body = pieces.map(|piece| piece.map_err(io::Error::other));
        Ok((Box::pin(body), offset - start))
    }

    /// Opens a blob through oci-client, from its beginning; `None` if the registry answers with an error.
    async fn open_with(
        &self,
        client: &oci_client::Client,
        what: &str,
        proof: &Proof,
        blob: &Descriptor,
    ) -> Result<Option<Body>, RegistryError> {
        let repository = self.0.name.repository().to_owned();
        let reference =
            Reference::with_digest(self.0.host.clone(), repository, blob.digest.to_string());
        let token = match proof {
            Proof::None => None,
            Proof::Basic { user, password } => Some(RegistryTokenType::Basic(
                user.clone(),
                password.reveal().to_owned(),
            )),
            Proof::Bearer(token) => Some(RegistryTokenType::Bearer(RegistryToken::Token {
                token: token.reveal().to_owned(),
            })),
        };
        if let Some(token) = token {
            // It looks for tokens only where it has credentials stored; it must never go and ask for tokens itself.
            client
                .store_auth_if_needed(&self.0.host, &RegistryAuth::Anonymous)
                .await;
            client
                .tokens
                .insert(&reference, RegistryOperation::Pull, token)
                .await;
        }
        let layer = LayerDescriptor {
            digest: blob.digest.as_str(),
            urls: &None,
        };
        let gate = &self.0.traffic.requests;
        let _turn = gate.turn().await;
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        // From an offset also at the start: then it leaves hashing, which has to span several connections, to us.
        match client
            .pull_blob_stream_partial(&reference, &layer, 0, None)
            .await
        {
            Ok(BlobResponse::Partial(sized) | BlobResponse::Full(sized)) => {
                gate.went_well();
                Ok(Some(sized.stream))
            }
            Err(OciDistributionError::RequestError(error)) => {
                Err(RegistryError::of_http(&self.0.host, what, error))
            }
            Err(_) => Ok(None),
        }
    }
}

type Body = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A download under way.
struct Download {
    registry: Registry,
    blob: Descriptor,
    what: String,
    /// Bytes received, over all connections.
    done: u64,
    /// Bytes to throw away, of a server that does not know ranges.
    skip: u64,
    body: Option<Body>,
    /// The last piece, kept until the verdict: without it nobody can complete anything.
    held: Option<Bytes>,
    /// Gone once the content is verified.
    hasher: Option<Hasher>,
    attempt: u32,
    failed_at: u64,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        while self.hasher.is_some() {
            if self.done == self.blob.size && self.body.is_none() {
                // Nothing to ask for: an empty blob, or a connection that broke after the last byte.
                self.verify()?;
                break;
            }
            if self.body.is_none() && !self.open().await? {
                continue;
            }
            let Some(body) = &mut self.body else { continue };
            match tokio::time::timeout(self.registry.0.patience.stall, body.next()).await {
                Ok(Some(Ok(piece))) => {
                    if let Some(ready) = self.take(piece)? {
                        return Ok(Some(ready));
                    }
                }
                Ok(None) if self.done == self.blob.size => self.verify()?,
                Ok(None) => {
                    let (digest, expected) = (self.blob.digest.clone(), self.blob.size);
                    let source = DigestError::Size {
                        digest,
                        expected,
                        found: self.done,
                        more: false,
                    };
                    self.again(self.registry.interrupted(&self.what, source))
                        .await?;
                }
                Ok(Some(Err(error))) => {
                    self.again(self.registry.interrupted(&self.what, without_url(error)))
                        .await?
                }
                Err(_) => {
                    let (host, after) =
                        (self.registry.0.host.clone(), self.registry.0.patience.stall);
                    self.again(RegistryError::Stalled {
                        host,
                        what: self.what.clone(),
                        after,
                    })
                    .await?;
                }
            }
        }
        Ok(self.held.take())
    }

    /// Opens the next connection; `false` if that failed and is to be tried again.
    async fn open(&mut self) -> Result<bool, RegistryError> {
        match self
            .registry
            .open_blob(&self.what, &self.blob, self.done)
            .await
        {
            Ok((body, skip)) => {
                (self.body, self.skip) = (Some(body), skip);
                Ok(true)
            }
            Err(error) => self.again(error).await.map(|()| false),
        }
    }

    /// Counts and hashes a piece, and returns it unless it is the last.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, RegistryError> {
        let skipped = self.skip.min(piece.len() as u64);
        self.skip -= skipped;
        drop(piece.split_to(usize::try_from(skipped).unwrap_or(piece.len())));
        if piece.is_empty() {
            return Ok(None);
        }
        self.done += piece.len() as u64;
        if self.done > self.blob.size {
            return Err(self.registry.wrong_size(&self.blob, self.done, true));
        }
        // Hashing 16 KiB takes 12 µs: less than handing it to another thread would.
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        if self.done < self.blob.size {
            return Ok(Some(piece));
        }
        self.held = Some(piece);
        Ok(None)
    }

    fn verify(&mut self) -> Result<(), RegistryError> {
        self.body = None;
        let Some(found) = self.hasher.take().map(Hasher::finish) else {
            return Ok(());
        };
        if found == self.blob.digest {
            return Ok(());
        }
        let source = DigestError::Mismatch {
            expected: self.blob.digest.clone(),
            found,
        };
        Err(RegistryError::Content {
            host: self.registry.0.host.clone(),
            what: self.what.clone(),
            source,
        })
    }

    async fn again(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.body = None;
        if self.done >= self.failed_at + PROGRESS {
            self.attempt = 1;
        }
        self.failed_at = self.done;
        self.registry
            .pause(&mut self.attempt, &self.what, error)
            .await
    }
}

/// Returns at which byte of the blob a body begins; `None` if the registry has nothing from there, or does not say.
fn start_of(response: &Response) -> Option<u64> {
    match response.status() {
        StatusCode::OK => Some(0),
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
            let (start, _) = range.trim().strip_prefix("bytes ")?.split_once('-')?;
            start.trim().parse().ok()
        }
        _ => None,
    }
}

fn length_of(response: &Response) -> Option<u64> {
    let value = response.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Takes addresses out of an error: those of storage back ends hold signatures.
fn without_url(error: io::Error) -> io::Error {
    let kind = error.kind();
    match error.downcast::<reqwest::Error>() {
        Ok(inner) => io::Error::new(kind, inner.without_url()),
        Err(error) => error,
    }
}
