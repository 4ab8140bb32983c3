//! Uploads in chunks, for registries that refuse large requests and links that break.
//!
//! A chunk is kept in memory until the registry has acknowledged it: after a failure the registry is asked how much it has, and what
//! it lacks is sent again, so that the source is read once. At most [`chunks::LARGEST`](crate::traffic) bytes are kept for a blob,
//! usually 8 MiB.
//!
//! # References
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks>

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, HeaderValue, LOCATION, RANGE},
};

use super::{BlobStream, Location, Registry, RegistryError, UploadFailure, request::Call};
use crate::{auth::Access, traffic::Chunks};

/// A chunk is taken.
const TAKEN: [StatusCode; 4] = [
    StatusCode::ACCEPTED,
    StatusCode::CREATED,
    StatusCode::NO_CONTENT,
    StatusCode::OK,
];

/// An upload in chunks under way.
struct Chunked<'a, E> {
    registry: &'a Registry,
    what: &'a str,
    location: &'a Location,
    /// Gone once all of it has been read.
    content: Option<BlobStream<E>>,
    /// What the registry has not acknowledged yet.
    held: VecDeque<Bytes>,
    /// Bytes of `held`.
    waiting: u64,
    /// Bytes the registry has acknowledged.
    done: u64,
    attempt: u32,
}

impl Registry {
    /// Sends content in chunks; to be followed by its digest. The registry has a part of it after a failure.
    pub(super) async fn send_chunks<E: std::fmt::Display + Send + 'static>(
        &self,
        what: &str,
        location: &Location,
        content: BlobStream<E>,
    ) -> Result<(), UploadFailure<E>> {
        let mut upload = Chunked {
            registry: self,
            what,
            location,
            content: Some(content),
            held: VecDeque::new(),
            waiting: 0,
            done: 0,
            attempt: 1,
        };
        while upload.fill().await? {
            upload.send().await?;
        }
        Ok(())
    }
}

impl<E: std::fmt::Display + Send + 'static> Chunked<'_, E> {
    fn chunks(&self) -> &Chunks {
        &self.registry.0.traffic.chunks
    }

    fn size(&self) -> u64 {
        self.chunks().size(self.location.least_chunk)
    }

    /// Reads until there is a chunk; `false` if nothing is left to send.
    async fn fill(&mut self) -> Result<bool, UploadFailure<E>> {
        let size = self.size();
        while self.waiting < size
            && let Some(content) = &mut self.content
        {
            match content.next().await {
                None => self.content = None,
                Some(Err(error)) => return Err(UploadFailure::Source(error)),
                Some(Ok(piece)) => {
                    self.waiting += piece.len() as u64;
                    self.held.push_back(piece);
                }
            }
        }
        Ok(self.waiting > 0)
    }

    /// Sends what is held, but no more than a chunk, and learns how much of it arrived.
    async fn send(&mut self) -> Result<(), RegistryError> {
        let pieces = first(&self.held, self.size());
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let range = format!("{}-{}", self.done, self.done + length - 1);
        let range = HeaderValue::from_str(&range).expect("digits are ASCII");
        let call = Call::new(
            Method::PATCH,
            self.location.url(),
            Access::Push,
            self.what.to_owned(),
        )
        .header(CONTENT_RANGE, range);
        let content: BlobStream<std::io::Error> =
            Box::pin(stream::iter(pieces.into_iter().map(Ok)));
        let registry = self.registry;
        let error = match registry.send_stream(&call, Some(length), content).await {
            Ok(response) if TAKEN.contains(&response.status()) => {
                self.follow(&response)?;
                self.acknowledge(length);
                self.attempt = 1;
                return Ok(());
            }
            Ok(response) => registry.failure(self.what, response).await,
            Err(UploadFailure::Registry(error)) => error,
            Err(UploadFailure::Source(error)) => registry.interrupted(self.what, error),
        };
        match &error {
            // The registry, or something in front of it, wants smaller ones.
            RegistryError::Status { status: 413, .. } => {
                self.chunks().chunk_refused(length);
                if self.size() < length {
                    return Ok(());
                }
                Err(error)
            }
            RegistryError::Status { status: 416, .. } => {
                let out_of_step = registry.interrupted(self.what, "the registry lost a chunk");
                registry
                    .pause(&mut self.attempt, self.what, out_of_step)
                    .await?;
                self.compare().await
            }
            // A session the registry has forgotten: the caller begins another.
            RegistryError::NotFound { .. } => {
                Err(registry.interrupted(self.what, "the registry has forgotten the upload"))
            }
            _ => {
                registry.pause(&mut self.attempt, self.what, error).await?;
                self.compare().await
            }
        }
    }

