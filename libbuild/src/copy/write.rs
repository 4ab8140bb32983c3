//! Writes trees into a root file system: every path beneath the root, every time stamp the epoch.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::{CopyError, CopyStats};
use crate::rooted::{Rooted, failed, file_type, look, names};
use crate::working::timestamps;

/// The largest list of names and the largest value of extended attributes the kernel allows.
const XATTR_BYTES: usize = 64 << 10;

/// How the copied files shall look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    /// The owner that was asked for.
    pub(crate) owner: Option<(u32, u32)>,
    /// Permission bits instead of the source's.
    pub(crate) mode: Option<u32>,
    /// Modification time, in seconds since 1970.
    pub(crate) seconds: i64,
    /// Whether the source's owners and times are kept, as those of an unpacked archive are.
    pub(crate) keep: bool,
}

impl Looks {
    fn owner(&self, stat: &Stat) -> (Option<Uid>, Option<Gid>) {
        let kept = if self.keep {
            (stat.st_uid, stat.st_gid)
        } else {
            (0, 0)
        };
        let (uid, gid) = self.owner.unwrap_or(kept);
        (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }

    fn mode(&self, stat: &Stat) -> Mode {
        Mode::from(self.mode.unwrap_or(stat.st_mode) & 0o7777)
    }

    fn seconds(&self, stat: &Stat) -> i64 {
        if self.keep {
            stat.st_mtime
        } else {
            self.seconds
        }
    }
}

/// A copy under way.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    root: Rooted<'a>,
    pub(crate) looks: Looks,
    /// The directory (device, inode) that must not be among the sources: the one that is written to.
    own: (u64, u64),
    /// The first copy of each source file with several names, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    pub(crate) stats: CopyStats,
}

/// A directory that is written to.
struct Target {
    fd: OwnedFd,
    path: PathBuf,
    changed: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(root: Rooted<'a>, looks: Looks, own: (u64, u64)) -> Self {
        Self {
            root,
            looks,
            own,
            links: HashMap::new(),
            stats: CopyStats::default(),
        }
    }

    /// Opens the destination directory, making what is missing: parents owned by root, the directory itself by the owner
    /// of the copy.
    pub(crate) fn destination(&mut self, path: &Path) -> Result<(), CopyError> {
        let (directory, made) = self.root.make_directories(path)?;
        if let (Some((uid, gid)), false) = (self.looks.owner, made.is_empty()) {
            rustix::fs::fchown(
                &directory,
                Some(Uid::from_raw(uid)),
                Some(Gid::from_raw(gid)),
            )
            .map_err(failed("set the owner of", path))?;
        }
        for entry in &made {
            self.stats.directories += 1;
            self.stamp(&entry.parent, &entry.path)?;
        }
        if made.is_empty() {
            Ok(())
        } else {
            self.stamp(&directory, path)
        }
    }

    /// Decides which path a file gets, making the directories it needs.
    pub(crate) fn place(
        &mut self,
        destination: &Path,
        wants_directory: bool,
        name: &OsStr,
    ) -> Result<PathBuf, CopyError> {
        let is_directory = || -> Result<bool, CopyError> {
            Ok(self
                .root
                .stat(destination)?
                .is_some_and(|stat| file_type(&stat) == FileType::Directory))
        };
        if wants_directory || is_directory()? {
            self.destination(destination)?;
            return Ok(destination.join(name));
        }
        let (_directory, made) = self
            .root
            .make_directories(destination.parent().unwrap_or(Path::new("/")))?;
        for entry in &made {
            self.stats.directories += 1;
            self.stamp(&entry.parent, &entry.path)?;
        }
        Ok(destination.to_owned())
    }

    /// Copies what a directory holds into an existing one.
    pub(crate) fn tree(
        &mut self,
        source: OwnedFd,
        shown: &Path,
        target: &Path,
    ) -> Result<(), CopyError> {
        let about = rustix::fs::fstat(&source)
            .map_err(|e| CopyError::source("look at", shown)(e.into()))?;
        if (about.st_dev, about.st_ino) == self.own {
            return Err(CopyError::HoldsContainer {
                path: shown.to_owned(),
            });
        }
        let fd = self
            .root
            .directory(target)?
            .ok_or_else(|| failed("open", target)(Errno::NOENT))?;
        let mut target = Target {
            fd,
            path: target.to_owned(),
            changed: false,
        };
        for name in names(&source).map_err(|e| CopyError::source("list", shown)(e.into()))? {
            self.entry(&source, &name, &shown.join(&name), &mut target)?;
        }
        if target.changed {
            self.stamp(&target.fd, &target.path)
        } else {
            Ok(())
        }
    }

