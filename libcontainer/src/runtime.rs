//! The facade: create, start, run, kill, delete containers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::bundle::Bundle;
use crate::error::Result;
use crate::exit::{ExitStatus, Signal};
use crate::id::ContainerId;
use crate::plan::Plan;
pub use crate::plan::{CreateOptions, Stdio};
use crate::state::State;

/// How to make a [`Runtime`].
#[derive(Debug, Default)]
#[must_use]
pub struct RuntimeBuilder {
    state_dir: Option<PathBuf>,
}

impl RuntimeBuilder {
    /// Where records of containers are kept; made if missing. Without it only [`Runtime::run`] works, and keeps no record.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// The state directory cannot be made or opened.
    pub fn build(self) -> Result<Runtime> {
        unimplemented!()
    }
}

/// Starts containers and finds them again. Holds no process-wide state; share it between threads freely.
#[derive(Debug)]
pub struct Runtime {
    _private: (),
}

impl Runtime {
    /// Begins to describe a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Decides everything that will be done to start `bundle` as container `id`; does none of it.
    ///
    /// # Errors
    /// The specification is invalid or asks for what is not supported.
    pub fn plan(
        &self,
        _id: &ContainerId,
        _bundle: &Bundle,
        _options: CreateOptions,
    ) -> Result<Plan> {
        unimplemented!()
    }

    /// Creates a container whose first process waits for [`Container::start`].
    ///
    /// # Errors
    /// A step of the plan failed; everything done before it is undone.
    pub fn create(&self, _plan: Plan) -> Result<Container> {
        unimplemented!()
    }

    /// Starts a container at once and keeps no record of it; the caller waits for the [`Process`].
    ///
    /// # Errors
    /// A step of the plan failed; everything done before it is undone.
    pub fn run(&self, _plan: Plan) -> Result<Process> {
        unimplemented!()
    }

    /// Finds a container.
    ///
    /// # Errors
    /// There is none with this id, or its record cannot be read.
    pub fn load(&self, _id: &ContainerId) -> Result<Container> {
        unimplemented!()
    }

    /// All containers, by id.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn list(&self) -> Result<Vec<Container>> {
        unimplemented!()
    }
}

/// A container with a record.
#[derive(Debug)]
pub struct Container {
    _private: (),
}

impl Container {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        unimplemented!()
    }

    /// Lets the user's program run.
    ///
    /// # Errors
    /// The container is not in state created.
    pub fn start(&self) -> Result<()> {
        unimplemented!()
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// The container is not running.
    pub fn kill(&self, _signal: Signal) -> Result<()> {
        unimplemented!()
    }

    /// The container's state now.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn state(&self) -> Result<State> {
        unimplemented!()
    }

    /// Removes the container: a created one is killed first, a running one only with `force`.
    ///
    /// # Errors
    /// It is running.
    pub fn delete(self, _force: bool) -> Result<()> {
        unimplemented!()
    }

    /// The container's first process, if it has not ended.
    ///
    /// # Errors
    /// The process has ended.
    pub fn init(&mut self) -> Result<&mut Process> {
        unimplemented!()
    }
}

/// A process, held by descriptor so that its number cannot be mistaken for another's.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
}

impl Process {
    /// The process id in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        unimplemented!()
    }

    /// The process's descriptor; it polls as readable when the process has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits until the process ends, and reaps it if it is our child. Later calls give the same answer.
    ///
    /// # Errors
    /// The process is not our child and the kernel (before Linux 6.15) does not tell its exit status to others.
    pub fn wait(&self) -> Result<ExitStatus> {
        unimplemented!()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended ([`crate::ErrorKind::NotRunning`]).
    pub fn kill(&self, _signal: Signal) -> Result<()> {
        unimplemented!()
    }

    /// The master side of the terminal, once, if the process has one and no console socket took it.
    #[must_use]
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        unimplemented!()
    }

    /// What could not be done as asked and was not worth failing for (a clamped resource limit, say).
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        unimplemented!()
    }
}
