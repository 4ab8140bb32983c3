//! How does a stream become a file: complete, or not at all?

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use trimaran_cli::Failure;

/// A file on its way: it has another name until it is complete, and dropping it removes it.
#[must_use = "dropping it removes what was written"]
pub(crate) struct OutFile {
    file: File,
    to: PathBuf,
    /// None for what cannot be replaced, such as a device or a pipe: it is written to directly.
    temporary: Option<PathBuf>,
}

impl OutFile {
    /// Begins a file.
    ///
    /// # Errors
    /// If nothing can be written beside it.
    pub(crate) fn create(to: &Path) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::new(format!("cannot write to {}: {error}", to.display()));
        let special = std::fs::metadata(to).is_ok_and(|found| !found.is_file());
        if special {
            let file = OpenOptions::new().write(true).open(to).map_err(failed)?;
            return Ok(Self {
                file,
                to: to.to_owned(),
                temporary: None,
            });
        }
        let name = to
            .file_name()
            .ok_or_else(|| Failure::usage(format!("{} names no file", to.display())))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.partial", std::process::id()));
        let temporary = to.with_file_name(temporary);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(failed)?;
        Ok(Self {
            file,
            to: to.to_owned(),
            temporary: Some(temporary),
        })
    }

    /// Returns another handle to write with.
    ///
    /// # Errors
    /// If the process has too many files open.
    pub(crate) fn handle(&self) -> Result<File, Failure> {
        Ok(self.file.try_clone()?)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If that fails; then the file is gone.
    pub(crate) fn publish(mut self) -> Result<(), Failure> {
        if let Some(temporary) = &self.temporary {
            std::fs::rename(temporary, &self.to).map_err(|error| {
                Failure::new(format!("cannot write to {}: {error}", self.to.display()))
            })?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // What cannot be removed is seen by its name.
            std::fs::remove_file(temporary).ok();
        }
    }
}

/// Writes bytes to a file, or to stdout if there is none (or it is `-`).
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(to: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match to.filter(|to| to.as_os_str() != "-") {
        None => trimaran_cli::output::bytes(bytes),
        Some(to) => {
            let mut file = OutFile::create(to)?;
            file.write_all(bytes)?;
            file.publish()
        }
    }
}
