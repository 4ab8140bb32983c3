//! Decodes on a thread of its own, a bounded distance ahead of the reader: inflating is half the cost of unpacking a layer.

use std::{
    io::{self, BufRead, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{CompressError, Compression, decoder};

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks on their way: 1 MiB of memory a stream.
const CHUNKS: usize = 4;

/// The reading end of [`decode_ahead`].
#[derive(Debug)]
pub struct Ahead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

/// Starts a thread that decodes `reader` (see [`decoder`]) ahead of whoever reads the result.
///
/// The thread ends when its reader does, or soon after the result is dropped.
///
/// # Errors
/// If no thread can be started.
pub fn decode_ahead<R: BufRead + Send + 'static>(reader: R) -> Result<Ahead, CompressError> {
    let (full_in, full) = sync_channel(CHUNKS);
    let (empty, empty_out) = sync_channel::<Vec<u8>>(CHUNKS + 1);
    thread::Builder::new()
        .name("inflate".into())
        .spawn(move || {
            // A closed channel means that nobody reads any more: not an error of the stream.
            if let Err(error) = run(reader, &full_in, &empty_out) {
                drop(full_in.send(Err(error)));
            }
        })
        .map_err(|source| CompressError::Start {
            format: Compression::None,
            source,
        })?;
    Ok(Ahead {
        full,
        empty,
        chunk: Vec::new(),
        at: 0,
    })
}

fn run<R: BufRead>(
    reader: R,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut decoder = decoder(reader)?;
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK_BYTES, 0);
        let mut filled = 0;
        while filled < CHUNK_BYTES {
            match decoder.read(&mut chunk[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        chunk.truncate(filled);
        // An empty chunk is the end: a thread that dies instead leaves none, and must not look like one.
        if full.send(Ok(chunk)).is_err() || filled == 0 {
            return Ok(());
        }
    }
}

impl Ahead {
    fn next(&mut self) -> io::Result<()> {
        let chunk = self
            .full
            .recv()
            .map_err(|_| io::Error::other("the decoding thread died"))??;
        let used = std::mem::replace(&mut self.chunk, chunk);
        self.at = 0;
        // A full channel only means that this buffer is not needed again.
        drop(self.empty.try_send(used));
        Ok(())
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let ended = self.chunk.is_empty() && self.chunk.capacity() > 0;
        if self.at == self.chunk.len() && !ended {
            self.next()?;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}
