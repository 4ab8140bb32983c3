//! Where an archive's bytes come from: a file, stdin, or something that can be read only once.
//!
//! An archive names its images at its end as well as at its beginning, so it is read twice. What cannot be (a pipe on stdin, an
//! engine's answer) goes into a file without a name in the directory for temporary files, which vanishes with the process,
//! however that ends.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read, Seek as _, Write as _},
    os::fd::AsFd as _,
    path::Path,
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};

use super::ArchiveError;
use crate::durable::TempFile;

/// Bytes copied at once.
const PIECE: usize = 256 << 10;

/// A file that can be read anywhere.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(super) file: Arc<File>,
    /// Where the archive begins.
    pub(super) start: u64,
    /// What errors name.
    pub(super) place: String,
}

impl Input {
    /// Opens an archive; `-` is stdin, which is read in place if it is a file, from where it stands.
    pub(crate) fn open(path: &Path, temporary: &Path) -> Result<Self, ArchiveError> {
        if path.as_os_str() == "-" {
            return Self::standard(temporary);
        }
        let place = path.display().to_string();
        let failed = |source| ArchiveError::Input {
            operation: "open",
            place: place.clone(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if !kind.is_file() {
            return spool(&mut file, &place, temporary);
        }
        Ok(Self {
            file: Arc::new(file),
            start: 0,
            place,
        })
    }

    fn standard(temporary: &Path) -> Result<Self, ArchiveError> {
        let place = "stdin".to_owned();
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let mut file = File::from(stdin.map_err(|source| ArchiveError::Input {
            operation: "open",
            place: place.clone(),
            source,
        })?);
        if file.is_terminal() {
            return Err(ArchiveError::Terminal);
        }
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        match file.stream_position() {
            Ok(start) if is_file => Ok(Self {
                file: Arc::new(file),
                start,
                place,
            }),
            _ => spool(&mut file, &place, temporary),
        }
    }

    /// Wraps a file that is read from its beginning.
    pub(crate) fn of_file(file: File, place: &str) -> Self {
        Self {
            file: Arc::new(file),
            start: 0,
            place: place.to_owned(),
        }
    }
}

/// Makes a file without a name.
pub(crate) fn nameless(directory: &Path) -> io::Result<TempFile> {
    let directory = Dir::open_ambient_dir(directory, ambient_authority())?;
    TempFile::new(Arc::new(directory))
}

/// Keeps what can be read only once.
pub(crate) fn spool(
    source: &mut impl Read,
    place: &str,
    temporary: &Path,
) -> Result<Input, ArchiveError> {
    let failed = |source| ArchiveError::Spool {
        place: place.to_owned(),
        directory: temporary.to_owned(),
        source,
    };
    let mut file = nameless(temporary).map_err(failed)?;
    let mut buffer = vec![0; PIECE];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(ArchiveError::Input {
                    operation: "read",
                    place: place.to_owned(),
                    source,
                });
            }
        };
        file.write_all(&buffer[..count]).map_err(failed)?;
    }
    let file = file.file().try_clone().map_err(failed)?;
    Ok(Input::of_file(file, place))
}
