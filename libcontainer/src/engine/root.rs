//! The root file system of a container that leaves nothing behind: an image's directories under an upper one of its own.

use super::ContainerDir;
use crate::{
    error::{Error, Result},
    rootfs::{Overlay, PreparedRoot, Root},
    spec::UserFiles,
};
use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// Bytes of the largest passwd or group file that is read: a directory service dumped into one has some megabytes.
const USER_FILE_BYTES: usize = 16 << 20;

impl ContainerDir {
    /// Mounts the directories `lowers` (topmost first) with the container's own on top, attached nowhere. Nothing of it needs to
    /// survive a crash, so nothing is synced.
    ///
    /// # Errors
    /// A directory is missing, or the kernel refuses the mount.
    ///
    /// # Privileges
    /// As [`PreparedRoot::open`].
    pub fn prepare_root(&self, lowers: &[PathBuf], userxattr: bool) -> Result<PreparedRoot> {
        if let Some(top) = lowers.first() {
            like(&self.upper(), top)
                .map_err(|error| Error::from_io(error, "prepare").with_path(self.upper()))?;
        }
        PreparedRoot::open(&Root::Overlay(Overlay {
            lowers: lowers.to_vec(),
            upper: Some(self.upper()),
            work: Some(self.work()),
            userxattr,
            volatile: true,
        }))
    }
}

/// Owner and mode of the container's `/` are those of the upper directory: it gets the image's.
fn like(upper: &Path, top: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(top)?;
    chown(upper, Some(meta.uid()), Some(meta.gid()))?;
    std::fs::set_permissions(upper, std::fs::Permissions::from_mode(meta.mode() & 0o7777))
}

/// Reads the user data base of a root file system.
///
/// # Errors
/// A file is larger than 16 MiB, or no regular file.
pub fn user_files(root: &PreparedRoot) -> Result<UserFiles> {
    let read = |path| {
        root.read_file(path, USER_FILE_BYTES)
            .map(Option::unwrap_or_default)
    };
    Ok(UserFiles {
        passwd: read("/etc/passwd")?,
        group: read("/etc/group")?,
    })
}
