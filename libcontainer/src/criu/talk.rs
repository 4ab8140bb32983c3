//! Talking to `criu swrk`: a request, notifications and their answers, a response.

use std::ffi::CString;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::program::OLDEST;
use super::request::{Kind, Response, feature_check, version};
use crate::cgroup::Attach;
use crate::error::{Error, ErrorKind, Result};
use crate::exit::{ExitStatus, Signal};
use crate::init::{Service, serve};
use crate::process::Process;
use crate::procfs;
use crate::sys::message;

/// Longest response: they hold a few numbers and names.
const RESPONSE_BYTES: usize = 64 << 10;

/// How much of the end of a log is looked through for errors, and how many of them are told.
const LOG_BYTES: u64 = 64 << 10;
const LOG_LINES: usize = 3;

/// How long CRIU may take to end after it has said its last word.
const END_MS: u32 = 30_000;

/// CRIU's descriptors after the standard streams: where it listens, and the directories of a request.
const SOCKET: usize = 3;
pub(super) const IMAGES: i32 = 4;
pub(super) const WORK: i32 = 5;

/// What CRIU gets beside a request.
pub(super) struct Surroundings<'s> {
    /// Standard input, output and error.
    pub(super) stdio: [BorrowedFd<'s>; 3],
    /// Where the images are, and where it works.
    pub(super) directories: Option<[&'s Path; 2]>,
    /// Further descriptors, from [`FIRST_EXTRA`] on.
    pub(super) extra: Vec<BorrowedFd<'s>>,
    pub(super) cgroup: &'s Attach,
    /// The container's root, and the directory it is attached to.
    pub(super) root: Option<(BorrowedFd<'s>, &'s Path)>,
}

/// The number of the first further descriptor.
pub(super) const FIRST_EXTRA: i32 = WORK + 1;

/// What is done with a notification.
pub(super) type OnNotification<'n> = &'n mut dyn FnMut(&Response, Option<OwnedFd>) -> Result<()>;

/// A program that is asked to do something.
pub(super) struct Criu {
    pub(super) program: PathBuf,
    /// What is being done, for errors.
    pub(super) step: &'static str,
    /// The log of it.
    pub(super) log: PathBuf,
}

impl Criu {
    /// Fails unless this CRIU has at least that version.
    pub(super) fn needs_version(&self, oldest: i32) -> Result<()> {
        let response = self.ask(&version(), Kind::Version)?;
        if response.version >= oldest.max(OLDEST) {
            return Ok(());
        }
        let number = |version: i32| format!("{}.{}", version / 10_000, version / 100 % 100);
        let (found, oldest) = (number(response.version), number(oldest.max(OLDEST)));
        Err(self
            .unsupported(format!("CRIU {found}"))
            .with_path(&self.program)
            .with_hint(format!("{oldest} is needed")))
    }

    /// What this CRIU can do on this kernel.
    pub(super) fn features(&self) -> Result<Response> {
        self.ask(&feature_check(), Kind::FeatureCheck)
    }

    pub(super) fn unsupported(&self, feature: impl Into<String>) -> Error {
        let feature = feature.into();
        Error::new(ErrorKind::Unsupported { feature }, self.step)
    }

    /// A small question: no surroundings, no notifications, no log.
    fn ask(&self, request: &[u8], kind: Kind) -> Result<Response> {
        let nothing = std::fs::File::open("/dev/null")
            .map_err(|error| Error::from_io(error, self.step).with_path("/dev/null"))?;
        let surroundings = Surroundings {
            stdio: [nothing.as_fd(); 3],
            directories: None,
            extra: Vec::new(),
            cgroup: &Attach::default(),
            root: None,
        };
        self.talk(request, kind, &surroundings, &mut |_, _| Ok(()))
    }

    /// Sends a request, answers notifications, and gives the response.
    pub(super) fn talk(
        &self,
        request: &[u8],
        kind: Kind,
        surroundings: &Surroundings<'_>,
        on_notification: OnNotification<'_>,
    ) -> Result<Response> {
        let (pidfd, ours) = self.start(surroundings)?;
        let process = Process::new(0, pidfd);
        let said = self.converse(ours.as_fd(), request, kind, on_notification);
        // That is how it learns that there is nothing more to do.
        drop(ours);
        if !process.has_ended(Some(END_MS))? {
            process.kill(Signal::KILL).ok();
        }
        let status = process.wait()?;
        match said? {
            // After a pre-dump it waits for the next one, and takes the end of the conversation for a failure.
            Some(response) if kind == Kind::PreDump || status == ExitStatus::Exited(0) => {
                Ok(response)
            }
            _ => Err(self.failure(&format!("it ended: {status}"))),
        }
    }

    /// Gives CRIU's process and the socket to it. It finds the directories in the process that made the socket, which is itself.
    fn start(&self, surroundings: &Surroundings<'_>) -> Result<(OwnedFd, OwnedFd)> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|error| {
                Error::new(ErrorKind::Io, self.step)
                    .with_path(&self.program)
                    .with_source(error)
            })
        };
        let program = text(self.program.as_os_str().as_bytes())?;
        let root = match surroundings.root {
            Some((mount, path)) => Some((mount, text(path.as_os_str().as_bytes())?)),
            None => None,
        };
        let arguments = [c"criu", c"swrk", c"3"];
        let environment: Vec<CString> = std::env::vars_os()
            .filter_map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                CString::new(name.into_vec()).ok()
            })
            .collect();
        let mut directories = Vec::new();
        for (path, number) in surroundings
            .directories
            .iter()
            .flatten()
            .zip([IMAGES, WORK])
        {
            directories.push((
                number.unsigned_abs() as usize,
                text(path.as_os_str().as_bytes())?,
            ));
        }
        let [stdin, ..] = surroundings.stdio;
        // What it opens or makes itself holds the place of another until then.
        let descriptors = surroundings.stdio.into_iter().chain([stdin; 3]);
        let service = Service {
            ignored: procfs::ignored_signals(),
            program: &program,
            arguments: arguments.into_iter().collect(),
            environment: environment.iter().map(CString::as_c_str).collect(),
            descriptors: descriptors
                .chain(surroundings.extra.iter().copied())
                .collect(),
            socket: SOCKET,
            directories: directories
                .iter()
                .map(|(index, path)| (*index, path.as_c_str()))
                .collect(),
            cgroup: surroundings.cgroup,
            root: root.as_ref().map(|(mount, path)| (*mount, path.as_c_str())),
        };
        serve(&service)
    }

    /// `None` if CRIU ended before it had answered.
    fn converse(
        &self,
        socket: BorrowedFd<'_>,
        request: &[u8],
        kind: Kind,
        on_notification: OnNotification<'_>,
    ) -> Result<Option<Response>> {
        let send = |bytes: &[u8]| match message::send(socket, bytes, None) {
            // It has ended, and will be heard no more: that is said below.
            Err(Errno::PIPE | Errno::CONNRESET) | Ok(()) => Ok(()),
            Err(errno) => Err(Error::from_errno(errno.raw_os_error(), self.step)),
        };
        send(request)?;
        let mut first = None;
        let mut buffer = vec![0; RESPONSE_BYTES];
        loop {
            let (length, descriptor) = match message::receive(socket, &mut buffer) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return first.map_or(Ok(None), Err),
                Ok(received) => received,
                Err(errno) => return Err(Error::from_errno(errno.raw_os_error(), self.step)),
            };
            let whole = buffer.get(..length).filter(|_| length < RESPONSE_BYTES);
            let response = whole.and_then(|bytes| Response::parse(bytes).ok());
            let response = response
                .filter(|one| one.kind.is_some())
                .ok_or_else(|| self.failure("its answer makes no sense"))?;
            if response.kind == Some(Kind::Notify) && response.success {
                // After a failure CRIU undoes what it did, and what it says meanwhile changes nothing.
                let answered = match &first {
                    None => on_notification(&response, descriptor),
                    Some(_) => Ok(()),
                };
                send(&super::request::acknowledge(answered.is_ok()))?;
                first = first.or(answered.err());
                continue;
            }
            return match first {
                Some(error) => Err(error),
                None if response.success && response.kind == Some(kind) => Ok(Some(response)),
                None => Err(self.refusal(&response)),
            };
        }
    }

    /// CRIU said that it failed.
    fn refusal(&self, response: &Response) -> Error {
        let error = self.failure(&response.message);
        match response.errno {
            0 => error,
            errno => error.with_errno(errno),
        }
    }

    /// A failure, with what CRIU wrote into its log, or else with `why`.
    fn failure(&self, why: &str) -> Error {
        let error = Error::new(ErrorKind::Criu, self.step);
        let lines = last_errors(&self.log).unwrap_or_default();
        match (lines.is_empty(), why.is_empty()) {
            (false, _) => error.with_path(&self.log).with_hint(lines.join("; ")),
            (true, false) => error.with_path(&self.program).with_hint(why.to_owned()),
            (true, true) => error.with_path(&self.log),
        }
    }
}

