//! Where a container's root file system comes from, and how it is made ready without mounting anything on the host.

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::mount::{MountAttributes, mount_setattr, open_tree_with_attributes};

mod legacy;
mod memory;

pub(crate) use memory::overlay as overlay_in_memory;

/// The source of a root file system.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Root {
    /// A directory.
    Path(PathBuf),
    /// An overlay of directories.
    Overlay(Overlay),
    /// A directory, read-only, with a layer in memory above it that takes the changes and is gone with the container (without root since Linux 6.6).
    Memory {
        /// The directory.
        directory: PathBuf,
        /// How much may be written, in bytes; otherwise half of the machine's memory.
        size_bytes: Option<u64>,
    },
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
    /// The mount; or the directory, if the mount is made later.
    mount: OwnedFd,
    later: Option<Later>,
}

/// A root file system that the container's own process mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) directory: PathBuf,
    /// Changes go into memory, of this size.
    pub(crate) memory: Option<Size>,
}

/// How much a root file system in memory may hold.
pub(crate) type Size = Option<u64>;

impl PreparedRoot {
    /// Mounts `root`, attached nowhere.
    ///
    /// # Privileges
    /// `CAP_SYS_ADMIN` in the user namespace that owns the caller's mount namespace.
    ///
    /// # Errors
    /// A directory is missing, or the kernel refuses the mount; the hint says why, if the kernel told.
    pub fn open(root: &Root) -> Result<Self> {
        let mount = match root {
            Root::Path(path) => clone_tree(path)?,
            Root::Overlay(overlay) => mount_overlay(overlay)?,
            Root::Memory {
                directory,
                size_bytes,
            } => memory::mount(directory, *size_bytes)?,
        };
        Ok(Self { mount, later: None })
    }

    /// Opens the directory of `root`, and leaves it to the container's process to mount it: for callers who may not mount, and make
    /// containers with a new user namespace, in which that process may.
    ///
    /// # Errors
    /// The directory is missing, or `root` is an overlay of several.
    pub fn postponed(root: &Root) -> Result<Self> {
        let (directory, memory) = match root {
            Root::Path(directory) => (directory, None),
            Root::Memory {
                directory,
                size_bytes,
            } => (directory, Some(*size_bytes)),
            Root::Overlay(_) => {
                let feature = "overlays of the caller's directories".to_owned();
                let error = Error::new(ErrorKind::Unsupported { feature }, OPEN);
                return Err(error.with_hint("become root, or enter a user namespace first"));
            }
        };
        // The child's current directory is another one.
        let directory = directory
            .canonicalize()
            .map_err(|error| Error::from_io(error, OPEN).with_path(directory))?;
        let mount = open_directory(&directory)?;
        let later = Some(Later { directory, memory });
        Ok(Self { mount, later })
    }

    /// How the container's process has to mount it, if it has to.
    pub(crate) fn later(&self) -> Option<&Later> {
        self.later.as_ref()
    }

    /// Reads a regular file of the root file system, following symlinks only inside of it.
    ///
    /// Gives `None` if there is no such file. At most `limit_bytes` are read: a larger file is an error.
    ///
    /// # Errors
    /// It is no regular file, it is too large, or it cannot be read.
    pub fn read_file(&self, path: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>> {
        read_file_in(self.mount.as_fd(), path, limit_bytes)
    }

    /// Attaches the mount to a directory of the caller's mount namespace.
    ///
    /// # Errors
    /// The directory does not exist, or the kernel refuses; the root is not mounted yet ([`Self::postponed`]).
    pub fn attach(&self, at: &Path) -> Result<()> {
        if self.later.is_some() {
            let feature = "attaching what is not mounted yet".to_owned();
            return Err(Error::new(ErrorKind::Unsupported { feature }, OPEN).with_path(at));
        }
        rustix::mount::move_mount(
            &self.mount,
            "",
            CWD,
            at,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .map_err(|errno| {
            Error::from_errno(errno.raw_os_error(), "attach the root file system").with_path(at)
        })
    }
}

impl AsFd for PreparedRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// Reads a regular file of the tree that `root` is the top of, following symlinks only inside of it.
///
/// # Errors
/// It is no regular file, it is too large, or it cannot be read.
pub(crate) fn read_file_in(
    root: BorrowedFd<'_>,
    path: &str,
    limit_bytes: usize,
) -> Result<Option<Vec<u8>>> {
    const STEP: &str = "read from the root file system";
    // Non-blocking, or opening a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = retry(|| {
        rustix::fs::openat2(
            root,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    });
    let file = match opened {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(Error::from_errno(errno.raw_os_error(), STEP).with_path(path)),
    };
    let refuse = |hint| {
        Err(Error::new(ErrorKind::Io, STEP)
            .with_path(path)
            .with_hint(hint))
    };
    let io = |error| Error::from_io(error, STEP).with_path(path);
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return refuse("it is not a regular file");
    }
    // In one go, unless the file grows at this moment.
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length.min(limit_bytes) + 1);
    rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes))
        .map_err(|errno| io(errno.into()))?;
    if bytes.len() != length {
        file.take((limit_bytes + 1 - bytes.len()) as u64)
            .read_to_end(&mut bytes)
            .map_err(io)?;
    }
    if bytes.len() > limit_bytes {
        return refuse("it is larger than such a file may be");
    }
    Ok(Some(bytes))
}

