//! Shows a working container's root file system on the host, as asked, until `umount`.
//!
//! The only mount of this crate that is attached anywhere. It is made in the caller's mount namespace: as an ordinary user that is
//! one of a shell inside `build unshare`.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result, io_kind};
use crate::op::Op;
use crate::working::{WorkingContainer, container_error};

/// Why a mount could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused.
    #[error("cannot unmount {}", path.display())]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<MountError> for Error {
    fn from(error: MountError) -> Self {
        let MountError::Unmount { source, .. } = &error;
        if source.kind() == std::io::ErrorKind::ResourceBusy {
            return Self::new(ErrorKind::InUse, error)
                .with_hint("a process has a file or its working directory in there");
        }
        Self::new(io_kind(source), error)
    }
}

impl WorkingContainer {
    /// Mounts the root file system at [`WorkingContainer::mount_point`] and returns that path; mounted already, only returns it.
    ///
    /// What is changed through the mount becomes part of the layer.
    ///
    /// # Errors
    /// If the system refuses.
    ///
    /// # Privileges
    /// CAP_SYS_ADMIN in the user namespace that owns the caller's mount namespace.
    pub fn mount(&self) -> Result<PathBuf> {
        let mut held = self.hold()?;
        let path = self.mount_point();
        if !self.is_mounted() {
            let root = held.open_root()?;
            root.mount.attach(&path).map_err(container_error)?;
        }
        if held.record.steps.last() != Some(&Op::Edit) {
            held.record.steps.push(Op::Edit);
            held.save()?;
        }
        Ok(path)
    }

    /// Unmounts the root file system; returns whether it was mounted.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] if a process is still in there.
    pub fn umount(&self) -> Result<bool> {
        let _held = self.hold()?;
        self.umount_held()
    }

    pub(crate) fn umount_held(&self) -> Result<bool> {
        if !self.is_mounted() {
            return Ok(false);
        }
        let path = self.mount_point();
        let flags = rustix::mount::UnmountFlags::NOFOLLOW;
        rustix::mount::unmount(&path, flags).map_err(|errno| MountError::Unmount {
            path,
            source: errno.into(),
        })?;
        Ok(true)
    }
}
