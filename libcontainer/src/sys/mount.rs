#![expect(
    unsafe_code,
    reason = "mount_setattr and open_tree_attr have no safe wrappers"
)]
//! Attributes of mounts: `mount_setattr(2)`, `open_tree_attr(2)`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// Which attributes to set and to clear, and the propagation type, laid out as the kernel's `struct mount_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttributes {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear; cleared before the others are set.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
    /// User namespace for an id-mapped mount; used with `MOUNT_ATTR_IDMAP` alone.
    pub user_namespace: u64,
}

impl MountAttributes {
    /// Whether there is nothing to change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.set == 0 && self.clear == 0 && self.propagation == 0
    }
}

/// `open_tree_attr(directory, path, OPEN_TREE_CLONE, attributes)`: a clone of the tree from a place on (the directory itself, if the path
/// is empty), with other attributes. A symlink at the end is followed only with `follow`.
///
/// # Errors
/// What the call returns; `ENOSYS` before Linux 6.15.
pub fn open_tree_with_attributes(
    directory: BorrowedFd<'_>,
    path: &CStr,
    follow: bool,
    attributes: &MountAttributes,
) -> Result<OwnedFd, Errno> {
    /// The same number on every architecture; libc does not know it yet.
    const OPEN_TREE_ATTR: libc::c_long = 467;
    let mut extra = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    if !follow {
        extra |= libc::AT_SYMLINK_NOFOLLOW;
    }
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | extra as u32;
    // SAFETY: the path is a C string; `attributes` has the layout of `struct mount_attr`, and its size is given.
    let returned = unsafe {
        libc::syscall(
            OPEN_TREE_ATTR,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    let number = i32::try_from(check(returned)?).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: the kernel made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `mount_setattr(mount, "", AT_EMPTY_PATH | (AT_RECURSIVE), attributes)` on the mount that the descriptor is on.
///
/// # Errors
/// What the call returns; `EPERM` for a flag that is locked in a user namespace.
///
/// # References
/// mount_setattr(2), Linux 5.12.
pub fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: &MountAttributes,
) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string; `attributes` has the layout of `struct mount_attr`, and its size is given.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    check(returned).map(drop)
}
