//! What is a finding, and what is a failure to look.

use std::error::Error as StdError;

use crate::{
    copy::SelectError,
    digest::{Digest, DigestError},
    error::{Error, ErrorKind},
    manifest::ManifestError,
};

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

impl ProblemKind {
    /// Returns the word programs are told: `missing`, `digest`, `size`, `diffId` ….
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Digest => "digest",
            Self::Size => "size",
            Self::DiffId => "diffId",
            Self::MediaType => "mediaType",
            Self::Malformed => "malformed",
            Self::Mismatch => "mismatch",
            Self::Limit => "limit",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// Where, for people: `layer 2 of linux/amd64 of docker://…`.
    pub place: String,
    /// The digest of what is wrong, as it is named; none for what was only named by a tag.
    pub digest: Option<Digest>,
    /// What is wrong, one sentence.
    pub message: String,
}

impl Problem {
    pub(super) fn new(
        kind: ProblemKind,
        place: String,
        digest: Option<Digest>,
        message: String,
    ) -> Self {
        Self {
            kind,
            place,
            digest,
            message,
        }
    }

    /// Describes what an error found.
    pub(super) fn of(error: &Error, place: String, digest: Option<&Digest>) -> Self {
        let mut message = error.to_string();
        for cause in causes(error).skip(1) {
            let cause = cause.to_string();
            if !message.ends_with(&cause) {
                message.push_str(": ");
                message.push_str(&cause);
            }
        }
        Self::new(kind_of(error), place, digest.cloned(), message)
    }
}

/// Tells whether an error is about the content, and not about reaching it.
pub(super) fn is(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::DigestMismatch
            | ErrorKind::Malformed
            | ErrorKind::LimitExceeded
            | ErrorKind::Unsupported
            | ErrorKind::Io
    ) || has_size_error(error)
}

/// Tells the same of what was named by the user: if that is not there, there is nothing to validate.
pub(super) fn is_of_top(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DigestMismatch | ErrorKind::Malformed | ErrorKind::LimitExceeded
    )
}

/// Tells whether there is no image for a platform: the user's error, not the image's.
pub(super) fn is_selection(error: &Error) -> bool {
    let selection = error.get_ref().downcast_ref::<SelectError>();
    matches!(
        selection,
        Some(SelectError::NoPlatform { .. } | SelectError::OtherPlatform { .. })
    )
}

fn kind_of(error: &Error) -> ProblemKind {
    if has_size_error(error) {
        return ProblemKind::Size;
    }
    let about_type = |cause: &(dyn StdError + 'static)| {
        matches!(
            cause.downcast_ref::<ManifestError>(),
            Some(ManifestError::MediaType { .. })
        )
    };
    match error.kind() {
        ErrorKind::NotFound => ProblemKind::Missing,
        ErrorKind::DigestMismatch => ProblemKind::Digest,
        ErrorKind::LimitExceeded => ProblemKind::Limit,
        ErrorKind::Malformed if causes(error).any(about_type) => ProblemKind::MediaType,
        ErrorKind::Malformed | ErrorKind::Unsupported => ProblemKind::Malformed,
        _ => ProblemKind::Unreadable,
    }
}

/// A blob that is too short looks like a broken connection to a registry's client, which tries again before it gives up.
fn has_size_error(error: &Error) -> bool {
    causes(error).any(|cause| {
        matches!(
            cause.downcast_ref::<DigestError>(),
            Some(DigestError::Size { .. })
        )
    })
}

/// The error and its causes, also those an `io::Error` carries and hides.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: &(dyn StdError + 'static) = error.get_ref();
    std::iter::successors(Some(first), |error| {
        let error: &(dyn StdError + 'static) = *error;
        let carried = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(carried) = carried {
            return Some(carried as &(dyn StdError + 'static));
        }
        if let Some(ours) = error.downcast_ref::<Error>() {
            return Some(ours.get_ref());
        }
        error.source()
    })
}
