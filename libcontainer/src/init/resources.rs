//! Opening, in the parent, what the child needs.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsmount, fsopen,
};
use rustix::process::{Gid, Uid};

use super::idmapped;
use crate::error::{Error, ErrorKind, Result};
use crate::namespace::Kind;
use crate::plan::{MadeNode, Resource, Script, Slot, Stdio, Tree};
use crate::sys::overlay::mount_by_helper;

/// Opens everything the script's slots shall hold; `given` is what the caller has opened already.
pub(super) fn open(
    script: &Script,
    stdio: Stdio,
    given: impl IntoIterator<Item = (Slot, OwnedFd)>,
) -> Result<Vec<Option<OwnedFd>>> {
    let mut slots: Vec<Option<OwnedFd>> = (0..script.slots).map(|_| None).collect();
    let mut put = |slot: Slot, descriptor: OwnedFd| -> Result<()> {
        *slots
            .get_mut(usize::from(slot.0))
            .expect("the script counts its slots") = Some(above_stdio(descriptor)?);
        Ok(())
    };
    for (slot, descriptor) in given {
        put(slot, descriptor)?;
    }
    for (slot, resource) in &script.resources {
        put(*slot, resource_descriptor(resource)?)?;
    }
    // The caller's own are where they belong in the child as well.
    if !matches!(stdio, Stdio::Inherit) {
        for (index, stream) in (0_u16..).zip(streams(stdio)?) {
            put(Slot(Slot::STDIO.0 + index), stream)?;
        }
    }
    Ok(slots)
}

/// A copy of a descriptor, above the standard streams.
pub(super) fn duplicate(descriptor: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 3)
        .map_err(|errno| Error::from_errno(errno.raw_os_error(), "duplicate a descriptor"))
}

/// The child puts the standard streams at 0, 1 and 2, where nothing else may be then.
pub(super) fn above_stdio(descriptor: OwnedFd) -> Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 {
        Ok(descriptor)
    } else {
        duplicate(descriptor.as_fd())
    }
}

/// The standard streams, opened.
pub(crate) fn streams(stdio: Stdio) -> Result<[OwnedFd; 3]> {
    let null = || {
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::from_errno(errno.raw_os_error(), "open").with_path("/dev/null"))
    };
    let or_null = |stream: Option<OwnedFd>| stream.map_or_else(null, Ok);
    Ok(match stdio {
        // The terminal takes the place of these in the child.
        Stdio::Null | Stdio::Terminal => {
            let input = null()?;
            let (output, error) = (duplicate(input.as_fd())?, duplicate(input.as_fd())?);
            [input, output, error]
        }
        Stdio::Inherit => [
            duplicate(rustix::stdio::stdin())?,
            duplicate(rustix::stdio::stdout())?,
            duplicate(rustix::stdio::stderr())?,
        ],
        Stdio::Streams {
            stdin,
            stdout,
            stderr,
        } => [or_null(stdin)?, or_null(stdout)?, or_null(stderr)?],
    })
}

fn resource_descriptor(resource: &Resource) -> Result<OwnedFd> {
    match resource {
        Resource::Tree(tree) => open_tree(tree),
        Resource::Device {
            path,
            kind,
            major,
            minor,
            made,
        } => {
            let number = rustix::fs::makedev(*major, *minor);
            device(path, *kind, number).or_else(|error| {
                // If it cannot be made either, the host's lack of it is the reason to tell.
                let node = made.and_then(|made| make_device(*kind, number, made).ok());
                node.ok_or(error)
            })
        }
        Resource::Proc => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open("/proc", flags, Mode::empty())
                .map_err(|errno| Error::from_errno(errno.raw_os_error(), "open").with_path("/proc"))
        }
        Resource::Namespace {
            path,
            kind,
            foreign,
        } => namespace(path, *kind, *foreign),
    }
}

