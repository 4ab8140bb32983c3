//! Threads for what blocks: files, hashing, inflating.
//!
//! These are threads of our own and not the runtime's: several of them work on one blob together, and a program that allows its
//! runtime few blocking threads would leave them waiting for each other for ever. The callers bound their number by the number of
//! blobs under way.

use std::{convert::Infallible, io, thread};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

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

/// Threads that make something: whoever gives up waits for them, so that what they undo is undone when the error is returned.
#[derive(Debug, Clone)]
pub(crate) struct Crew(
    #[expect(dead_code, reason = "it is held to be dropped: that is the message")]
    mpsc::Sender<Infallible>,
);

/// The other end of a [`Crew`].
#[derive(Debug)]
pub(crate) struct Muster(mpsc::Receiver<Infallible>);

/// Makes a crew without threads.
pub(crate) fn crew() -> (Crew, Muster) {
    let (sender, receiver) = mpsc::channel(1);
    (Crew(sender), Muster(receiver))
}

impl Crew {
    /// Runs a function like [`run`], as one of the crew.
    pub(crate) async fn run<T, E>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        E: Into<Error> + Send + 'static,
    {
        let member = self.clone();
        let work = move || {
            let result = work();
            (result, member)
        };
        // The membership travels with the result: it ends where that is used, or dropped unseen.
        match run(name, move || Ok::<_, Error>(work())).await {
            Ok((result, _member)) => result.map_err(Into::into),
            Err(error) => Err(error),
        }
    }
}

impl Muster {
    /// Waits until every thread has ended and every handle is gone.
    pub(crate) async fn gone(mut self) {
        // Nothing is ever sent: the channel only closes.
        if let Some(never) = self.0.recv().await {
            match never {}
        }
    }
}

/// Runs tasks, `jobs` at once, on as many threads as the runtime has. The first failure stops the others, and so does dropping the
/// future.
pub(crate) async fn several<T, F>(
    jobs: usize,
    work: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let mut waiting = work.into_iter();
    let mut tasks = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while tasks.len() < jobs.max(1)
            && let Some(task) = waiting.next()
        {
            tasks.spawn(task);
        }
        let result = match tasks.join_next().await {
            None => return Ok(results),
            Some(Ok(result)) => result,
            Some(Err(failed)) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(super::local::given_up()),
            },
        };
        match result {
            Ok(result) => results.push(result),
            Err(error) => {
                tasks.shutdown().await;
                return Err(error);
            }
        }
    }
}
