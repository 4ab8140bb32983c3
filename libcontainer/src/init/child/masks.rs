//! Hiding and protecting paths.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::super::report::{At, Call, Failed};
use super::mounts::{RDONLY, attach, make_read_only};
use super::path;
use super::{Child, done};
use crate::plan::{Slot, Text};
use crate::sys::mount::{MountAttributes, open_tree_with_attributes};

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

    pub(super) fn read_only_path(&self, path: Text) -> Result<(), Failed> {
        let Some(place) = self.place(path)? else {
            return Ok(());
        };
        let read_only = MountAttributes {
            set: RDONLY,
            ..MountAttributes::default()
        };
        let tree = match open_tree_with_attributes(place.as_fd(), &read_only) {
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
    pub(super) fn mask(&mut self, path: Text) -> Result<(), Failed> {
        let Some(place) = self.place(path)? else {
            return Ok(());
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&place).at(Call::Stat)?.st_mode);
        let (slot, attached) = if kind.is_dir() {
            if self.slot(Slot::EMPTY).is_err() {
                let empty = empty_directory()?;
                self.put(Slot::EMPTY, empty);
            }
            (
                Slot::EMPTY,
                std::mem::replace(&mut self.progress.empty_attached, true),
            )
        } else {
            (
                Slot::NULL,
                std::mem::replace(&mut self.progress.null_attached, true),
            )
        };
        let source = self.slot(slot)?;
        // One mount serves all masks: it is attached once, and cloned from there for the others.
        if attached {
            let mask = clone(source, false)?;
            attach(mask.as_fd(), place.as_fd())?;
            done(mask);
        } else {
            attach(source, place.as_fd())?;
        }
        done(place);
        Ok(())
    }
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
