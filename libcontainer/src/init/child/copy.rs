//! Copying what is below a mount point into the file system that covers it: system calls and the stack, nothing else.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Timespec, Uid};
use rustix::io::Errno;

use super::super::report::{At, Call, Failed};
use super::path::open_with;

/// Deeper directories are refused: each level takes some two kilobytes of a stack that may be small.
const MAX_DEPTH: u32 = 48;

/// For the entries of a directory; one takes at most 280 bytes.
const ENTRIES_BYTES: usize = 1024;

/// For the target of a symlink, with its zero.
const LINK_BYTES: usize = 4096;

/// The most that one call copies.
const CHUNK_BYTES: usize = 1 << 30;

/// Copies what is in `from`, with modes, owners and times, into `to`, and those of `from` itself. Extended attributes are not copied,
/// and a mount point is copied as an empty directory.
pub(super) fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failed> {
    let stat = rustix::fs::fstat(from).at(Call::Stat)?;
    entries(from, to, 0)?;
    attributes(to, c".", &stat)
}

fn entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Failed> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG).at(Call::Getdents);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, c".", flags, Mode::empty()).at(Call::Open)?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); ENTRIES_BYTES];
    let mut list = RawDir::new(from.as_fd(), &mut buffer);
    while let Some(entry) = list.next() {
        let entry = entry.at(Call::Getdents)?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy(from.as_fd(), to, name, depth)?;
        }
    }
    Ok(())
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: u32) -> Result<(), Failed> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).at(Call::Stat)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU).at(Call::Mkdir)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            match open_with(from, name, flags, resolve) {
                // Another mount: what is in it stays below.
                Err(Errno::XDEV) => {}
                other => {
                    let below = other.at(Call::Open)?;
                    let made = open_with(to, name, flags, resolve).at(Call::Open)?;
                    entries(below.as_fd(), made.as_fd(), depth.wrapping_add(1))?;
                }
            }
        }
        FileType::RegularFile => file(from, to, name)?,
        FileType::Symlink => link(from, name, to, name)?,
        kind => match rustix::fs::mknodat(to, name, kind, Mode::RUSR, stat.st_rdev) {
            // Devices cannot be made in a user namespace.
            Err(Errno::PERM) => return Ok(()),
            other => other.at(Call::Mknod)?,
        },
    }
    attributes(to, name, &stat)
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Failed> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    // Non-blocking, or a FIFO that took the file's place would stop us.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let source = open_with(from, name, flags, resolve).at(Call::Open)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR).at(Call::Create)?;
    while rustix::fs::sendfile(&copy, &source, None, CHUNK_BYTES).at(Call::Sendfile)? > 0 {}
    Ok(())
}

/// Makes a symlink like the one at `from`; an empty `path` means `from` itself.
pub(super) fn link(
    from: BorrowedFd<'_>,
    path: &CStr,
    to: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(), Failed> {
    let mut buffer = [0_u8; LINK_BYTES];
    // One byte stays zero. The kernel stores no longer target.
    let room = buffer
        .get_mut(..LINK_BYTES - 1)
        .ok_or(Errno::INVAL)
        .at(Call::Readlink)?;
    rustix::fs::readlinkat_raw(from, path, room).at(Call::Readlink)?;
    let target = CStr::from_bytes_until_nul(&buffer)
        .map_err(|_| Errno::INVAL)
        .at(Call::Readlink)?;
    rustix::fs::symlinkat(target, to, name).at(Call::Symlink)
}

/// Gives a copy the owner, mode and times of what it was copied from. An owner that does not exist here is left out.
fn attributes(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Failed> {
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::chownat(to, name, Some(owner.0), Some(owner.1), flags) {
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(errno) => return Err(errno).at(Call::Chown),
    }
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(to, name, mode, AtFlags::empty()).at(Call::Chmod)?;
    }
    let time = |seconds: i64, nanoseconds: i64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = rustix::fs::Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as i64),
    };
    rustix::fs::utimensat(to, name, &times, flags).at(Call::Chmod)
}
