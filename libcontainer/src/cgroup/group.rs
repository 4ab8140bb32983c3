//! A container's cgroup after it was made: joining, killing, removing.

use super::{CgroupError, SystemdUnit};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a killed process may take to leave its cgroup: it may have gigabytes of memory to give back.
const PATIENCE: Duration = Duration::from_secs(10);
/// v1 has nothing to wait on: the pauses between two attempts double from here.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// Rounds of killing what was forked meanwhile, where the kernel cannot do it in one go.
const ROUNDS: usize = 1000;

/// The cgroup of one container: its directory in each hierarchy in use (none at all for a rootless container without limits).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Absolute directories of v1 hierarchies.
    pub v1: Vec<PathBuf>,
    /// The one of the unified hierarchy.
    pub unified: Option<PathBuf>,
    /// Directories above that are removed with the last container in them.
    #[serde(default)]
    pub parents: Vec<PathBuf>,
    /// The unit, if systemd made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<SystemdUnit>,
}

/// How the container's first process gets in.
#[derive(Debug, Default)]
pub struct Attach {
    /// v1: the `tasks` files. The single-threaded child writes `0` to each of them: a pid written to `cgroup.procs` by another
    /// process waits for an RCU grace period of some ten milliseconds.
    pub tasks: Vec<CString>,
    /// v2: the directory, for `CLONE_INTO_CGROUP`.
    pub directory: Option<OwnedFd>,
}

impl Cgroup {
    /// Whether the container has no cgroup of its own.
    pub fn is_none(&self) -> bool {
        self.v1.is_empty() && self.unified.is_none()
    }

    /// All directories, to be kept in a record: see [`Self::from_directories`].
    pub fn directories(&self) -> Vec<PathBuf> {
        self.v1.iter().chain(&self.unified).cloned().collect()
    }

    /// The cgroup of a container that died without deleting it, from its directories; those that are gone are left out.
    pub fn from_directories(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        // Only v1 has a list of threads under this name.
        let (v1, unified): (Vec<_>, Vec<_>) = directories
            .into_iter()
            .filter(|path| path.is_dir())
            .partition(|path| path.join("tasks").exists());
        Self {
            v1,
            unified: unified.into_iter().next(),
            ..Self::default()
        }
    }

