//! Why an end of a transfer cannot be used.

use std::path::PathBuf;

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
};

/// Why an end of a transfer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// `store:` was named, and no store was given.
    #[error("{image} needs a store, and none was given")]
    NoStore {
        /// The reference.
        image: String,
    },
    /// A word without transport, where one is needed.
    #[error(
        "{image:?} needs a transport (docker://, oci:, oci-archive:, docker-archive:, dir:, docker-daemon:, store:)"
    )]
    NoTransport {
        /// The reference.
        image: String,
    },
    /// The destination names a digest, and the image has another.
    #[error("the destination wants {wanted}, the image is {found}")]
    DestinationDigest {
        /// The digest in the destination's name.
        wanted: Digest,
        /// The digest of what would be written.
        found: Digest,
    },
    /// There is no such image.
    #[error("there is no image {image}")]
    NotFound {
        /// The reference.
        image: String,
    },
    /// A local destination cannot be written.
    #[error("cannot write to {}", .place.display())]
    Write {
        /// The layout or store.
        place: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A mirror broke off, and what it had sent until then was wrong.
    #[error("a mirror of {repository} sent a wrong beginning of blob {digest}, and then broke off")]
    MirrorsDiffer {
        /// The blob.
        digest: Digest,
        /// Where it was to come from.
        repository: String,
    },
    /// A small blob is not small.
    #[error("blob {digest} has more than {limit} bytes")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// The limit in bytes.
        limit: u64,
    },
    /// Further names for something that has none.
    #[error("{image} cannot have additional tags")]
    NoMoreTags {
        /// The reference.
        image: String,
    },
    /// An additional tag is in another place than the image.
    #[error("the additional tag {tag:?} is not of the repository {repository}")]
    TagElsewhere {
        /// What was given.
        tag: String,
        /// The repository the image goes to.
        repository: String,
    },
    /// Another image of an open archive is somewhere else.
    #[error("{image} is not in the archive {archive}")]
    NotBeside {
        /// The reference.
        image: String,
        /// The archive's own.
        archive: String,
    },
    /// A position in an archive, or an identifier, for writing.
    #[error("{image} names an image by its position or identifier, which is for reading only")]
    OnlyForReading {
        /// The reference.
        image: String,
    },
    /// A `dir:` cannot be read or written.
    #[error("cannot {operation} {}", .path.display())]
    Directory {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A directory holds something else than an image.
    #[error("{} is no image directory (dir:): {what}", .path.display())]
    NotADirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The address of a Docker engine cannot be used.
    #[error(
        "{address:?} is no address of a Docker engine that can be used (unix://PATH, or tcp://HOST:PORT without TLS)"
    )]
    EngineAddress {
        /// What was given.
        address: String,
    },
    /// A Docker engine cannot be reached, or broke off.
    #[error("the Docker engine at {address} cannot be talked to")]
    Engine {
        /// Where it is.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A Docker engine refuses.
    #[error("the Docker engine at {address} refuses{}: {message}", .status.map(|status| format!(" ({status})")).unwrap_or_default())]
    EngineRefuses {
        /// Where it is.
        address: String,
        /// The HTTP status, if it is not one of success.
        status: Option<u16>,
        /// What it says.
        message: String,
    },
    /// Tags of something that has none.
    #[error("{image} has no list of tags")]
    NoTags {
        /// The reference.
        image: String,
    },
}

impl TransportError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoStore { .. }
            | Self::NoTags { .. }
            | Self::NoMoreTags { .. }
            | Self::EngineAddress { .. } => ErrorKind::Unsupported,
            Self::NoTransport { .. }
            | Self::TagElsewhere { .. }
            | Self::NotBeside { .. }
            | Self::OnlyForReading { .. } => ErrorKind::InvalidReference,
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
            Self::DestinationDigest { .. } => ErrorKind::DigestMismatch,
            Self::MirrorsDiffer { .. } => ErrorKind::DigestMismatch,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Write { source, .. } | Self::Directory { source, .. } => ErrorKind::of_io(source),
            Self::NotADirectory { .. } => ErrorKind::Malformed,
            Self::Engine { .. } => ErrorKind::Network { transient: false },
            Self::EngineRefuses {
                status: Some(404), ..
            } => ErrorKind::NotFound,
            Self::EngineRefuses { .. } => ErrorKind::Denied,
        }
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind(), error)
    }
}
