//! A tar archive as it is written: into a file, where each member has a region of its own, or into a pipe, one after the other.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    os::{fd::AsFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use cap_std::{ambient_authority, fs::Dir};

use super::ArchiveError;
use crate::{
    durable::{self, TempFile},
    layer::header,
};

const BLOCK: u64 = 512;
/// The end of an archive.
const END: [u8; 1024] = [0; 1024];

/// Something that takes bytes in order, and wants to know whether they were all.
pub(crate) trait Pipe: Write + Send {
    /// Says that they were.
    fn end(self: Box<Self>) -> io::Result<()>;
}

impl Pipe for File {
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

/// Where an archive goes.
pub(crate) enum Target {
    /// A file; `-` is stdout.
    Path {
        path: PathBuf,
        /// Whether a file that is there may be replaced.
        replace: bool,
    },
    /// Something else, with the name that errors use.
    Pipe(Box<dyn Pipe>, PathBuf),
}

enum Out {
    File(Unfinished),
    Pipe(Mutex<Option<Box<dyn Pipe>>>),
}

/// A file without its name yet.
struct Unfinished {
    temporary: Mutex<Option<TempFile>>,
    file: File,
    directory: Arc<Dir>,
    name: String,
}

#[derive(Debug, Default)]
struct State {
    /// Where the next member goes in a file.
    end: u64,
    /// Whether somebody is writing into the pipe.
    busy: bool,
    /// Whether a member stayed incomplete, or the archive has ended.
    closed: bool,
}

/// A place in a file that waits for its member.
#[derive(Debug)]
#[must_use = "the archive has a hole without its member"]
pub(crate) struct Region(u64);

/// Writes the members of an archive.
pub(crate) struct TarWriter {
    path: PathBuf,
    out: Out,
    state: Mutex<State>,
    turn: Condvar,
}

impl std::fmt::Debug for TarWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarWriter")
            .field("path", &self.path)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl TarWriter {
    /// Begins an archive. Its file is not visible before [`TarWriter::end`].
    pub(crate) fn new(target: Target) -> Result<Self, ArchiveError> {
        let (path, out) = match target {
            Target::Pipe(pipe, path) => (path, Out::Pipe(Mutex::new(Some(pipe)))),
            Target::Path { path, replace } => {
                let out = open(&path, replace)?;
                match path.as_os_str() == "-" {
                    true => (PathBuf::from("stdout"), out),
                    false => (path, out),
                }
            }
        };
        Ok(Self {
            path,
            out,
            state: Mutex::default(),
            turn: Condvar::new(),
        })
    }

    /// Returns what errors call the archive.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory the file will be in, if it is a file.
    pub(crate) fn directory(&self) -> Option<&Arc<Dir>> {
        match &self.out {
            Out::File(file) => Some(&file.directory),
            Out::Pipe(_) => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> ArchiveError {
        let path = self.path.clone();
        move |source| ArchiveError::Output {
            operation,
            path,
            source,
        }
    }

    fn closed(&self) -> ArchiveError {
        ArchiveError::Closed {
            path: self.path.clone(),
        }
    }

    /// Tells whether members follow each other, so that only one can be written at a time.
    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self.out, Out::Pipe(_))
    }

    /// Sets a region of a file aside for a member; nothing for a pipe. The member has to be written.
    pub(crate) fn reserve(&self, name: &str, size: u64) -> Result<Option<Region>, ArchiveError> {
        if self.is_pipe() {
            return Ok(None);
        }
        let header = header::of_file(name, size).len() as u64;
        let mut state = self.state();
        if state.closed {
            return Err(self.closed());
        }
        let start = state.end;
        state.end = self.after(start, header, size)?;
        Ok(Some(Region(start)))
    }

    /// Returns where the next member begins.
    fn after(&self, start: u64, header: u64, size: u64) -> Result<u64, ArchiveError> {
        let region = size.checked_next_multiple_of(BLOCK);
        region
            .and_then(|region| region.checked_add(header)?.checked_add(start))
            .ok_or_else(|| self.failed("write")(io::ErrorKind::FileTooLarge.into()))
    }

    /// Begins a member for which a region was set aside.
    pub(crate) fn member_at(
        self: &Arc<Self>,
        region: Region,
        name: &str,
        size: u64,
    ) -> Result<MemberWriter, ArchiveError> {
        self.begin(region.0, &header::of_file(name, size), size)
    }

    /// Begins a member of a known size; into a pipe, once the one before has ended.
    pub(crate) fn member(
        self: &Arc<Self>,
        name: &str,
        size: u64,
    ) -> Result<MemberWriter, ArchiveError> {
        let header = header::of_file(name, size);
        let mut state = self.state();
        while state.busy && !state.closed {
            state = self
                .turn
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(self.closed());
        }
        let start = state.end;
        match &self.out {
            Out::File(_) => state.end = self.after(start, header.len() as u64, size)?,
            Out::Pipe(_) => state.busy = true,
        }
        drop(state);
        self.begin(start, &header, size)
    }

    fn begin(
        self: &Arc<Self>,
        start: u64,
        header: &[u8],
        size: u64,
    ) -> Result<MemberWriter, ArchiveError> {
        let mut member = MemberWriter {
            archive: Arc::clone(self),
            at: start,
            left: header.len() as u64,
            size,
            complete: false,
        };
        member.write_all(header).map_err(self.failed("write"))?;
        member.left = size;
        Ok(member)
    }

    /// Writes a small member.
    pub(crate) fn put(self: &Arc<Self>, name: &str, content: &[u8]) -> Result<(), ArchiveError> {
        let mut member = self.member(name, content.len() as u64)?;
        member.write_all(content).map_err(self.failed("write"))?;
        member.finish()
    }

    /// Ends the archive and gives the file its name.
    ///
    /// # Durability
    ///
    /// After it returns, the file survives a power cut.
    pub(crate) fn end(&self) -> Result<(), ArchiveError> {
        let mut state = self.state();
        if state.closed || state.busy {
            return Err(self.closed());
        }
        state.closed = true;
        let end = state.end;
        drop(state);
        match &self.out {
            Out::Pipe(pipe) => {
                let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
                let mut pipe = pipe.take().ok_or_else(|| self.closed())?;
                pipe.write_all(&END)
                    .and_then(|()| pipe.end())
                    .map_err(self.failed("write"))
            }
            Out::File(file) => {
                let temporary = file
                    .temporary
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                let temporary = temporary.ok_or_else(|| self.closed())?;
                file.file
                    .write_all_at(&END, end)
                    .and_then(|()| file.file.sync_all())
                    .and_then(|()| temporary.persist(&file.directory, &file.name))
                    .and_then(|()| durable::sync_dir(&file.directory))
                    .map_err(self.failed("write"))
            }
        }
    }
}

fn open(path: &Path, replace: bool) -> Result<Out, ArchiveError> {
    let failed = |operation| {
        move |source| ArchiveError::Output {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    if path.as_os_str() == "-" {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(ArchiveError::Terminal);
        }
        let stdout = stdout.as_fd().try_clone_to_owned();
        let stdout = File::from(stdout.map_err(failed("open"))?);
        return Ok(Out::Pipe(Mutex::new(Some(Box::new(stdout)))));
    }
    // What a symbolic link leads to is replaced, not the link.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            return Err(failed("replace")(io::ErrorKind::IsADirectory.into()));
        }
        Ok(there) if !there.is_file() => {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(failed("open"))?;
            return Ok(Out::Pipe(Mutex::new(Some(Box::new(file)))));
        }
        Ok(there) if !replace && there.len() > 0 => {
            let path = path.to_owned();
            return Err(ArchiveError::Exists { path });
        }
        _ => {}
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| failed("name")(io::ErrorKind::InvalidFilename.into()))?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let directory = Dir::open_ambient_dir(parent, ambient_authority());
    let directory = Arc::new(directory.map_err(failed("create"))?);
    let temporary = TempFile::new(Arc::clone(&directory)).map_err(failed("create"))?;
    Ok(Out::File(Unfinished {
        file: temporary.file().try_clone().map_err(failed("create"))?,
        temporary: Mutex::new(Some(temporary)),
        directory,
        name: name.to_owned(),
    }))
}

