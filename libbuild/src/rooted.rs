//! Paths inside a root file system: every one is resolved with `openat2(RESOLVE_IN_ROOT)`, so a symlink, absolute or with
//! any number of `..`, ends inside the root and never on the host.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, io_kind};

/// A failed operation on a path inside a root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootedError {
    /// A system call failed.
    #[error("cannot {operation} {} in the container", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The path inside the root.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that is no directory is where one is needed.
    #[error("{} is in the way: it is no directory in the container", path.display())]
    NoDirectory {
        /// The path inside the root.
        path: PathBuf,
    },
    /// A path that leads nowhere: too many symlinks, or one to something missing.
    #[error("{} is a symlink that leads nowhere in the container", path.display())]
    Dangling {
        /// The path inside the root.
        path: PathBuf,
    },
}

impl From<RootedError> for Error {
    fn from(error: RootedError) -> Self {
        let kind = match &error {
            RootedError::Io { source, .. } => io_kind(source),
            RootedError::NoDirectory { .. } | RootedError::Dangling { .. } => {
                ErrorKind::InvalidInput
            }
        };
        Self::new(kind, error)
    }
}

pub(crate) fn failed<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(Errno) -> RootedError + 'a {
    move |errno| RootedError::Io {
        operation,
        path: path.to_owned(),
        source: errno.into(),
    }
}

/// The root of a file system, as a descriptor.
#[derive(Debug)]
pub struct Rooted<'a> {
    root: BorrowedFd<'a>,
}

/// A directory that had to be made.
#[derive(Debug)]
pub struct Made {
    /// Its path inside the root.
    pub path: PathBuf,
    /// The directory that holds it.
    pub parent: OwnedFd,
    /// What `parent` looked like before.
    pub parent_before: Stat,
}

impl<'a> Rooted<'a> {
    /// Uses `root` as the root.
    pub fn new(root: BorrowedFd<'a>) -> Self {
        Self { root }
    }

    /// Opens what `path` leads to, following symlinks inside the root.
    ///
    /// # Errors
    /// The bare system error, for callers that tell it in their own words.
    pub fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() {
            Path::new(".")
        } else {
            relative
        };
        // A concurrent rename makes the kernel ask to try again; nobody else should be renaming, so a few times is plenty.
        for _ in 0..16 {
            match rustix::fs::openat2(
                self.root,
                relative,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT,
            ) {
                Err(Errno::AGAIN) => (),
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Opens an existing directory, following symlinks inside the root; `None` if there is nothing.
    ///
    /// # Errors
    /// If something else is there, or the system refuses.
    pub fn directory(&self, path: &Path) -> Result<Option<OwnedFd>, RootedError> {
        match self.open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) => Err(RootedError::NoDirectory {
                path: path.to_owned(),
            }),
            Err(Errno::LOOP) => Err(RootedError::Dangling {
                path: path.to_owned(),
            }),
            Err(errno) => Err(failed("open", path)(errno)),
        }
    }

    /// Tells what `path` leads to, following symlinks inside the root; `None` if to nothing.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stat(&self, path: &Path) -> Result<Option<Stat>, RootedError> {
        match self.open(path, OFlags::PATH) {
            Ok(fd) => rustix::fs::fstat(fd)
                .map(Some)
                .map_err(failed("look at", path)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(failed("look at", path)(errno)),
        }
    }

