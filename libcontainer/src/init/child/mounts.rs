//! Mounts, from detached trees onto opened places.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};

use super::super::report::{At, Call, Failed, TEXT_BYTES};
use super::copy;
use super::path::{self, Wanted};
use super::{Child, done};
use crate::plan::{Inherits, MountSource, MountStep, Slot, Span, Text};
use crate::sys::mount::{MountAttributes, mount_setattr};

pub(super) const RDONLY: u64 = 0x1;

/// `PROC_SUPER_MAGIC`.
pub(super) const PROC_MAGIC: i64 = 0x9fa0;

/// `mount("", "/", flag)`: the propagation of all mounts, or of the root alone.
pub(in crate::init) fn change_all(flag: u64, recursive: bool) -> Result<(), Failed> {
    let mut flags = match flag {
        libc::MS_SHARED => MountPropagationFlags::SHARED,
        libc::MS_SLAVE => MountPropagationFlags::DOWNSTREAM,
        libc::MS_UNBINDABLE => MountPropagationFlags::UNBINDABLE,
        _ => MountPropagationFlags::PRIVATE,
    };
    if recursive {
        flags |= MountPropagationFlags::REC;
    }
    rustix::mount::mount_change(c"/", flags).at(Call::MountSetattr)
}

pub(super) fn make_read_only(mount: BorrowedFd<'_>, recursive: bool) -> Result<(), Failed> {
    mount_setattr(
        mount,
        recursive,
        &MountAttributes {
            set: RDONLY,
            ..MountAttributes::default()
        },
    )
    .at(Call::MountSetattr)
}

/// Moves a detached mount onto an opened place.
pub(in crate::init) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Failed> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", place, c"", flags).at(Call::MoveMount)
}

/// Moves a detached mount onto what `name` is in a directory (the place itself, if it is empty), and not onto what a symlink of this name
/// leads to.
pub(super) fn attach_below(
    mount: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", directory, name, flags)
}

