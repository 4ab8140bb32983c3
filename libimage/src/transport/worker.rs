//! Threads for what blocks: files, hashing, inflating.
//!
//! These are threads of our own and not the runtime's: several of them work on one blob together, and a program that allows its
//! runtime few blocking threads would leave them waiting for each other for ever. The callers bound their number by the number of
//! blobs under way.

use std::{io, thread};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};

/// Runs a function on a thread of its own and waits for it. Dropping the future does not stop the function: it ends by itself
/// when the channel it reads from or writes to is closed.
pub(crate) async fn run<T, E>(
    name: &str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
{
    let (answer, waiting) = oneshot::channel();
    let work = move || {
        // Nobody waits any more: then the result is of no interest, and dropping it undoes it.
        drop(answer.send(work()));
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| Error::new(ErrorKind::Io, error))?;
    match waiting.await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Error::new(
            ErrorKind::Io,
            io::Error::other(format!("the thread {name} panicked")),
        )),
    }
}
