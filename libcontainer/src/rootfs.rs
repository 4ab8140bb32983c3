//! Where a container's root file system comes from, and how it is made ready without mounting anything on the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::Result;

/// The source of a root file system.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Root {
    /// A directory.
    Path(PathBuf),
    /// An overlay of directories.
    Overlay(Overlay),
}

/// An overlay: read-only directories with, perhaps, one that takes the changes.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// The read-only directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go; without it the root is read-only.
    pub upper: Option<PathBuf>,
    /// An empty directory on the file system of `upper`, for the kernel; needed when `upper` is given.
    pub work: Option<PathBuf>,
    /// Whiteouts and the like are in `user.overlay.*` instead of `trusted.overlay.*` (always so without root).
    pub userxattr: bool,
    /// Changes need not survive a crash of the machine; makes removal cheaper.
    pub volatile: bool,
}

/// A root file system as a detached mount, held by descriptor.
///
/// It is attached nowhere on the host, so nothing is left behind whatever happens. It starts **one** container: the child moves
/// the mount into its own mount namespace. Drop it before removing an overlay's upper directory, or the kernel keeps that alive.
#[derive(Debug)]
pub struct PreparedRoot {
    mount: OwnedFd,
}

impl PreparedRoot {
    /// Mounts `root`, attached nowhere.
    ///
    /// # Privileges
    /// `CAP_SYS_ADMIN` in the user namespace that owns the caller's mount namespace.
    ///
    /// # Errors
    /// A directory is missing, or the kernel refuses the mount; the hint says which option it was, if known.
    pub fn open(_root: &Root) -> Result<Self> {
        unimplemented!()
    }

    /// Reads a regular file of the root file system, following symlinks only inside of it.
    ///
    /// Gives `None` if there is no such file. At most `limit_bytes` are read: a larger file is an error.
    ///
    /// # Errors
    /// It is no regular file, it is too large, or it cannot be read.
    pub fn read_file(&self, _path: &str, _limit_bytes: usize) -> Result<Option<Vec<u8>>> {
        unimplemented!()
    }

    /// Attaches the mount to a directory of the caller's mount namespace.
    ///
    /// # Errors
    /// The directory does not exist, or the kernel refuses.
    pub fn attach(&self, _at: &Path) -> Result<()> {
        unimplemented!()
    }
}

impl AsFd for PreparedRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}