fn namespace(path: &Path, kind: Kind, foreign: bool) -> Result<OwnedFd> {
    let failed = |errno: Errno| {
        Error::from_errno(errno.raw_os_error(), format!("open {kind} namespace")).with_path(path)
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    if foreign {
        let own =
            rustix::fs::stat(format!("/proc/self/ns/{}", kind.file_name())).map_err(failed)?;
        let given = rustix::fs::fstat(&opened).map_err(failed)?;
        if (own.st_dev, own.st_ino) == (given.st_dev, given.st_ino) {
            let field = "linux.namespaces".to_owned();
            return Err(failed(Errno::INVAL)
                .with_kind(ErrorKind::InvalidSpec { field })
                .with_hint("it is the caller's own, which the container's mounts, names or sysctls would change"));
        }
    }
    Ok(opened)
}

fn open_tree(tree: &Tree) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::empty();
    flags.set(OpenTreeFlags::AT_RECURSIVE, tree.recursive);
    flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, tree.no_follow);
    let mount = clone_tree(&tree.path, flags).map_err(|errno| {
        let error = Error::from_errno(errno.raw_os_error(), "open the source of a mount")
            .with_path(&tree.path);
        match errno {
            Errno::NOENT => error.with_hint("the source of a bind mount must exist"),
            Errno::INVAL => error.with_hint(
                "it holds mounts that are locked: a recursive bind is needed, or it is unbindable",
            ),
            _ => error,
        }
    })?;
    if let Some(map) = &tree.idmap {
        idmapped::apply(mount.as_fd(), map).map_err(|error| error.with_path(&tree.path))?;
    }
    Ok(mount)
}

fn clone_tree(path: &Path, extra: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | extra;
    rustix::mount::open_tree(CWD, path, flags)
}

/// A device node of the host, which must be the very device: a name alone proves nothing.
fn device(path: &Path, kind: u32, number: u64) -> Result<OwnedFd> {
    const STEP: &str = "open a device of the host";
    let failed = |errno: Errno| {
        let error = Error::from_errno(errno.raw_os_error(), STEP).with_path(path);
        if errno == Errno::NOENT {
            error.with_hint("devices cannot be made in a user namespace; the host has to have them")
        } else {
            error
        }
    };
    let node = clone_tree(path, OpenTreeFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
    let stat = rustix::fs::fstat(&node).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::from_raw_mode(kind)
        || stat.st_rdev != number
    {
        return Err(Error::new(ErrorKind::PermissionDenied, STEP)
            .with_path(path)
            .with_hint("the host has another device, or none, under this name"));
    }
    Ok(node)
}

/// A device node in a file system that nobody else sees, made while we are outside of the container's user namespace.
fn make_device(kind: u32, number: u64, made: MadeNode) -> Result<OwnedFd, Errno> {
    let make = |attached| make_device_in(kind, number, made, attached);
    // Cloning a mount that is attached nowhere needs Linux 6.15.
    make(false).or_else(|_| mount_by_helper(&|| make(true)))
}

/// `attached` on top of everything, in the mount namespace of a helper, which looks nothing up there.
fn make_device_in(
    kind: u32,
    number: u64,
    made: MadeNode,
    attached: bool,
) -> Result<OwnedFd, Errno> {
    const NAME: &CStr = c"device";
    let memory = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(memory.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let memory = fsmount(memory.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let (kind, mode) = (
        FileType::from_raw_mode(kind),
        Mode::from_raw_mode(made.mode),
    );
    rustix::fs::mknodat(&memory, NAME, kind, mode, number)?;
    let owner = (Uid::from_raw(made.uid), Gid::from_raw(made.gid));
    rustix::fs::chownat(
        &memory,
        NAME,
        Some(owner.0),
        Some(owner.1),
        AtFlags::empty(),
    )?;
    // The caller's umask had a say before.
    rustix::fs::chmodat(&memory, NAME, mode, AtFlags::empty())?;
    if attached {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&memory, c"", CWD, c"/", flags)?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(&memory, NAME, flags)
}
