//! Being told when the kernel kills for want of memory.

use super::{Cgroup, CgroupError};
use rustix::{
    event::{EventfdFlags, PollFlags, eventfd},
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};
use std::{
    fs::File,
    io::{Read as _, Seek as _},
    path::PathBuf,
};

/// Tells when processes of a cgroup run out of memory. Poll [`OomWatch::as_fd`] for [`OomWatch::events`], then call
/// [`OomWatch::happened`].
#[derive(Debug)]
pub struct OomWatch(Kind);

#[derive(Debug)]
enum Kind {
    /// Version 1: an eventfd that the kernel counts up. It does so once more when the cgroup is removed.
    Counter { event: OwnedFd, directory: PathBuf },
    /// Version 2: `memory.events`, and how many kills it told of last.
    Events { file: File, kills: u64 },
}

impl Cgroup {
    /// Begins to watch.
    ///
    /// # Errors
    /// The container is in no cgroup that counts memory.
    pub fn watch_oom(&self) -> Result<OomWatch, CgroupError> {
        if let Some(directory) = self
            .v1
            .iter()
            .find(|path| path.join("memory.oom_control").exists())
        {
            return counter(directory.clone());
        }
        let events = self.unified.as_ref().map(|path| path.join("memory.events"));
        let Some(path) = events.filter(|path| path.exists()) else {
            return Err(CgroupError::NoController {
                controller: "memory",
                field: "memory",
            });
        };
        let mut file = File::open(&path).map_err(|source| CgroupError::Open { path, source })?;
        // Reading arms the notification.
        let kills = kills(&mut file).unwrap_or(0);
        Ok(OomWatch(Kind::Events { file, kills }))
    }
}

fn counter(directory: PathBuf) -> Result<OomWatch, CgroupError> {
    let path = directory.join("memory.oom_control");
    let failed = |source| CgroupError::Open {
        path: path.clone(),
        source,
    };
    let control = File::open(&path).map_err(failed)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let event = eventfd(0, flags).map_err(|errno| failed(errno.into()))?;
    let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    std::fs::write(directory.join("cgroup.event_control"), line).map_err(failed)?;
    Ok(OomWatch(Kind::Counter { event, directory }))
}

impl OomWatch {
    /// What to poll for.
    #[must_use]
    pub fn events(&self) -> PollFlags {
        match self.0 {
            Kind::Counter { .. } => PollFlags::IN,
            Kind::Events { .. } => PollFlags::PRI,
        }
    }

    /// Whether memory has run out since the last call.
    pub fn happened(&mut self) -> bool {
        match &mut self.0 {
            Kind::Counter { event, directory } => {
                let mut count = [0; 8];
                // Nothing to read is nothing that happened; a directory that is gone woke us itself.
                rustix::io::read(&*event, &mut count).is_ok() && directory.exists()
            }
            Kind::Events { file, kills: known } => {
                let now = kills(file).unwrap_or(*known);
                now > std::mem::replace(known, now)
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Counter { event, .. } => event.as_fd(),
            Kind::Events { file, .. } => file.as_fd(),
        }
    }
}

fn kills(file: &mut File) -> Option<u64> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line?.trim().parse().ok()
}
