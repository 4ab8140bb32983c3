//! What a copy would do, without doing it.

use super::Outcome;
use crate::{
    context::{Context, Side},
    copy::{CopyOptions, selected},
    digest::Digest,
    error::{Error, ErrorKind},
    name::ImageRef,
    registry::Registry,
    transport::Source,
    trust,
};

/// Asks both ends, and returns how many requests that took too.
pub(super) async fn preview(
    cx: &Context,
    from: &ImageRef,
    to: &ImageRef,
    options: &CopyOptions,
) -> (Result<Outcome, Error>, u64) {
    let source = match opened(cx, from, options).await {
        Ok(source) => source,
        Err(error) => return (Err(error), 0),
    };
    let (wanted, (present, requests)) = tokio::join!(wanted(cx, &source, options), present(cx, to));
    let requests = requests + source.requests();
    let outcome = async {
        let (digest, replaces) = (wanted?, present?);
        Ok(match (digest, replaces) {
            (Some(digest), Some(present)) if digest == present => Outcome::Unchanged { digest },
            (digest, replaces) => Outcome::WouldCopy { digest, replaces },
        })
    };
    (outcome.await, requests)
}

async fn opened(cx: &Context, from: &ImageRef, options: &CopyOptions) -> Result<Source, Error> {
    trust::admit(cx.policy(), from)?;
    Source::open(cx, from, options.store.as_ref()).await
}

/// Returns the digest the destination would have, if that is known without copying.
async fn wanted(
    cx: &Context,
    source: &Source,
    options: &CopyOptions,
) -> Result<Option<Digest>, Error> {
    let asked = source.head().await?;
    if options.platforms.is_empty() {
        return Ok(asked);
    }
    let verified = match options.sparse {
        true => source.verified(cx, asked.as_ref()).await?,
        false => source.verified_to_select(cx, asked.as_ref()).await?,
    };
    let chosen = selected(source, verified, options).await?;
    Ok(Some(chosen.digest().clone()))
}

/// Asks the destination what it has; nothing is made there.
async fn present(cx: &Context, to: &ImageRef) -> (Result<Option<Digest>, Error>, u64) {
    if let ImageRef::Docker(name) = to {
        let registry = match Registry::new(cx, Side::Destination, name, Vec::new()) {
            Ok(registry) => registry,
            Err(error) => return (Err(error.into()), 0),
        };
        let head = registry.head_manifest(name.reference()).await;
        let digest = head.map(|head| head.and_then(|head| head.digest));
        return (digest.map_err(Error::from), registry.requests());
    }
    let head = async { Source::open(cx, to, None).await?.head().await };
    let digest = match head.await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other,
    };
    (digest, 0)
}
