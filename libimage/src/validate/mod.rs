//! Reads an image again, all of it, and tells everything that is wrong with it.

use std::sync::Arc;

use crate::{
    context::Context, digest::Digest, error::Error, name::ImageRef, platform::Platform,
    store::Store,
};

/// How to validate.
#[derive(Debug, Clone)]
pub struct ValidateOptions {
    /// Which platforms of an index: none is all of them.
    pub platforms: Vec<Platform>,
    /// Only ask whether the blobs are there, with the right size; manifests and configurations are read in any case.
    pub fast: bool,
    /// How many blobs are read at once.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self {
            platforms: Vec::new(),
            fast: false,
            jobs: 4,
            store: None,
        }
    }
}

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Something that is named is not there.
    Missing,
    /// It has another digest.
    Digest,
    /// It has another length.
    Size,
    /// A layer unpacks to something else than the configuration says.
    DiffId,
    /// The type says something else than the content.
    MediaType,
    /// It does not follow its format.
    Malformed,
    /// Two documents contradict each other: platforms, numbers of layers, history.
    Mismatch,
    /// It is larger or deeper than anything sensible.
    Limit,
    /// It could not be read at all.
    Unreadable,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// Where, for people: `layer 2 of linux/amd64`.
    pub place: String,
    /// The digest of what is wrong, as it is named.
    pub digest: Digest,
    /// What is wrong, one sentence.
    pub message: String,
}

/// What a validation found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Validation {
    /// The digest of the image or index.
    pub digest: Digest,
    /// Manifests and indexes read.
    pub manifests: u64,
    /// Configurations and layers read, or asked for.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Layers that live elsewhere by agreement (Windows), and were not looked at.
    pub foreign: u64,
    /// What is wrong, in the order of the image; empty if nothing is.
    pub problems: Vec<Problem>,
}

impl Validation {
    /// Tells whether nothing is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Validates an image: every manifest, configuration and layer is read again.
///
/// # Errors
///
/// There is no such image, or it cannot be reached: what is wrong with it is no error but a [`Problem`].
pub async fn validate(
    _cx: &Context,
    _image: &ImageRef,
    _options: &ValidateOptions,
) -> Result<Validation, Error> {
    unimplemented!()
}
