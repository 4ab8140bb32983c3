//! Who may go on: advisory locks that the kernel drops when their holder dies.
//!
//! Locks belong to the open file, so they also work between the threads of one process. A lock file is never removed while it
//! can be waited for, except by [`FileLock::remove`], whose waiters notice and start over.

use std::{fs::File, io, os::fd::AsFd};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags},
    io::Errno,
};

/// Which others a lock keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Exclusive locks only.
    Shared,
    /// All other locks.
    Exclusive,
}

/// A held lock; dropping it (or dying) lets go.
#[derive(Debug)]
#[must_use = "the lock is let go when this is dropped"]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Locks the file `name` of `directory`, making it if missing, and waits as long as it takes.
    ///
    /// # Errors
    /// If the file cannot be opened or locked.
    #[doc(alias = "flock")]
    pub fn acquire(directory: &Dir, name: &str, mode: LockMode) -> io::Result<Self> {
        loop {
            let file = open(directory, name)?;
            flock(&file, mode, true)?;
            if is_still_there(directory, name, &file)? {
                return Ok(Self { file });
            }
        }
    }

    /// Locks the file `name` of `directory` unless someone else holds it: then `None`.
    ///
    /// # Errors
    /// If the file cannot be opened or locked.
    pub fn try_acquire(directory: &Dir, name: &str, mode: LockMode) -> io::Result<Option<Self>> {
        loop {
            let file = open(directory, name)?;
            if !flock(&file, mode, false)? {
                return Ok(None);
            }
            if is_still_there(directory, name, &file)? {
                return Ok(Some(Self { file }));
            }
        }
    }

    /// Locks an open file or directory, and waits as long as it takes.
    ///
    /// # Errors
    /// If it cannot be locked.
    pub fn of(file: File, mode: LockMode) -> io::Result<Self> {
        flock(&file, mode, true)?;
        Ok(Self { file })
    }

    /// Locks an open file or directory unless someone else holds it: then `None`.
    ///
    /// # Errors
    /// If it cannot be locked.
    pub fn try_of(file: File, mode: LockMode) -> io::Result<Option<Self>> {
        Ok(flock(&file, mode, false)?.then_some(Self { file }))
    }

    /// Removes the lock file that was acquired as `name` of `directory`, and lets go.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(self, directory: &Dir, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the locked file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing alone would not do: a process that another thread has just forked holds a copy of the descriptor until it executes
        // its program, and with it the lock. Unlocking lets go of the lock of all copies; there is nobody to tell if it fails.
        rustix::fs::flock(self.file.as_fd(), FlockOperation::Unlock).ok();
    }
}

fn open(directory: &Dir, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?.into())
}

/// Returns false if someone else holds the lock and `wait` is not set.
fn flock(file: &File, mode: LockMode, wait: bool) -> io::Result<bool> {
    let operation = match (mode, wait) {
        (LockMode::Shared, true) => FlockOperation::LockShared,
        (LockMode::Shared, false) => FlockOperation::NonBlockingLockShared,
        (LockMode::Exclusive, true) => FlockOperation::LockExclusive,
        (LockMode::Exclusive, false) => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        match rustix::fs::flock(file.as_fd(), operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Tells whether the locked file still has its name: its last holder may have removed it while we waited.
fn is_still_there(directory: &Dir, name: &str, file: &File) -> io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_keeps_out_all_and_shared_the_exclusive() {
        let path = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(path.path(), cap_std::ambient_authority()).unwrap();
        let attempt = |mode| FileLock::try_acquire(&dir, "l", mode).unwrap().is_some();
        let held = FileLock::acquire(&dir, "l", LockMode::Exclusive).unwrap();
        assert!(!attempt(LockMode::Shared) && !attempt(LockMode::Exclusive));
        drop(held);
        let held = FileLock::acquire(&dir, "l", LockMode::Shared).unwrap();
        assert!(attempt(LockMode::Shared) && !attempt(LockMode::Exclusive));
        drop(held);
        assert!(attempt(LockMode::Exclusive));
    }

    #[test]
    fn a_waiter_does_not_hold_a_removed_file() {
        let path = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(path.path(), cap_std::ambient_authority()).unwrap();
        let held = FileLock::acquire(&dir, "l", LockMode::Exclusive).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| FileLock::acquire(&dir, "l", LockMode::Exclusive).unwrap());
            held.remove(&dir, "l").unwrap();
            let second = waiter.join().unwrap();
            assert!(
                FileLock::try_acquire(&dir, "l", LockMode::Exclusive)
                    .unwrap()
                    .is_none()
            );
            drop(second);
        });
    }
}
