//! directory → canonical tar.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Read, Write},
};

use cap_std::fs::Dir;
use rustix::fs::{FileType, OFlags, Stat};
use tar::EntryType;

use super::{
    LayerError, OverlayXattrs,
    header::{self, Fields},
    metadata::entry,
    path::{self, shown},
    pax::Xattr,
    scan::{self, Item, What},
};
use crate::inroot::RootDir;

/// How to write a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffOptions {
    /// Later times become this one, in seconds since 1970; `None` keeps them. Whiteouts get it (or 0).
    pub epoch: Option<i64>,
    /// Where overlay put its opaque markers.
    pub overlay_xattrs: OverlayXattrs,
}

/// What a diff contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiffStats {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Bytes of the regular files.
    pub content_bytes: u64,
    /// Whiteouts among the entries.
    pub whiteouts: u64,
    /// Sockets left out.
    pub skipped_sockets: u64,
}

impl DiffStats {
    /// Tells whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// Bytes written at once.
const OUTPUT_BUFFER: usize = 64 << 10;

/// Bytes of a file copied at once.
const COPY_BUFFER: usize = 128 << 10;

/// Writes what an overlay's upper directory changes, as a canonical archive: a pure function of the trees and the options.
///
/// `lowers` are the directories below, topmost first; without any, everything in `upper` is written except whiteouts. Order,
/// times, owners and headers are fixed: members sorted bytewise by path, whole seconds, numeric owners, ustar headers with PAX
/// records only where needed, two blocks of zeros at the end. Directories that differ from the one below only in time or
/// content are left out, sockets too.
///
/// # Errors
/// [`LayerError`]: among others for names that begin with `.wh.`, and for files that change while they are read.
///
/// # References
/// Image specification, layer.md; pax(1) in POSIX.
pub fn diff(
    upper: &Dir,
    lowers: &[Dir],
    options: &DiffOptions,
    out: impl Write,
) -> Result<DiffStats, LayerError> {
    let root = RootDir::new(upper).map_err(|source| LayerError::Entry {
        operation: "open",
        path: shown(b""),
        source,
    })?;
    let (items, skipped_sockets) = scan::scan(&root, lowers, options)?;
    let mut packer = Packer {
        root,
        options,
        out: Counting {
            inner: BufWriter::with_capacity(OUTPUT_BUFFER, out),
            count: 0,
        },
        stats: DiffStats {
            skipped_sockets,
            ..DiffStats::default()
        },
        links: HashMap::new(),
        buffer: vec![0; COPY_BUFFER],
    };
    for item in items {
        packer.item(&item)?;
    }
    packer.finish()
}

struct Packer<'a, W: Write> {
    root: RootDir,
    options: &'a DiffOptions,
    out: Counting<BufWriter<W>>,
    stats: DiffStats,
    /// The first path of every file that has more than one.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

struct Counting<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The end of the archive.
const END: [u8; 1024] = [0; 1024];

impl<W: Write> Packer<'_, W> {
    fn item(&mut self, item: &Item) -> Result<(), LayerError> {
        self.stats.entries += 1;
        match &item.what {
            What::Directory { stat, xattrs } => {
                let path = if item.path.is_empty() {
                    b"./".to_vec()
                } else {
                    [&item.path[..], b"/"].concat()
                };
                self.header(&Fields {
                    xattrs,
                    ..self.fields(&path, EntryType::Directory, stat)
                })
            }
            What::Whiteout => {
                self.stats.whiteouts += 1;
                self.marker(&item.path)
            }
            What::Opaque => self.marker(&[&item.path[..], b"/.wh..wh..opq"].concat()),
            What::File { stat } => self.any_file(&item.path, stat),
        }
    }

    fn marker(&mut self, path: &[u8]) -> Result<(), LayerError> {
        self.header(&Fields {
            path,
            kind: EntryType::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: (self.options.epoch.unwrap_or(0), 0),
            link: b"",
            device: None,
            xattrs: &[],
        })
    }

