//! Sees whether an upload moves, and keeps the reason if its source fails.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::BlobStream;

/// How long a registry may take to store a blob after its last byte: object stores copy it once more.
const COMMIT: Duration = Duration::from_secs(10 * 60);

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
