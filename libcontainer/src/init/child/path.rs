//! Paths inside the root file system: resolved by the kernel, in the root, whatever symlinks say.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::report::{At, Call, Failed};
use crate::rootfs::retry;

/// Longest path the kernel takes, with its zero.
const PATH_BYTES: usize = 4096;

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::init) enum Wanted {
    Directory,
    File,
    /// A symlink, which is mounted on a file.
    Link,
}

/// Opens `path` in `root` as a place (`O_PATH`).
pub(super) fn open(
    root: BorrowedFd<'_>,
    path: &CStr,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    open_with(root, path, OFlags::PATH, ResolveFlags::IN_ROOT | resolve)
}

pub(in crate::init) fn open_with(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    retry(|| {
        rustix::fs::openat2(
            directory,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve | ResolveFlags::NO_MAGICLINKS,
        )
    })
}

/// How many links that lead nowhere yet are followed on the way to a mount point; the kernel follows as many.
const LINKS: usize = 40;

/// Opens the mount point `path` in `root`, and makes it and the directories above it if they are missing.
///
/// A symlink whose target is missing is followed in the root, and its target made: images have `/var/run` leading to a `/run` that is
/// not there.
pub(in crate::init) fn ensure(
    root: BorrowedFd<'_>,
    path: &CStr,
    wanted: Wanted,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Failed> {
    match open(root, path, resolve) {
        Err(Errno::NOENT) => {}
        other => return other.at(Call::Open),
    }
    let follows = !resolve.contains(ResolveFlags::NO_SYMLINKS);
    let (mut one, mut other) = (buffer(), buffer());
    let mut whole = terminated(&mut one, path.to_bytes())?;
    for _ in 0..LINKS {
        let (parent, missing) = deepest(root, whole, resolve)?;
        match make(parent, whole.to_bytes(), missing, wanted)? {
            Made::Place(place) => return Ok(place),
            Made::Link(link) if follows => {
                spliced(&mut other, whole.to_bytes(), &link)?;
                std::mem::swap(&mut one, &mut other);
                whole = CStr::from_bytes_until_nul(&one)
                    .map_err(|_| Errno::NAMETOOLONG)
                    .at(Call::Open)?;
            }
            Made::Link(_) => break,
        }
    }
    Err(Errno::LOOP).at(Call::Open)
}

/// Like [`ensure`], but a symlink as the last part is the mount point itself.
pub(super) fn ensure_unfollowed(
    root: BorrowedFd<'_>,
    path: &CStr,
    wanted: Wanted,
) -> Result<OwnedFd, Failed> {
    let resolve = ResolveFlags::IN_ROOT;
    match open_with(root, path, OFlags::PATH | OFlags::NOFOLLOW, resolve) {
        Err(Errno::NOENT) => ensure(root, path, wanted, ResolveFlags::empty()),
        other => other.at(Call::Open),
    }
}

/// What [`make`] came to.
enum Made {
    Place(OwnedFd),
    Link(Link),
}

/// A symlink on the way.
struct Link {
    directory: OwnedFd,
    /// Where its name begins and ends in the path.
    name: (usize, usize),
}

/// The path with the target of a link in the place of its name. A target that is relative is so to the directory of the link.
fn spliced(buffer: &mut [u8; PATH_BYTES], path: &[u8], link: &Link) -> Result<(), Failed> {
    let (start, end) = link.name;
    let part = |from: usize, to: usize| path.get(from..to).unwrap_or_default();
    let (mut name, mut target) = (self::buffer(), self::buffer());
    let name = terminated(&mut name, part(start, end))?;
    let length =
        rustix::fs::readlinkat_raw(&link.directory, name, &mut target[..]).at(Call::Open)?;
    let target = target.get(..length).unwrap_or_default();
    let head = if target.first() == Some(&b'/') {
        &[]
    } else {
        part(0, start)
    };
    let mut at = 0_usize;
    for piece in [head, target, b"/", part(end, path.len()), b"\0"] {
        buffer
            .get_mut(at..at.saturating_add(piece.len()))
            .ok_or(Errno::NAMETOOLONG)
            .at(Call::Open)?
            .copy_from_slice(piece);
        at = at.saturating_add(piece.len());
    }
    Ok(())
}

/// The last directory on the way to `path` that exists, and where what is missing below it begins.
fn deepest(
    root: BorrowedFd<'_>,
    path: &CStr,
    resolve: ResolveFlags,
) -> Result<(OwnedFd, usize), Failed> {
    let bytes = path.to_bytes();
    let mut buffer = [0_u8; PATH_BYTES];
    let mut end = bytes.len();
    loop {
        // The part before the last `/`.
        end = bytes
            .get(..end)
            .and_then(|head| head.iter().rposition(|byte| *byte == b'/'))
            .unwrap_or(0);
        let head = bytes.get(..end).unwrap_or_default();
        let head = terminated(&mut buffer, if head.is_empty() { b"." } else { head })?;
        match open_with(
            root,
            head,
            OFlags::PATH | OFlags::DIRECTORY,
            ResolveFlags::IN_ROOT | resolve,
        ) {
            Err(Errno::NOENT) if end > 0 => {}
            found => return Ok((found.at(Call::Open)?, end)),
        }
    }
}

/// Makes directories for all parts of `path` from `missing` on below `parent`, and for the last one what is wanted.
fn make(parent: OwnedFd, path: &[u8], missing: usize, wanted: Wanted) -> Result<Made, Failed> {
    let mut buffer = [0_u8; PATH_BYTES];
    let mut current = parent;
    let mut end = missing;
    loop {
        let slashes = |from: usize| path.get(from..).unwrap_or_default().iter();
        let start = end.saturating_add(slashes(end).take_while(|byte| **byte == b'/').count());
        end = start.saturating_add(slashes(start).take_while(|byte| **byte != b'/').count());
        if start == end {
            return Ok(Made::Place(current));
        }
        let name = terminated(&mut buffer, path.get(start..end).unwrap_or_default())?;
        let last = slashes(end).all(|byte| *byte == b'/');
        let kind = if last { wanted } else { Wanted::Directory };
        current = match make_beneath(current.as_fd(), name, kind) {
            Err(Failed {
                call: Call::Open,
                errno: Errno::LOOP,
            }) => {
                return Ok(Made::Link(Link {
                    directory: current,
                    name: (start, end),
                }));
            }
            made => made?,
        };
    }
}

/// Makes a directory or a file in `directory`, or takes the one that is there, and opens it as a place.
pub(super) fn make_beneath(
    directory: BorrowedFd<'_>,
    name: &CStr,
    wanted: Wanted,
) -> Result<OwnedFd, Failed> {
    if wanted != Wanted::Directory {
        return make_file(directory, name);
    }
    match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).at(Call::Mkdir),
    }
    // Beneath: a part that is `..` must not lead up, and one that became a symlink must not lead elsewhere.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    open_with(directory, name, OFlags::PATH | OFlags::DIRECTORY, resolve).at(Call::Open)
}

