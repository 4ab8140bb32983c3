//! How does a verb wait for the network, and what happens on Ctrl-C?

use libimage::ErrorKind;
use libimage::artifact::ArtifactError;
use libimage::registry::RegistryError;
use std::future::Future;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use trimaran_cli::interrupt::{SIGINT, SIGTERM, reraise};
use trimaran_cli::{Failure, output};

/// How long disk threads may take to undo what they began.
const UNDOING: Duration = Duration::from_secs(10);

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
        }
    })?;
    runtime.shutdown_timeout(UNDOING);
    match outcome {
        Ended::Finished(result) => result.map_err(failure),
        Ended::By(number) => {
            output::note("interrupted; what was not finished has been undone");
            Err(Failure::quiet(reraise(number)))
        }
    }
}

enum Ended<T> {
    Finished(T),
    By(i32),
}

async fn received(signal: &mut Signal) {
    signal.recv().await;
}

/// Adds what the user can do about it.
fn failure(error: libimage::Error) -> Failure {
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
        _ => {}
    }
    if let Some(ArtifactError::Exists { .. }) = error.get_ref().downcast_ref() {
        return Some("--force replaces files");
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
