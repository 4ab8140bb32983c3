//! A tar stream as members with everything said about them resolved: one reader, strict, with limits.
//!
//! The field positions come from the crate `tar`; the framing is ours, since its iterator reads extension headers without limit,
//! ignores the sign and the high bytes of binary numbers, and splits PAX records at newlines (see `pax`).
//! Where readers of the field disagree, Go's `archive/tar` is followed: it is what registries' content is made and read with.

use std::io::Read;

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::{
    LayerError,
    path::shown,
    pax::{Records, Xattr},
};
use crate::limits;

const BLOCK: usize = 512;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    /// Stored are the parts (offset, length) of a file of [`Member::size`] bytes; the rest is zeros.
    Sparse(Vec<(u64, u64)>),
    HardLink,
    Symlink,
    Character(u32, u32),
    Block(u32, u32),
    Directory,
    Fifo,
    /// Global PAX headers: ignored, as everybody does.
    Global,
}

/// A member, without its content. Names are as the archive has them.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits, set-id bits and the sticky bit.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Bytes of the file.
    pub(crate) size: u64,
    pub(crate) xattrs: Vec<Xattr>,
}

/// Reads members one after the other.
pub(crate) struct Archive<R> {
    reader: R,
    /// Stored bytes of the current member that are not read yet.
    remaining: u64,
    padding: u64,
    /// The current member, for messages.
    path: Vec<u8>,
    max_bytes: u64,
    /// Bytes of the archive read so far.
    position: u64,
}