    /// Opens a directory, making it and its parents (0755, owned by the caller) where they are missing. Returns what was
    /// made, outermost first.
    ///
    /// # Errors
    /// If a part of the path is no directory, or the system refuses.
    pub fn make_directories(&self, path: &Path) -> Result<(OwnedFd, Vec<Made>), RootedError> {
        if let Some(found) = self.directory(path)? {
            return Ok((found, Vec::new()));
        }
        let mut made = Vec::new();
        let mut reached = PathBuf::from("/");
        let mut current = self
            .open(&reached, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(failed("open", &reached))?;
        for part in path
            .components()
            .filter(|part| !matches!(part, std::path::Component::RootDir))
        {
            reached.push(part);
            current = match self.directory(&reached)? {
                Some(found) => found,
                None => {
                    let name = part.as_os_str();
                    let (child, entry) = make_directory(current, name, &reached)?;
                    made.push(entry);
                    child
                }
            };
        }
        Ok((current, made))
    }

    /// Opens the directory that holds `path` and returns it with the last component; the component itself is not followed.
    /// `None` if the directory does not exist.
    ///
    /// # Errors
    /// If `path` has no last component, or the system refuses.
    pub fn parent(&self, path: &Path) -> Result<Option<(OwnedFd, PathBuf)>, RootedError> {
        let Some(name) = path.file_name() else {
            return Err(failed("name", path)(Errno::INVAL));
        };
        let above = path.parent().unwrap_or(Path::new("/"));
        Ok(self.directory(above)?.map(|fd| (fd, PathBuf::from(name))))
    }
}

/// Makes one directory in `parent`. Something there already means that it is a symlink to nothing, since the caller looked.
fn make_directory(
    parent: OwnedFd,
    name: &OsStr,
    path: &Path,
) -> Result<(OwnedFd, Made), RootedError> {
    let parent_before = rustix::fs::fstat(&parent).map_err(failed("look at", path))?;
    match rustix::fs::mkdirat(&parent, name, Mode::from(0o755)) {
        Ok(()) => (),
        Err(Errno::EXIST) => {
            return Err(RootedError::Dangling {
                path: path.to_owned(),
            });
        }
        Err(errno) => return Err(failed("make the directory", path)(errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let child =
        rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(failed("open", path))?;
    // The caller's umask has no say in what the image holds.
    rustix::fs::fchmod(&child, Mode::from(0o755)).map_err(failed("set the mode of", path))?;
    Ok((
        child,
        Made {
            path: path.to_owned(),
            parent,
            parent_before,
        },
    ))
}

/// Tells what `name` in `directory` is, without following it; `None` if there is nothing.
pub(crate) fn look(directory: impl AsFd, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Tells the type of what a `stat` is about.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Lists a directory by name, bytewise.
pub(crate) fn names(directory: impl AsFd) -> rustix::io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_symlink_leaves_the_root() {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("prey")).unwrap();
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("real")).unwrap();
        symlink(outside.path(), root.join("absolute")).unwrap();
        symlink("../../../../..", root.join("real/up")).unwrap();
        symlink("/real", root.join("inside")).unwrap();
        symlink("missing", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let fd = fs::File::open(&root).unwrap();
        let rooted = Rooted::new(fd.as_fd());

        rooted.make_directories(Path::new("/inside/a/b")).unwrap();
        assert!(
            root.join("real/a/b").is_dir(),
            "a symlink inside the root is followed inside the root"
        );
        rooted
            .make_directories(Path::new("/real/up/prey/x"))
            .unwrap();
        assert!(root.join("prey/x").is_dir(), "'..' stops at the root");
        assert!(
            fs::read_dir(outside.path().join("prey"))
                .unwrap()
                .next()
                .is_none(),
            "the host is untouched"
        );
        for dangling in ["/absolute/x", "/dangling/x", "/loop/x"] {
            let error = rooted.make_directories(Path::new(dangling)).unwrap_err();
            assert!(
                matches!(error, RootedError::Dangling { .. }),
                "{dangling}: {error}"
            );
        }
        assert!(rooted.stat(Path::new("/inside/a")).unwrap().is_some());
        assert!(rooted.stat(Path::new("/dangling")).unwrap().is_none());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let fd = fs::File::open(root.path()).unwrap();
        let error = Rooted::new(fd.as_fd())
            .make_directories(Path::new("/file/x"))
            .unwrap_err();
        assert!(matches!(error, RootedError::NoDirectory { .. }), "{error}");
    }
}
