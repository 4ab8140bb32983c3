//! Waiting in a tokio program without blocking a thread of it: feature `async`.
//!
//! The end of a process is waited for by descriptor. What makes processes is run beside the reactor, where a few milliseconds do no
//! harm. Works on every flavour of tokio's runtime, with its I/O driver enabled.

use std::future::{Future, poll_fn};
use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;

use crate::command::{Child, Command, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::exit::ExitStatus;
use crate::plan::Plan;
use crate::process::Process;
use crate::runtime::{Container, Runtime};

impl Process {
    /// Waits as [`Process::wait`] does, without blocking the thread. Dropping the future stops waiting and changes nothing.
    ///
    /// # Errors
    /// As [`Process::wait`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver.
    pub async fn wait_async(&self) -> Result<ExitStatus> {
        let failed = |error| Error::from_io(error, "wait for the process");
        // A copy: the reactor takes each descriptor once, and several tasks may wait.
        let copy = self.pidfd().try_clone_to_owned().map_err(failed)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe for the sake of types that do not own their descriptor"
        )]
        let end = AsyncFd::with_interest(copy, Interest::READABLE).map_err(failed)?;
        // The answer itself has to be read once: what is ready stays so.
        drop(end.readable().await.map_err(failed)?);
        self.wait()
    }
}

impl Runtime {
    /// Creates a container as [`Runtime::create`] does, on a thread for what blocks. It goes on if the future is dropped.
    ///
    /// # Errors
    /// As [`Runtime::create`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn create_async(&self, plan: Plan) -> Result<Container> {
        let runtime = self.clone();
        let here = plan.options.parent_death_signal.is_some();
        beside(here, move || runtime.create(plan)).await
    }

    /// Starts a container as [`Runtime::run`] does, on a thread for what blocks. It goes on if the future is dropped.
    ///
    /// # Errors
    /// As [`Runtime::run`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn run_async(&self, plan: Plan) -> Result<Process> {
        let runtime = self.clone();
        let here = plan.options.parent_death_signal.is_some();
        beside(here, move || runtime.run(plan)).await
    }
}

/// Runs it on a thread for what blocks; or here, if the container shall die with the thread that made it: those threads come and go.
async fn beside<T: Send + 'static>(
    here: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if here {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::new(ErrorKind::Io, "wait for a thread").with_source(error)),
    }
}

impl Command {
    /// Starts the container as [`Command::spawn`] does, on a thread for what blocks.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn spawn_async(&mut self) -> Result<Child> {
        let (runtime, plan, ends) = self.prepare()?;
        let process = runtime.run_async(plan).await?;
        Ok(Child::new(process, ends))
    }

    /// Starts the container and collects what it writes, as [`Command::output`] does. Dropping the future kills the container.
    ///
    /// # Errors
    /// As [`Command::output`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver.
    pub async fn output_async(&mut self) -> Result<Output> {
        let (runtime, plan, ends) = self.prepare_piped()?;
        let process = runtime.run_async(plan).await?;
        Child::new(process, ends).wait_with_output_async().await
    }
}

impl Child {
    /// Waits as [`Child::wait`] does, without blocking the thread.
    ///
    /// # Errors
    /// As [`Child::wait`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver.
    pub async fn wait_async(&mut self) -> Result<ExitStatus> {
        self.stdin = None;
        let status = self.process().wait_async().await?;
        self.was_waited_for();
        Ok(status)
    }

    /// Collects and waits as [`Child::wait_with_output`] does. Dropping the future kills the container.
    ///
    /// # Errors
    /// As [`Child::wait_with_output`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver.
    pub async fn wait_with_output_async(mut self) -> Result<Output> {
        self.stdin = None;
        let pipes = (self.stdout.take(), self.stderr.take());
        let (stdout, stderr) = both(read_all(pipes.0), read_all(pipes.1)).await;
        let (stdout, stderr) = (stdout?, stderr?);
        let status = self.wait_async().await?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }
}

async fn read_all(pipe: Option<PipeReader>) -> Result<Vec<u8>> {
    let failed = |error| Error::from_io(error, "read what the command writes");
    let mut bytes = Vec::new();
    let Some(pipe) = pipe else { return Ok(bytes) };
    let receiver = Receiver::from_owned_fd(OwnedFd::from(pipe)).map_err(failed)?;
    let mut buffer = vec![0_u8; 16 << 10];
    loop {
        receiver.readable().await.map_err(failed)?;
        match receiver.try_read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Waits for two futures at the same time.
async fn both<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(context)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
