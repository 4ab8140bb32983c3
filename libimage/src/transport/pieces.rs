//! What comes over the network, as a reader for a thread.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use super::local::{self, Message};

/// Reads what an asynchronous task sends. Ends only after [`Message::End`]; a channel that closes before is an error.
#[derive(Debug)]
pub(crate) struct PieceReader {
    receiver: mpsc::Receiver<Message>,
    current: Bytes,
    ended: Arc<AtomicBool>,
}

impl PieceReader {
    /// Makes a reader, and the flag it sets when it has met the end: only then is everything it gave known to be right.
    pub(crate) fn new(receiver: mpsc::Receiver<Message>) -> (Self, Arc<AtomicBool>) {
        let ended = Arc::new(AtomicBool::new(false));
        let reader = Self {
            receiver,
            current: Bytes::new(),
            ended: Arc::clone(&ended),
        };
        (reader, ended)
    }
}

impl BufRead for PieceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended.load(Ordering::Relaxed) {
            match self.receiver.blocking_recv() {
                Some(Message::Piece(piece)) => self.current = piece,
                Some(Message::End) => self.ended.store(true, Ordering::Release),
                None => return Err(local::given_up().into()),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