    fn any_file(&mut self, path: &[u8], stat: &Stat) -> Result<(), LayerError> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let first = first.clone();
                return self.header(&Fields {
                    link: &first,
                    ..self.fields(path, EntryType::Link, stat)
                });
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.regular(path),
            FileType::Symlink => self.symlink(path, stat),
            FileType::CharacterDevice => self.device(path, stat, EntryType::Char),
            FileType::BlockDevice => self.device(path, stat, EntryType::Block),
            FileType::Fifo => self.header(&self.fields(path, EntryType::Fifo, stat)),
            _ => Err(LayerError::NotALayer {
                path: shown(path),
                what: "an unknown type of file",
            }),
        }
    }

    fn regular(&mut self, path: &[u8]) -> Result<(), LayerError> {
        // The type may have changed since the scan: without O_NONBLOCK a FIFO would hang us.
        let opened = self
            .root
            .exact(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
            .map_err(entry("open", path))?;
        let mut file = File::from(opened);
        let stat = rustix::fs::fstat(&file).map_err(entry("find", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(LayerError::Changed { path: shown(path) });
        }
        let (xattrs, elsewhere): (Vec<Xattr>, bool) = scan::read_xattrs(&file, path)?;
        if elsewhere {
            return Err(LayerError::NotALayer {
                path: shown(path),
                what: "overlay left its content below (metacopy), which must be off",
            });
        }
        let size = stat.st_size.unsigned_abs();
        self.header(&Fields {
            size,
            xattrs: &xattrs,
            ..self.fields(path, EntryType::Regular, &stat)
        })?;
        let mut left = size;
        loop {
            let count = file
                .read(&mut self.buffer)
                .map_err(|source| LayerError::Entry {
                    operation: "read",
                    path: shown(path),
                    source,
                })?;
            left = left
                .checked_sub(count as u64)
                .ok_or_else(|| LayerError::Changed { path: shown(path) })?;
            if count == 0 {
                break;
            }
            self.out
                .write_all(&self.buffer[..count])
                .map_err(|source| LayerError::Write { source })?;
        }
        if left > 0 {
            return Err(LayerError::Changed { path: shown(path) });
        }
        self.stats.content_bytes += size;
        header::pad(&mut self.out, size).map_err(|source| LayerError::Write { source })
    }

    fn symlink(&mut self, path: &[u8], stat: &Stat) -> Result<(), LayerError> {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let (directory, name) = path::split(path).expect("the root is a directory");
        let directory = self
            .root
            .exact(directory, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(entry("open", path))?;
        let target = rustix::fs::readlinkat(directory, OsStr::from_bytes(name), Vec::new())
            .map_err(entry("read", path))?;
        self.header(&Fields {
            link: target.as_bytes(),
            mode: 0o777,
            ..self.fields(path, EntryType::Symlink, stat)
        })
    }

    fn device(&mut self, path: &[u8], stat: &Stat, kind: EntryType) -> Result<(), LayerError> {
        let number = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        self.header(&Fields {
            device: Some(number),
            ..self.fields(path, kind, stat)
        })
    }

    fn fields<'f>(&self, path: &'f [u8], kind: EntryType, stat: &Stat) -> Fields<'f> {
        Fields {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: 0,
            mtime: (
                self.options
                    .epoch
                    .map_or(stat.st_mtime, |epoch| epoch.min(stat.st_mtime)),
                0,
            ),
            link: b"",
            device: None,
            xattrs: &[],
        }
    }

    fn header(&mut self, fields: &Fields<'_>) -> Result<(), LayerError> {
        header::write(&mut self.out, fields).map_err(|source| LayerError::Write { source })
    }

    fn finish(mut self) -> Result<DiffStats, LayerError> {
        self.out
            .write_all(&END)
            .and_then(|()| self.out.flush())
            .map_err(|source| LayerError::Write { source })?;
        self.stats.archive_bytes = self.out.count;
        Ok(self.stats)
    }
}