/// Makes an empty file, or takes the one that is there, and opens it as a place.
pub(super) fn make_file(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Failed> {
    match rustix::fs::mknodat(
        directory,
        name,
        rustix::fs::FileType::RegularFile,
        Mode::from_raw_mode(0o644),
        0,
    ) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).at(Call::Create),
    }
    open_with(
        directory,
        name,
        OFlags::PATH,
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
    .at(Call::Open)
}

/// Opens the directory in which `path` (relative to `base`) lies, makes it if it is missing, and gives the last part of the path.
pub(super) fn parent_of<'b>(
    base: BorrowedFd<'_>,
    path: &CStr,
    resolve: ResolveFlags,
    buffer: &'b mut [u8; PATH_BYTES],
) -> Result<(OwnedFd, &'b CStr), Failed> {
    let bytes = path.to_bytes();
    let cut = bytes.iter().rposition(|byte| *byte == b'/');
    let head = cut.and_then(|cut| bytes.get(..cut)).unwrap_or_default();
    let name = cut
        .map_or(Some(bytes), |cut| bytes.get(cut.wrapping_add(1)..))
        .unwrap_or_default();
    let directory = {
        let head = terminated(buffer, if head.is_empty() { b"." } else { head })?;
        ensure(base, head, Wanted::Directory, resolve)?
    };
    Ok((directory, terminated(buffer, name)?))
}

/// `text` as a C string in `buffer`.
fn terminated<'b>(buffer: &'b mut [u8; PATH_BYTES], text: &[u8]) -> Result<&'b CStr, Failed> {
    let too_long = || Failed {
        call: Call::Open,
        errno: Errno::NAMETOOLONG,
    };
    buffer
        .get_mut(..text.len())
        .ok_or_else(too_long)?
        .copy_from_slice(text);
    *buffer.get_mut(text.len()).ok_or_else(too_long)? = 0;
    CStr::from_bytes_until_nul(buffer).map_err(|_| too_long())
}

/// An empty buffer for [`parent_of`].
pub(super) const fn buffer() -> [u8; PATH_BYTES] {
    [0; PATH_BYTES]
}
