//! tar → directory.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom, Write},
    os::fd::{AsFd, OwnedFd},
};

use cap_std::fs::Dir;
use rustix::fs::{FileType, Mode, OFlags};

use super::{
    LayerError, OverlayXattrs,
    archive::{Archive, Kind, Member},
    metadata::Metadata,
    path::{self, shown},
    tree::Tree,
};
use crate::inroot::RootDir;

/// What becomes of the owners an archive names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// They are set; an id outside of the user namespace's mapping is an error.
    Keep,
    /// Everything belongs to the caller (no sub-ids); files and directories are made readable (and directories searchable) for it.
    Squash,
}

/// What becomes of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// They are made; being refused by the kernel is an error.
    Create,
    /// They are left out and counted: user namespaces cannot make them.
    Skip,
    /// They are an error.
    Refuse,
}

/// How to apply a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// What becomes of owners.
    pub owners: Owners,
    /// What becomes of device nodes.
    pub devices: Devices,
    /// Where overlay looks for opaque markers.
    pub overlay_xattrs: OverlayXattrs,
    /// Entries the archive may have; see [`crate::limits::LAYER_ENTRIES`].
    pub max_entries: u64,
    /// Bytes the archive may have; see [`crate::limits::LAYER_UNPACKED_BYTES`].
    pub max_bytes: u64,
}

impl ApplyOptions {
    /// Returns the options of root on its own machine: owners, devices, `trusted.` attributes.
    #[must_use]
    pub fn privileged() -> Self {
        Self {
            owners: Owners::Keep,
            devices: Devices::Create,
            overlay_xattrs: OverlayXattrs::Trusted,
            max_entries: crate::limits::LAYER_ENTRIES,
            max_bytes: crate::limits::LAYER_UNPACKED_BYTES,
        }
    }

    /// Returns the options inside a user namespace.
    #[must_use]
    pub fn rootless(owners: Owners) -> Self {
        Self {
            owners,
            devices: Devices::Skip,
            overlay_xattrs: OverlayXattrs::User,
            ..Self::privileged()
        }
    }
}

/// What applying a layer did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerStats {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the archive, headers included: what the diffID covers.
    pub archive_bytes: u64,
    /// Bytes of the regular files.
    pub content_bytes: u64,
    /// Names this layer removes from those below.
    pub whiteouts: u64,
    /// Directories that hide those below.
    pub opaques: u64,
    /// The layer's root hides those below: what overlay cannot be told by an attribute, so the view ends here.
    #[serde(default)]
    pub root_opaque: bool,
    /// Device nodes left out.
    pub skipped_devices: u64,
    /// Extended attributes left out because only the kernel or the host may set them.
    pub skipped_xattrs: u64,
    /// Sentences for people, at most a handful.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Bytes asked of the stream at once while reading headers.
const STREAM_BUFFER: usize = 64 << 10;

/// Bytes of a file copied at once; not less than the stream's buffer, which is then bypassed.
const COPY_BUFFER: usize = 128 << 10;

/// What whiteouts begin with.
const WHITEOUT: &[u8] = b".wh.";

/// The name that makes its directory opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What the private files of an older union file system begin with: never content.
const PRIVATE: &[u8] = b".wh..wh.";

/// Applies a layer's archive to an empty directory, and reads the stream to its end.
///
/// Nothing outside of the directory is touched, whatever the archive says: parents resolve inside it, leaves are made anew,
/// metadata is set by descriptor. Whiteouts become what overlay understands. Nothing is synchronised to disk.
///
/// # Errors
/// [`LayerError`]; the directory then holds a part of the layer and should be thrown away.
///
/// # Privileges
/// With [`Owners::Keep`], those to give files to any owner of the user namespace.
pub fn apply(tar: impl Read, into: &Dir, options: &ApplyOptions) -> Result<LayerStats, LayerError> {
    let root = RootDir::new(into).map_err(|source| LayerError::Entry {
        operation: "open",
        path: shown(b""),
        source,
    })?;
    let mut applier = Applier {
        archive: Archive::new(
            BufReader::with_capacity(STREAM_BUFFER, tar),
            options.max_bytes,
        ),
        tree: Tree::new(root, options),
        options,
        stats: LayerStats::default(),
        buffer: vec![0; COPY_BUFFER],
    };
    applier.tree.set_root(Metadata::implied())?;
    while let Some(member) = applier.archive.next()? {
        applier.stats.entries += 1;
        if applier.stats.entries > options.max_entries {
            return Err(LayerError::Limit {
                what: "entries",
                limit: options.max_entries,
            });
        }
        applier.member(member)?;
    }
    applier.archive.drain()?;
    applier.finish()
}

