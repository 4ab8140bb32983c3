//! Finding and executing the program.

use std::io::IoSlice;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::super::report::{At, Call, Failed};
use super::Child;
use crate::plan::Span;
use crate::sys::exec;

impl Child<'_> {
    /// Looks the program up as the user who will execute it, so that a container with a missing one cannot be created.
    pub(super) fn find_program(&mut self, candidates: Span) -> Result<(), Failed> {
        let mut worst = Errno::NOENT;
        for candidate in candidates.of(&self.script.texts) {
            match self.is_executable(*candidate) {
                Ok(()) => {
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

    fn is_executable(&self, candidate: crate::plan::Text) -> Result<(), Errno> {
        let path = self.text(candidate);
        let stat = rustix::fs::statat(CWD, path, AtFlags::empty())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::ACCESS);
        }
        match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
            // A kernel or a filter without faccessat2: execve will tell.
            Err(Errno::NOSYS | Errno::PERM) => Ok(()),
            other => other,
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

    pub(super) fn execute(&self) -> Result<(), Failed> {
        let program = self.progress.program.ok_or(Errno::NOENT).at(Call::Execve)?;
        Err(exec::execve(
            self.text(program),
            self.arguments,
            self.environment,
        ))
        .at(Call::Execve)
    }
}