/// Repeats a path lookup that the kernel gave up because somebody renamed or mounted at the same moment.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    /// Far more than is ever needed; an attacker who renames without pause must not hang us.
    const ATTEMPTS: usize = 128;
    for _ in 1..ATTEMPTS {
        match call() {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    call()
}

/// The step in which a root file system is opened.
const OPEN: &str = "open the root file system";

fn clone_tree(path: &Path) -> Result<OwnedFd> {
    let failed = |errno: Errno| {
        let error = Error::from_errno(errno.raw_os_error(), OPEN).with_path(path);
        match errno {
            Errno::PERM => error.with_hint(
                "cloning a mount needs CAP_SYS_ADMIN: become root, or enter a user namespace first",
            ),
            Errno::INVAL => error.with_hint("a mount in it is locked or unbindable"),
            _ => error,
        }
    };
    let mut name = path.as_os_str().as_bytes().to_vec();
    if name.is_empty() {
        return Err(failed(Errno::NOENT));
    }
    // What is no directory has no `.` in it.
    name.extend(b"/.");
    let name = CString::new(name).map_err(|_| failed(Errno::NOENT))?;
    private_tree(&name).map_err(failed)
}

/// A clone of the mounts of a directory. Allocates nothing: a container's child uses it too.
pub(crate) fn private_clone(directory: &CStr) -> Result<OwnedFd, Errno> {
    let mount = private_tree(directory)?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&mount)?.st_mode);
    if !kind.is_dir() {
        return Err(Errno::NOTDIR);
    }
    Ok(mount)
}

fn private_tree(path: &CStr) -> Result<OwnedFd, Errno> {
    // The clone is a peer of the host's mount, and what is mounted in the container would appear there.
    let private = MountAttributes {
        propagation: libc::MS_PRIVATE,
        ..MountAttributes::default()
    };
    // In one call, or on an older kernel in two.
    open_tree_with_attributes(CWD, path, true, &private).or_else(|_| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let mount = rustix::mount::open_tree(CWD, path, flags)?;
        mount_setattr(mount.as_fd(), true, &private)?;
        Ok(mount)
    })
}

fn mount_overlay(overlay: &Overlay) -> Result<OwnedFd> {
    if overlay.lowers.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidSpec {
                field: "root".into(),
            },
            "mount the overlay",
        )
        .with_hint("it has no lower directory"));
    }
    match mount_with_directories(overlay) {
        // The kernel does not know `lowerdir+`, or not with descriptors (before Linux 6.13), or takes no descriptors at all (before 6.5).
        Err(Failed::Option(Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP)) => {
            legacy::mount_overlay(overlay)
        }
        Err(Failed::Option(errno)) => Err(describe(errno, overlay, None)),
        Err(Failed::Reported(error)) => Err(error),
        Ok(mount) => Ok(mount),
    }
}

enum Failed {
    /// An option with a directory was refused.
    Option(Errno),
    Reported(Error),
}

/// The mount with each directory handed over as a descriptor: no limit on the length of names, no escaping of `:` and `,`.
fn mount_with_directories(overlay: &Overlay) -> Result<OwnedFd, Failed> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|errno| Failed::Reported(describe(errno, overlay, None)))?;
    let reported = |errno: Errno| Failed::Reported(describe(errno, overlay, Some(context.as_fd())));
    let set = |key: &str, path: &Path| -> Result<(), Failed> {
        let directory = open_directory(path).map_err(Failed::Reported)?;
        rustix::mount::fsconfig_set_fd(context.as_fd(), key, directory.as_fd())
            .map_err(Failed::Option)
    };
    for lower in &overlay.lowers {
        set("lowerdir+", lower)?;
    }
    for (key, path) in [("upperdir", &overlay.upper), ("workdir", &overlay.work)] {
        if let Some(path) = path {
            set(key, path)?;
        }
    }
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", "overlay").map_err(reported)?;
    for (key, wanted) in [
        ("userxattr", overlay.userxattr),
        ("volatile", overlay.volatile && overlay.upper.is_some()),
    ] {
        if wanted {
            rustix::mount::fsconfig_set_flag(context.as_fd(), key).map_err(reported)?;
        }
    }
    if !overlay.userxattr {
        // Attributes that a hostile layer or container left in a directory must not name other files of the layers. The kernel has
        // neither with `userxattr`.
        for (key, value) in [("redirect_dir", "nofollow"), ("metacopy", "off")] {
            rustix::mount::fsconfig_set_string(context.as_fd(), key, value).map_err(reported)?;
        }
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(reported)?;
    rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .map_err(reported)
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| {
        Error::from_errno(errno.raw_os_error(), "open a directory of the overlay").with_path(path)
    })
}

