//! What the caller wants from a container, or from a further process in one, beyond its description.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::exit::Signal;

/// The standard streams of a container's first process.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// All three are `/dev/null`.
    #[default]
    Null,
    /// The caller's own, as they are when the plan is run.
    Inherit,
    /// These descriptors; `None` is `/dev/null`.
    Streams {
        /// Standard input.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: Option<OwnedFd>,
        /// Standard error.
        stderr: Option<OwnedFd>,
    },
    /// A terminal in the container; its master side is given out by the process, or is sent to the console socket.
    /// Chosen by itself when the specification says `process.terminal`.
    Terminal,
}

/// What the caller wants from a container beyond its specification.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The standard streams.
    pub stdio: Stdio,
    /// A Unix stream socket to which the terminal's master descriptor is sent.
    pub console_socket: Option<PathBuf>,
    /// A file to which the process id is written.
    pub pid_file: Option<PathBuf>,
    /// The terminal passes newlines on as they are, without a carriage return: for a caller who writes its output where it came from.
    pub plain_newlines: bool,
    /// As crun has it, the filter's listener is sent wherever `linux.seccomp.listenerPath` names somebody, also if no rule asks that one,
    /// and the version that is told with it is 0.2.0.
    pub listener_as_crun: bool,
    /// A Unix stream socket to which a descriptor of the first process (a pidfd) is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors above standard error the program inherits from the caller.
    pub preserve_fds: u32,
    /// Keeps the caller's session keyring instead of making a new one.
    pub no_new_keyring: bool,
    /// Enters the root with `chroot` instead of `pivot_root`, for a host whose root is the initial ramfs. The old root stays mounted
    /// beneath: who may call `chroot` in the container gets out of it.
    pub no_pivot: bool,
    /// Variables added to the first process's environment, `NAME=VALUE`; processes that are started later do not get them.
    pub environment: Vec<String>,
    /// The kernel sends this signal to the first process when the calling *thread* ends.
    pub parent_death_signal: Option<Signal>,
}

/// What the caller wants from a further process beyond its description.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// The standard streams.
    pub stdio: Stdio,
    /// A Unix stream socket to which the terminal's master descriptor is sent.
    pub console_socket: Option<PathBuf>,
    /// A file to which the process id is written.
    pub pid_file: Option<PathBuf>,
    /// The terminal passes newlines on as they are, without a carriage return: for a caller who writes its output where it came from.
    pub plain_newlines: bool,
    /// A Unix stream socket to which a descriptor of the process (a pidfd) is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors above standard error the program inherits from the caller.
    pub preserve_fds: u32,
    /// Places below the container's cgroup that the process is put into: a path for all hierarchies, or `CONTROLLER[,CONTROLLER]:PATH`
    /// for the one with these controllers. Without any it joins the container's cgroup, or the one that the container's first process
    /// is in where version 2 does not allow that.
    pub cgroups: Vec<String>,
    /// Keeps the caller's session keyring instead of joining the container's.
    pub no_new_keyring: bool,
    /// Starts the process in a paused container too, where it stands until the container goes on.
    pub ignore_paused: bool,
    /// The kernel sends this signal to the process when the calling *thread* ends.
    pub parent_death_signal: Option<Signal>,
}
