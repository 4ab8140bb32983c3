//! What is visible, as a canonical archive.

use std::io::{BufWriter, Read, Write};

use tar::EntryType;

use super::{
    super::{
        LayerError,
        archive::{Archive, Kind, Member},
        header::{self, Fields},
        path::shown,
        pax::Xattr,
        xattr::{self, Verdict},
    },
    BUFFER,
};
use crate::limits;

/// What flattening wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlattenStats {
    /// Members of the archive.
    pub entries: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Bytes of the regular files.
    pub content_bytes: u64,
    /// Members of the layers that are not visible.
    pub hidden: u64,
    /// Layers that were read a second time, for hard links to files that are hidden.
    pub read_again: u64,
}

const ZEROS: [u8; 4096] = [0; 4096];
/// The end of the archive.
const END: [u8; 1024] = [0; 1024];

/// The archive being written.
pub(super) struct Writer<W: Write> {
    out: BufWriter<W>,
    pub(super) stats: FlattenStats,
    buffer: Vec<u8>,
}

fn write_error(source: std::io::Error) -> LayerError {
    LayerError::Write { source }
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(BUFFER, out),
            stats: FlattenStats::default(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Writes a member under a path, with its content.
    pub(super) fn member<R: Read>(
        &mut self,
        path: &[u8],
        member: &Member,
        archive: &mut Archive<R>,
    ) -> Result<(), LayerError> {
        self.header(path, member, None)?;
        let parts = match &member.kind {
            Kind::Regular => vec![(0, member.size)],
            Kind::Sparse(parts) => parts.clone(),
            _ => return Ok(()),
        };
        let mut at = 0;
        for (offset, length) in parts {
            self.zeros(offset - at)?;
            self.copy(length, archive)?;
            at = offset + length;
        }
        self.zeros(member.size - at)?;
        self.stats.archive_bytes += member.size.next_multiple_of(512);
        header::pad(&mut self.out, member.size).map_err(write_error)
    }

    fn copy<R: Read>(&mut self, mut left: u64, archive: &mut Archive<R>) -> Result<(), LayerError> {
        while left > 0 {
            let want = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
            let count = archive.read(&mut self.buffer[..want])?;
            self.out
                .write_all(&self.buffer[..count])
                .map_err(write_error)?;
            left -= count as u64;
        }
        Ok(())
    }

    fn zeros(&mut self, mut left: u64) -> Result<(), LayerError> {
        while left > 0 {
            let count = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.out.write_all(&ZEROS[..count]).map_err(write_error)?;
            left -= count as u64;
        }
        Ok(())
    }

    /// Writes the header of a member under a path: of what it is, or of a hard link to `target`.
    pub(super) fn header(
        &mut self,
        path: &[u8],
        member: &Member,
        target: Option<&[u8]>,
    ) -> Result<(), LayerError> {
        let (kind, device) = kind_of(path, member, target.is_some())?;
        let size = match kind {
            EntryType::Regular => member.size,
            _ => 0,
        };
        self.count(size)?;
        let xattrs = match target {
            None => kept_xattrs(member),
            Some(_) => Vec::new(),
        };
        let link = match (target, &member.kind) {
            (Some(target), _) => target,
            (None, Kind::Symlink) => &member.link,
            _ => b"",
        };
        let path = match (kind, path) {
            (EntryType::Directory, b"") => b"./".to_vec(),
            (EntryType::Directory, _) => [path, b"/"].concat(),
            _ => path.to_vec(),
        };
        let fields = Fields {
            path: &path,
            kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            size,
            mtime: member.mtime,
            link,
            device,
            xattrs: &xattrs,
        };
        let mut bytes = Vec::with_capacity(512);
        header::write(&mut bytes, &fields).map_err(write_error)?;
        self.stats.archive_bytes += bytes.len() as u64;
        self.out.write_all(&bytes).map_err(write_error)
    }

    /// Counts a member and its content.
    fn count(&mut self, size: u64) -> Result<(), LayerError> {
        self.stats.entries += 1;
        self.stats.content_bytes += size;
        if self.stats.content_bytes > limits::LAYER_UNPACKED_BYTES {
            return Err(LayerError::Limit {
                what: "bytes",
                limit: limits::LAYER_UNPACKED_BYTES,
            });
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<FlattenStats, LayerError> {
        self.out
            .write_all(&END)
            .and_then(|()| self.out.flush())
            .map_err(write_error)?;
        self.stats.archive_bytes += END.len() as u64;
        Ok(self.stats)
    }
}

/// Returns the type of a member in the archive, and the numbers of a device.
fn kind_of(
    path: &[u8],
    member: &Member,
    is_link: bool,
) -> Result<(EntryType, Option<(u32, u32)>), LayerError> {
    if is_link {
        return Ok((EntryType::Link, None));
    }
    Ok(match &member.kind {
        Kind::Regular | Kind::Sparse(_) => (EntryType::Regular, None),
        Kind::Directory => (EntryType::Directory, None),
        Kind::Symlink => (EntryType::Symlink, None),
        Kind::Character(major, minor) => (EntryType::Char, Some((*major, *minor))),
        Kind::Block(major, minor) => (EntryType::Block, Some((*major, *minor))),
        Kind::Fifo => (EntryType::Fifo, None),
        Kind::HardLink | Kind::Global => {
            return Err(LayerError::Malformed {
                path: shown(path),
                what: "a hard link to a hard link",
            });
        }
    })
}

/// Returns the extended attributes, without overlay's own.
fn kept_xattrs(member: &Member) -> Vec<Xattr> {
    let mut xattrs = member.xattrs.clone();
    xattrs.retain(|(name, _)| xattr::verdict(name) != Verdict::Strip);
    xattrs.sort();
    xattrs
}
