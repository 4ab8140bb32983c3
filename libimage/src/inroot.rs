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
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags},
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

    /// Opens a path without following its last component, in a directory reached by symlinks inside the root.
    ///
    /// # Errors
    /// What openat2(2) says; `ELOOP` if the last component is a symlink.
    #[doc(alias = "openat2")]
    pub fn leaf(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open(path, flags | OFlags::NOFOLLOW, ResolveFlags::IN_ROOT)
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

/// Directories held open at once by [`remove_tree`].
const OPEN_DIRECTORIES: usize = 64;

/// A directory that [`remove_tree`] is emptying.
struct Doomed {
    directory: OwnedFd,
    name: Vec<u8>,
    below: Vec<Vec<u8>>,
}

/// Removes the directory `name` of `parent` with everything in it, following no symlink, whatever its depth.
///
/// # Errors
/// If anything in it cannot be removed; what could be is gone.
pub fn remove_tree(parent: impl AsFd, name: &[u8]) -> io::Result<()> {
    let mut stack = vec![doom(&parent, name)?];
    let mut moved = 0_u64;
    while let Some(last) = stack.last_mut() {
        let Some(below) = last.below.pop() else {
            let done = stack.pop().expect("it was just looked at");
            let above = stack
                .last()
                .map_or(parent.as_fd(), |frame| frame.directory.as_fd());
            rustix::fs::unlinkat(above, OsStr::from_bytes(&done.name), AtFlags::REMOVEDIR)?;
            continue;
        };
        if stack.len() < OPEN_DIRECTORIES {
            let next = doom(&stack.last().expect("not empty").directory, &below)?;
            stack.push(next);
        } else {
            // Too deep for our descriptors: hang it up at the top, where its depth starts anew.
            let new_name = loop {
                moved += 1;
                let name = format!(".deep-{moved}").into_bytes();
                // Only directories are left there.
                if !stack[0].below.contains(&name) && name != stack[1].name {
                    break name;
                }
            };
            let here = stack.last().expect("not empty").directory.as_fd();
            rustix::fs::renameat(
                here,
                OsStr::from_bytes(&below),
                &stack[0].directory,
                OsStr::from_bytes(&new_name),
            )?;
            stack[0].below.push(new_name);
        }
    }
    Ok(())
}

/// Opens a directory and removes all but directories from it.
fn doom(parent: impl AsFd, name: &[u8]) -> io::Result<Doomed> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, OsStr::from_bytes(name), flags, Mode::empty())?;
    let mut below = Vec::new();
    for entry in names(&directory)? {
        match rustix::fs::unlinkat(&directory, OsStr::from_bytes(&entry), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => below.push(entry),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Doomed {
        directory,
        name: name.to_vec(),
        below,
    })
}

/// Returns the names in an open directory, in no order.
///
/// # Errors
/// If it cannot be read.
pub fn names(directory: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
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

    #[test]
    fn trees_deeper_than_path_max_and_our_descriptors_are_removed() {
        let path = tempfile::tempdir().unwrap();
        let base = Dir::open_ambient_dir(path.path(), cap_std::ambient_authority()).unwrap();
        std::fs::write(path.path().join("outside"), "").unwrap();
        let mut at = base.as_fd().try_clone_to_owned().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            symlink_at(&at);
            at = rustix::fs::openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        remove_tree(&base, b"d").unwrap();
        assert_eq!(
            names(rustix::fs::openat(&base, ".", OFlags::RDONLY, Mode::empty()).unwrap())
                .unwrap()
                .len(),
            2
        );
    }

    fn symlink_at(at: &OwnedFd) {
        rustix::fs::symlinkat("../../outside", at, "link").unwrap();
    }
}
