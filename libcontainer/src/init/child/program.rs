//! Finding and executing the program.

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
