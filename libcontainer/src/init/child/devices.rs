//! What is in `/dev`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::super::report::{At, Call, Failed};
use super::Child;
use super::mounts::attach;
use super::path::{self, Wanted};
use crate::plan::{DeviceStep, Slot, Text};

impl Child<'_> {
    /// The image's own `/dev`, which must be a directory and no link to one.
    pub(super) fn open_dev(&mut self) -> Result<(), Failed> {
        let dev = path::ensure(
            self.slot(Slot::ROOT)?,
            c"/dev",
            Wanted::Directory,
            ResolveFlags::NO_SYMLINKS,
        )?;
        self.put(Slot::DEV, dev);
        Ok(())
    }

    pub(super) fn device(&mut self, index: u32) -> Result<(), Failed> {
        let step = self
            .script
            .devices
            .get(index as usize)
            .copied()
            .ok_or(Errno::INVAL)
            .at(Call::Verify)?;
        let source = match step.bind {
            Some(slot) => Some(self.take(slot)?),
            None => None,
        };
        let mut buffer = path::buffer();
        let base = self.slot(if step.in_dev { Slot::DEV } else { Slot::ROOT })?;
        let resolve = if step.in_dev {
            ResolveFlags::NO_SYMLINKS
        } else {
            ResolveFlags::empty()
        };
        let text = self.text(step.path);
        // Most devices lie in /dev itself, which is open already.
        let (directory, name): (Option<OwnedFd>, &CStr) =
            if step.in_dev && !text.to_bytes().contains(&b'/') {
                (None, text)
            } else {
                let (directory, name) = path::parent_of(base, text, resolve, &mut buffer)?;
                (Some(directory), name)
            };
        let directory = directory.as_ref().map_or(base, AsFd::as_fd);
        match source {
            Some(source) => attach(source.as_fd(), path::make_file(directory, name)?.as_fd()),
            None => node(directory, name, &step),
        }
    }

    pub(super) fn device_link(&self, target: Text, name: Text) -> Result<(), Failed> {
        match rustix::fs::symlinkat(self.text(target), self.slot(Slot::DEV)?, self.text(name)) {
            // What an image brings in its own /dev stays.
            Err(Errno::EXIST) => Ok(()),
            other => other.at(Call::Symlink),
        }
    }
}

fn node(directory: BorrowedFd<'_>, name: &CStr, step: &DeviceStep) -> Result<(), Failed> {
    let kind = FileType::from_raw_mode(step.kind);
    let device = rustix::fs::makedev(step.major, step.minor);
    match rustix::fs::mknodat(
        directory,
        name,
        kind,
        Mode::from_raw_mode(step.mode),
        device,
    ) {
        Ok(()) => {}
        Err(Errno::EXIST) => return the_same(directory, name, kind, device).map(drop),
        Err(errno) => return Err(errno).at(Call::Mknod),
    }
    if (step.uid, step.gid) == (0, 0) {
        return Ok(());
    }
    // Somebody who shares the directory may have put another file under the name since.
    let node = the_same(directory, name, kind, device)?;
    let owner = (Some(Uid::from_raw(step.uid)), Some(Gid::from_raw(step.gid)));
    rustix::fs::chownat(&node, c"", owner.0, owner.1, AtFlags::EMPTY_PATH).at(Call::Chown)
}

/// What is there already must be the very device, and not a link to one.
fn the_same(
    directory: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
    device: u64,
) -> Result<OwnedFd, Failed> {
    let there = path::open_with(
        directory,
        name,
        OFlags::PATH | OFlags::NOFOLLOW,
        ResolveFlags::NO_SYMLINKS,
    )
    .at(Call::Open)?;
    let stat = rustix::fs::fstat(&there).at(Call::Stat)?;
    let same = FileType::from_raw_mode(stat.st_mode) == kind
        && (kind == FileType::Fifo || stat.st_rdev == device);
    if same {
        Ok(there)
    } else {
        Err(Errno::EXIST).at(Call::Verify)
    }
}