/// Attributes of a mount as `mount(2)` has them.
fn flags(attributes: u64) -> MountFlags {
    let pairs = [
        (MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (
            MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            MountFlags::STRICTATIME,
        ),
        (
            MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            MountFlags::NODIRATIME,
        ),
        // `MS_NOSYMFOLLOW`.
        (
            MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW,
            MountFlags::from_bits_retain(0x100),
        ),
    ];
    let ours = MountAttrFlags::from_bits_retain(attributes as u32);
    pairs
        .into_iter()
        .filter(|(attribute, _)| ours.contains(*attribute))
        .fold(MountFlags::empty(), |all, (_, flag)| all | flag)
}

fn change(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: MountAttributes,
) -> Result<(), Failed> {
    if attributes.is_empty() {
        return Ok(());
    }
    mount_setattr(mount, recursive, &attributes).at(Call::MountSetattr)
}

impl Child<'_> {
    /// Attaches the root: usually on top of the present one, which is only a place to hang it up, because path lookup starts below it.
    pub(super) fn attach_root(&self, at: Text) -> Result<(), Failed> {
        let root = self.slot(Slot::ROOT)?;
        rustix::mount::move_mount(
            root,
            c"",
            CWD,
            self.text(at),
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .at(Call::MoveMount)
    }

    pub(super) fn mount(&mut self, index: u32) -> Result<(), Failed> {
        let step = self
            .script
            .mounts
            .get(index as usize)
            .copied()
            .ok_or(Errno::INVAL)
            .at(Call::Verify)?;
        if self.mount_by_name(&step)? {
            return Ok(());
        }
        let (mount, wanted) = self.detached(&step)?;
        if step.links.copy && wanted == Wanted::Link {
            return self.copy_link(&step, mount.as_fd());
        }
        if step.inherits == Inherits::Content {
            self.inherit(&step, mount.as_fd())?;
        }
        if !self.attach_at_top(&step, mount.as_fd()) {
            let place = self.place_for(&step, wanted)?;
            attach(mount.as_fd(), place.as_fd())?;
            done(place);
        }
        if let Some((flag, recursive)) = step.propagation {
            let attributes = MountAttributes {
                propagation: flag,
                ..MountAttributes::default()
            };
            mount_setattr(mount.as_fd(), recursive, &attributes).at(Call::MountSetattr)?;
        }
        match step.keep {
            Some(slot) => self.put(slot, mount),
            None => done(mount),
        }
        Ok(())
    }

    /// Makes a new file system in a directory that is a fresh file system of ours, by `mount(2)`: one call instead of eight. The mount
    /// point is a directory that we make there at this moment, and nobody else is in that file system, so its name can mean nothing
    /// else. Whether that was possible; if not, the long way says why, or succeeds.
    fn mount_by_name(&mut self, step: &MountStep) -> Result<bool, Failed> {
        let (Some(data), Some((slot, name))) = (step.plain, step.beneath) else {
            return Ok(false);
        };
        let MountSource::New {
            fstype,
            source,
            attributes,
            ..
        } = step.source
        else {
            return Ok(false);
        };
        let name = self.script.arena.get(name);
        if !self.go_to(slot)?
            || rustix::fs::mkdirat(self.slot(slot)?, name, Mode::from_raw_mode(0o755)).is_err()
        {
            return Ok(false);
        }
        let source = source.map_or(c"none", |source| self.text(source));
        let data = Some(self.text(data)).filter(|data| !data.is_empty());
        let flags = flags(attributes);
        Ok(rustix::mount::mount(source, name, self.text(fstype), flags, data).is_ok())
    }

    /// Attaches a mount to a directory at the top of the root, if that is there and is no symlink: one name needs no lookup of its own.
    fn attach_at_top(&self, step: &MountStep, mount: BorrowedFd<'_>) -> bool {
        let (Some(name), Ok(root)) = (step.top, self.slot(Slot::ROOT)) else {
            return false;
        };
        attach_below(mount, root, self.text(name)).is_ok()
    }

    /// Opens the mount point, and makes it if it is missing.
    fn place_for(&self, step: &MountStep, wanted: Wanted) -> Result<OwnedFd, Failed> {
        if let Some((slot, name)) = step.beneath {
            // In a file system that we have just made there are no links; but nothing may be hidden in a procfs.
            if slot == Slot::PROC && !step.inside_proc {
                return Err(Errno::PERM).at(Call::Verify);
            }
            return path::make_beneath(self.slot(slot)?, self.text(name), wanted);
        }
        let resolve = if step.strict {
            ResolveFlags::NO_SYMLINKS
        } else {
            ResolveFlags::empty()
        };
        let target = self.text(step.target);
        let root = self.slot(Slot::ROOT)?;
        let place = if step.links.keep_target {
            path::ensure_unfollowed(root, target, wanted)?
        } else {
            path::ensure(root, target, wanted, resolve)?
        };
        // A symlink in the image must not lead a mount into the procfs, where it would hide what the kernel says.
        if !step.inside_proc
            && rustix::fs::fstatfs(&place).at(Call::Stat)?.f_type as i64 == PROC_MAGIC
        {
            return Err(Errno::PERM).at(Call::Verify);
        }
        Ok(place)
    }

    fn detached(&mut self, step: &MountStep) -> Result<(OwnedFd, Wanted), Failed> {
        match step.source {
            MountSource::New {
                fstype,
                source,
                options,
                attributes,
            } => {
                // What goes into it comes before it is made read-only.
                let attributes = match step.inherits {
                    Inherits::Content => attributes & !RDONLY,
                    _ => attributes,
                };
                let mode = match step.inherits {
                    Inherits::Mode => self.covered(step)?.map(|(_, mode)| mode),
                    _ => None,
                };
                let made = self.file_system(fstype, source, options, attributes, mode)?;
                Ok((made, Wanted::Directory))
            }
            MountSource::Tree {
                slot, own, whole, ..
            } => {
                let tree = self.take(slot)?;
                change(tree.as_fd(), true, whole)?;
                change(tree.as_fd(), false, own)?;
                let kind =
                    FileType::from_raw_mode(rustix::fs::fstat(&tree).at(Call::Stat)?.st_mode);
                let wanted = match kind {
                    FileType::Directory => Wanted::Directory,
                    FileType::Symlink => Wanted::Link,
                    _ => Wanted::File,
                };
                Ok((tree, wanted))
            }
        }
    }

    /// Fills a new file system with what is in the directory that it will cover, if there is one, and then makes it read-only where
    /// that is wanted.
    fn inherit(&self, step: &MountStep, mount: BorrowedFd<'_>) -> Result<(), Failed> {
        if let Some((below, _)) = self.covered(step)? {
            copy::directory(below.as_fd(), mount)?;
        }
        match step.source {
            MountSource::New { attributes, .. } if attributes & RDONLY != 0 => {
                make_read_only(mount, false)
            }
            _ => Ok(()),
        }
    }

    /// The directory of the image that a mount will cover, with its mode.
    fn covered(&self, step: &MountStep) -> Result<Option<(OwnedFd, u32)>, Failed> {
        if step.beneath.is_some() {
            return Ok(None);
        }
        let root = self.slot(Slot::ROOT)?;
        let below = match path::open(root, self.text(step.target), ResolveFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.at(Call::Open)?,
        };
        let stat = rustix::fs::fstat(&below).at(Call::Stat)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        Ok(is_directory.then_some((below, stat.st_mode & 0o7777)))
    }

    /// Makes the symlink that a source is, unless the container has something in its place.
    fn copy_link(&self, step: &MountStep, link: BorrowedFd<'_>) -> Result<(), Failed> {
        let mut buffer = path::buffer();
        let resolve = ResolveFlags::empty();
        let target = self.text(step.target);
        let (directory, name) =
            path::parent_of(self.slot(Slot::ROOT)?, target, resolve, &mut buffer)?;
        match copy::link(link, c"", directory.as_fd(), name) {
            Err(Failed {
                errno: Errno::EXIST,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// A new file system, attached nowhere; with this mode, if one is named.
    fn file_system(
        &mut self,
        fstype: Text,
        source: Option<Text>,
        options: Span,
        attributes: u64,
        mode: Option<u32>,
    ) -> Result<OwnedFd, Failed> {
        let script = self.script;
        let text = |text: Text| script.arena.get(text);
        let context =
            rustix::mount::fsopen(text(fstype), FsOpenFlags::FSOPEN_CLOEXEC).at(Call::Fsopen)?;
        let configure = || -> Result<(), Errno> {
            if let Some(source) = source {
                rustix::mount::fsconfig_set_string(context.as_fd(), c"source", text(source))?;
            }
            for option in options.of(&script.options) {
                match option.value {
                    Some(value) => rustix::mount::fsconfig_set_string(
                        context.as_fd(),
                        text(option.key),
                        text(value),
                    )?,
                    None => rustix::mount::fsconfig_set_flag(context.as_fd(), text(option.key))?,
                }
            }
            if let Some(mode) = mode {
                // As an option, so that it can be seen as one.
                let digits = octal(mode);
                let digits = CStr::from_bytes_until_nul(&digits).map_err(|_| Errno::INVAL)?;
                rustix::mount::fsconfig_set_string(context.as_fd(), c"mode", digits)?;
            }
            rustix::mount::fsconfig_create(context.as_fd())
        };
        if let Err(errno) = configure() {
            self.progress.text = words(context.as_fd());
            return Err(errno).at(Call::Fsconfig);
        }
        let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
        let mount =
            rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
                .at(Call::Fsmount)?;
        done(context);
        Ok(mount)
    }

    /// A procfs for our own writes, which nobody can have mounted over.
    pub(super) fn open_proc(&mut self) -> Result<(), Failed> {
        let made =
            rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|context| {
                rustix::mount::fsconfig_create(context.as_fd())?;
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            });
        let proc = match made {
            // In a user namespace that does not own the pid namespace: the one of the host, still in its place.
            Err(Errno::PERM) => {
                let proc = path::open_with(
                    CWD,
                    c"/proc",
                    OFlags::PATH | OFlags::DIRECTORY,
                    ResolveFlags::NO_SYMLINKS,
                )
                .at(Call::Open)?;
                if rustix::fs::fstatfs(&proc).at(Call::Stat)?.f_type as i64 != PROC_MAGIC {
                    return Err(Errno::NODEV).at(Call::Verify);
                }
                proc
            }
            other => other.at(Call::Fsmount)?,
        };
        self.put(Slot::PROC, proc);
        Ok(())
    }

    /// Makes the new root the root, and drops the old one, which `pivot_root` leaves on top of it.
    pub(super) fn pivot(&self) -> Result<(), Failed> {
        rustix::process::fchdir(self.slot(Slot::ROOT)?).at(Call::Chdir)?;
        rustix::process::pivot_root(c".", c".").at(Call::PivotRoot)?;
        // What was on top is gone: the current directory is the new root, where `fchdir` has brought us.
        rustix::mount::unmount(c".", UnmountFlags::DETACH).at(Call::Unmount)
    }
}

impl Child<'_> {
    /// Makes the new root the root where the old one cannot be dropped. What is on top of `/` of the mount namespace is what those
    /// who join it later see, so the new root has to lie there.
    pub(super) fn change_root(&self, elsewhere: bool) -> Result<(), Failed> {
        let root = self.slot(Slot::ROOT)?;
        if elsewhere {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            rustix::mount::move_mount(root, c"", CWD, c"/", flags).at(Call::MoveMount)?;
        }
        rustix::process::fchdir(root).at(Call::Chdir)?;
        rustix::process::chroot(c".").at(Call::Chroot)?;
        rustix::process::chdir(c"/").at(Call::Chdir)
    }
}

/// Takes a mount away, or covers one that a user namespace may not take away.
pub(super) fn hide(path: &std::ffi::CStr) -> Result<(), Failed> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Err(Errno::INVAL | Errno::PERM) => {
            let flags = MountFlags::RDONLY;
            rustix::mount::mount(c"tmpfs", path, c"tmpfs", flags, None).at(Call::Unmount)
        }
        // Hidden by another mount, or in what has just been taken away.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).at(Call::Unmount),
    }
}

/// A mode in digits, with a zero byte behind them.
fn octal(mode: u32) -> [u8; 5] {
    let mut digits = [0; 5];
    for (place, digit) in digits.iter_mut().take(4).enumerate() {
        // Below eight, so it fits.
        *digit = b'0' + (mode >> (9 - 3 * place) & 7) as u8;
    }
    digits
}

/// What the file system says about a refused option.
fn words(context: BorrowedFd<'_>) -> Option<[u8; TEXT_BYTES]> {
    let mut buffer = [0_u8; TEXT_BYTES];
    // One byte stays zero. A message that does not fit is lost, which is no worse than none.
    let length = rustix::io::read(context, buffer.get_mut(..TEXT_BYTES - 1)?).ok()?;
    // A level (`e `) comes first.
    buffer.copy_within(2.min(length).., 0);
    Some(buffer)
}
