//! A directory that is not changed, below a layer in memory: whatever happens, nothing is left to be removed.
//!
//! Since Linux 6.15 an overlay takes directories of a file system that is attached nowhere. Before, the layer is attached for a moment,
//! in a mount namespace that nobody else is in.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use rustix::path::DecInt;

use crate::error::{Error, Result};
use crate::sys::overlay::mount_by_helper;

/// Mounts the overlay, attached nowhere.
pub(super) fn mount(directory: &Path, size_bytes: Option<u64>) -> Result<OwnedFd> {
    let failed = |errno: Errno| {
        let error = Error::from_errno(errno.raw_os_error(), "mount the root file system");
        let error = error.with_path(directory);
        match errno {
            Errno::PERM => error.with_hint(
                "mounting needs CAP_SYS_ADMIN: become root, or enter a user namespace first",
            ),
            Errno::NODEV => error.with_hint("the kernel has no overlay file system"),
            Errno::INVAL => error.with_hint(
                "an overlay cannot be made on it: make the root read-only, or let the directory itself be changed",
            ),
            _ => error,
        }
    };
    // A helper has another current directory, and mounts at other places.
    let whole = directory.canonicalize().map_err(|error| {
        let error = Error::from_io(error, "open the root file system");
        error.with_path(directory)
    })?;
    let path = CString::new(whole.as_os_str().as_bytes()).map_err(|_| failed(Errno::NOENT))?;
    let size = size_bytes.map(|bytes| CString::new(bytes.to_string()).unwrap_or_default());
    let layer = || Layer::new(&path, size.as_deref());
    layer()
        .and_then(|layer| layer.overlay(false))
        .or_else(|errno| match is_old(errno) {
            true => mount_by_helper(&|| layer()?.overlay_while_attached(false)),
            false => Err(errno),
        })
        .map_err(failed)
}

/// The same in a container's child, which is in a mount namespace of its own: allocates nothing. `size` is a number of bytes as tmpfs
/// reads it; the marks are those of users who are not the machine's root.
pub(crate) fn overlay(directory: &CStr, size: Option<&CStr>) -> Result<OwnedFd, Errno> {
    let layer = || Layer::new(directory, size);
    match layer()?.overlay(true) {
        Err(errno) if is_old(errno) => layer()?.overlay_while_attached(true),
        other => other,
    }
}

/// Whether an overlay that refuses a descriptor may take a path: it does not know the option, or not with descriptors (before Linux
/// 6.13), or it wants them to be attached somewhere (before 6.15), or takes no descriptors at all (before 6.5).
fn is_old(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP)
}

/// The directories of the overlay.
struct Layer {
    lower: OwnedFd,
    memory: OwnedFd,
    upper: OwnedFd,
    work: OwnedFd,
}

impl Layer {
    fn new(directory: &CStr, size: Option<&CStr>) -> Result<Self, Errno> {
        let lower = open(CWD, directory)?;
        let memory = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        if let Some(size) = size {
            fsconfig_set_string(memory.as_fd(), c"size", size)?;
        }
        fsconfig_create(memory.as_fd())?;
        let memory = attach(memory.as_fd())?;
        for name in [c"upper", c"work"] {
            rustix::fs::mkdirat(&memory, name, Mode::from_raw_mode(0o755))?;
        }
        let (upper, work) = (
            open(memory.as_fd(), c"upper")?,
            open(memory.as_fd(), c"work")?,
        );
        // The root directory is the upper one, to those who look at it.
        let stat = rustix::fs::fstat(&lower)?;
        let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::chownat(&memory, c"upper", Some(owner.0), Some(owner.1), flags) {
            // Somebody who does not exist in our user namespace.
            Ok(()) | Err(Errno::INVAL | Errno::OVERFLOW) => {}
            Err(errno) => return Err(errno),
        }
        let mode = Mode::from_raw_mode(stat.st_mode);
        rustix::fs::chmodat(&memory, c"upper", mode, AtFlags::empty())?;
        Ok(Self {
            lower,
            memory,
            upper,
            work,
        })
    }

