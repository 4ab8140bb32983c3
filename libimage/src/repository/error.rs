//! Why a repository could not be asked or changed.

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    registry::RegistryError,
};

/// Why a repository could not be asked or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The registry has no way to remove a tag and leave its manifest.
    #[error("{image}: the registry cannot delete a tag without its manifest")]
    NoTagDeletion {
        /// The reference.
        image: String,
        /// What the registry answered.
        #[source]
        source: Box<RegistryError>,
    },
    /// Other tags would go with the manifest.
    #[error("{digest} of {repository} has {}, which would go with it: {}", tags_of(.tags), .tags.join(", "))]
    Shared {
        /// The repository, or the layout.
        repository: String,
        /// The manifest.
        digest: Digest,
        /// The other tags.
        tags: Vec<String>,
    },
    /// The medium cannot do that.
    #[error("{image}: {what}")]
    Unsupported {
        /// The reference.
        image: String,
        /// What it cannot do.
        what: &'static str,
    },
    /// There is no such image, tag or blob.
    #[error("{place} has no {what}")]
    NotFound {
        /// The repository, layout or store.
        place: String,
        /// What was asked for.
        what: String,
    },
    /// A pattern is no regular expression.
    #[error("{pattern:?} is no regular expression")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: regex_lite::Error,
    },
    /// The reference names a digest, and the content has another.
    #[error("{image} wants {wanted}, the content is {found}")]
    OtherDigest {
        /// The reference.
        image: String,
        /// The digest in the reference.
        wanted: Digest,
        /// The digest of the content.
        found: Digest,
    },
    /// The reference has to name one thing and does not.
    #[error("{image} {problem}")]
    Reference {
        /// The reference.
        image: String,
        /// What is missing in it.
        problem: &'static str,
    },
}

fn tags_of(tags: &[String]) -> String {
    match tags.len() {
        1 => "another tag".to_owned(),
        count => format!("{count} other tags"),
    }
}

impl RepositoryError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTagDeletion { .. } | Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Shared { .. } => ErrorKind::Conflict,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Pattern { .. } | Self::Reference { .. } => ErrorKind::InvalidReference,
            Self::OtherDigest { .. } => ErrorKind::DigestMismatch,
        }
    }
}

impl From<RepositoryError> for Error {
    fn from(error: RepositoryError) -> Self {
        Self::new(error.kind(), error)
    }
}
