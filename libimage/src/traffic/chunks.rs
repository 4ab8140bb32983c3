//! How a host wants large blobs: whole, or in chunks of which size.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a chunk, where the host does not want others: small enough to be kept until it is known to have arrived, and large
/// enough that the requests do not count.
pub(crate) const CHUNK: u64 = 8 << 20;
/// No chunk is larger, whatever a host asks for: chunks are kept in memory.
pub(crate) const LARGEST: u64 = 64 << 20;
/// No chunk is smaller: hosts that refuse this refuse the upload.
pub(crate) const SMALLEST: u64 = 1 << 20;

/// What is known about a host's wishes.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// The complement of the bytes of the smallest blob that was refused as a whole; zero if none was.
    refused: AtomicU64,
    /// How often a connection broke under a large blob.
    broken: AtomicU64,
    /// Bytes of the largest chunk it takes; zero as long as none was refused.
    most: AtomicU64,
}

impl Chunks {
    /// Notes that a blob was refused as a whole.
    pub(crate) fn whole_refused(&self, size: u64) {
        self.refused.fetch_max((!size).max(1), Ordering::Relaxed);
    }

    /// Notes that the connection broke while a blob was sent as a whole: the second time, chunks are tried, which go on where they
    /// broke.
    pub(crate) fn whole_broke(&self, size: u64) {
        if size > CHUNK && self.broken.fetch_add(1, Ordering::Relaxed) > 0 {
            self.whole_refused(size);
        }
    }

    /// Tells whether a blob of that size need not be tried as a whole.
    pub(crate) fn wanted(&self, size: u64) -> bool {
        let refused = self.refused.load(Ordering::Relaxed);
        refused != 0 && size >= !refused
    }

    /// Notes that a chunk was refused for its size.
    pub(crate) fn chunk_refused(&self, size: u64) {
        self.most.store((size / 2).max(SMALLEST), Ordering::Relaxed);
    }

    /// Returns the size of a chunk, given the least that the host announced.
    pub(crate) fn size(&self, least: u64) -> u64 {
        let most = match self.most.load(Ordering::Relaxed) {
            0 => CHUNK,
            most => most,
        };
        most.max(least).min(LARGEST)
    }
}
