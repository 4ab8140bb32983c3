//! The endpoint `/blobs/uploads/` for content whose digest is known only at its end: announced, streamed, named.
//!
//! # References
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks>

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use futures_util::StreamExt as _;
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};

use super::{
    Begun, BlobStream, Location, Registry, RegistryError, UploadFailure, request::Call,
    upload::Watch,
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
        let location = self
            .send_unsized(&what, location, hashed(content, &seen))
            .await?;
        let (digest, size) = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            (seen.0.clone().finish(), seen.1)
        };
        let mut url = location.0;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let call = Call::new(Method::PUT, url, Access::Push, what).empty_body();
        let accepted = [StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT];
        self.send(&call, &accepted).await?;
        Ok((digest, size))
    }

    /// Sends the bytes, and returns where the registry wants to hear their digest.
    async fn send_unsized<E: std::fmt::Display + Send + 'static>(
        &self,
        what: &str,
        location: Location,
        content: BlobStream<E>,
    ) -> Result<Location, UploadFailure<E>> {
        let url = location.0;
        let base = self.base().await?;
        let proof = base
            .auth
            .proof(&self.0.http, &url, Access::Push)
            .await
            .map_err(RegistryError::from)?;
        // The length is not known: no number of bytes is ever the last one.
        let watch = Watch::new(u64::MAX);
        let mut request = self
            .0
            .http
            .patch(url.clone())
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .body(Watch::over(&watch, content));
        if let Some(header) = proof.header() {
            request = request.header(AUTHORIZATION, header);
        }
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let answer = tokio::select! {
            answer = request.send() => answer.map_err(|error| RegistryError::of_http(&self.0.host, what, error)),
            after = watch.silence(self.0.patience.stall) => {
                Err(RegistryError::Stalled { host: self.0.host.clone(), what: what.to_owned(), after })
            }
        };
        if let Some(error) = watch.failure() {
            return Err(UploadFailure::Source(error));
        }
        let response = answer?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => {
                Ok(self.location_of(what, &response)?)
            }
            StatusCode::UNAUTHORIZED if response.url().origin() == base.url.origin() => {
                let challenge = super::challenge_of(response.headers());
                base.auth
                    .answer(&challenge, &proof, Access::Push)
                    .map_err(RegistryError::from)?;
                // The content cannot be sent again from here: whoever has it starts anew, with a fresh token.
                Err(self
                    .interrupted(what, "the registry wants a newer token")
                    .into())
            }
            _ => Err(self.failure(what, response).await.into()),
        }
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
