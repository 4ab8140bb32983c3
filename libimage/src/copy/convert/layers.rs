//! Layers compressed another way: decoded, verified and encoded as they pass, on threads of their own.
//!
//! Memory stays flat: per layer, the pieces that wait between the network and the threads on both sides, what the decoder reads
//! ahead, and the codecs' own buffers: about 10 MiB a layer for gzip, 60 MiB for zstd at its default level. No more layers are under way
//! than there are processors.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, Write},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::{ConvertError, Recompress, options::Layer};
use crate::{
    compress,
    copy::{Run, Tally},
    digest::{Digest, Hasher},
    error::{Error, ErrorKind},
    manifest::Descriptor,
    progress::{BlobKind, Event, Progress},
    registry::BlobStream,
    transport::{
        Sink, Source,
        local::{self, Message},
        meter,
        pieces::PieceReader,
        worker::{self, Crew},
    },
};

/// A layer to be compressed another way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) layer: Descriptor,
    /// What it must unpack to.
    pub(super) diff_id: Digest,
}

#[derive(Clone)]
struct Conversion {
    source: Source,
    sink: Sink,
    progress: Arc<dyn Progress>,
    wanted: Recompress,
    crew: Crew,
}

/// Compresses layers another way and uploads them, several at once, and returns what each has become.
pub(super) async fn recompress(
    run: &Run<'_>,
    wanted: &Recompress,
    jobs: Vec<Job>,
) -> Result<(BTreeMap<Digest, Layer>, Tally), Error> {
    let (crew, muster) = worker::crew();
    let conversion = Conversion {
        source: run.source.clone(),
        sink: run.sink.clone(),
        progress: Arc::clone(run.cx.progress()),
        wanted: wanted.clone(),
        crew,
    };
    // More at once than there are processors would only take more memory.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let at_once = run.options.jobs.min(processors);
    let work = jobs.into_iter().map(|job| conversion.clone().run(job));
    let results = worker::several(at_once, work.collect::<Vec<_>>()).await;
    drop(conversion);
    // Whatever a failure undoes is undone when it is returned.
    muster.gone().await;
    let mut became = BTreeMap::new();
    let mut tally = Tally::default();
    for (old, new, copied) in results? {
        if copied {
            tally.copied += 1;
            tally.bytes += new.size;
        } else {
            tally.skipped += 1;
        }
        became.insert(old, new);
    }
    Ok((became, tally))
}

impl Conversion {
    /// Returns the layer's digest, what it has become, and whether that had to be made.
    async fn run(self, job: Job) -> Result<(Digest, Layer, bool), Error> {
        let old = job.layer.digest.clone();
        if let Some(known) = self.there(&job).await? {
            self.progress.event(&Event::Skipped {
                digest: &old,
                why: "already there",
            });
            return Ok((old, known, false));
        }
        let open = || {
            self.progress.event(&Event::Started {
                digest: &old,
                kind: BlobKind::Layer,
                total: Some(job.layer.size),
            });
            let content = self.source.blob(&job.layer);
            let content = meter::metered(content, &old, &self.progress);
            recompressed(content, job.clone(), &self.wanted)
        };
        let (digest, size) = self.sink.put_unsized(open, &self.crew).await?;
        self.progress.event(&Event::Done { digest: &old });
        let layer = Layer {
            digest,
            size,
            diff_id: job.diff_id,
        };
        self.wanted.remember(&old, layer.clone());
        Ok((old, layer, true))
    }

    /// Returns what the layer became in an earlier copy, if the destination has that.
    async fn there(&self, job: &Job) -> Result<Option<Layer>, Error> {
        let known = self.wanted.remembered(&job.layer.digest);
        let Some(known) = known.filter(|known| known.diff_id == job.diff_id) else {
            return Ok(None);
        };
        let blob = Descriptor::new("", known.digest.clone(), known.size);
        Ok(self.sink.has_blob(&blob).await?.then_some(known))
    }
}