    fn overlay(&self, user: bool) -> Result<OwnedFd, Errno> {
        let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, directory) in [
            (c"lowerdir+", &self.lower),
            (c"upperdir", &self.upper),
            (c"workdir", &self.work),
        ] {
            fsconfig_set_fd(context.as_fd(), key, directory.as_fd())?;
        }
        finish(context.as_fd(), user)
    }

    /// The overlay of paths, in whose mount namespace the layer is then.
    fn overlay_while_attached(&self, user: bool) -> Result<OwnedFd, Errno> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.memory, c"", &self.lower, c"", flags)?;
        if user {
            // Without attributes of users (before Linux 6.6) a directory that has been removed could not be made again.
            let upper = Link::new(self.upper.as_fd());
            let name = c"user.overlay.trimaran";
            rustix::fs::setxattr(upper.path(), name, b"y", XattrFlags::empty())?;
            rustix::fs::removexattr(upper.path(), name)?;
        }
        let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, directory) in [
            (c"lowerdir", &self.lower),
            (c"upperdir", &self.upper),
            (c"workdir", &self.work),
        ] {
            let link = Link::new(directory.as_fd());
            fsconfig_set_string(context.as_fd(), key, link.path())?;
        }
        let mount = finish(context.as_fd(), user)?;
        let memory = Link::new(self.memory.as_fd());
        rustix::mount::unmount(memory.path(), UnmountFlags::DETACH)?;
        Ok(mount)
    }
}

fn finish(context: BorrowedFd<'_>, user: bool) -> Result<OwnedFd, Errno> {
    fsconfig_set_string(context, c"source", c"overlay")?;
    fsconfig_set_flag(context, c"volatile")?;
    if user {
        fsconfig_set_flag(context, c"userxattr")?;
    }
    fsconfig_create(context)?;
    attach(context)
}

/// The path of a descriptor, on the stack.
struct Link([u8; Self::PREFIX.len() + 12]);

impl Link {
    const PREFIX: &'static [u8] = b"/proc/self/fd/";

    fn new(descriptor: BorrowedFd<'_>) -> Self {
        let number = DecInt::new(descriptor.as_raw_fd());
        let mut bytes = [0; Self::PREFIX.len() + 12];
        let text = Self::PREFIX.iter().chain(number.as_bytes());
        for (place, byte) in bytes.iter_mut().zip(text) {
            *place = *byte;
        }
        Self(bytes)
    }

    fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

fn open(directory: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, path, flags, Mode::empty())
}

fn attach(context: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fsmount(
        context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_mounting_it_give_the_same() {
        if !rustix::process::geteuid().is_root() {
            return trimaran_testkit::skip("needs root");
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("old")).unwrap();
        std::fs::write(directory.path().join("old/file"), "below").unwrap();
        let path = CString::new(directory.path().as_os_str().as_bytes()).unwrap();
        let layer = || Layer::new(&path, Some(c"1048576"));
        for user in [false, true] {
            let ways = [
                layer().unwrap().overlay(user),
                mount_by_helper(&|| layer()?.overlay_while_attached(user)),
            ];
            for (number, way) in ways.into_iter().enumerate() {
                let root = match way {
                    Err(errno) if is_old(errno) => continue,
                    other => other.unwrap(),
                };
                let name = format!("/proc/self/fd/{}/", root.as_raw_fd());
                let inside = |path: &str| Path::new(&name).join(path);
                assert_eq!(std::fs::read(inside("old/file")).unwrap(), b"below");
                // What was removed can be made again, and is empty then.
                std::fs::remove_dir_all(inside("old")).unwrap();
                std::fs::create_dir(inside("old")).unwrap();
                assert_eq!(std::fs::read_dir(inside("old")).unwrap().count(), 0);
                let full = std::fs::write(inside("big"), vec![1; 2 << 20]).unwrap_err();
                assert_eq!(full.raw_os_error(), Some(libc::ENOSPC), "way {number}");
                let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
                assert!(
                    !mounts.contains(directory.path().to_str().unwrap()),
                    "it is attached nowhere"
                );
                drop(root);
                assert_eq!(
                    std::fs::read(directory.path().join("old/file")).unwrap(),
                    b"below"
                );
            }
        }
    }
}