    /// Copies one entry of a directory, whatever it is.
    fn entry(
        &mut self,
        source: &OwnedFd,
        name: &OsStr,
        shown: &Path,
        target: &mut Target,
    ) -> Result<(), CopyError> {
        let fault =
            |operation| move |errno: Errno| CopyError::source(operation, shown)(errno.into());
        let Some(stat) = look(source, name).map_err(fault("look at"))? else {
            return Err(fault("look at")(Errno::NOENT));
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open =
            |flags| rustix::fs::openat(source, name, flags, Mode::empty()).map_err(fault("open"));
        match file_type(&stat) {
            FileType::Directory => {
                let child = open(flags | OFlags::DIRECTORY)?;
                self.directory(child, &stat, shown, target, name)
            }
            FileType::RegularFile => {
                let file = open(flags)?;
                self.file_at(file, &stat, shown, target, name)
            }
            FileType::Symlink => {
                let link =
                    rustix::fs::readlinkat(source, name, Vec::new()).map_err(fault("read"))?;
                self.clear(target, name)?;
                let path = target.path.join(name);
                rustix::fs::symlinkat(link, &target.fd, name)
                    .map_err(failed("make the symlink", &path))?;
                self.finish_node(target, name, &path, &stat)
            }
            // A socket means nothing without the process that listens; archives leave it out too.
            FileType::Socket => Ok(()),
            // A device 0:0 is how overlay says that a name is gone.
            FileType::CharacterDevice if stat.st_rdev == 0 => Err(CopyError::Kind {
                path: shown.to_owned(),
            }),
            kind => {
                self.clear(target, name)?;
                let path = target.path.join(name);
                rustix::fs::mknodat(&target.fd, name, kind, Mode::from(0o600), stat.st_rdev)
                    .map_err(failed("make the special file", &path))?;
                self.finish_node(target, name, &path, &stat)
            }
        }
    }

    /// Copies a directory into another: onto the one that is there (followed if it is a symlink, kept as it looks), else
    /// anew.
    fn directory(
        &mut self,
        source: OwnedFd,
        stat: &Stat,
        shown: &Path,
        target: &mut Target,
        name: &OsStr,
    ) -> Result<(), CopyError> {
        let path = target.path.join(name);
        if self.root.directory(&path)?.is_some() {
            return self.tree(source, shown, &path);
        }
        let (made, entries) = self.root.make_directories(&path)?;
        debug_assert_eq!(entries.len(), 1, "the directory above was there");
        target.changed = true;
        self.stats.directories += 1;
        let attributes = read_xattrs(&source, shown)?;
        self.tree(source, shown, &path)?;
        self.finish(&made, stat, &attributes, &path)
    }

    /// Copies one file to a path whose directory exists.
    pub(crate) fn file(
        &mut self,
        source: OwnedFd,
        stat: &Stat,
        shown: &Path,
        path: &Path,
    ) -> Result<(), CopyError> {
        let missing = || failed("open the directory of", path)(Errno::NOENT);
        let (fd, name) = self.root.parent(path)?.ok_or_else(missing)?;
        let above = path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut target = Target {
            fd,
            path: above,
            changed: false,
        };
        self.file_at(source, stat, shown, &mut target, name.as_os_str())?;
        self.stamp(&target.fd, &target.path)
    }

    fn file_at(
        &mut self,
        source: OwnedFd,
        stat: &Stat,
        shown: &Path,
        target: &mut Target,
        name: &OsStr,
    ) -> Result<(), CopyError> {
        let path = target.path.join(name);
        self.clear(target, name)?;
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                return link(&self.root, first, target, name, &path);
            }
            self.links.insert(identity, path.clone());
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&target.fd, name, flags, Mode::from(0o600))
            .map_err(failed("create", &path))?;
        let attributes = read_xattrs(&source, shown)?;
        let (mut from, mut to) = (File::from(source), File::from(made));
        let copied = std::io::copy(&mut from, &mut to).map_err(|source| CopyError::Content {
            from: shown.to_owned(),
            to: path.clone(),
            source,
        })?;
        self.stats.files += 1;
        self.stats.bytes += copied;
        self.finish(&to, stat, &attributes, &path)
    }

    /// Makes room for an entry that is no directory.
    fn clear(&self, target: &mut Target, name: &OsStr) -> Result<(), CopyError> {
        let path = target.path.join(name);
        target.changed = true;
        match look(&target.fd, name).map_err(failed("look at", &path))? {
            None => Ok(()),
            Some(stat) if file_type(&stat) == FileType::Directory => {
                Err(CopyError::DirectoryInTheWay { path })
            }
            Some(_) => Ok(rustix::fs::unlinkat(&target.fd, name, AtFlags::empty())
                .map_err(failed("replace", &path))?),
        }
    }

    /// Gives a file or directory its owner, mode, attributes and time, in the order in which none undoes another: a change
    /// of owner clears set-uid bits and capabilities.
    fn finish(
        &self,
        made: impl AsFd,
        stat: &Stat,
        attributes: &[Attribute],
        path: &Path,
    ) -> Result<(), CopyError> {
        let (uid, gid) = self.looks.owner(stat);
        rustix::fs::fchown(&made, uid, gid).map_err(failed("set the owner of", path))?;
        rustix::fs::fchmod(&made, self.looks.mode(stat))
            .map_err(failed("set the mode of", path))?;
        for (name, value) in attributes {
            rustix::fs::fsetxattr(&made, name.as_c_str(), value, XattrFlags::empty())
                .map_err(failed("set an extended attribute of", path))?;
        }
        let times = timestamps(self.looks.seconds(stat));
        Ok(rustix::fs::futimens(made, &times).map_err(failed("set the time of", path))?)
    }

    /// The same for what cannot be opened: symlinks (which have no mode) and special files.
    fn finish_node(
        &mut self,
        target: &Target,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
    ) -> Result<(), CopyError> {
        self.stats.files += 1;
        let (uid, gid) = self.looks.owner(stat);
        rustix::fs::chownat(&target.fd, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the owner of", path))?;
        if file_type(stat) != FileType::Symlink {
            rustix::fs::chmodat(&target.fd, name, self.looks.mode(stat), AtFlags::empty())
                .map_err(failed("set the mode of", path))?;
        }
        let times = timestamps(self.looks.seconds(stat));
        Ok(
            rustix::fs::utimensat(&target.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("set the time of", path))?,
        )
    }

    /// Sets the time of a directory that got something.
    fn stamp(&self, made: impl AsFd, path: &Path) -> Result<(), CopyError> {
        Ok(rustix::fs::futimens(made, &timestamps(self.looks.seconds))
            .map_err(failed("set the time of", path))?)
    }
}

