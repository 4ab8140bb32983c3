//! Bridges between files, which block, and streams, which must not.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::{TransportError, worker};
use crate::{
    digest::VerifyingReader,
    error::{Error, ErrorKind},
    manifest::Descriptor,
    registry::BlobStream,
};

/// Bytes read from a file at once.
pub(crate) const PIECE: usize = 256 << 10;
/// Pieces that may wait between two threads: 2 MiB a blob.
pub(crate) const WAITING: usize = 8;

/// What travels to a thread that writes.
#[derive(Debug)]
pub(crate) enum Message {
    /// The next bytes.
    Piece(Bytes),
    /// All of it came, and was right. A channel that closes without this is a transfer given up.
    End,
}

/// Reads a blob from a file, verifying it; the last piece comes only when all of it was right.
pub(crate) fn stream_file<E>(
    open: impl FnOnce() -> Result<File, E> + Send + 'static,
    blob: &Descriptor,
) -> BlobStream<Error>
where
    E: Into<Error> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    let blob = blob.clone();
    let reading = worker::run("read blob", move || {
        let error = match open()
            .map_err(Into::into)
            .and_then(|file| send_file(file, &blob, &sender))
        {
            Ok(()) => return Ok::<(), Error>(()),
            Err(error) => error,
        };
        // A receiver that is gone wants no error either.
        drop(sender.blocking_send(Err(error)));
        Ok(())
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    // The thread starts when the stream is first polled, as a download does.
    let reading = stream::once(reading).filter_map(|result| async move { result.err().map(Err) });
    Box::pin(stream::select(pieces, reading))
}

fn send_file(
    file: File,
    blob: &Descriptor,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let mut reader = VerifyingReader::new(file, blob.digest.clone(), blob.size);
    let mut held: Option<Bytes> = None;
    loop {
        let mut buffer = vec![0; PIECE];
        let count = reader.read(&mut buffer).map_err(of_io)?;
        buffer.truncate(count);
        let ready = if count == 0 {
            held.take()
        } else {
            held.replace(buffer.into())
        };
        if let Some(ready) = ready
            && sender.blocking_send(Ok(ready)).is_err()
        {
            return Ok(());
        }
        if count == 0 {
            return Ok(());
        }
    }
}

/// Writes what comes from a channel to a file in the layout or store `place`. Fails if the channel closes before
/// [`Message::End`].
pub(crate) fn write_pieces(
    mut receiver: mpsc::Receiver<Message>,
    mut out: impl Write,
    place: &Path,
) -> Result<(), Error> {
    loop {
        match receiver.blocking_recv() {
            Some(Message::Piece(piece)) => write(&mut out, &piece, place)?,
            Some(Message::End) => return Ok(()),
            None => return Err(given_up()),
        }
    }
}

/// Writes bytes to a file in the layout or store `place`.
pub(crate) fn write(mut out: impl Write, bytes: &[u8], place: &Path) -> Result<(), Error> {
    out.write_all(bytes).map_err(|source| {
        let place = place.to_owned();
        TransportError::Write { place, source }.into()
    })
}

/// The error of a thread whose other end is gone; somebody else has the reason.
pub(crate) fn given_up() -> Error {
    Error::new(
        ErrorKind::Canceled,
        io::Error::new(io::ErrorKind::BrokenPipe, "the transfer was given up"),
    )
}

/// Wraps an error of a reader or writer, keeping the kind of what is inside.
pub(crate) fn of_io(error: io::Error) -> Error {
    Error::new(ErrorKind::of_io(&error), error)
}
