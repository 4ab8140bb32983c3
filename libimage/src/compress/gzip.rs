//! gzip (RFC 1952) by `zlib-rs`: members one after the other, checked against their checksum and length.

use std::io::{self, BufRead, Read, Write};

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::{CompressError, Compression};

/// zlib's way to ask for a gzip header and trailer around a 32 KiB window.
const GZIP_WINDOW_BITS: u8 = 15 + 16;

fn corrupt(what: impl Into<String>) -> io::Error {
    CompressError::Corrupt {
        format: Compression::Gzip,
        what: what.into(),
    }
    .into()
}

/// Decodes any number of members; zero bytes after the last one are padding, anything else is an error.
pub(super) struct GzipDecoder<R> {
    inner: R,
    state: State,
}

enum State {
    Member(Inflate),
    Between,
    Padding,
    End,
}

impl<R: BufRead> GzipDecoder<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            state: State::Member(Inflate::new(true, GZIP_WINDOW_BITS)),
        }
    }

    /// Decodes into the buffer; `Ok(0)` means that the state changed, not that the stream ended.
    fn inflate(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let State::Member(inflate) = &mut self.state else {
            return Ok(0);
        };
        let input = self.inner.fill_buf()?;
        let at_end = input.is_empty();
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, buffer, InflateFlush::NoFlush);
        let consumed = usize::try_from(inflate.total_in() - before_in)
            .expect("no more than the input's length");
        let produced = usize::try_from(inflate.total_out() - before_out)
            .expect("no more than the buffer's length");
        let status =
            status.map_err(|error| corrupt(inflate.error_message().unwrap_or(error.as_str())));
        self.inner.consume(consumed);
        match status? {
            Status::StreamEnd => self.state = State::Between,
            Status::Ok | Status::BufError if at_end && produced == 0 => {
                return Err(CompressError::Truncated {
                    format: Compression::Gzip,
                }
                .into());
            }
            Status::Ok | Status::BufError => {}
        }
        Ok(produced)
    }

    /// Looks at what follows a member: another one, padding, or the end.
    fn next_member(&mut self) -> io::Result<()> {
        let input = self.inner.fill_buf()?;
        self.state = match input.first() {
            None => State::End,
            Some(0) => State::Padding,
            Some(0x1f) => State::Member(Inflate::new(true, GZIP_WINDOW_BITS)),
            Some(_) => return Err(corrupt("garbage after the last member")),
        };
        Ok(())
    }

    fn skip_padding(&mut self) -> io::Result<()> {
        let input = self.inner.fill_buf()?;
        if input.is_empty() {
            self.state = State::End;
        } else if input.iter().all(|byte| *byte == 0) {
            let length = input.len();
            self.inner.consume(length);
        } else {
            return Err(corrupt("garbage after the last member"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for GzipDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Member(_) => {
                    let count = self.inflate(buffer)?;
                    if count > 0 {
                        return Ok(count);
                    }
                }
                State::Between => self.next_member()?,
                State::Padding => self.skip_padding()?,
                State::End => return Ok(0),
            }
        }
    }
}

/// Encodes one member whose header says nothing about us: no time, no name. zlib's own header says OS 3 (Unix), so it is written here.
pub(super) struct GzipEncoder<W> {
    inner: W,
    deflate: Deflate,
    checksum: u32,
    length: u32,
    output: Box<[u8]>,
}

/// Magic, deflate, no flags, time 0, no extra flags, unknown OS.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

impl<W: Write> GzipEncoder<W> {
    pub(super) fn new(mut inner: W, level: i32) -> io::Result<Self> {
        inner.write_all(&HEADER)?;
        let config = DeflateConfig {
            window_bits: -15,
            level,
            ..DeflateConfig::default()
        };
        let deflate = Deflate::new_with_config(config);
        Ok(Self {
            inner,
            deflate,
            checksum: 0,
            length: 0,
            output: vec![0; 64 << 10].into(),
        })
    }

    fn deflate(&mut self, mut input: &[u8], flush: DeflateFlush) -> io::Result<()> {
        loop {
            let (before_in, before_out) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self
                .deflate
                .compress(input, &mut self.output, flush)
                .map_err(|error| corrupt(error.as_str()))?;
            let consumed = usize::try_from(self.deflate.total_in() - before_in)
                .expect("no more than the input's length");
            let produced = usize::try_from(self.deflate.total_out() - before_out)
                .expect("no more than the buffer's length");
            self.inner.write_all(&self.output[..produced])?;
            input = &input[consumed..];
            let done = match flush {
                DeflateFlush::Finish => status == Status::StreamEnd,
                // Room left in the output means that everything there was to write is written.
                _ => input.is_empty() && produced < self.output.len(),
            };
            if done {
                return Ok(());
            }
        }
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.deflate(&[], DeflateFlush::Finish)?;
        self.inner.write_all(&self.checksum.to_le_bytes())?;
        self.inner.write_all(&self.length.to_le_bytes())?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for GzipEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.deflate(bytes, DeflateFlush::NoFlush)?;
        self.checksum = zlib_rs::crc32::crc32(self.checksum, bytes);
        // The trailer holds the length modulo 2^32.
        self.length = self.length.wrapping_add(bytes.len() as u32);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
