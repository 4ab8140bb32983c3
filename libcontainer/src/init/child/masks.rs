//! Hiding and protecting paths.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags};

use super::super::report::{At, Call, Failed};
use super::mounts::{RDONLY, attach, attach_below, make_read_only};
use super::path;
use super::{Child, done};
use crate::plan::{KernelPlace, Slot, Text};
use crate::sys::mount::{MountAttributes, open_tree_with_attributes};

/// Room for a list of a procfs in one go: it has some sixty entries.
const LIST_BYTES: usize = 8192;

/// A clone of the mount (or of the tree from there on) that a descriptor is on.
fn clone(place: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Failed> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(place, c"", flags).at(Call::OpenTree)
}

/// What earlier masks leave behind for later ones.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// The mounts for masks are attached somewhere; from now on they are cloned.
    null_attached: bool,
    empty_attached: bool,
    /// A name in the container's procfs that hides a directory, and can be cloned.
    empty: Option<Text>,
    /// Which names there are in the container's procfs, and which of them are directories: bit n for name n of the script.
    names: Option<(u64, u64)>,
}

/// What hides something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mask {
    /// `/dev/null`.
    File,
    /// An empty directory.
    Directory,
}

impl Mask {
    const fn slot(self) -> Slot {
        match self {
            Self::File => Slot::NULL,
            Self::Directory => Slot::EMPTY,
        }
    }
}