/// The error for a refused overlay, with the kernel's own words where there are any.
fn describe(errno: Errno, overlay: &Overlay, context: Option<BorrowedFd<'_>>) -> Error {
    let place = overlay.upper.as_ref().or(overlay.lowers.first());
    let error = Error::from_errno(errno.raw_os_error(), "mount the overlay")
        .with_path(place.cloned().unwrap_or_default());
    if let Some(words) = context.and_then(kernel_message) {
        return error.with_hint(words);
    }
    match errno {
        Errno::PERM => error.with_hint("mounting needs CAP_SYS_ADMIN: become root, or enter a user namespace first"),
        Errno::NODEV => error.with_hint("the kernel has no overlay file system (module overlay)"),
        Errno::INVAL => error.with_hint("the file system of the upper directory cannot hold one (is it an overlay itself?), or a directory is used twice"),
        Errno::BUSY => error.with_hint("the upper or work directory is in use by another mount"),
        _ => error,
    }
}

/// The last message in a mount context's log.
fn kernel_message(context: BorrowedFd<'_>) -> Option<String> {
    let mut last = None;
    let mut buffer = [0_u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer[..]) {
        let text = String::from_utf8_lossy(buffer.get(..length)?);
        // A level (`e`, `w`, `i`) comes first.
        last = Some(text.trim().get(2..).unwrap_or_default().to_owned());
    }
    last.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories for an overlay of three layers, on a file system that can hold an upper directory.
    fn overlay(directory: &Path) -> Overlay {
        let path = |name: &str| directory.join(name);
        for name in ["a:b", "c,d", "e", "upper", "work"] {
            std::fs::create_dir_all(path(name)).unwrap();
            std::fs::write(path(name).join(name), name).unwrap();
        }
        std::fs::remove_file(path("work/work")).unwrap();
        Overlay {
            lowers: vec![path("a:b"), path("c,d"), path("e")],
            upper: Some(path("upper")),
            work: Some(path("work")),
            ..Overlay::default()
        }
    }

    #[test]
    fn both_ways_of_mounting_an_overlay_give_the_same() {
        if !rustix::process::geteuid().is_root() {
            return trimaran_testkit::skip("needs root");
        }
        for volatile in [false, true] {
            type Mount = fn(&Overlay) -> Result<OwnedFd>;
            let ways: [Mount; 2] = [mount_overlay, legacy::mount_overlay];
            for (number, way) in ways.into_iter().enumerate() {
                let directory = tempfile::tempdir().unwrap();
                let overlay = Overlay {
                    volatile,
                    ..overlay(directory.path())
                };
                let root = match way(&overlay) {
                    Err(error) if error.errno() == Some(libc::EINVAL) => {
                        return trimaran_testkit::skip(
                            "the temporary directory cannot hold an upper directory",
                        );
                    }
                    other => PreparedRoot {
                        mount: other.unwrap(),
                        later: None,
                    },
                };
                for name in ["a:b", "c,d", "e", "upper"] {
                    assert_eq!(
                        root.read_file(name, 10).unwrap().unwrap(),
                        name.as_bytes(),
                        "way {number}"
                    );
                }
                let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
                assert!(
                    !mounts.contains(directory.path().to_str().unwrap()),
                    "it is attached nowhere"
                );
            }
        }
    }

    #[test]
    fn a_root_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (root, wanted) in [
            (
                Root::Path(directory.path().join("nothing")),
                ErrorKind::NotFound,
            ),
            (Root::Path(file), ErrorKind::Io),
            (
                Root::Overlay(Overlay::default()),
                ErrorKind::InvalidSpec {
                    field: "root".into(),
                },
            ),
        ] {
            let error = PreparedRoot::open(&root).unwrap_err();
            // Without the privilege the kernel does not even look.
            assert!(
                *error.kind() == wanted || *error.kind() == ErrorKind::PermissionDenied,
                "{root:?}: {error}"
            );
        }
    }
}