    /// What the child needs to get in. The descriptor closes on exec.
    ///
    /// # Errors
    /// A directory vanished.
    pub fn attach(&self) -> Result<Attach, CgroupError> {
        let failed = |path: PathBuf, source: io::Error| CgroupError::Open { path, source };
        let open = |path: PathBuf| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty())
                .map_err(|errno| failed(path, errno.into()))
        };
        let text = |path: PathBuf| {
            CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(path, error.into()))
        };
        Ok(Attach {
            tasks: self
                .v1
                .iter()
                .map(|path| text(path.join("tasks")))
                .collect::<Result<_, _>>()?,
            directory: self.unified.clone().map(open).transpose()?,
        })
    }

    /// The processes in the cgroup and in those below it, as the caller's pid namespace numbers them; 0 is one it cannot see.
    ///
    /// # Errors
    /// A file that cannot be read; a cgroup that is gone holds nobody.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        if let Some(directory) = self
            .unified
            .as_deref()
            .or_else(|| self.v1.first().map(PathBuf::as_path))
        {
            for directory in tree(directory)? {
                pids.extend(listed(&directory)?);
            }
        }
        Ok(pids)
    }

    /// Sends SIGKILL to every process of the cgroup and those below it, also to those that are forked meanwhile.
    ///
    /// # Errors
    /// A process that may not be signalled.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if let Some(unified) = &self.unified {
            let file = unified.join("cgroup.kill");
            match std::fs::write(&file, "1") {
                Ok(()) => return Ok(()),
                Err(error) if is_gone(&error) && !unified.exists() => return Ok(()),
                // Linux before 5.14.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(CgroupError::Kill {
                        path: unified.clone(),
                        source,
                    });
                }
            }
        }
        let freezer = self
            .v1
            .iter()
            .map(|path| path.join("freezer.state"))
            .find(|path| path.exists());
        let set = |word: &str| match &freezer {
            Some(file) => std::fs::write(file, word).map_err(|source| CgroupError::Kill {
                path: file.clone(),
                source,
            }),
            None => Ok(()),
        };
        // Frozen processes fork nothing, and die when they are thawed.
        set("FROZEN")?;
        let killed = self.kill_listed(freezer.is_some());
        set("THAWED")?;
        killed
    }

    fn kill_listed(&self, frozen: bool) -> Result<(), CgroupError> {
        let failed = |error: Errno| CgroupError::Kill {
            path: self
                .unified
                .iter()
                .chain(&self.v1)
                .next()
                .cloned()
                .unwrap_or_default(),
            source: error.into(),
        };
        for _ in 0..ROUNDS {
            let handles = self.handles().map_err(failed)?;
            // Whoever is in the list now is who the handle was opened for: a number is not given out again before its process
            // has left the list.
            let still = self.processes()?;
            let ours: Vec<_> = handles
                .into_iter()
                .filter(|(pid, _)| still.contains(pid))
                .collect();
            if ours.is_empty() && still.iter().all(|pid| *pid == 0) {
                return Ok(());
            }
            for (_, handle) in &ours {
                match pidfd_send_signal(handle, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            if frozen {
                return Ok(());
            }
            wait_for_end(&ours, PATIENCE).map_err(failed)?;
        }
        Err(failed(Errno::AGAIN))
    }

    fn handles(&self) -> Result<Vec<(i32, OwnedFd)>, Errno> {
        let mut handles = Vec::new();
        for number in self.processes().unwrap_or_default() {
            let Some(pid) = Pid::from_raw(number) else {
                continue;
            };
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(handle) => handles.push((number, handle)),
                Err(Errno::SRCH) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(handles)
    }

    /// Removes the directories, and those below that the payload made. Killed processes are given time to leave.
    ///
    /// # Errors
    /// Still in use after ten seconds.
    pub fn delete(&self) -> Result<(), CgroupError> {
        self.stop_unit();
        let deadline = Instant::now() + PATIENCE;
        let mut first = Ok(());
        for directory in self.unified.iter().chain(&self.v1) {
            let removed = remove_tree(directory, deadline);
            first = first.and(removed);
        }
        first?;
        for parent in &self.parents {
            match rustix::fs::rmdir(parent) {
                // Another container is in it, or was faster.
                Ok(())
                | Err(
                    Errno::BUSY
                    | Errno::NOTEMPTY
                    | Errno::NOENT
                    | Errno::NODEV
                    | Errno::ACCESS
                    | Errno::PERM,
                ) => {}
                Err(error) => {
                    return Err(CgroupError::Remove {
                        path: parent.clone(),
                        source: error.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The directory and everything below it, the deepest first.
fn tree(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(found),
        Err(source) => {
            return Err(CgroupError::Open {
                path: directory.to_owned(),
                source,
            });
        }
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(tree(&entry.path())?);
        }
    }
    found.push(directory.to_owned());
    Ok(found)
}

fn listed(directory: &Path) -> Result<Vec<i32>, CgroupError> {
    let path = directory.join("cgroup.procs");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        // A threaded cgroup has no list of its own; its processes are in that of the one above.
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok(Vec::new())
        }
        Err(source) => Err(CgroupError::Open { path, source }),
    }
}

/// ENODEV is what a descriptor of a removed cgroup answers.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn remove_tree(directory: &Path, deadline: Instant) -> Result<(), CgroupError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match rustix::fs::rmdir(directory) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < deadline => {}
            Err(error) => {
                return Err(CgroupError::Remove {
                    path: directory.to_owned(),
                    source: error.into(),
                });
            }
        }
        for below in tree(directory)?
            .iter()
            .filter(|below| below.as_path() != directory)
        {
            // Whether that worked shows in the next attempt.
            drop(std::fs::remove_dir(below));
        }
        wait_until_empty(directory, pause, deadline)?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// On v2 until the kernel says that nobody is left, elsewhere for a moment.
fn wait_until_empty(
    directory: &Path,
    pause: Duration,
    deadline: Instant,
) -> Result<(), CgroupError> {
    let path = directory.join("cgroup.events");
    let Ok(mut events) = std::fs::File::open(&path) else {
        std::thread::sleep(pause);
        return Ok(());
    };
    let mut text = String::new();
    // Reading arms the notification: a change between this and poll is seen by poll.
    if io::Read::read_to_string(&mut events, &mut text).is_err()
        || !text.lines().any(|line| line == "populated 1")
    {
        std::thread::sleep(pause);
        return Ok(());
    }
    let left = deadline.saturating_duration_since(Instant::now());
    wait(&mut [PollFd::new(&events, PollFlags::PRI)], left).map_err(|error| CgroupError::Remove {
        path: directory.to_owned(),
        source: error.into(),
    })
}

fn wait_for_end(handles: &[(i32, OwnedFd)], patience: Duration) -> Result<(), Errno> {
    let deadline = Instant::now() + patience;
    for (_, handle) in handles {
        wait(
            &mut [PollFd::new(handle, PollFlags::IN)],
            deadline.saturating_duration_since(Instant::now()),
        )?;
    }
    Ok(())
}

fn wait(descriptors: &mut [PollFd<'_>], patience: Duration) -> Result<(), Errno> {
    let timeout = Timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: patience.subsec_nanos().into(),
    };
    match poll(descriptors, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}