/// Turns a layer's bytes into those it has otherwise compressed. The last piece comes only when the content was right.
fn recompressed(content: BlobStream<Error>, job: Job, wanted: &Recompress) -> BlobStream<Error> {
    let (to_thread, from_stream) = mpsc::channel(local::WAITING);
    let (to_stream, from_thread) = mpsc::channel(local::WAITING);
    let wanted = wanted.clone();
    let working = worker::run("compress layer", move || {
        let out = Pieces::new(to_stream.clone());
        if let Err(error) = convert(from_stream, out, &job, &wanted) {
            // Whoever gave up says why; nobody may be left to be told.
            if error.kind() != ErrorKind::Canceled {
                drop(to_stream.blocking_send(Err(error)));
            }
        }
        Ok::<(), Error>(())
    });
    let driving = async move {
        let (fed, worked) = tokio::join!(feed(content, to_thread), working);
        fed.and(worked)
    };
    let pieces = stream::unfold(from_thread, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    // The thread starts when the stream is first polled, as a download does.
    let driving = stream::once(driving).filter_map(|result| async move { result.err().map(Err) });
    Box::pin(stream::select(pieces, driving))
}

async fn feed(mut content: BlobStream<Error>, thread: mpsc::Sender<Message>) -> Result<(), Error> {
    while let Some(piece) = content.next().await {
        // A thread that is gone has failed, and says why itself.
        if thread.send(Message::Piece(piece?)).await.is_err() {
            return Ok(());
        }
    }
    drop(thread.send(Message::End).await);
    Ok(())
}

/// Decodes, verifies, encodes.
fn convert(
    content: mpsc::Receiver<Message>,
    out: Pieces,
    job: &Job,
    wanted: &Recompress,
) -> Result<(), Error> {
    let failed = |source: io::Error| -> Error {
        if ErrorKind::of_io(&source) == ErrorKind::Canceled {
            return local::of_io(source);
        }
        let layer = job.layer.digest.clone();
        ConvertError::Layer { layer, source }.into()
    };
    let (content, ended) = PieceReader::new(content);
    let mut content = compress::decode_ahead(content)?;
    let mut encoder = compress::encoder(out, wanted.algorithm(), wanted.level())?;
    let mut hasher = Hasher::new(job.diff_id.algorithm());
    loop {
        let piece = content.fill_buf().map_err(failed)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        encoder.write_all(piece).map_err(failed)?;
        let length = piece.len();
        content.consume(length);
    }
    // A decoder that stops early leaves bytes unread, and with them the verdict on the blob.
    if !ended.load(Ordering::Acquire) {
        let trailing = io::Error::new(
            io::ErrorKind::InvalidData,
            "data follows the end of the compressed layer",
        );
        return Err(failed(Error::new(ErrorKind::Malformed, trailing).into()));
    }
    let found = hasher.finish();
    if found != job.diff_id {
        let (layer, wanted) = (job.layer.digest.clone(), job.diff_id.clone());
        return Err(ConvertError::DiffId {
            layer,
            wanted,
            found,
        }
        .into());
    }
    let mut out = encoder.finish().map_err(failed)?;
    out.send().map_err(failed)
}

/// Collects what an encoder writes into pieces worth sending.
struct Pieces {
    thread: mpsc::Sender<Result<Bytes, Error>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn new(thread: mpsc::Sender<Result<Bytes, Error>>) -> Self {
        Self {
            thread,
            piece: Vec::with_capacity(local::PIECE),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let next = Vec::with_capacity(local::PIECE);
        let piece = std::mem::replace(&mut self.piece, next);
        let sent = self.thread.blocking_send(Ok(piece.into()));
        sent.map_err(|_| local::given_up().into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Sent only when more follows: the last piece waits for the verdict.
        if self.piece.len() >= local::PIECE {
            self.send()?;
        }
        let count = bytes.len().min(local::PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
