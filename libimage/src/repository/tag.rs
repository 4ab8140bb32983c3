//! Other tags for a manifest that is there already.

use super::OptionalStore;
use crate::{context::Context, digest::Digest, error::Error, name::ImageRef};

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tagged {
    /// The tag, or the name in the store.
    pub tag: String,
    /// The manifest it points to now.
    pub digest: Digest,
    /// Whether it pointed elsewhere, or was not there.
    pub changed: bool,
}

/// Gives an image more tags in its repository, without moving its content: one GET of its manifest, one HEAD and at most one PUT
/// a tag. In a layout and in the store the index is edited.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. Tags are set in the order given; those before a failure stay.
pub async fn tag(
    _cx: &Context,
    _image: &ImageRef,
    _tags: &[String],
    _store: OptionalStore,
) -> Result<Vec<Tagged>, Error> {
    unimplemented!()
}
