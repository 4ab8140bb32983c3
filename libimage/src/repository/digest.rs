//! Which digest a reference has now.

use super::OptionalStore;
use crate::{
    context::Context, copy, digest::Digest, error::Error, name::ImageRef, platform::Platform,
    transport::Source, trust,
};

/// How to ask for a digest.
#[derive(Debug, Clone, Default)]
pub struct DigestOptions {
    /// The digest of this platform's manifest instead of the index's.
    pub platform: Option<Platform>,
    /// The store that `store:` means.
    pub store: OptionalStore,
}

/// Asks for an image's digest: one HEAD. The manifest is fetched where a registry does not tell the digest, and for a platform
/// of an index.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: among others `NotFound`.
pub async fn digest(
    cx: &Context,
    image: &ImageRef,
    options: &DigestOptions,
) -> Result<Digest, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    let Some(platform) = &options.platform else {
        return match source.head().await? {
            Some(digest) => Ok(digest),
            None => Ok(source.verified(cx, None).await?.digest().clone()),
        };
    };
    let whole = source.verified_to_select(cx, None).await?;
    let chosen = copy::one(&source, whole, platform).await?;
    Ok(chosen.digest().clone())
}