/// What the extension headers before a member say.
#[derive(Default)]
struct Extensions {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Records>,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R, max_bytes: u64) -> Self {
        Self {
            reader,
            remaining: 0,
            padding: 0,
            path: Vec::new(),
            max_bytes,
            position: 0,
        }
    }

    /// Returns the number of bytes read so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next member; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, LayerError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                if extensions.is_empty() {
                    return Ok(None);
                }
                return Err(self.malformed("extension headers without a member"));
            };
            // Sizes of extension headers are their own; a PAX size is that of the member.
            match header.entry_type() {
                EntryType::XHeader => {
                    let body = self.extension(&header)?;
                    let records = Records::parse(&body).map_err(|what| self.malformed(what))?;
                    self.once(extensions.pax.replace(records).is_some())?;
                }
                EntryType::GNULongName => {
                    let body = self.extension(&header)?;
                    self.once(
                        extensions
                            .long_path
                            .replace(until_nul(&body).to_vec())
                            .is_some(),
                    )?;
                }
                EntryType::GNULongLink => {
                    let body = self.extension(&header)?;
                    self.once(
                        extensions
                            .long_link
                            .replace(until_nul(&body).to_vec())
                            .is_some(),
                    )?;
                }
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    fn once(&self, again: bool) -> Result<(), LayerError> {
        if again {
            Err(self.malformed("two extension headers of one kind before a member"))
        } else {
            Ok(())
        }
    }

    /// Reads content of the current member; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let want = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..want])?;
        if count == 0 {
            return Err(LayerError::Truncated {
                path: shown(&self.path),
            });
        }
        self.remaining -= count as u64;
        Ok(count)
    }

    /// Reads to the end of the stream, past the end of the archive: the diffID covers it.
    pub(crate) fn drain(&mut self) -> Result<(), LayerError> {
        let mut buffer = vec![0; 32 << 10];
        while self.read_some(&mut buffer)? > 0 {}
        Ok(())
    }

    /// Leaves what is unread of the current member's content behind: `skip` moves the reader on by a number of bytes.
    #[cfg(feature = "registry")]
    pub(crate) fn skip_content(
        &mut self,
        skip: impl FnOnce(&mut R, u64) -> std::io::Result<()>,
    ) -> Result<(), LayerError> {
        let whole = self.remaining.saturating_add(self.padding);
        skip(&mut self.reader, whole).map_err(|source| LayerError::Read { source })?;
        self.position = self.position.saturating_add(whole);
        (self.remaining, self.padding) = (0, 0);
        if self.position > self.max_bytes {
            return Err(LayerError::Limit {
                what: "bytes",
                limit: self.max_bytes,
            });
        }
        Ok(())
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Member, LayerError> {
        let pax = extensions.pax.unwrap_or_default();
        let header_path = || header.path_bytes().into_owned();
        self.path = pax
            .path
            .or(extensions.long_path)
            .unwrap_or_else(header_path);
        if pax.sparse {
            return Err(LayerError::Unsupported {
                path: shown(&self.path),
                what: "a sparse file in PAX form",
            });
        }
        let header_size = || self.number(&header.as_old().size, "malformed size");
        let stored = match pax.size {
            Some(size) => size,
            None => header_size()?,
        };
        let mut member = Member {
            path: self.path.clone(),
            link: pax
                .link
                .or(extensions.long_link)
                .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind: self.kind(header)?,
            // Go and GNU tar ignore what is above the permission bits, too.
            mode: (self.signed_number(&header.as_old().mode, "malformed mode")? & 0o7777) as u32,
            uid: self.id(pax.uid, &header.as_old().uid)?,
            gid: self.id(pax.gid, &header.as_old().gid)?,
            mtime: match pax.mtime {
                Some(time) => time,
                None => (
                    self.signed_number(&header.as_old().mtime, "malformed mtime")?,
                    0,
                ),
            },
            size: 0,
            xattrs: pax.xattrs,
        };
        if matches!(member.kind, Kind::Regular | Kind::Sparse(_) | Kind::Global) {
            // Other kinds have no content, whatever their size says.
            self.expect(stored)?;
            member.size = stored;
        }
        if let Kind::Sparse(parts) = &mut member.kind {
            (*parts, member.size) = self.sparse_map(header)?;
        }
        Ok(member)
    }

    fn kind(&self, header: &Header) -> Result<Kind, LayerError> {
        Ok(match header.entry_type() {
            // Before ustar a directory was a file whose name ends in a slash.
            EntryType::Regular if header.as_old().linkflag[0] == 0 && self.path.ends_with(b"/") => {
                Kind::Directory
            }
            EntryType::Regular | EntryType::Continuous => Kind::Regular,
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Char => {
                let (major, minor) = self.device(header)?;
                Kind::Character(major, minor)
            }
            EntryType::Block => {
                let (major, minor) = self.device(header)?;
                Kind::Block(major, minor)
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => Kind::Sparse(Vec::new()),
            EntryType::XGlobalHeader => Kind::Global,
            _ => {
                return Err(LayerError::Unsupported {
                    path: shown(&self.path),
                    what: "an unknown type of archive member",
                });
            }
        })
    }

    fn device(&self, header: &Header) -> Result<(u32, u32), LayerError> {
        let fields = match (header.as_ustar(), header.as_gnu()) {
            (Some(ustar), _) => (ustar.dev_major, ustar.dev_minor),
            (None, Some(gnu)) => (gnu.dev_major, gnu.dev_minor),
            (None, None) => return Ok((0, 0)),
        };
        let part = |field: &[u8]| {
            let number = self.number(field, "malformed device number")?;
            u32::try_from(number).map_err(|_| self.malformed("device number out of range"))
        };
        Ok((part(&fields.0)?, part(&fields.1)?))
    }

    /// Reads the map of an old GNU sparse file, which continues in blocks of its own.
    fn sparse_map(&mut self, header: &Header) -> Result<(Vec<(u64, u64)>, u64), LayerError> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| self.malformed("sparse member without a GNU header"))?;
        let size = self.number(&gnu.realsize, "malformed size of a sparse file")?;
        let mut parts = Vec::new();
        for part in &gnu.sparse {
            self.sparse_part(&mut parts, part)?;
        }
        let mut more = gnu.isextended[0] == 1;
        while more {
            if parts.len() as u64 * 24 > limits::TAR_EXTENSION_BYTES {
                return Err(LayerError::Limit {
                    what: "bytes in an extension header",
                    limit: limits::TAR_EXTENSION_BYTES,
                });
            }
            let mut extension = GnuExtSparseHeader::new();
            if !self.fill(extension.as_mut_bytes())? {
                return Err(LayerError::Truncated {
                    path: shown(&self.path),
                });
            }
            for part in &extension.sparse {
                self.sparse_part(&mut parts, part)?;
            }
            more = extension.isextended[0] == 1;
        }
        let mut end = 0;
        let mut stored = 0_u64;
        for (offset, length) in &parts {
            if *offset < end {
                return Err(self.malformed("overlapping parts of a sparse file"));
            }
            end = offset
                .checked_add(*length)
                .ok_or_else(|| self.malformed("part of a sparse file out of range"))?;
            stored = stored.saturating_add(*length);
        }
        if end > size || stored != self.remaining {
            return Err(self.malformed("the parts of a sparse file do not add up to its size"));
        }
        if size > self.max_bytes {
            return Err(LayerError::Limit {
                what: "bytes",
                limit: self.max_bytes,
            });
        }
        Ok((parts, size))
    }

    fn sparse_part(
        &self,
        parts: &mut Vec<(u64, u64)>,
        part: &tar::GnuSparseHeader,
    ) -> Result<(), LayerError> {
        if part.offset[0] == 0 || part.numbytes[0] == 0 {
            return Ok(());
        }
        let offset = self.number(&part.offset, "malformed offset in a sparse file")?;
        let length = self.number(&part.numbytes, "malformed length in a sparse file")?;
        // The last part is often empty: it marks the end of the file.
        if length > 0 {
            parts.push((offset, length));
        }
        Ok(())
    }

    /// Reads a header block and checks it; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let mut header = Header::new_old();
        if !self.fill(header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            let mut second = [0; BLOCK];
            if self.fill(&mut second)? && second.iter().any(|byte| *byte != 0) {
                return Err(self.malformed("data after a single block of zeros"));
            }
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum = |value: fn(u8) -> i64| {
            let field = 148..156;
            bytes
                .iter()
                .enumerate()
                .map(|(at, byte)| {
                    if field.contains(&at) {
                        32
                    } else {
                        value(*byte)
                    }
                })
                .sum::<i64>()
        };
        let expected = self.signed_number(&header.as_old().cksum, "malformed checksum")?;
        // Old archivers summed up signed characters.
        if expected != sum(i64::from) && expected != sum(|byte| i64::from(byte as i8)) {
            return Err(self.malformed("wrong checksum of a header (is it a tar archive?)"));
        }
        Ok(Some(header))
    }

    /// Reads the body of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        let size = self.number(
            &header.as_old().size,
            "malformed size of an extension header",
        )?;
        if size > limits::TAR_EXTENSION_BYTES {
            return Err(LayerError::Limit {
                what: "bytes in an extension header",
                limit: limits::TAR_EXTENSION_BYTES,
            });
        }
        self.expect(size)?;
        let mut body = vec![0; usize::try_from(size).expect("1 MiB at most")];
        let mut filled = 0;
        while filled < body.len() {
            filled += self.read(&mut body[filled..])?;
        }
        Ok(body)
    }

    /// Announces stored content and its padding.
    fn expect(&mut self, stored: u64) -> Result<(), LayerError> {
        if stored > self.max_bytes {
            return Err(LayerError::Limit {
                what: "bytes",
                limit: self.max_bytes,
            });
        }
        self.remaining = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), LayerError> {
        let mut buffer = [0; BLOCK * 16];
        while self.read(&mut buffer)? > 0 {}
        let padding = usize::try_from(self.padding).expect("less than a block");
        self.padding = 0;
        // Some archivers leave the last padding out; the next header will not be there either.
        if padding > 0 {
            self.fill_partial(&mut buffer[..padding])?;
        }
        Ok(())
    }

    /// Fills a block; false at the end of the stream, an error in the middle of the block.
    fn fill(&mut self, block: &mut [u8]) -> Result<bool, LayerError> {
        match self.fill_partial(block)? {
            0 => Ok(false),
            count if count == block.len() => Ok(true),
            _ => Err(LayerError::Truncated { path: shown(&[]) }),
        }
    }

    fn fill_partial(&mut self, block: &mut [u8]) -> Result<usize, LayerError> {
        let mut filled = 0;
        while filled < block.len() {
            match self.read_some(&mut block[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        loop {
            match self.reader.read(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    if self.position > self.max_bytes {
                        return Err(LayerError::Limit {
                            what: "bytes",
                            limit: self.max_bytes,
                        });
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Read { source }),
            }
        }
    }

    fn id(&self, pax: Option<u64>, field: &[u8]) -> Result<u32, LayerError> {
        let id = match pax {
            Some(id) => id,
            None => self.number(field, "malformed owner")?,
        };
        // The highest value means "leave it" to chown(2): CVE-2024-40635 class.
        u32::try_from(id)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| self.malformed("owner out of range"))
    }

    fn number(&self, field: &[u8], what: &'static str) -> Result<u64, LayerError> {
        u64::try_from(self.signed_number(field, what)?)
            .map_err(|_| self.malformed("negative number"))
    }

    fn signed_number(&self, field: &[u8], what: &'static str) -> Result<i64, LayerError> {
        parse_number(field).ok_or_else(|| self.malformed(what))
    }

    fn malformed(&self, what: &'static str) -> LayerError {
        LayerError::Malformed {
            path: shown(&self.path),
            what,
        }
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_path.is_none() && self.long_link.is_none() && self.pax.is_none()
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Parses octal digits among blanks, or GNU's binary form: big endian, two's complement, marked by the highest bit.
fn parse_number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value = if negative { -1_i64 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative {
                byte & 0x7f
            } else {
                *byte
            };
            // Shifting out anything but copies of the sign would lose it.
            if value >> 55 != value >> 63 {
                return None;
            }
            value = (value << 8) | i64::from(byte);
        }
        return Some(value);
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(field.len());
    let digits = field[start..].split(blank).next().unwrap_or_default();
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_with_sign() {
        let table: [(&[u8], Option<i64>); 10] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"12345678", None),
            (b"-0000001", None),
            (b"0x12\0\0\0\0", None),
            (&[0x80, 0, 0, 0, 0, 0, 1, 0], Some(256)),
            (&[0xff; 12], Some(-1)),
            (&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (
                &[
                    0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                ],
                Some(i64::MAX),
            ),
        ];
        for (field, expected) in table {
            assert_eq!(parse_number(field), expected, "{field:?}");
        }
    }
}
