//! Who may go on: advisory locks (flock) that the kernel drops when their holder dies.

use std::{fs::File, io, path::Path};

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
    _file: File,
}

impl FileLock {
    /// Locks the file at `path`, creating it if missing, and waits as long as it takes.
    ///
    /// # Errors
    /// If the file cannot be opened or locked.
    pub fn acquire(_path: &Path, _mode: LockMode) -> io::Result<Self> {
        unimplemented!()
    }

    /// Locks the file at `path` unless someone else holds it: then `None`.
    ///
    /// # Errors
    /// If the file cannot be opened or locked.
    pub fn try_acquire(_path: &Path, _mode: LockMode) -> io::Result<Option<Self>> {
        unimplemented!()
    }
}
