//! What the caller wants from a container beyond its specification.

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
    /// How many descriptors above standard error the program inherits from the caller.
    pub preserve_fds: u32,
    /// Keeps the caller's session keyring instead of making a new one.
    pub no_new_keyring: bool,
    /// The kernel sends this signal to the first process when the calling *thread* ends.
    pub parent_death_signal: Option<Signal>,
}
