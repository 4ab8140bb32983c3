//! Handing a new process over to who asked for it: its terminal to a socket, its number into a file.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::cgroup;
use crate::console;
use crate::error::{Error, Result};
use crate::init::Launched;
use crate::plan::{CreateOptions, ExecOptions};
use crate::process::{Process, remove_cgroup};

/// Where the caller wants to find the process and its terminal.
pub(crate) struct Sinks {
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    /// And what the process is called there.
    pidfd_socket: Option<(PathBuf, &'static str)>,
}

impl Sinks {
    pub(crate) fn of_create(options: &mut CreateOptions) -> Self {
        Self {
            console_socket: options.console_socket.take(),
            pid_file: options.pid_file.take(),
            pidfd_socket: options.pidfd_socket.take().map(|path| (path, "standard")),
        }
    }

    pub(crate) fn of_exec(options: &mut ExecOptions) -> Self {
        Self {
            console_socket: options.console_socket.take(),
            pid_file: options.pid_file.take(),
            pidfd_socket: options.pidfd_socket.take().map(|path| (path, "setns")),
        }
    }

    /// Sends the terminal away, and writes the number last: whoever sees it may believe that everything is ready.
    pub(crate) fn give(self, launched: Launched) -> Result<(Process, cgroup::Cgroup)> {
        let Launched {
            pid,
            pidfd,
            starter: _,
            mut terminal,
            warnings,
            cgroup,
        } = launched;
        let given = (|| {
            if let (Some(socket), Some(master)) = (&self.console_socket, &terminal) {
                console::send(socket, master.as_fd(), "terminal")?;
                terminal = None;
            }
            if let Some((socket, name)) = &self.pidfd_socket {
                console::send(socket, pidfd.as_fd(), name)?;
            }
            self.pid_file
                .as_deref()
                .map_or(Ok(()), |path| write_pid(path, pid))
        })();
        let process = Process::new(pid, pidfd)
            .with_terminal(terminal)
            .with_warnings(warnings);
        match given {
            Ok(()) => Ok((process, cgroup)),
            Err(error) => {
                process
                    .kill(crate::Signal::KILL)
                    .and_then(|()| process.wait())
                    .ok();
                remove_cgroup(&cgroup).ok();
                Err(error)
            }
        }
    }
}

/// Writes a process id so that nobody reads half of it.
fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::from_io(error, "write the pid file").with_path(path);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, pid.to_string()).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}