/// A member on its way. One that is dropped in the middle leaves an archive that cannot be ended.
#[must_use = "the archive cannot be ended without this member"]
pub(crate) struct MemberWriter {
    archive: Arc<TarWriter>,
    at: u64,
    left: u64,
    size: u64,
    complete: bool,
}

impl std::fmt::Debug for MemberWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberWriter")
            .field("at", &self.at)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl MemberWriter {
    /// Ends the member.
    pub(crate) fn finish(mut self) -> Result<(), ArchiveError> {
        if self.left > 0 {
            return Err(ArchiveError::Length {
                expected: self.size,
                found: self.size - self.left,
            });
        }
        if let Out::Pipe(_) = &self.archive.out {
            let padding = self.size.next_multiple_of(BLOCK) - self.size;
            self.left = padding;
            let padding = usize::try_from(padding).expect("less than a block");
            let archive = Arc::clone(&self.archive);
            self.write_all(&END[..padding])
                .map_err(archive.failed("write"))?;
        }
        // In a file the padding is a hole, or comes to be one when what follows is written.
        self.complete = true;
        Ok(())
    }
}

impl Write for MemberWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other(
                "a member of an archive is larger than announced",
            ));
        }
        let count = match &self.archive.out {
            Out::File(file) => file.file.write_at(bytes, self.at)?,
            Out::Pipe(pipe) => {
                let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
                let pipe = pipe.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
                pipe.write(bytes)?
            }
        };
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MemberWriter {
    fn drop(&mut self) {
        let mut state = self.archive.state();
        state.busy = false;
        state.closed |= !self.complete;
        drop(state);
        self.archive.turn.notify_all();
    }
}
