//! How blobs are packed: decoding with limits, and encoding whose output depends on the input alone.
//!
//! The only importer of `zlib-rs` and `zstd`.

use std::io::{BufRead, Read, Write};

use crate::error::{Error, ErrorKind};
pub use crate::media::Compression;

/// Why a stream could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The first bytes could not be read, or the codec refused its settings.
    #[error("cannot start to {operation} {format:?}")]
    Start {
        /// `decode` or `encode`.
        operation: &'static str,
        /// The format.
        format: Compression,
        /// What the codec or the reader said.
        source: std::io::Error,
    },
}

impl CompressError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Start { source, .. } => ErrorKind::of_io(source),
        }
    }
}

impl From<CompressError> for Error {
    fn from(error: CompressError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Decodes a stream; see [`decoder`].
#[derive(Debug)]
pub struct Decoder<R: BufRead>(R);

impl<R: BufRead> Decoder<R> {
    /// Returns the format the first bytes showed.
    pub fn compression(&self) -> Compression {
        unimplemented!()
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, _buffer: &mut [u8]) -> std::io::Result<usize> {
        unimplemented!()
    }
}

/// Decodes whatever the first bytes say it is: gzip (any number of members), zstd (any number of frames), else nothing.
///
/// The output is capped at [`crate::limits::LAYER_UNPACKED_BYTES`].
///
/// # Errors
/// If the first bytes cannot be read.
pub fn decoder<R: BufRead>(_reader: R) -> Result<Decoder<R>, CompressError> {
    unimplemented!()
}

/// Encodes a stream; see [`encoder`].
#[derive(Debug)]
pub struct Encoder<W: Write>(W);

impl<W: Write> Encoder<W> {
    /// Writes what is still buffered and the trailer, and gives the writer back.
    ///
    /// # Errors
    /// If the inner writer fails.
    pub fn finish(self) -> std::io::Result<W> {
        unimplemented!()
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
        unimplemented!()
    }
    fn flush(&mut self) -> std::io::Result<()> {
        unimplemented!()
    }
}

/// Encodes deterministically: the output depends on the input, the format and the level alone. `None`: the format's default level.
///
/// # Errors
/// If the codec refuses the level.
pub fn encoder<W: Write>(
    _writer: W,
    _compression: Compression,
    _level: Option<i32>,
) -> Result<Encoder<W>, CompressError> {
    unimplemented!()
}
