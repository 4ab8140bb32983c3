//! Encoders whose output depends on the input, the format and the level alone.

use std::{
    fmt,
    io::{self, Write},
};

use super::{CompressError, Compression, gzip::GzipEncoder};

/// gzip's own default: what registries hold, and what peers produce.
const GZIP_LEVEL: i32 = 6;

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// Workers of zstd. The output does not depend on their number, but does on there being any: it is never 0.
const ZSTD_WORKERS: u32 = 2;

/// Bytes each worker is given at a time: fixed, because it shapes the output.
const ZSTD_JOB_BYTES: u32 = 4 << 20;

/// Encodes a stream; see [`encoder`].
pub struct Encoder<W: Write>(Codec<W>);

enum Codec<W: Write> {
    Plain(W),
    Gzip(Box<GzipEncoder<W>>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.0 {
            Codec::Plain(_) => Compression::None,
            Codec::Gzip(_) => Compression::Gzip,
            Codec::Zstd(_) => Compression::Zstd,
        };
        f.debug_tuple("Encoder").field(&format).finish()
    }
}

/// Encodes deterministically: the output depends on the input, the format and the level alone. `None`: the format's default level.
///
/// # Errors
/// If the codec refuses its settings, or the header cannot be written.
pub fn encoder<W: Write>(
    writer: W,
    compression: Compression,
    level: Option<i32>,
) -> Result<Encoder<W>, CompressError> {
    let start = |source| CompressError::Start {
        format: compression,
        source,
    };
    Ok(Encoder(match compression {
        Compression::None => Codec::Plain(writer),
        Compression::Gzip => {
            let level = level.unwrap_or(GZIP_LEVEL).clamp(1, 9);
            Codec::Gzip(Box::new(GzipEncoder::new(writer, level).map_err(start)?))
        }
        Compression::Zstd => {
            Codec::Zstd(zstd_encoder(writer, level.unwrap_or(ZSTD_LEVEL)).map_err(start)?)
        }
    }))
}

fn zstd_encoder<W: Write>(
    writer: W,
    level: i32,
) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut codec = zstd::stream::write::Encoder::new(writer, level)?;
    codec.multithread(ZSTD_WORKERS)?;
    codec.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB_BYTES))?;
    codec.include_checksum(true)?;
    Ok(codec)
}

impl<W: Write> Encoder<W> {
    /// Writes what is still buffered and the trailer, and gives the writer back.
    ///
    /// # Errors
    /// If the inner writer fails.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Codec::Plain(writer) => Ok(writer),
            Codec::Gzip(codec) => codec.finish(),
            Codec::Zstd(codec) => codec.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Codec::Plain(writer) => writer.write(bytes),
            Codec::Gzip(codec) => codec.write(bytes),
            Codec::Zstd(codec) => codec.write(bytes),
        }
    }

    /// Flushes the inner writer; what the codec holds back stays there, or the output would depend on the flushes.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Codec::Plain(writer) => writer.flush(),
            Codec::Gzip(codec) => codec.flush(),
            Codec::Zstd(codec) => codec.get_mut().flush(),
        }
    }
}
