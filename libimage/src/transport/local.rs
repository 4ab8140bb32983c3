//! Images on this machine, whose ends block, and bridges to streams, which must not.

use std::{
    fmt::Debug,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::{TransportError, worker};
use crate::{
    digest::{Digest, VerifyingReader},
    error::{Error, ErrorKind},
    layout::{Layout, Referrer},
    manifest::{Descriptor, Manifest},
    name::{ImageRef, Name},
    registry::BlobStream,
};

/// An image on this machine, read by calls that block.
pub(super) trait LocalSource: Debug + Send + Sync {
    /// Returns the manifest or index that the reference names, with its type if that is known.
    fn manifest(&self) -> Result<(Option<String>, Vec<u8>), Error>;

    /// Opens a blob; its content is not verified.
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error>;

    /// Returns the size of a blob in bytes; `None` if it is missing.
    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        // What knows no sizes is read to the end.
        match self.open(digest) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => Ok(Some(
                io::copy(&mut opened?, &mut io::sink()).map_err(of_io)?,
            )),
        }
    }

    /// Reads a small blob whole and verifies it.
    fn read(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        if blob.size > limit {
            let digest = blob.digest.clone();
            return Err(TransportError::TooLarge { digest, limit }.into());
        }
        let mut content = Vec::new();
        VerifyingReader::new(self.open(&blob.digest)?, blob.digest.clone(), blob.size)
            .read_to_end(&mut content)
            .map_err(of_io)?;
        Ok(content)
    }

    /// Returns the layout the image is in, if it is in one.
    fn layout(&self) -> Option<&Layout> {
        None
    }

    /// Lists everything that refers to a manifest.
    fn held_referrers(&self) -> Result<Vec<Referrer>, Error> {
        Ok(Vec::new())
    }

    /// Lists the tags beside which the image is, and its own.
    fn tags(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Returns the manifest that another tag has.
    fn tagged(&self, _tag: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    /// Returns the whole names that an archive has for the image.
    fn names(&self) -> &[Name] {
        &[]
    }

    /// Returns where a blob begins, if blobs are best read in the order of their places and one at a time.
    fn place(&self, _digest: &Digest) -> Option<u64> {
        None
    }

    /// Returns signatures that are kept beside the image, in their order.
    fn signatures(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(Vec::new())
    }
}

/// An image to be on this machine, written by calls that block.
pub(super) trait LocalSink: Debug + Send + Sync {
    /// Returns the path that errors name.
    fn place(&self) -> &Path;

    /// Returns the digest that all names of the destination have now, if they have one.
    fn head(&self) -> Result<Option<Digest>, Error>;

    /// Returns the size of a blob in bytes; `None` if it is missing.
    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error>;

    /// Learns which blobs will come, and returns how many at once are any use.
    fn expect(&self, _blobs: &[Descriptor]) -> Result<usize, Error> {
        Ok(usize::MAX)
    }

    /// Starts a blob. What is not expected to be anything is hashed.
    fn blob(&self, expected: Option<&Descriptor>) -> Result<Box<dyn BlobWrite>, Error>;

    /// Writes a manifest that an index names.
    fn put_child(&self, manifest: &Manifest, digest: &Digest) -> Result<(), Error>;

    /// Writes the manifest that gets the names.
    fn publish(&self, manifest: &Manifest) -> Result<(), Error>;

    /// Tells whether there is a place for what refers to an image; only then the next three are called.
    fn keeps_referrers(&self) -> bool {
        false
    }

    /// Lists what refers to a manifest already.
    fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(Vec::new())
    }

    /// Writes another manifest, under another tag or none: what refers to an image.
    fn put_entry(&self, _manifest: &Manifest, _tag: Option<&str>) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the manifest that another tag has.
    fn tagged(&self, _tag: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    /// Ends an archive; everything else is complete without.
    fn finish(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the same destination with more names for the image.
    fn with_names(&self, names: &[String]) -> Result<Arc<dyn LocalSink>, Error>;

    /// Returns a destination for another image in the same archive, if the reference means that.
    fn beside(&self, _image: &ImageRef) -> Option<Arc<dyn LocalSink>> {
        None
    }

    /// Keeps signatures beside the image; `false` where there is no place for them.
    fn put_signatures(&self, _signatures: &[Vec<u8>]) -> Result<bool, Error> {
        Ok(false)
    }

    /// Returns the layout the image goes to, if it goes to one.
    fn layout(&self) -> Option<&Layout> {
        None
    }
}

/// A blob on its way; nothing is visible before [`BlobWrite::finish`], dropping it undoes it.
pub(super) trait BlobWrite: Write {
    /// Publishes the blob if it is what was expected.
    fn finish(self: Box<Self>) -> Result<(Digest, u64), Error>;
}

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
pub(crate) fn stream_file<R, E>(
    open: impl FnOnce() -> Result<R, E> + Send + 'static,
    blob: &Descriptor,
) -> BlobStream<Error>
where
    R: Read + 'static,
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

/// Reads whatever a reader gives, on a thread of its own.
pub(crate) fn stream_unverified(mut content: impl Read + Send + 'static) -> BlobStream<Error> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let reading = worker::run("read", move || {
        loop {
            let mut buffer = vec![0; PIECE];
            let piece = match content.read(&mut buffer) {
                Ok(0) => return Ok::<(), Error>(()),
                Ok(count) => {
                    buffer.truncate(count);
                    Ok(buffer.into())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(of_io(error)),
            };
            let failed = piece.is_err();
            // A receiver that is gone wants nothing more.
            if sender.blocking_send(piece).is_err() || failed {
                return Ok(());
            }
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let reading = stream::once(reading).filter_map(|result| async move { result.err().map(Err) });
    Box::pin(stream::select(pieces, reading))
}

fn send_file(
    file: impl Read,
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

/// Writes what comes from a channel to a file of `place`. Fails if the channel closes before [`Message::End`].
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

/// Returns what all have, if they have the same.
pub(super) fn common<T: PartialEq>(found: impl IntoIterator<Item = Option<T>>) -> Option<T> {
    let mut found = found.into_iter();
    let first = found.next()??;
    found
        .all(|other| other.as_ref() == Some(&first))
        .then_some(first)
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