/// Gives a file that was copied already another name.
fn link(
    root: &Rooted<'_>,
    first: &Path,
    target: &Target,
    name: &OsStr,
    path: &Path,
) -> Result<(), CopyError> {
    let missing = || failed("find", first)(Errno::NOENT);
    let (directory, first_name) = root.parent(first)?.ok_or_else(missing)?;
    Ok(
        rustix::fs::linkat(directory, first_name, &target.fd, name, AtFlags::empty())
            .map_err(failed("make the hard link", path))?,
    )
}

type Attribute = (std::ffi::CString, Vec<u8>);

/// Reads the extended attributes that belong to the file rather than to the machine it is on.
fn read_xattrs(file: impl AsFd, shown: &Path) -> Result<Vec<Attribute>, CopyError> {
    let fault =
        |errno: Errno| CopyError::source("read the extended attributes of", shown)(errno.into());
    let mut list = vec![0; XATTR_BYTES];
    let length = match rustix::fs::flistxattr(&file, &mut list[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => length,
        Err(errno) => return Err(fault(errno)),
    };
    let mut found = Vec::new();
    for name in list[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = std::ffi::CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if travels(name.to_bytes()) {
            let mut value = vec![0; XATTR_BYTES];
            let size = rustix::fs::fgetxattr(&file, name, &mut value[..]).map_err(fault)?;
            value.truncate(size);
            found.push((name.to_owned(), value));
        }
    }
    found.sort();
    Ok(found)
}

/// Capabilities, access lists and the user's own attributes travel; labels of the host and overlay's own marks do not.
fn travels(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    user || name == b"security.capability" || name.starts_with(b"system.posix_acl_")
}
