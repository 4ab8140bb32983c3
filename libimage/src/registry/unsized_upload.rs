//! The endpoint `/blobs/uploads/` for content whose digest is known only at its end: announced, streamed, named.
//!
//! # References
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks>

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode};

use super::{
    Begun, BlobStream, Location, Registry, RegistryError, UploadFailure, request::Call,
    upload::wants_chunks,
};
use crate::{
    auth::Access,
    digest::{Algorithm, Digest, Hasher},
};

/// What passed through, once all of it has.
type Seen = Arc<Mutex<(Hasher, u64)>>;

impl Registry {
    fn what_unsized(&self) -> String {
        self.of_repository("upload of a new blob")
    }

    /// Announces a blob whose digest is not known yet.
    ///
    /// # Errors
    ///
    /// The registry does not accept uploads here.
    pub(crate) async fn begin_unsized(&self) -> Result<Begun, RegistryError> {
        let what = self.what_unsized();
        let call = self
            .call(Method::POST, "blobs/uploads/", Access::Push, what)
            .await?
            .empty_body();
        self.announce(&call, false).await
    }

    /// Waits before such an upload is begun again; `attempt` counts from 1.
    ///
    /// # Errors
    ///
    /// The error itself, if another attempt cannot help or patience is at its end.
    pub(crate) async fn again_unsized(
        &self,
        attempt: &mut u32,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        self.pause(attempt, &self.what_unsized(), error).await
    }

    /// Sends content in one request of unknown length, and then names it by the digest it turned out to have.
    ///
    /// # Errors
    ///
    /// Either end failed. Nothing is stored then.
    pub(crate) async fn upload_unsized<E: std::fmt::Display + Send + 'static>(
        &self,
        location: Location,
        content: BlobStream<E>,
    ) -> Result<(Digest, u64), UploadFailure<E>> {
        let what = self.what_unsized();
        let seen: Seen = Arc::new(Mutex::new((Hasher::new(Algorithm::Sha256), 0)));
        self.send_unsized(&what, &location, hashed(content, &seen))
            .await?;
        let (digest, size) = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            (seen.0.clone().finish(), seen.1)
        };
        self.name_upload(&what, &location, &digest).await?;
        Ok((digest, size))
    }

    /// Sends the bytes: in one request of unknown length, or in chunks where the registry has refused that.
    async fn send_unsized<E: std::fmt::Display + Send + 'static>(
        &self,
        what: &str,
        location: &Location,
        content: BlobStream<E>,
    ) -> Result<(), UploadFailure<E>> {
        let chunks = &self.0.traffic.chunks;
        if chunks.wanted(u64::MAX) {
            return self.send_chunks(what, location, content).await;
        }
        let call = Call::new(Method::PATCH, location.url(), Access::Push, what.to_owned());
        let response = self.send_stream(&call, None, content).await?;
        let taken = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT];
        if taken.contains(&response.status()) {
            location.follow(&self.location_of(what, &response)?);
            return Ok(());
        }
        let refusal = self.failure(what, response).await;
        if wants_chunks(&refusal) {
            chunks.whole_refused(u64::MAX);
            let problem = "the registry does not take it in one piece";
            return Err(self.interrupted(what, problem).into());
        }
        Err(refusal.into())
    }
}

/// Hashes and counts what passes.
fn hashed<E: Send + 'static>(content: BlobStream<E>, seen: &Seen) -> BlobStream<E> {
    let seen = Arc::clone(seen);
    Box::pin(content.inspect(move |piece| {
        if let Ok(piece) = piece {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.0.update(piece);
            seen.1 += piece.len() as u64;
        }
    }))
}
