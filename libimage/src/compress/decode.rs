//! Which format is it, and the decoder for it.

use std::{
    fmt,
    io::{self, BufRead, Chain, Cursor, Read},
};

use super::{CompressError, Compression, gzip::GzipDecoder};
use crate::limits;

/// What follows the bytes that were read to find the format.
type Sniffed<R> = Chain<Cursor<Vec<u8>>, R>;

/// Decodes a stream; see [`decoder`].
pub struct Decoder<R: BufRead> {
    codec: Codec<R>,
    limit: u64,
    done: u64,
}

enum Codec<R: BufRead> {
    Plain(Sniffed<R>),
    Gzip(Box<GzipDecoder<Sniffed<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, Sniffed<R>>),
}

impl<R: BufRead> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("compression", &self.compression())
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

/// Decodes whatever the first bytes say it is: gzip (any number of members), zstd (any number of frames), else nothing.
///
/// The output is capped at [`limits::LAYER_UNPACKED_BYTES`]. The reader is read to its end, past the last member or frame.
///
/// # Errors
/// If the first bytes cannot be read.
pub fn decoder<R: BufRead>(reader: R) -> Result<Decoder<R>, CompressError> {
    decoder_with_limit(reader, limits::LAYER_UNPACKED_BYTES)
}

/// Decodes like [`decoder`], with a limit of its own on the output in bytes.
///
/// # Errors
/// If the first bytes cannot be read.
pub fn decoder_with_limit<R: BufRead>(
    mut reader: R,
    limit: u64,
) -> Result<Decoder<R>, CompressError> {
    let start = |format| move |source| CompressError::Start { format, source };
    let mut magic = Vec::with_capacity(4);
    reader
        .by_ref()
        .take(4)
        .read_to_end(&mut magic)
        .map_err(start(Compression::None))?;
    let format = sniff(&magic);
    let sniffed = Cursor::new(magic).chain(reader);
    let codec = match format {
        Compression::None => Codec::Plain(sniffed),
        Compression::Gzip => Codec::Gzip(Box::new(GzipDecoder::new(sniffed))),
        Compression::Zstd => {
            let mut codec =
                zstd::stream::read::Decoder::with_buffer(sniffed).map_err(start(format))?;
            codec
                .window_log_max(limits::ZSTD_WINDOW_LOG)
                .map_err(start(format))?;
            Codec::Zstd(codec)
        }
    };
    Ok(Decoder {
        codec,
        limit,
        done: 0,
    })
}

/// Tells the format from the first four bytes. zstd streams may begin with a skippable frame.
pub(crate) fn sniff(magic: &[u8]) -> Compression {
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
        _ => Compression::None,
    }
}

impl<R: BufRead> Decoder<R> {
    /// Returns the format the first bytes showed.
    pub fn compression(&self) -> Compression {
        match self.codec {
            Codec::Plain(_) => Compression::None,
            Codec::Gzip(_) => Compression::Gzip,
            Codec::Zstd(_) => Compression::Zstd,
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.codec {
            Codec::Plain(reader) => reader.read(buffer)?,
            Codec::Gzip(codec) => codec.read(buffer)?,
            Codec::Zstd(codec) => codec.read(buffer).map_err(zstd_error)?,
        };
        self.done += count as u64;
        if self.done > self.limit {
            return Err(CompressError::TooLarge { limit: self.limit }.into());
        }
        Ok(count)
    }
}

/// Tells the codec's verdict from a failure of the reader below: only the former carries a message instead of an errno or an error of ours.
fn zstd_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CompressError::Truncated {
            format: Compression::Zstd,
        }
        .into(),
        io::ErrorKind::Other
            if crate::error::ErrorKind::of_io(&error) == crate::error::ErrorKind::Io
                && error.raw_os_error().is_none() =>
        {
            CompressError::Corrupt {
                format: Compression::Zstd,
                what: error.to_string(),
            }
            .into()
        }
        _ => error,
    }
}
