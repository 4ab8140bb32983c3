//! Ending and removing a container whose lock we hold: our own at its end, or one whose owner died.

use super::{
    directory::{Claim, LOCK},
    record,
};
use crate::{
    cgroup::Cgroup,
    error::{Error, Result},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal as RawSignal, pidfd_open, pidfd_send_signal},
};
use std::{io, path::Path};

/// How long a killed process may take to vanish: it has to give back its memory first.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Ends the container's processes, removes its cgroups and its directory, then lets go of the lock.
pub(super) fn remove(path: &Path, claim: Claim) -> Result<()> {
    let record = record::read(path);
    if let Some(process) = &record.process {
        end(process)?;
    }
    if !record.cgroups.is_empty() {
        let cgroup = Cgroup::from_directories(record.cgroups);
        // Processes that left the pid namespace cannot exist, but those that were moved here from outside can.
        cgroup.kill_all()?;
        cgroup.delete()?;
    }
    remove_files(path)
        .map_err(|error| Error::from_io(error, "remove the container").with_path(path))?;
    drop(claim);
    Ok(())
}

/// Removes the directory, and its lock last: until then it is found again if we die on the way.
fn remove_files(path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_file(path.join(LOCK))?;
    std::fs::remove_dir(path)
}

/// Kills a process if it still is the one that was recorded. Its whole pid namespace ends with it.
fn end(process: &record::Identity) -> Result<()> {
    let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), "end a leftover process");
    let Some(pid) = Pid::from_raw(process.pid) else {
        return Ok(());
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    // Looked at after the descriptor is open: from here on the number cannot change its meaning for us.
    if record::Identity::of(process.pid).as_ref() != Some(process) {
        return Ok(());
    }
    match pidfd_send_signal(&pidfd, RawSignal::KILL) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    }
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE)).map_err(failed)?;
    Ok(())
}
