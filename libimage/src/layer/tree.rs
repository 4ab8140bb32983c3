//! Where members are placed: parents resolved inside the staging directory, leaves made anew, directories finished at the end.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags},
    io::Errno,
};

use super::{
    ApplyOptions, LayerError, LayerStats,
    metadata::{Metadata, entry},
    path::{self, shown},
};
use crate::{
    inroot::{RootDir, remove_tree},
    limits,
};

/// The tree being made.
pub(super) struct Tree<'o> {
    root: RootDir,
    options: &'o ApplyOptions,
    /// The directory of the last member: archives go directory by directory.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// What directories get at the end, by inode: filling them changes their times, and their modes may forbid it.
    directories: HashMap<u64, (Vec<u8>, Metadata)>,
    names_bytes: usize,
}

impl<'o> Tree<'o> {
    pub(super) fn new(root: RootDir, options: &'o ApplyOptions) -> Self {
        Self {
            root,
            options,
            last: None,
            directories: HashMap::new(),
            names_bytes: 0,
        }
    }

    /// Returns the directory a path is in, making the missing part of it.
    pub(super) fn parent(&mut self, directory: &[u8]) -> Result<Rc<OwnedFd>, LayerError> {
        if let Some((path, fd)) = &self.last
            && path == directory
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match self.root.directory(directory) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.make_parents(directory, 0)?;
                self.root.directory(directory)
            }
            other => other,
        };
        let fd = Rc::new(fd.map_err(entry("open", directory))?);
        self.last = Some((directory.to_vec(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Makes every missing directory of a path; through a dangling symlink, the directory it points to, as unpacking onto the layers below would.
    fn make_parents(&mut self, directory: &[u8], symlinks: usize) -> Result<(), LayerError> {
        let ends = directory
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        for end in ends.chain([directory.len()]).collect::<Vec<_>>() {
            let prefix = &directory[..end];
            match self.root.directory(prefix) {
                Ok(_) => continue,
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(entry("open", prefix)(errno)),
            }
            let Some((above, name)) = path::split(prefix) else {
                continue;
            };
            let above_fd = self.root.directory(above).map_err(entry("open", above))?;
            match stat(&above_fd, name, prefix)? {
                None => self.make_directory(&above_fd, name, prefix, Metadata::implied())?,
                Some(found) if is_whiteout(&found) => {
                    self.make_directory(&above_fd, name, prefix, Metadata::implied())?;
                }
                Some(found)
                    if is_type(&found, FileType::Symlink) && symlinks < limits::PARENT_SYMLINKS =>
                {
                    let target =
                        rustix::fs::readlinkat(&above_fd, OsStr::from_bytes(name), Vec::new())
                            .map_err(entry("read", prefix))?;
                    let target = target.as_bytes();
                    let whole = if target.starts_with(b"/") {
                        target.to_vec()
                    } else {
                        [above, b"/", target].concat()
                    };
                    self.make_parents(&path::clean_target(&whole)?, symlinks + 1)?;
                }
                Some(_) => return Err(entry("make files below", prefix)(Errno::NOTDIR)),
            }
        }
        Ok(())
    }

    /// Makes a directory, or takes the one that is there. One that takes the place of a whiteout hides what is below it.
    pub(super) fn make_directory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        metadata: Metadata,
    ) -> Result<(), LayerError> {
        let mut hides = false;
        loop {
            match rustix::fs::mkdirat(parent, OsStr::from_bytes(name), Mode::RWXU) {
                Ok(()) => break,
                Err(Errno::EXIST) => match stat(parent, name, path)? {
                    Some(found) if is_type(&found, FileType::Directory) => break,
                    Some(found) => {
                        hides |= is_whiteout(&found);
                        self.clear(parent, name, path)?;
                    }
                    None => {}
                },
                Err(errno) => return Err(entry("make the directory", path)(errno)),
            }
        }
        if hides {
            self.make_opaque(parent, name, path)?;
        }
        let made = stat(parent, name, path)?.ok_or_else(|| entry("find", path)(Errno::NOENT))?;
        self.finish_later(made.st_ino, path, metadata)
    }

    /// Remembers what the layer's root gets.
    pub(super) fn set_root(&mut self, metadata: Metadata) -> Result<(), LayerError> {
        let root = rustix::fs::fstat(&self.root).map_err(entry("find", b""))?;
        self.finish_later(root.st_ino, b"", metadata)
    }

    fn finish_later(
        &mut self,
        inode: u64,
        path: &[u8],
        metadata: Metadata,
    ) -> Result<(), LayerError> {
        self.names_bytes += path.len();
        if self.names_bytes > limits::DIRECTORY_NAMES_BYTES {
            return Err(LayerError::Limit {
                what: "bytes in the names of directories",
                limit: limits::DIRECTORY_NAMES_BYTES as u64,
            });
        }
        self.directories.insert(inode, (path.to_vec(), metadata));
        Ok(())
    }

    /// Makes a leaf by `make`, in place of whatever has its name.
    pub(super) fn make_leaf<T>(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
        operation: &'static str,
        mut make: impl FnMut(&OwnedFd, &OsStr) -> Result<T, Errno>,
    ) -> Result<T, LayerError> {
        let (_, name) = path::split(path).expect("the root is no leaf");
        loop {
            match make(parent, OsStr::from_bytes(name)) {
                Err(Errno::EXIST) => self.clear(parent, name, path)?,
                other => return other.map_err(entry(operation, path)),
            }
        }
    }

    /// Makes `path` another name of the file `target`.
    pub(super) fn make_hard_link(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
        target: &[u8],
    ) -> Result<(), LayerError> {
        let missing = || LayerError::LinkTarget {
            path: shown(path),
            target: shown(target),
        };
        let (target_directory, target_name) = path::split(target).ok_or_else(missing)?;
        let target_parent = self
            .root
            .directory(target_directory)
            .map_err(|_| missing())?;
        let found = stat(&target_parent, target_name, target)?.ok_or_else(missing)?;
        if is_type(&found, FileType::Directory) || is_whiteout(&found) {
            return Err(missing());
        }
        let (_, name) = path::split(path).expect("the root is no leaf");
        if stat(parent, name, path)?
            .is_some_and(|there| (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino))
        {
            return Ok(());
        }
        let target_name = OsStr::from_bytes(target_name);
        let result = self.make_leaf(parent, path, "make the hard link", |parent, name| {
            rustix::fs::linkat(&target_parent, target_name, parent, name, AtFlags::empty())
        });
        match result {
            // What had the link's name held the target.
            Err(LayerError::Entry { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(missing())
            }
            other => other,
        }
    }

    /// Hides `name` of the layers below. What this layer itself has there stays visible; a directory then hides only what is below it.
    pub(super) fn white_out(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), LayerError> {
        match stat(parent, name, path)? {
            Some(found) if is_type(&found, FileType::Directory) => {
                self.make_opaque(parent, name, path)
            }
            Some(_) => Ok(()),
            None => {
                let result = rustix::fs::mknodat(
                    parent,
                    OsStr::from_bytes(name),
                    FileType::CharacterDevice,
                    Mode::empty(),
                    0,
                );
                result.map_err(entry("make the whiteout", path))
            }
        }
    }

    /// Makes a directory of this layer hide those below.
    pub(super) fn make_opaque(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, OsStr::from_bytes(name), flags, Mode::empty())
            .map_err(entry("open", path))?;
        let attribute = self.options.overlay_xattrs.opaque();
        rustix::fs::fsetxattr(directory, attribute, b"y", XattrFlags::empty())
            .map_err(entry("make opaque", path))
    }

    fn clear(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), LayerError> {
        // The remembered directory may be the one that goes, or be reached by the symlink that goes.
        self.last = None;
        match rustix::fs::unlinkat(parent, OsStr::from_bytes(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => remove_tree(parent, name).map_err(|source| LayerError::Entry {
                operation: "replace",
                path: shown(path),
                source,
            }),
            Err(errno) => Err(entry("replace", path)(errno)),
        }
    }

    /// Gives the directories what the archive says about them, the deepest first.
    pub(super) fn finish(self, stats: &mut LayerStats) -> Result<(), LayerError> {
        let mut directories: Vec<_> = self.directories.into_iter().collect();
        directories.sort_unstable_by(|(_, (left, _)), (_, (right, _))| right.cmp(left));
        for (inode, (path, metadata)) in directories {
            let opened = match self.root.leaf(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
                // A later member took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                other => other.map_err(entry("open", &path))?,
            };
            let found = rustix::fs::fstat(&opened).map_err(entry("find", &path))?;
            if found.st_ino == inode {
                metadata.set(opened.as_fd(), true, &path, self.options, stats)?;
            }
        }
        Ok(())
    }
}

pub(super) fn stat(parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Option<Stat>, LayerError> {
    match rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(entry("find", path)(errno)),
    }
}

pub(super) fn is_type(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// Tells whether it is what overlay takes for a removed name.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    is_type(stat, FileType::CharacterDevice) && stat.st_rdev == 0
}
