//! How a file is made or replaced so that a crash leaves the old content or the new, never a mixture, and no litter.

use std::{
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

/// Replaces `name` in `directory` by `content`: temporary file, fsync, rename, fsync of the directory.
///
/// # Errors
/// If any of the steps fails; the old content is then still there.
///
/// # Durability
/// After it returns, the new content survives a power cut.
pub fn write_atomic(directory: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    let directory = Arc::new(directory.try_clone()?);
    let mut file = TempFile::new(Arc::clone(&directory))?;
    file.write_all(content)?;
    file.file().sync_all()?;
    file.persist(&directory, name)?;
    sync_dir(&directory)
}

/// Makes the names of a directory durable.
///
/// # Errors
/// If the directory cannot be opened for reading or synchronised.
#[doc(alias = "fsync")]
pub fn sync_dir(directory: &Dir) -> io::Result<()> {
    // `Dir` may hold an O_PATH descriptor, which fsync refuses.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    Ok(rustix::fs::fsync(readable)?)
}

/// Returns a name nobody else uses: process, boot-wide clock, counter.
#[must_use]
pub fn unique_name(prefix: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let pid = rustix::process::getpid().as_raw_nonzero();
    format!("{prefix}{pid}-{:x}{:08x}-{count}", now.tv_sec, now.tv_nsec)
}

/// A file without a name where the file system allows that (`O_TMPFILE`): a crash leaves nothing. Else with one that `Drop` removes.
#[derive(Debug)]
#[must_use = "the file vanishes when this is dropped"]
pub struct TempFile {
    file: File,
    directory: Arc<Dir>,
    name: Option<String>,
}

impl TempFile {
    /// Makes an empty file on the file system of `directory`.
    ///
    /// # Errors
    /// If it cannot be made.
    #[doc(alias = "O_TMPFILE")]
    pub fn new(directory: Arc<Dir>) -> io::Result<Self> {
        let mode = Mode::from_raw_mode(0o644);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&*directory, ".", flags | OFlags::TMPFILE, mode) {
            Ok(file) => Ok(Self {
                file: file.into(),
                directory,
                name: None,
            }),
            // Old kernels say EISDIR or ENOENT, file systems without it EOPNOTSUPP.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let name = unique_name(".tmp-");
                let file = rustix::fs::openat(
                    &*directory,
                    &*name,
                    flags | OFlags::CREATE | OFlags::EXCL,
                    mode,
                )?;
                Ok(Self {
                    file: file.into(),
                    directory,
                    name: Some(name),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name in `directory` (on the same file system), if nothing has it.
    ///
    /// # Errors
    /// If something has the name ([`io::ErrorKind::AlreadyExists`]), or it cannot be linked; it then vanishes.
    ///
    /// # Durability
    /// None by itself: see [`write_atomic`].
    pub fn persist_new(self, directory: &Dir, name: &str) -> io::Result<()> {
        match &self.name {
            None => link_descriptor(&self.file, directory, name),
            // The temporary name goes when this is dropped.
            Some(temporary) => Ok(rustix::fs::linkat(
                &*self.directory,
                temporary.as_str(),
                directory,
                name,
                AtFlags::empty(),
            )?),
        }
    }

    /// Gives the file its name in `directory` (on the same file system), replacing what has it.
    ///
    /// # Errors
    /// If it cannot be linked or renamed; it then vanishes.
    ///
    /// # Durability
    /// None by itself: see [`write_atomic`].
    pub fn persist(mut self, directory: &Dir, name: &str) -> io::Result<()> {
        if self.name.is_none() {
            let temporary = unique_name(".tmp-");
            link_descriptor(&self.file, &self.directory, &temporary)?;
            self.name = Some(temporary);
        }
        let temporary = self.name.as_deref().expect("it was just given one");
        rustix::fs::renameat(&*self.directory, temporary, directory, name)?;
        self.name = None;
        Ok(())
    }
}

/// Gives a nameless file a name. By /proc, because `AT_EMPTY_PATH` needs CAP_DAC_READ_SEARCH before Linux 6.10; by that, where there is no /proc.
fn link_descriptor(file: &File, directory: &Dir, name: &str) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW) {
        Err(Errno::NOENT) => Ok(rustix::fs::linkat(
            file,
            "",
            directory,
            name,
            AtFlags::EMPTY_PATH,
        )?),
        other => Ok(other?),
    }
}

impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nothing more can be done here; the store clears such names when it is opened.
            rustix::fs::unlinkat(&*self.directory, name.as_str(), AtFlags::empty()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Arc<Dir>) {
        let path = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(path.path(), cap_std::ambient_authority()).unwrap();
        (path, Arc::new(dir))
    }

    #[test]
    fn replaces_whole_files_and_leaves_no_litter() {
        let (path, dir) = scratch();
        write_atomic(&dir, "a", b"one").unwrap();
        write_atomic(&dir, "a", b"two").unwrap();
        assert_eq!(std::fs::read(path.path().join("a")).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_replaces_nothing() {
        let (path, dir) = scratch();
        for (content, expected) in [("one", None), ("two", Some(io::ErrorKind::AlreadyExists))] {
            let mut file = TempFile::new(Arc::clone(&dir)).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let persisted = file.persist_new(&dir, "a");
            assert_eq!(persisted.err().map(|error| error.kind()), expected);
        }
        assert_eq!(std::fs::read(path.path().join("a")).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_dropped_file_vanishes() {
        let (path, dir) = scratch();
        let mut file = TempFile::new(Arc::clone(&dir)).unwrap();
        file.write_all(b"x").unwrap();
        drop(file);
        let named = TempFile {
            file: File::create(path.path().join("n")).unwrap(),
            directory: dir,
            name: Some("n".into()),
        };
        drop(named);
        assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 0);
    }
}