struct Applier<'o, R> {
    archive: Archive<R>,
    tree: Tree<'o>,
    options: &'o ApplyOptions,
    stats: LayerStats,
    buffer: Vec<u8>,
}

impl<R: Read> Applier<'_, R> {
    fn member(&mut self, member: Member) -> Result<(), LayerError> {
        if member.kind == Kind::Global {
            return Ok(());
        }
        let path = path::clean(&member.path)?;
        let Some((directory, name)) = path::split(&path) else {
            return self.root(member);
        };
        if name == OPAQUE {
            return self.opaque(directory);
        }
        if path
            .split(|byte| *byte == b'/')
            .any(|component| component.starts_with(PRIVATE))
        {
            return Ok(());
        }
        if directory
            .split(|byte| *byte == b'/')
            .any(|component| component.starts_with(WHITEOUT))
        {
            return Err(LayerError::Malformed {
                path: shown(&path),
                what: "something inside of a whiteout",
            });
        }
        let parent = self.tree.parent(directory)?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(LayerError::Malformed {
                    path: shown(&path),
                    what: "a whiteout of no name",
                });
            }
            self.stats.whiteouts += 1;
            return self.tree.white_out(&parent, hidden, &path);
        }
        self.place(member, &path, &parent)
    }

    /// A member for the layer's root may say who owns it and what its mode is; it is a directory and stays one (CVE-2021-29136).
    fn root(&mut self, member: Member) -> Result<(), LayerError> {
        if member.kind != Kind::Directory {
            return Err(LayerError::Malformed {
                path: shown(b"/"),
                what: "the layer's root is no directory",
            });
        }
        let metadata = Metadata::of(member, &mut self.stats);
        self.tree.set_root(metadata)
    }

    fn opaque(&mut self, directory: &[u8]) -> Result<(), LayerError> {
        let Some((above, name)) = path::split(directory) else {
            self.stats.root_opaque = true;
            return Ok(());
        };
        // Its own member may come later, or never.
        self.tree.parent(directory)?;
        let parent = self.tree.parent(above)?;
        self.stats.opaques += 1;
        self.tree.make_opaque(&parent, name, directory)
    }

    fn place(&mut self, member: Member, path: &[u8], parent: &OwnedFd) -> Result<(), LayerError> {
        match member.kind.clone() {
            Kind::Regular => self.file(member, path, parent, None),
            Kind::Sparse(parts) => self.file(member, path, parent, Some(&parts)),
            Kind::Directory => {
                let (_, name) = path::split(path).expect("the root was handled");
                let metadata = Metadata::of(member, &mut self.stats);
                self.tree.make_directory(parent, name, path, metadata)
            }
            Kind::HardLink => {
                let target = path::clean(&member.link)?;
                self.tree.make_hard_link(parent, path, &target)
            }
            Kind::Symlink => self.symlink(member, path, parent),
            Kind::Character(0, 0) => Err(LayerError::Unsupported {
                path: shown(path),
                what: "the character device 0:0, overlay's whiteout",
            }),
            Kind::Character(major, minor) => self.device(
                member,
                path,
                parent,
                FileType::CharacterDevice,
                (major, minor),
            ),
            Kind::Block(major, minor) => {
                self.device(member, path, parent, FileType::BlockDevice, (major, minor))
            }
            Kind::Fifo => self.node(member, path, parent, FileType::Fifo, 0),
            Kind::Global => Ok(()),
        }
    }

    fn file(
        &mut self,
        member: Member,
        path: &[u8],
        parent: &OwnedFd,
        parts: Option<&[(u64, u64)]>,
    ) -> Result<(), LayerError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = self
            .tree
            .make_leaf(parent, path, "make the file", |parent, name| {
                rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
            })?;
        let mut file = File::from(made);
        let failed = |source| LayerError::Entry {
            operation: "write",
            path: shown(path),
            source,
        };
        match parts {
            None => self.copy(&mut file, member.size, path)?,
            Some(parts) => {
                for (offset, length) in parts {
                    file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
                    self.copy(&mut file, *length, path)?;
                }
                file.set_len(member.size).map_err(failed)?;
            }
        }
        self.stats.content_bytes += member.size;
        if self.stats.content_bytes > self.options.max_bytes {
            return Err(LayerError::Limit {
                what: "bytes",
                limit: self.options.max_bytes,
            });
        }
        let metadata = Metadata::of(member, &mut self.stats);
        metadata.set(file.as_fd(), false, path, self.options, &mut self.stats)
    }

    fn copy(&mut self, file: &mut File, mut length: u64, path: &[u8]) -> Result<(), LayerError> {
        while length > 0 {
            let want = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            let count = self.archive.read(&mut self.buffer[..want])?;
            file.write_all(&self.buffer[..count])
                .map_err(|source| LayerError::Entry {
                    operation: "write",
                    path: shown(path),
                    source,
                })?;
            length -= count as u64;
        }
        Ok(())
    }

    fn symlink(&mut self, member: Member, path: &[u8], parent: &OwnedFd) -> Result<(), LayerError> {
        use std::os::unix::ffi::OsStrExt;
        if member.link.is_empty() || member.link.contains(&0) {
            return Err(LayerError::Malformed {
                path: shown(path),
                what: "a symlink without a target",
            });
        }
        // A symlink that replaces a directory does so in `make_leaf`, which forgets the remembered one.
        self.tree
            .make_leaf(parent, path, "make the symlink", |parent, name| {
                rustix::fs::symlinkat(std::ffi::OsStr::from_bytes(&member.link), parent, name)
            })?;
        let (_, name) = path::split(path).expect("the root was handled");
        let metadata = Metadata::of(member, &mut self.stats);
        metadata.set_link(
            parent,
            std::ffi::OsStr::from_bytes(name),
            path,
            self.options,
        )
    }

    fn device(
        &mut self,
        member: Member,
        path: &[u8],
        parent: &OwnedFd,
        kind: FileType,
        number: (u32, u32),
    ) -> Result<(), LayerError> {
        match self.options.devices {
            Devices::Create => self.node(
                member,
                path,
                parent,
                kind,
                rustix::fs::makedev(number.0, number.1),
            ),
            Devices::Skip => {
                self.stats.skipped_devices += 1;
                Ok(())
            }
            Devices::Refuse => Err(LayerError::Unsupported {
                path: shown(path),
                what: "a device node",
            }),
        }
    }

    fn node(
        &mut self,
        member: Member,
        path: &[u8],
        parent: &OwnedFd,
        kind: FileType,
        device: u64,
    ) -> Result<(), LayerError> {
        use std::os::unix::ffi::OsStrExt;
        self.tree
            .make_leaf(parent, path, "make the special file", |parent, name| {
                rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device)
            })?;
        let (_, name) = path::split(path).expect("the root was handled");
        let metadata = Metadata::of(member, &mut self.stats);
        metadata.set_node(
            parent,
            std::ffi::OsStr::from_bytes(name),
            path,
            self.options,
        )
    }

    fn finish(mut self) -> Result<LayerStats, LayerError> {
        self.tree.finish(&mut self.stats)?;
        self.stats.archive_bytes = self.archive.position();
        if self.stats.skipped_devices > 0 {
            let message = format!(
                "{} device nodes left out: user namespaces cannot make them",
                self.stats.skipped_devices
            );
            self.stats.warnings.push(message);
        }
        if self.stats.skipped_xattrs > 0 {
            let message = format!("{} extended attributes left out", self.stats.skipped_xattrs);
            self.stats.warnings.push(message);
        }
        Ok(self.stats)
    }
}
