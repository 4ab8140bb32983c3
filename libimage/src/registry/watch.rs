//! Sees whether an upload moves, and keeps the reason if its source fails.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::BlobStream;

/// Bytes a second that a registry stores at least, once it has a blob: object stores copy it once more.
const COMMIT_RATE: u64 = 4 << 20;
/// The longest time that this is waited for.
const COMMIT: Duration = Duration::from_secs(30 * 60);

/// Sees whether an upload moves.
#[derive(Debug)]
pub(super) struct Watch<E> {
    /// Bytes there are; the largest number where that is not known.
    size: u64,
    taken: AtomicU64,
    /// Whether the source has come to its end.
    ended: AtomicBool,
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
            ended: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    pub(super) fn over(watch: &Arc<Self>, mut content: BlobStream<E>) -> reqwest::Body {
        let watch = Arc::clone(watch);
        let content = futures_util::stream::poll_fn(move |cx| {
            let polled = content.poll_next_unpin(cx);
            watch.starved.store(polled.is_pending(), Ordering::Relaxed);
            watch
                .ended
                .fetch_or(matches!(polled, Poll::Ready(None)), Ordering::Relaxed);
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
            if taken == self.size || self.ended.load(Ordering::Relaxed) {
                let storing = Duration::from_secs(taken / COMMIT_RATE);
                let commit = stall.saturating_add(storing).min(COMMIT);
                tokio::time::sleep(commit).await;
                return commit;
            }
            if taken == seen && !self.starved.load(Ordering::Relaxed) {
                return stall;
            }
            seen = taken;
        }
    }
}
