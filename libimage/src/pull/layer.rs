//! One layer on its way: stored, inflated and unpacked in one pass.

use std::sync::{Arc, atomic::Ordering};

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::{
    compress,
    digest::Digest,
    error::{Error, ErrorKind},
    manifest::Descriptor,
    progress::{BlobKind, Event, Progress},
    registry::BlobStream,
    store::{StagedLayer, Store},
    transport::{
        Source,
        local::{self, Message},
        meter,
        pieces::PieceReader,
        worker::Crew,
    },
};

/// What there is to do for a layer.
#[derive(Debug)]
pub(super) struct LayerPull {
    pub(super) source: Source,
    pub(super) store: Arc<Store>,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
    pub(super) unpack: bool,
    pub(super) crew: Crew,
}

impl LayerPull {
    /// Does what is missing of it.
    pub(super) async fn run(self) -> Result<(), Error> {
        let digest = &self.blob.digest;
        let has_blob = self.has_blob().await?;
        let staged = if self.unpack {
            self.stage().await?
        } else {
            None
        };
        if has_blob && staged.is_none() {
            self.progress.event(&Event::Skipped {
                digest,
                why: "already there",
            });
            return Ok(());
        }
        let (kind, total) = (BlobKind::Layer, Some(self.blob.size));
        self.progress.event(&Event::Started {
            digest,
            kind,
            total,
        });
        let content = if has_blob {
            self.stored()
        } else {
            self.source.blob(&self.blob)
        };
        let content = meter::metered(content, digest, &self.progress);
        self.transfer(content, !has_blob, staged).await?;
        self.progress.event(&Event::Done { digest });
        Ok(())
    }

    async fn has_blob(&self) -> Result<bool, Error> {
        let (store, digest) = (Arc::clone(&self.store), self.blob.digest.clone());
        let size = self
            .crew
            .run("look for blob", move || store.blob_size(&digest))
            .await?;
        // A file of another length is what a crash left: it is fetched anew.
        Ok(size == Some(self.blob.size))
    }

    /// Waits if another pull is unpacking the same layer; `None` if it is there.
    async fn stage(&self) -> Result<Option<StagedLayer>, Error> {
        if self.store.has_layer(&self.diff_id) {
            return Ok(None);
        }
        let (store, diff_id) = (Arc::clone(&self.store), self.diff_id.clone());
        self.crew
            .run("stage layer", move || store.stage(&diff_id))
            .await
    }

    fn stored(&self) -> BlobStream<Error> {
        let (store, digest) = (Arc::clone(&self.store), self.blob.digest.clone());
        local::stream_file(move || store.read_blob(&digest), &self.blob)
    }

    /// Tees the content to the threads that store and unpack it, and waits for all of them.
    async fn transfer(
        &self,
        content: BlobStream<Error>,
        keep: bool,
        staged: Option<StagedLayer>,
    ) -> Result<(), Error> {
        let (storing, to_store) = optional(keep);
        let (unpacking, to_unpack) = optional(staged.is_some());
        let store = async {
            match storing {
                Some(receiver) => self.store_blob(receiver).await,
                None => Ok(()),
            }
        };
        let unpack = async {
            match staged.zip(unpacking) {
                Some((staged, receiver)) => self.unpack(staged, receiver).await,
                None => Ok(()),
            }
        };
        let (fed, stored, unpacked) =
            tokio::join!(feed(content, [to_store, to_unpack]), store, unpack);
        verdict([fed, stored, unpacked])
    }

    async fn store_blob(&self, receiver: mpsc::Receiver<Message>) -> Result<(), Error> {
        let (store, blob) = (Arc::clone(&self.store), self.blob.clone());
        let work = move || {
            let mut upload = store.upload_verified(&blob.digest)?;
            local::write_pieces(receiver, &mut upload, store.path())?;
            upload.finish(Some((&blob.digest, blob.size)))?;
            Ok::<(), Error>(())
        };
        self.crew.run("store blob", work).await
    }

    /// Unpacks; a second thread inflates ahead of it.
    async fn unpack(
        &self,
        mut staged: StagedLayer,
        receiver: mpsc::Receiver<Message>,
    ) -> Result<(), Error> {
        let work = move || {
            let (compressed, ended) = PieceReader::new(receiver);
            let stats = staged.apply(compress::decode_ahead(compressed)?)?;
            // A decoder that stops early leaves bytes unread, and with them the verdict on the blob.
            if !ended.load(Ordering::Acquire) {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    "data follows the end of the compressed layer",
                ));
            }
            staged.finish()?;
            Ok::<_, Error>(stats)
        };
        let stats = self.crew.run("unpack layer", work).await?;
        let (entries, bytes) = (stats.entries, stats.archive_bytes);
        self.progress.event(&Event::Unpacked {
            diff_id: &self.diff_id,
            entries,
            bytes,
        });
        Ok(())
    }
}

fn optional(
    wanted: bool,
) -> (
    Option<mpsc::Receiver<Message>>,
    Option<mpsc::Sender<Message>>,
) {
    if !wanted {
        return (None, None);
    }
    let (sender, receiver) = mpsc::channel(local::WAITING);
    (Some(receiver), Some(sender))
}

/// Sends every piece to every thread. The content's stream holds its last piece back until all of it is verified, so `End` says
/// that too.
async fn feed(
    mut content: BlobStream<Error>,
    threads: [Option<mpsc::Sender<Message>>; 2],
) -> Result<(), Error> {
    while let Some(piece) = content.next().await {
        let piece = piece?;
        for thread in threads.iter().flatten() {
            // A thread that is gone has failed, and says why itself; the others notice that the channel closes.
            if thread.send(Message::Piece(piece.clone())).await.is_err() {
                return Ok(());
            }
        }
    }
    for thread in threads.iter().flatten() {
        if thread.send(Message::End).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Picks the failure that caused the others: a thread that was merely given up has nothing to say.
fn verdict(results: [Result<(), Error>; 3]) -> Result<(), Error> {
    let mut failures: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
    let cause = failures
        .iter()
        .position(|error| error.kind() != ErrorKind::Canceled)
        .unwrap_or(0);
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.swap_remove(cause))
    }
}
