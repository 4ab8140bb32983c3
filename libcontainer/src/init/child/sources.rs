//! What is opened on the host by the child, for a parent who may not.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::super::report::{At, Call, Failed, Kind, Report};
use super::path::open_with;
use super::{Child, done};
use crate::plan::{Own, Slot};
use crate::rootfs::{overlay_in_memory, private_clone};

impl Child<'_> {
    /// Opens it with the rights of the caller, as root of the new user namespace: the mounts here are a copy of the host's.
    pub(super) fn open_own(&mut self, index: u32) -> Result<(), Failed> {
        let own = self.script.own.get(index as usize).copied();
        let own = own.ok_or(Errno::INVAL).at(Call::Verify)?;
        let path = self.text(own.path);
        let opened = match own.kind {
            Own::Tree {
                recursive,
                no_follow,
            } => {
                let mut flags = OpenTreeFlags::empty();
                flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
                flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, no_follow);
                clone(path, flags).at(Call::OpenTree)?
            }
            Own::Inside {
                path,
                recursive,
                no_follow,
                map,
            } => self.tree_inside(self.text(path), recursive, no_follow, map)?,
            Own::Device { kind, major, minor } => {
                let node = clone(path, OpenTreeFlags::AT_SYMLINK_NOFOLLOW).at(Call::OpenTree)?;
                // The very device: a name alone proves nothing.
                let stat = rustix::fs::fstat(&node).at(Call::Stat)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::from_raw_mode(kind)
                    || stat.st_rdev != rustix::fs::makedev(major, minor)
                {
                    return Err(Errno::NXIO).at(Call::Verify);
                }
                node
            }
            Own::Root => private_clone(path).at(Call::OpenTree)?,
            Own::MemoryRoot { size } => {
                let size = size.map(|size| self.text(size));
                overlay_in_memory(path, size).at(Call::Fsconfig)?
            }
        };
        self.put(own.slot, opened);
        Ok(())
    }

    /// Clones what is in the container's root by now; no symlink leads out of that.
    fn tree_inside(
        &self,
        path: &CStr,
        recursive: bool,
        no_follow: bool,
        map: Option<u32>,
    ) -> Result<OwnedFd, Failed> {
        let mut flags = OFlags::PATH;
        flags.set(OFlags::NOFOLLOW, no_follow);
        let root = self.slot(Slot::ROOT)?;
        let place = open_with(root, path, flags, ResolveFlags::IN_ROOT).at(Call::Open)?;
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        let tree = rustix::mount::open_tree(&place, c"", flags).at(Call::OpenTree)?;
        done(place);
        if let Some(map) = map {
            let mut report = Report::new(Kind::AwaitsTreeMap, self.progress.step);
            report.value = map as i32;
            self.ask_about(&report, Some(tree.as_fd()))?;
        }
        Ok(tree)
    }
}

fn clone(path: &CStr, extra: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | extra;
    rustix::mount::open_tree(CWD, path, flags)
}
