//! Which repositories of a host have a blob, as far as this run knows: it is not asked for again there, and can be mounted from
//! there. And which blobs are on their way: nobody sends one that somebody else is sending.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::digest::Digest;

/// Blobs remembered of a host; a run that meets more forgets none and learns no more. This many take about 50 MB.
const BLOBS: usize = 200_000;
/// Repositories remembered for a blob, beside those it is asked for: mounting needs one.
const REPOSITORIES: usize = 8;

/// Where blobs have been seen or put during this run.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    blobs: HashMap<Digest, Vec<Arc<str>>>,
    /// Repositories that the first does not get blobs from by mounting.
    refused: HashSet<(Arc<str>, String)>,
    under_way: HashMap<Digest, Arc<tokio::sync::Mutex<()>>>,
}

/// The right to bring a blob to the host.
#[derive(Debug)]
#[must_use = "others wait while this is held"]
pub(crate) struct Claim(
    #[expect(
        dead_code,
        reason = "it is held to be dropped: that lets the next one go"
    )]
    OwnedMutexGuard<()>,
);

impl History {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a repository has a blob.
    pub(crate) fn has(&self, digest: &Digest, repository: &Arc<str>) {
        let mut known = self.known();
        if known.blobs.len() >= BLOBS && !known.blobs.contains_key(digest) {
            return;
        }
        let places = known.blobs.entry(digest.clone()).or_default();
        if places.len() < REPOSITORIES && !places.contains(repository) {
            places.push(Arc::clone(repository));
        }
    }

    /// Tells whether a repository is known to have a blob.
    pub(crate) fn knows(&self, digest: &Digest, repository: &str) -> bool {
        let known = self.known();
        let places = known.blobs.get(digest);
        places.is_some_and(|places| places.iter().any(|place| &**place == repository))
    }

    /// Returns another repository that has a blob and lets `repository` mount it, as far as is known; the preferred one if it does.
    pub(crate) fn elsewhere(
        &self,
        digest: &Digest,
        repository: &Arc<str>,
        preferred: Option<&str>,
    ) -> Option<String> {
        let known = self.known();
        let may = |place: &&Arc<str>| {
            let pair = (Arc::clone(repository), place.to_string());
            *place != repository && !known.refused.contains(&pair)
        };
        let places = known.blobs.get(digest)?.iter().filter(may);
        places
            .min_by_key(|place| Some(&***place) != preferred)
            .map(|place| place.to_string())
    }

    /// Notes that a repository may not mount from another.
    pub(crate) fn refuses(&self, repository: &Arc<str>, from: &str) {
        let pair = (Arc::clone(repository), from.to_owned());
        self.known().refused.insert(pair);
    }

    /// Forgets all about a repository: it has lost something.
    pub(crate) fn forget(&self, repository: &str) {
        for places in self.known().blobs.values_mut() {
            places.retain(|place| &**place != repository);
        }
    }

    /// Waits until nobody else brings a blob to any repository of the host: then it is there, or can be mounted.
    pub(crate) async fn claim(&self, digest: &Digest) -> Claim {
        let turn = {
            let mut known = self.known();
            // What nobody waits for or holds any more is forgotten here.
            known
                .under_way
                .retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(known.under_way.entry(digest.clone()).or_default())
        };
        Claim(turn.lock_owned().await)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn blobs_are_remembered_where_they_are() {
        let (history, blob) = (History::default(), Digest::of(b"blob"));
        let [a, b, c]: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
        assert_eq!(history.elsewhere(&blob, &a, None), None);
        history.has(&blob, &a);
        assert!(history.knows(&blob, "a") && !history.knows(&blob, "b"));
        assert_eq!(
            history.elsewhere(&blob, &a, None),
            None,
            "a repository needs no mount from itself"
        );
        assert_eq!(history.elsewhere(&blob, &b, None).as_deref(), Some("a"));
        history.has(&blob, &c);
        assert_eq!(
            history.elsewhere(&blob, &b, Some("c")).as_deref(),
            Some("c")
        );
        history.refuses(&b, "a");
        assert_eq!(history.elsewhere(&blob, &b, None).as_deref(), Some("c"));
        history.forget("c");
        assert_eq!(history.elsewhere(&blob, &b, None), None);
    }

    #[test]
    fn one_brings_a_blob_and_the_others_wait() {
        let (history, blob) = (History::default(), Digest::of(b"blob"));
        let first = history.claim(&blob).now_or_never().unwrap();
        let mut second = Box::pin(history.claim(&blob));
        assert!(second.as_mut().now_or_never().is_none());
        let other = Digest::of(b"other");
        assert!(history.claim(&other).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }
}