    /// Asks the registry how much it has, and goes on from there.
    async fn compare(&mut self) -> Result<(), RegistryError> {
        let registry = self.registry;
        let lost = |problem: &'static str| registry.interrupted(self.what, problem);
        let call = Call::new(
            Method::GET,
            self.location.url(),
            Access::Push,
            self.what.to_owned(),
        );
        let accepted = [StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED];
        let response = match registry.send(&call, &accepted).await {
            // Not every registry can be asked: the caller begins another upload.
            Err(RegistryError::NotFound { .. } | RegistryError::Status { .. }) => {
                return Err(lost("the registry does not say how much has arrived"));
            }
            other => other?,
        };
        let has = held_of(&response)
            .ok_or_else(|| lost("the registry does not say how much has arrived"))?;
        if has < self.done || has > self.done + self.waiting {
            return Err(lost("the registry has something else than was sent"));
        }
        self.follow(&response)?;
        self.acknowledge(has - self.done);
        Ok(())
    }

    /// Goes where the registry wants the next chunk, if it says so.
    fn follow(&self, response: &Response) -> Result<(), RegistryError> {
        if response.headers().contains_key(LOCATION) {
            let next = self.registry.location_of(self.what, response)?;
            self.location.follow(&next);
        }
        Ok(())
    }

    /// Lets go of what has arrived.
    fn acknowledge(&mut self, mut bytes: u64) {
        self.done += bytes;
        self.waiting -= bytes;
        while let Some(piece) = self.held.front_mut() {
            if piece.len() as u64 > bytes {
                // What is smaller than a piece fits.
                drop(piece.split_to(usize::try_from(bytes).unwrap_or(0)));
                return;
            }
            bytes -= piece.len() as u64;
            self.held.pop_front();
        }
    }
}

/// Returns the first bytes of pieces, sharing their memory.
fn first(held: &VecDeque<Bytes>, size: u64) -> Vec<Bytes> {
    let mut left = usize::try_from(size).unwrap_or(usize::MAX);
    let mut pieces = Vec::new();
    for piece in held {
        if left == 0 {
            break;
        }
        let piece = piece.slice(..piece.len().min(left));
        left -= piece.len();
        pieces.push(piece);
    }
    pieces
}

/// Reads `Range: 0-99` as a hundred bytes. Of nothing, registries say `0-0`: nobody sends a chunk of one byte, so that is meant.
fn held_of(response: &Response) -> Option<u64> {
    let range = response.headers().get(RANGE)?.to_str().ok()?.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (start, end) = range.split_once('-')?;
    match (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?) {
        (0, 0) => Some(0),
        (0, end) => end.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trimaran_testkit::{DebianRegistry, debian, image::noise, skip};

    use super::*;
    use crate::{
        config::Policy,
        context::{Context, Patience, Side},
        digest::Digest,
        manifest::Descriptor,
    };

    #[test]
    fn debians_registry_takes_chunks_and_says_what_it_has() {
        let Some(server) = DebianRegistry::start(&debian::Options::default()) else {
            skip("docker-registry is not installed");
            return;
        };
        let patience = Patience {
            first: Duration::from_millis(1),
            ..Patience::default()
        };
        let cx = Context::builder(Policy::accept_anything())
            .tls_verify(Side::Destination, false)
            .patience(patience)
            .build();
        let name = format!("{}/image", server.host()).parse().unwrap();
        let registry = Registry::new(&cx, Side::Destination, &name, Vec::new()).unwrap();
        let content = noise(18 << 20);
        let blob = Descriptor::new("", Digest::of(&content), content.len() as u64);
        let open = || -> BlobStream<RegistryError> {
            let pieces: Vec<_> = content
                .chunks(100_000)
                .map(Bytes::copy_from_slice)
                .collect();
            Box::pin(stream::iter(pieces.into_iter().map(Ok)))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        registry.0.traffic.chunks.whole_refused(1 << 20);
        runtime.block_on(async {
            registry.put_blob(&blob, open).await.unwrap();
            assert!(registry.has_blob(&blob).await.unwrap());
        });
    }
}
