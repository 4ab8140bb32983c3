//! Which repositories of a host are known to have a blob: it can be mounted from there.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::digest::Digest;

/// Blobs remembered of a host; a run that meets more forgets none and learns no more. 200,000 of them take about 50 MB.
const BLOBS: usize = 200_000;
/// Repositories remembered for a blob: a second one is for when the first cannot be read with the credentials at hand.
const REPOSITORIES: usize = 4;

/// Where blobs have been seen or put during this run.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<HashMap<Digest, Vec<std::sync::Arc<str>>>>);

impl History {
    /// Notes that a repository has a blob.
    pub(crate) fn has(&self, digest: &Digest, repository: &std::sync::Arc<str>) {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if blobs.len() >= BLOBS && !blobs.contains_key(digest) {
            return;
        }
        let known = blobs.entry(digest.clone()).or_default();
        if known.len() < REPOSITORIES && !known.contains(repository) {
            known.push(std::sync::Arc::clone(repository));
        }
    }

    /// Returns another repository than `repository` that has a blob.
    pub(crate) fn elsewhere(&self, digest: &Digest, repository: &str) -> Option<String> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = blobs.get(digest)?;
        known
            .iter()
            .find(|known| &***known != repository)
            .map(|known| known.to_string())
    }

    /// Tells whether a repository is known to have a blob.
    pub(crate) fn knows(&self, digest: &Digest, repository: &str) -> bool {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs
            .get(digest)
            .is_some_and(|known| known.iter().any(|known| &**known == repository))
    }
}