/// The last lines of a log that tell of errors. It lies in a directory of the caller's, and may be anything.
fn last_errors(path: &Path) -> std::io::Result<Vec<String>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = std::fs::File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(LOG_BYTES)))?;
    let mut text = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    // (00.001234) 17: Error (criu/files.c:1): what went wrong
    let mut found: Vec<String> = text
        .lines()
        .rev()
        .filter_map(|line| line.find("Error (").and_then(|start| line.get(start..)))
        .take(LOG_LINES)
        .map(|line| line.chars().filter(|one| !one.is_control()).collect())
        .collect();
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_of_a_log_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("dump.log");
        assert!(last_errors(&log).is_err());
        let line = |number: u32| format!("(00.1)  7: Error (criu/x.c:{number}): no {number}\x07\n");
        let lines: String = (1..=5)
            .map(line)
            .chain(["(00.2) Dumping FAILED.\n".to_owned()])
            .collect();
        std::fs::write(&log, "x".repeat(1 << 20) + "\n" + &lines).unwrap();
        assert_eq!(
            last_errors(&log).unwrap(),
            [3, 4, 5].map(|number| format!("Error (criu/x.c:{number}): no {number}"))
        );
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&log, &link).unwrap();
        assert!(last_errors(&link).is_err());
        assert!(last_errors(directory.path()).unwrap().is_empty());
    }
}
