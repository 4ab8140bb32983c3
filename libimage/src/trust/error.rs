//! Why an image may not be used, or cannot be signed.

use super::KeyError;
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    manifest::ManifestError,
};

/// Why an image may not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The policy says no.
    #[error("the policy rejects {image}")]
    Rejected {
        /// The image.
        image: String,
    },
    /// The policy wants a signature we cannot check: that is a no.
    #[error(
        "the policy wants {image} to be signed in a way that cannot be checked here: {requirement}"
    )]
    CannotCheck {
        /// The image.
        image: String,
        /// What the policy wants.
        requirement: String,
    },
    /// Only signed images are wanted, and the policy asks for no signature.
    #[error("signatures are required, and the policy asks for none of {image}")]
    NoneRequired {
        /// The image.
        image: String,
    },
    /// No signature fulfils what the policy wants.
    #[error("the policy wants {image} to be signed ({requirement}), and it is not: {reasons}")]
    Unsigned {
        /// The image, and the digest of the manifest.
        image: String,
        /// What the policy wants.
        requirement: String,
        /// What is wrong with the signatures that were found.
        reasons: String,
    },
    /// A manifest below an index that nobody has signed has to be signed itself.
    #[error("neither the index {image} nor its manifest {digest} has been found to be signed")]
    Uncovered {
        /// The index.
        image: String,
        /// The manifest.
        digest: Digest,
    },
    /// The bytes are not those that were asked for.
    #[error("the manifest of {image} has the digest {found}, {expected} was expected")]
    Digest {
        /// The image.
        image: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The bytes are no manifest.
    #[error("the manifest of {image} cannot be used")]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// What is at the place of signatures is something else.
    #[error("the signatures of {image} cannot be read: {problem}")]
    Attachment {
        /// The image, and the digest of the manifest.
        image: String,
        /// What is wrong.
        problem: String,
    },
    /// More or larger signatures than anybody makes.
    #[error("the signatures of {image} are too much: {what} (at most {limit} are accepted)")]
    TooMuch {
        /// The image, and the digest of the manifest.
        image: String,
        /// What there is too much of.
        what: &'static str,
        /// How much of it is accepted.
        limit: u64,
    },
    /// Signing failed.
    #[error("cannot sign {image}")]
    Sign {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A signature says what it signs by a name, and there is none.
    #[error(
        "{image} has no name that a signature could give it: say which with a sign identity such as registry.example/app:1.0"
    )]
    NoIdentity {
        /// The image.
        image: String,
    },
    /// The destination has no place for signatures.
    #[error("{image} has no place for signatures: {why}")]
    NoPlace {
        /// The image.
        image: String,
        /// Why not.
        why: &'static str,
    },
}

impl TrustError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Rejected { .. }
            | Self::CannotCheck { .. }
            | Self::NoneRequired { .. }
            | Self::Unsigned { .. }
            | Self::Uncovered { .. } => ErrorKind::Denied,
            Self::Digest { .. } => ErrorKind::DigestMismatch,
            Self::Manifest { source, .. } => source.kind(),
            Self::Attachment { .. } => ErrorKind::Malformed,
            Self::TooMuch { .. } => ErrorKind::LimitExceeded,
            Self::Sign { source, .. } => source.kind(),
            Self::NoIdentity { .. } => ErrorKind::InvalidReference,
            Self::NoPlace { .. } => ErrorKind::Unsupported,
        }
    }
}

impl From<TrustError> for Error {
    fn from(error: TrustError) -> Self {
        Self::new(error.kind(), error)
    }
}
