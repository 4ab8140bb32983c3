//! One blob: its bytes, and if it is a layer, what it unpacks to.

use std::{io, sync::Arc};

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::{Job, Problem, ProblemKind, finding};
use crate::{
    compress::{self, Compression},
    digest::{Algorithm, Digest, DigestReader},
    error::Error,
    layer::LayerError,
    media,
    progress::{BlobKind, Event, Progress},
    transport::{
        Source,
        local::{self, Message},
        meter,
        pieces::PieceReader,
        worker,
    },
};

/// What came of a blob.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) number: usize,
    pub(super) bytes: u64,
    pub(super) problems: Vec<Problem>,
}

/// What a layer turned out to be.
struct Unpacked {
    compression: Compression,
    diff_id: Digest,
    /// What is wrong with the archive.
    archive: Result<u64, LayerError>,
}

/// Checks a blob.
pub(super) async fn check(
    source: Source,
    job: Job,
    fast: bool,
    progress: Arc<dyn Progress>,
) -> Result<Checked, Error> {
    let mut checked = Checked {
        number: job.number,
        bytes: 0,
        problems: Vec::new(),
    };
    let problem = |kind, message| {
        Problem::new(
            kind,
            job.place.clone(),
            Some(job.blob.digest.clone()),
            message,
        )
    };
    if fast {
        match source.blob_size(&job.blob.digest).await {
            Ok(Some(size)) if size == job.blob.size => {}
            Ok(Some(size)) => checked.problems.push(problem(
                ProblemKind::Size,
                format!("it has {size} bytes, its descriptor says {}", job.blob.size),
            )),
            Ok(None) => checked
                .problems
                .push(problem(ProblemKind::Missing, "it is not there".to_owned())),
            Err(error) if finding::is(&error) => checked.problems.push(of(&error, &job)),
            Err(error) => return Err(error),
        }
        return Ok(checked);
    }
    let (digest, kind) = (&job.blob.digest, job.kind);
    let total = Some(job.blob.size);
    progress.event(&Event::Started {
        digest,
        kind,
        total,
    });
    let read = match kind {
        BlobKind::Layer => unpacked(&source, &job, &progress).await,
        _ => read(&source, &job, &progress, None).await.map(|()| None),
    };
    match read {
        Ok(unpacked) => {
            checked.bytes = job.blob.size;
            if let Some(unpacked) = unpacked {
                compare(&job, unpacked, &mut checked.problems);
            }
        }
        Err(error) if finding::is(&error) => checked.problems.push(of(&error, &job)),
        Err(error) => return Err(error),
    }
    progress.event(&Event::Done { digest });
    Ok(checked)
}

fn of(error: &Error, job: &Job) -> Problem {
    Problem::of(error, job.place.clone(), Some(&job.blob.digest))
}

fn compare(job: &Job, unpacked: Result<Unpacked, Error>, problems: &mut Vec<Problem>) {
    let problem = |kind, message| {
        Problem::new(
            kind,
            job.place.clone(),
            Some(job.blob.digest.clone()),
            message,
        )
    };
    let unpacked = match unpacked {
        Ok(unpacked) => unpacked,
        Err(error) => return problems.push(of(&error, job)),
    };
    let promised = media::layer_compression(&job.blob.media_type);
    if promised != Some(unpacked.compression) {
        let message = format!(
            "its type is {:?}, its content is {}",
            job.blob.media_type,
            match unpacked.compression {
                Compression::None => "not compressed",
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            }
        );
        problems.push(problem(ProblemKind::MediaType, message));
    }
    if let Some(expected) = &job.diff_id
        && *expected != unpacked.diff_id
    {
        let message = format!(
            "it unpacks to {}, the configuration says {expected}",
            unpacked.diff_id
        );
        problems.push(problem(ProblemKind::DiffId, message));
    }
    if let Err(error) = unpacked.archive {
        problems.push(of(&error.into(), job));
    }
}

/// Reads a layer through the decoder. The outer error is one of the blob, the inner one of what is in it.
async fn unpacked(
    source: &Source,
    job: &Job,
    progress: &Arc<dyn Progress>,
) -> Result<Option<Result<Unpacked, Error>>, Error> {
    let (sender, receiver) = mpsc::channel(local::WAITING);
    let algorithm = job
        .diff_id
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm);
    let unpacking = worker::run("validate layer", move || unpack(receiver, algorithm));
    let (read, unpacked) = tokio::join!(read(source, job, progress, Some(sender)), unpacking);
    // A blob that is not what it should be leaves nothing to say about its content.
    read.map(|()| Some(unpacked))
}

fn unpack(receiver: mpsc::Receiver<Message>, algorithm: Algorithm) -> Result<Unpacked, Error> {
    let (reader, _) = PieceReader::new(receiver);
    let decoder = compress::decoder(reader)?;
    let compression = decoder.compression();
    let mut hashing = DigestReader::new(decoder, algorithm);
    let archive = match crate::layer::check(&mut hashing) {
        // What the decoder says about the stream is no verdict on the archive.
        Err(LayerError::Read { source }) => return Err(local::of_io(source)),
        other => other,
    };
    // Also behind a broken archive: the diffID covers everything.
    io::copy(&mut hashing, &mut io::sink()).map_err(local::of_io)?;
    let (diff_id, _) = hashing.finish();
    Ok(Unpacked {
        compression,
        diff_id,
        archive,
    })
}

/// Reads a blob to its end, and passes it on as long as anybody wants it.
async fn read(
    source: &Source,
    job: &Job,
    progress: &Arc<dyn Progress>,
    mut to: Option<mpsc::Sender<Message>>,
) -> Result<(), Error> {
    let mut content = meter::metered(source.blob(&job.blob), &job.blob.digest, progress);
    while let Some(piece) = content.next().await {
        let piece = piece?;
        if let Some(sender) = &to
            && sender.send(Message::Piece(piece)).await.is_err()
        {
            to = None;
        }
    }
    if let Some(sender) = to {
        drop(sender.send(Message::End).await);
    }
    Ok(())
}
