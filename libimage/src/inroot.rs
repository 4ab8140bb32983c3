//! How paths of an image are resolved: inside its root, whatever its symlinks say.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use cap_std::fs::Dir;
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// The root of an image's tree (or of a layer's): the only way to what is inside.
///
/// Absolute symlinks and `..` resolve as they would after chroot(2), by the kernel (`RESOLVE_IN_ROOT`), race-free.
/// There is no fallback for kernels before 5.6: resolution by hand has been the hole too often.
#[derive(Debug)]
pub struct RootDir(OwnedFd);

impl RootDir {
    /// Takes a directory as a root.
    ///
    /// # Errors
    /// If its descriptor cannot be duplicated.
    pub fn new(directory: &Dir) -> io::Result<Self> {
        Ok(Self(directory.as_fd().try_clone_to_owned()?))
    }

    /// Opens a directory for resolving names in it (`O_PATH`), following symlinks inside the root.
    ///
    /// # Errors
    /// What openat2(2) says.
    #[doc(alias = "openat2")]
    pub fn directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.open(
            path,
            OFlags::PATH | OFlags::DIRECTORY,
            ResolveFlags::IN_ROOT,
        )
    }

    /// Opens a path without following any symlink, not even on the way.
    ///
    /// # Errors
    /// What openat2(2) says; `ELOOP` for a symlink.
    #[doc(alias = "openat2")]
    pub fn exact(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open(
            path,
            flags | OFlags::NOFOLLOW,
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )
    }

    /// Reads a regular file of at most `limit` bytes, following symlinks inside the root; `None` if there is none.
    ///
    /// # Errors
    /// If it is no regular file, larger, or cannot be read.
    pub fn read(&self, path: &[u8], limit: u64) -> io::Result<Option<Vec<u8>>> {
        use std::io::Read;
        // Without O_NONBLOCK a FIFO in the image would hang us.
        let opened = self.open(
            path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
            ResolveFlags::IN_ROOT,
        );
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than allowed here",
            ));
        }
        Ok(Some(content))
    }

    fn open(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        loop {
            let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(
                &self.0,
                OsStr::from_bytes(path),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                // EAGAIN: a rename somewhere on the system raced with a `..`; the kernel asks us to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn symlinks_stay_inside() {
        let path = tempfile::tempdir().unwrap();
        let base = path.path();
        std::fs::create_dir(base.join("etc")).unwrap();
        std::fs::write(base.join("etc/passwd"), "inside").unwrap();
        for (link, target) in [
            ("abs", "/etc/passwd"),
            ("up", "../../../../../../etc/passwd"),
            ("exe", "/proc/self/exe"),
        ] {
            symlink(target, base.join(link)).unwrap();
        }
        let root =
            RootDir::new(&Dir::open_ambient_dir(base, cap_std::ambient_authority()).unwrap())
                .unwrap();
        for link in ["abs", "up"] {
            assert_eq!(
                root.read(link.as_bytes(), 100).unwrap().unwrap(),
                b"inside",
                "{link}"
            );
            assert_eq!(
                root.exact(link.as_bytes(), OFlags::RDONLY).unwrap_err(),
                Errno::LOOP
            );
        }
        assert_eq!(root.read(b"exe", 100).unwrap(), None);
        assert!(root.read(b"etc", 100).is_err(), "directories are no files");
        assert!(root.read(b"abs", 3).is_err(), "the limit holds");
    }
}