impl Child<'_> {
    /// The place a path leads to; nothing to hide or protect if there is none.
    fn place(&self, path: Text) -> Result<Option<OwnedFd>, Failed> {
        match path::open(
            self.slot(Slot::ROOT)?,
            self.text(path),
            ResolveFlags::empty(),
        ) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            other => other.map(Some).at(Call::Open),
        }
    }

    pub(super) fn read_only_path(
        &mut self,
        path: Text,
        known: Option<KernelPlace>,
    ) -> Result<(), Failed> {
        let read_only = MountAttributes {
            set: RDONLY,
            ..MountAttributes::default()
        };
        if let Some(known) = known {
            if self.listed(known)?.is_none() {
                return Ok(());
            }
            let (directory, name) = (self.slot(known.slot)?, self.text(known.name));
            match open_tree_with_attributes(directory, name, false, &read_only) {
                Ok(tree) => {
                    attach_below(tree.as_fd(), directory, name).at(Call::MoveMount)?;
                    done(tree);
                    return Ok(());
                }
                Err(Errno::NOENT) => return Ok(()),
                // An older kernel: the long way.
                Err(_) => {}
            }
        }
        let Some(place) = self.place(path)? else {
            return Ok(());
        };
        let tree = match open_tree_with_attributes(place.as_fd(), c"", false, &read_only) {
            Ok(tree) => tree,
            // An older kernel: in two steps.
            Err(_) => {
                let tree = clone(place.as_fd(), true)?;
                make_read_only(tree.as_fd(), true)?;
                tree
            }
        };
        attach(tree.as_fd(), place.as_fd())?;
        done(tree);
        done(place);
        Ok(())
    }

    /// Hides a directory behind an empty one, and anything else behind `/dev/null`.
    pub(super) fn mask(&mut self, path: Text, known: Option<KernelPlace>) -> Result<(), Failed> {
        if let Some(known) = known
            && self.mask_known(known)?
        {
            return Ok(());
        }
        let Some(place) = self.place(path)? else {
            return Ok(());
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&place).at(Call::Stat)?.st_mode);
        let mask = if kind.is_dir() {
            Mask::Directory
        } else {
            Mask::File
        };
        self.prepare(mask)?;
        self.hide(mask, place.as_fd(), c"")?;
        self.has_hidden(mask);
        done(place);
        Ok(())
    }

    /// Hides what is in a file system of the kernel's. Whether that is done, or there is nothing to hide.
    fn mask_known(&mut self, known: KernelPlace) -> Result<bool, Failed> {
        let Some(mask) = self.listed(known)? else {
            return Ok(true);
        };
        if mask == Mask::Directory && known.slot == Slot::PROC && self.cover(known)? {
            return Ok(true);
        }
        self.prepare(mask)?;
        match self.hide(mask, self.slot(known.slot)?, self.text(known.name)) {
            Ok(()) => {
                self.has_hidden(mask);
                Ok(true)
            }
            Err(Failed {
                errno: Errno::NOENT,
                call: Call::MoveMount,
            }) => Ok(true),
            // It may be of the other kind: the long way looks.
            Err(_) => Ok(false),
        }
    }

    /// Hides a directory of the procfs behind a file system that is empty, which is made in place. Whether that was possible.
    fn cover(&mut self, known: KernelPlace) -> Result<bool, Failed> {
        if self.progress.masks.empty.is_some() || self.slot(Slot::EMPTY).is_ok() {
            return Ok(false);
        }
        if !self.go_to(known.slot)? {
            return Ok(false);
        }
        let name = self.text(known.name);
        let flags =
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // The name is the kernel's: no symlink.
        let covered = rustix::mount::mount(c"tmpfs", name, c"tmpfs", flags, c"mode=755").is_ok();
        if covered {
            self.progress.masks.empty = Some(known.name);
        }
        Ok(covered)
    }

    /// Has a mount that can be attached to hide something. One serves all masks of a kind.
    fn prepare(&mut self, mask: Mask) -> Result<(), Failed> {
        let slot = mask.slot();
        if self.slot(slot).is_ok() {
            return Ok(());
        }
        let source = match (mask, self.progress.masks.empty) {
            // A node that we have made.
            (Mask::File, _) => clone_of(self.slot(Slot::DEV)?, c"null")?,
            (Mask::Directory, Some(name)) => clone_of(self.slot(Slot::PROC)?, self.text(name))?,
            (Mask::Directory, None) => empty_directory()?,
        };
        self.put(slot, source);
        Ok(())
    }

    /// Attaches a mask to what `name` is in a directory, or to the place itself. It is attached once, and cloned from there for the others.
    fn hide(&self, mask: Mask, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Failed> {
        let source = self.slot(mask.slot())?;
        let masks = &self.progress.masks;
        let is_attached = match mask {
            Mask::File => masks.null_attached,
            Mask::Directory => masks.empty_attached,
        };
        if !is_attached {
            return attach_below(source, directory, name).at(Call::MoveMount);
        }
        let copy = clone(source, false)?;
        attach_below(copy.as_fd(), directory, name).at(Call::MoveMount)?;
        done(copy);
        Ok(())
    }

    fn has_hidden(&mut self, mask: Mask) {
        match mask {
            Mask::File => self.progress.masks.null_attached = true,
            Mask::Directory => self.progress.masks.empty_attached = true,
        }
    }

    /// What hides a name, by what the procfs lists; `None` if it is not there. What is not listed is taken for a directory.
    fn listed(&mut self, known: KernelPlace) -> Result<Option<Mask>, Failed> {
        let Some(index) = known.listed else {
            return Ok(Some(Mask::Directory));
        };
        let (present, directories) = match self.progress.masks.names {
            Some(names) => names,
            None => {
                let names = self.list_proc()?;
                self.progress.masks.names = Some(names);
                names
            }
        };
        let has = |set: u64| set & (1_u64 << index.min(63)) != 0;
        Ok(match (has(present), has(directories)) {
            (false, _) => None,
            (true, true) => Some(Mask::Directory),
            (true, false) => Some(Mask::File),
        })
    }

    /// Which of the names that the script looks for are in the procfs: one list instead of a question for each, most of which are not there.
    fn list_proc(&self) -> Result<(u64, u64), Failed> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = self.slot(Slot::PROC)?;
        let proc = rustix::fs::openat(proc, c".", flags, Mode::empty()).at(Call::Open)?;
        let mut buffer = [MaybeUninit::uninit(); LIST_BYTES];
        let mut entries = RawDir::new(&proc, &mut buffer);
        let (mut present, mut directories) = (0, 0);
        while let Some(entry) = entries.next() {
            let entry = entry.at(Call::Getdents)?;
            let name = entry.file_name();
            for (index, wanted) in self.script.proc_names.iter().enumerate() {
                if self.text(*wanted) == name {
                    present |= 1_u64 << index.min(63);
                    if entry.file_type() == FileType::Directory {
                        directories |= 1_u64 << index.min(63);
                    }
                }
            }
        }
        done(proc);
        Ok((present, directories))
    }
}

/// A clone of the mount that something in a directory is on, from there on.
fn clone_of(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Failed> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(directory, name, flags).at(Call::OpenTree)
}

fn empty_directory() -> Result<OwnedFd, Failed> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).at(Call::Fsopen)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"mode", c"755").at(Call::Fsconfig)?;
    rustix::mount::fsconfig_create(context.as_fd()).at(Call::Fsconfig)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .at(Call::Fsmount)?;
    done(context);
    Ok(mount)
}
