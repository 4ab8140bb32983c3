//! How does a verb wait for the network, and what happens on Ctrl-C?

use libimage::ErrorKind;
use libimage::artifact::ArtifactError;
use libimage::registry::RegistryError;
use libimage::repository::RepositoryError;
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use trimaran_cli::interrupt::{SIGINT, SIGTERM, reraise};
use trimaran_cli::{Failure, human, output};

/// How long disk threads may take to undo what they began.
const UNDOING: Duration = Duration::from_secs(10);

/// The longest time [`perform`] may take: a setting of the whole process, given on its command line.
static LIMIT: OnceLock<Duration> = OnceLock::new();

/// Sets the time after which [`perform`] gives up.
pub(crate) fn limit(time: Option<Duration>) {
    if let Some(time) = time {
        LIMIT.get_or_init(|| time);
    }
}

/// Runs `work` to its end, or until SIGINT or SIGTERM: then it is dropped, which undoes what was not published, and the process
/// dies of the signal.
///
/// # Errors
/// That of `work`; or the runtime cannot be started.
pub(crate) fn perform<T>(
    work: impl Future<Output = Result<T, libimage::Error>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = work => Ok::<_, Failure>(Ended::Finished(result)),
            () = received(&mut interrupt) => Ok(Ended::By(SIGINT)),
            () = received(&mut terminate) => Ok(Ended::By(SIGTERM)),
            time = too_long() => Ok(Ended::TooLong(time)),
        }
    })?;
    runtime.shutdown_timeout(UNDOING);
    match outcome {
        Ended::Finished(result) => result.map_err(failure),
        Ended::By(number) => {
            output::note("interrupted; what was not finished has been undone");
            Err(Failure::quiet(reraise(number)))
        }
        Ended::TooLong(time) => Err(Failure::new(format!(
            "not done after {} (--command-timeout); what was not finished has been undone",
            human::duration(time)
        ))),
    }
}

enum Ended<T> {
    Finished(T),
    By(i32),
    TooLong(Duration),
}

async fn too_long() -> Duration {
    match LIMIT.get() {
        Some(time) => {
            tokio::time::sleep(*time).await;
            *time
        }
        None => std::future::pending().await,
    }
}

async fn received(signal: &mut Signal) {
    signal.recv().await;
}

/// Adds what the user can do about it.
pub(crate) fn failure(error: libimage::Error) -> Failure {
    let hint = hint(&error);
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn hint(error: &libimage::Error) -> Option<&'static str> {
    match error.get_ref().downcast_ref() {
        Some(RegistryError::Certificate { .. }) => {
            return Some(
                "--src-tls-verify=false or --dest-tls-verify=false (--tls-verify=false) trusts any certificate",
            );
        }
        Some(RegistryError::NotTls { .. }) => {
            return Some(
                "--src-tls-verify=false or --dest-tls-verify=false (--tls-verify=false) allows plain HTTP",
            );
        }
        Some(RegistryError::Status {
            status: 400,
            message,
            ..
        }) if message.contains("manifest unknown") => {
            return Some(
                "this registry takes no index whose images it lacks: copy them all, or leave out --sparse for a smaller index",
            );
        }
        _ => {}
    }
    if let Some(ArtifactError::Exists { .. }) = error.get_ref().downcast_ref() {
        return Some("--force replaces files");
    }
    match error.get_ref().downcast_ref() {
        Some(RepositoryError::NoTagDeletion { .. }) => {
            return Some(
                "--manifest deletes its manifest if no other tag points to that; --force deletes it in any case, with all its tags",
            );
        }
        Some(RepositoryError::Shared { .. }) => {
            return Some("--force deletes it, and the other tags with it");
        }
        _ => {}
    }
    match error.kind() {
        ErrorKind::Unauthorized => Some(
            "give --creds USER:PASSWORD (--src-creds, --dest-creds), or an --authfile that knows the registry",
        ),
        ErrorKind::RateLimited { .. } => {
            Some("the registry allows more later, or with credentials")
        }
        ErrorKind::NoSpace => {
            Some("free some space and copy again: what is there already is not copied twice")
        }
        _ => None,
    }
}
