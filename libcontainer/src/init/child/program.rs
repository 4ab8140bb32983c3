//! Finding and executing the program.

use std::ffi::CStr;
use std::io::IoSlice;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::super::report::{At, Call, Failed};
use super::Child;
use crate::plan::{Span, Text};
use crate::sys::exec;

/// How much of a script the kernel looks at.
const LINE_BYTES: usize = 257;

/// How many scripts in a row the kernel follows.
const INTERPRETERS: usize = 6;

/// A file on a certain mount. The same file may well be in the container, where it is on another mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Image {
    device: u64,
    inode: u64,
    /// `None` before Linux 5.8.
    mount: Option<u64>,
}

impl Image {
    /// What a path leads to.
    pub(crate) fn of(path: &CStr) -> Option<Self> {
        Self::with_mode(path).ok().map(|(image, _)| image)
    }

    /// And what kind of file it is, with its mode.
    fn with_mode(path: &CStr) -> Result<(Self, u32), Errno> {
        let flags = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::INO | StatxFlags::MNT_ID;
        if let Ok(stat) = rustix::fs::statx(CWD, path, AtFlags::empty(), flags) {
            let known = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
            let image = Self {
                device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                inode: stat.stx_ino,
                mount: known.then_some(stat.stx_mnt_id),
            };
            return Ok((image, u32::from(stat.stx_mode)));
        }
        // Not there; or a filter that is older than statx.
        let stat = rustix::fs::statat(CWD, path, AtFlags::empty())?;
        let image = Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mount: None,
        };
        Ok((image, stat.st_mode))
    }

    fn is(self, other: Self) -> bool {
        let mounts = self.mount.zip(other.mount);
        (self.device, self.inode) == (other.device, other.inode)
            && mounts.is_none_or(|(one, other)| one == other)
    }
}

/// The interpreter that the first line of a script names.
fn interpreter(line: &mut [u8; LINE_BYTES]) -> Option<&CStr> {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let rest = line.strip_prefix(b"#!")?;
    let start = 2_usize.saturating_add(rest.iter().take_while(is_space).count());
    let is_name = |byte: &&u8| !matches!(byte, b' ' | b'\t' | b'\n' | 0);
    let length = line.get(start..)?.iter().take_while(is_name).count();
    *line.get_mut(start.saturating_add(length))? = 0;
    let name = CStr::from_bytes_until_nul(line.get(start..)?).ok()?;
    (length > 0).then_some(name)
}

impl Child<'_> {
    /// Looks the program up as the user who will execute it, so that a container with a missing one cannot be created.
    pub(super) fn find_program(&mut self, candidates: Span) -> Result<(), Failed> {
        let mut worst = Errno::NOENT;
        for candidate in candidates.of(&self.script.texts) {
            match self.is_executable(*candidate) {
                Ok(image) => {
                    self.is_foreign(*candidate, image).at(Call::Verify)?;
                    self.progress.program = Some(*candidate);
                    return Ok(());
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                // Something is there; if nothing better follows, that is what the user has to hear.
                Err(errno) => worst = errno,
            }
        }
        Err(worst).at(Call::Access)
    }

    fn is_executable(&self, candidate: Text) -> Result<Image, Errno> {
        let path = self.text(candidate);
        let (image, mode) = Image::with_mode(path)?;
        if FileType::from_raw_mode(mode) != FileType::RegularFile {
            return Err(Errno::ACCESS);
        }
        match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
            // A kernel or a filter without faccessat2: execve will tell.
            Err(Errno::NOSYS | Errno::PERM) => Ok(image),
            other => other.map(|()| image),
        }
    }

    /// Says on standard error why the program does not run, in the words other runtimes use.
    pub(super) fn complain(&self, errno: Errno) {
        let why: &[u8] = match errno {
            Errno::NOENT => b"no such file or directory",
            Errno::ACCESS => b"permission denied",
            Errno::PERM => b"operation not permitted",
            Errno::NOEXEC => b"exec format error",
            Errno::TOOBIG => b"argument list too long",
            Errno::NOMEM => b"cannot allocate memory",
            Errno::LOOP => b"too many levels of symbolic links",
            Errno::TXTBSY => b"text file busy",
            Errno::AGAIN => b"resource temporarily unavailable",
            _ => b"it cannot be executed",
        };
        let program = self.progress.program.map(|program| self.text(program));
        let name = program.map_or(&b"the program"[..], |name| name.to_bytes());
        let parts = [b"exec ", name, b": ", why, b"\n"].map(IoSlice::new);
        // Nobody is left to hear that even this failed.
        rustix::io::writev(rustix::stdio::stderr(), &parts).ok();
    }

    /// Refuses to execute the runtime's own image, which the program's name or its `#!` line finds behind `/proc/self/exe`: in the
    /// container its file could be reached, and written when we have ended (CVE-2019-5736).
    fn is_foreign(&self, candidate: Text, image: Image) -> Result<(), Errno> {
        let Some(own) = self.own else { return Ok(()) };
        let mut line;
        let (mut path, mut image) = (self.text(candidate), Some(image));
        for _ in 0..INTERPRETERS {
            if image.is_some_and(|image| image.is(own)) {
                return Err(Errno::PERM);
            }
            // What cannot be read is no script that we could follow; the kernel finds its interpreter missing or foreign.
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let Ok(file) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else {
                return Ok(());
            };
            line = [0; LINE_BYTES];
            // The last byte stays zero.
            let room = line.get_mut(..LINE_BYTES - 1).ok_or(Errno::INVAL)?;
            if rustix::io::read(&file, room).is_err() {
                return Ok(());
            }
            // Not left open: who looks at a created container sees its descriptors.
            drop(file);
            match interpreter(&mut line) {
                Some(next) => (path, image) = (next, Image::of(next)),
                None => return Ok(()),
            }
        }
        // The kernel gives up as well.
        Err(Errno::LOOP)
    }

    pub(super) fn execute(&self) -> Result<(), Failed> {
        let program = self.progress.program.ok_or(Errno::NOENT).at(Call::Execve)?;
        if self.progress.fifo.is_some() {
            // Time has passed since it was found. If it is gone, `execve` will say so.
            if let Some(image) = Image::of(self.text(program)) {
                self.is_foreign(program, image).at(Call::Verify)?;
            }
        }
        Err(exec::execve(
            self.text(program),
            self.arguments,
            self.environment,
        ))
        .at(Call::Execve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_read_as_the_kernel_reads_them() {
        for (text, wanted) in [
            ("#!/bin/sh\necho", Some(c"/bin/sh")),
            ("#! \t /proc/self/exe -x\n", Some(c"/proc/self/exe")),
            ("#!sh\tx", Some(c"sh")),
            ("#!/no/newline", Some(c"/no/newline")),
            ("#!", None),
            ("#!\n/bin/sh", None),
            ("# !/bin/sh", None),
            ("\x7fELF", None),
            ("", None),
        ] {
            let mut line = [0; LINE_BYTES];
            line[..text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(interpreter(&mut line), wanted, "{text:?}");
        }
        let mut line = [b'x'; LINE_BYTES];
        line[..2].copy_from_slice(b"#!");
        assert_eq!(interpreter(&mut line), None, "longer than the kernel reads");
    }
}
