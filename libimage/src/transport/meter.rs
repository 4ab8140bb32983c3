//! Tells how far a stream of bytes has come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;

use crate::{
    digest::Digest,
    error::Error,
    progress::{Event, Progress},
    registry::BlobStream,
};

/// The least time between two events of a blob: nobody sees more than ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// Reports the bytes that pass.
pub(crate) fn metered(
    content: BlobStream<Error>,
    digest: &Digest,
    progress: &Arc<dyn Progress>,
) -> BlobStream<Error> {
    let (digest, progress) = (digest.clone(), Arc::clone(progress));
    let (mut done, mut told) = (0, Instant::now());
    Box::pin(content.inspect(move |piece| {
        let Ok(piece) = piece else { return };
        done += piece.len() as u64;
        if told.elapsed() >= INTERVAL {
            told = Instant::now();
            progress.event(&Event::Advanced {
                digest: &digest,
                done,
            });
        }
    }))
}
