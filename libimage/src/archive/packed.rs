//! Places in an archive that is compressed as a whole: the only way to one leads through everything before it.

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
};

use super::tarball::Positioned;
use crate::compress::{self, Decoder};

/// Decoders that stand somewhere and wait for whoever needs what follows. One is enough for those who read in order.
const IDLE: usize = 4;
/// Bytes inflated at once on the way to somewhere.
const STRIDE: usize = 64 << 10;

/// A compressed file.
#[derive(Debug)]
pub(super) struct Packed {
    file: Arc<File>,
    start: u64,
    idle: Arc<Mutex<Vec<Cursor>>>,
}

/// A decoder that has come some way.
struct Cursor {
    decoder: Decoder<BufReader<Positioned>>,
    at: u64,
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Packed {
    pub(super) fn new(file: &Arc<File>, start: u64) -> Self {
        Self {
            file: Arc::clone(file),
            start,
            idle: Arc::default(),
        }
    }

    /// Goes to a place of the unpacked archive, from the nearest one before it that somebody has reached.
    pub(super) fn open(&self, at: u64, size: u64) -> io::Result<PackedFile> {
        let mut cursor = match self.nearest(at) {
            Some(cursor) => cursor,
            None => Cursor {
                decoder: compress::decoder(BufReader::with_capacity(
                    STRIDE,
                    Positioned::new(&self.file, self.start),
                ))?,
                at: 0,
            },
        };
        let mut buffer = vec![0; STRIDE];
        while cursor.at < at {
            let want = usize::try_from(at - cursor.at)
                .unwrap_or(STRIDE)
                .min(STRIDE);
            match cursor.decoder.read(&mut buffer[..want])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => cursor.at += count as u64,
            }
        }
        Ok(PackedFile {
            cursor: Some(cursor),
            left: size,
            idle: Arc::clone(&self.idle),
        })
    }

    fn nearest(&self, at: u64) -> Option<Cursor> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let before = (0..idle.len()).filter(|index| idle[*index].at <= at);
        let nearest = before.max_by_key(|index| idle[*index].at)?;
        Some(idle.swap_remove(nearest))
    }
}

/// A member of a compressed archive.
#[derive(Debug)]
pub(super) struct PackedFile {
    /// Gone after a failure.
    cursor: Option<Cursor>,
    left: u64,
    idle: Arc<Mutex<Vec<Cursor>>>,
}

impl Read for PackedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(cursor) = self.cursor.as_mut().filter(|_| want > 0) else {
            return Ok(0);
        };
        match cursor.decoder.read(&mut buffer[..want]) {
            Ok(0) => {
                self.cursor = None;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(count) => {
                cursor.at += count as u64;
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => {
                self.cursor = None;
                Err(error)
            }
        }
    }
}

impl Drop for PackedFile {
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE {
                idle.push(cursor);
            }
        }
    }
}
