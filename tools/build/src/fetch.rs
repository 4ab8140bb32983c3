//! The network side of a build: bases that are not in the store, and images that go elsewhere.

use crate::place::Place;
use libimage::context::Context;
use libimage::copy::{CopyOptions, CopyReport, copy};
use libimage::name::ImageRef;
use libimage::pull::{PullOptions, PullPolicy, pull};
use libimage::store::Image;
use std::future::Future;
use trimaran_cli::Failure;

/// Brings a base into the store, and unpacks it.
///
/// # Errors
/// If there is no such image, or the registry or network fails.
pub(crate) fn base(
    place: &Place,
    context: &Context,
    reference: &ImageRef,
    policy: PullPolicy,
    platform: Option<libimage::platform::Platform>,
) -> Result<Image, Failure> {
    let options = PullOptions {
        platform,
        policy,
        ..PullOptions::default()
    };
    wait(pull(context, reference, place.store.clone(), &options))
}

/// Copies an image of the store to another place.
///
/// # Errors
/// If the destination refuses.
pub(crate) fn send(
    place: &Place,
    context: &Context,
    image: &Image,
    to: &ImageRef,
) -> Result<CopyReport, Failure> {
    let from = ImageRef::Store(image.manifest_digest().to_string());
    let options = CopyOptions {
        store: Some(place.store.clone()),
        ..CopyOptions::default()
    };
    wait(copy(context, &from, to, &options))
}

/// Runs a future to its end. The runtime is made here, after a user namespace may have been entered: its threads could not
/// follow into it.
fn wait<T>(work: impl Future<Output = Result<T, libimage::Error>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work).map_err(told)
}

fn told(error: libimage::Error) -> Failure {
    use libimage::ErrorKind;
    let hint = match error.kind() {
        ErrorKind::Unauthorized => {
            Some("give --creds USER:PASSWORD, or an --authfile that knows the registry")
        }
        ErrorKind::RateLimited { .. } => {
            Some("the registry allows more later, or with credentials")
        }
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
