//! Stopping all processes of a cgroup where they are, and letting them go on.

use super::{Cgroup, CgroupError, Hierarchies};
use crate::procfs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long processes may take to stop: one in the middle of a long system call is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Version 1 has nothing to wait on: pauses between two looks double from here.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The files of the hierarchy that can freeze.
enum Freezer {
    /// `freezer.state` of version 1.
    State(PathBuf),
    /// The directory in the unified hierarchy.
    Unified(PathBuf),
}

impl Cgroup {
    fn freezer(&self) -> Result<Freezer, CgroupError> {
        let state = self.v1.iter().map(|path| path.join("freezer.state"));
        if let Some(state) = state.into_iter().find(|path| path.exists()) {
            return Ok(Freezer::State(state));
        }
        match &self.unified {
            Some(unified) if unified.join("cgroup.freeze").exists() => {
                Ok(Freezer::Unified(unified.clone()))
            }
            _ => Err(CgroupError::CannotFreeze),
        }
    }

    /// The directory whose processes are stopped and go on together.
    pub(crate) fn freezer_directory(&self) -> Option<PathBuf> {
        match self.freezer().ok()? {
            Freezer::State(file) => file.parent().map(Path::to_owned),
            Freezer::Unified(directory) => Some(directory),
        }
    }

    /// Stops every process of the cgroup and those below it, and waits until they stand.
    ///
    /// # Errors
    /// There is no freezer, or after ten seconds a process still moves; then all go on.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let freezer = self.freezer()?;
        freezer.set(true)?;
        match freezer.wait(PATIENCE) {
            Ok(()) => Ok(()),
            Err(error) => {
                // Half frozen is worse than not at all. The first error is the one to tell.
                drop(freezer.set(false));
                Err(error)
            }
        }
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    /// There is no freezer, or the kernel refuses: an ancestor may be frozen.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.freezer()?.set(false)
    }

    /// Whether the cgroup is frozen or about to be. One that cannot be frozen is not.
    ///
    /// # Errors
    /// The kernel's answer cannot be read; a cgroup that is gone is not frozen.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        let state = |path: &PathBuf| path.join("freezer.state");
        // Where the file is likely to be is looked first: a container may be in ten hierarchies.
        let is_freezer = |path: &&PathBuf| path.to_string_lossy().contains("freezer");
        let likely = self.v1.iter().filter(is_freezer).map(state);
        let unified = self.unified.iter().map(|path| path.join("cgroup.freeze"));
        let others = self.v1.iter().filter(|_| self.unified.is_none());
        for path in likely.chain(unified).chain(others.map(state)) {
            match procfs::read_record(&path) {
                Ok(text) => return Ok(matches!(text.trim(), "1" | "FROZEN" | "FREEZING")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(source) => return Err(CgroupError::Open { path, source }),
            }
        }
        Ok(false)
    }
}

/// Puts a process into the caller's own place in the hierarchy that freezes: one that was killed while somebody had frozen it elsewhere
/// dies there. On version 2 it dies where it is.
pub(crate) fn leave_frozen(pid: i32) -> io::Result<()> {
    match Hierarchies::detect()?.v1_with("freezer") {
        Some(freezer) => std::fs::write(freezer.own.join("cgroup.procs"), pid.to_string()),
        None => Ok(()),
    }
}

impl Freezer {
    fn set(&self, frozen: bool) -> Result<(), CgroupError> {
        let (path, word) = match self {
            Self::State(path) => (path.clone(), if frozen { "FROZEN" } else { "THAWED" }),
            Self::Unified(path) => (path.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
        };
        std::fs::write(&path, word).map_err(|source| CgroupError::Freeze { path, source })
    }

    fn wait(&self, patience: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + patience;
        let (path, done) = match self {
            Self::State(path) => (path.clone(), await_state(path, deadline)),
            Self::Unified(path) => {
                let events = path.join("cgroup.events");
                let done = await_event(&events, deadline);
                (events, done)
            }
        };
        match done {
            Ok(true) => Ok(()),
            Ok(false) => Err(CgroupError::Freeze {
                path,
                source: io::Error::from(io::ErrorKind::TimedOut),
            }),
            Err(source) => Err(CgroupError::Freeze { path, source }),
        }
    }
}

/// Version 1: looks, and freezes again what was forked meanwhile.
fn await_state(path: &Path, deadline: Instant) -> io::Result<bool> {
    let mut pause = FIRST_PAUSE;
    while Instant::now() < deadline {
        if std::fs::read_to_string(path)?.trim() == "FROZEN" {
            return Ok(true);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        std::fs::write(path, "FROZEN")?;
    }
    Ok(false)
}

/// Version 2: the kernel tells.
fn await_event(path: &Path, deadline: Instant) -> io::Result<bool> {
    let mut events = File::open(path)?;
    loop {
        let mut text = String::new();
        events.rewind()?;
        // Reading arms the notification: a change between this and poll is seen by poll.
        events.read_to_string(&mut text)?;
        if text.lines().any(|line| line == "frozen 1") {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
