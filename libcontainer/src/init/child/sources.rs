//! What is opened on the host by the child, for a parent who may not.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::super::report::{At, Call, Failed};
use super::Child;
use crate::plan::Own;
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
                overlay_in_memory(path, size, true).at(Call::Fsconfig)?
            }
        };
        self.put(own.slot, opened);
        Ok(())
    }
}

fn clone(path: &CStr, extra: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | extra;
    rustix::mount::open_tree(CWD, path, flags)
}
