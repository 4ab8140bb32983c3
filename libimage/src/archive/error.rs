//! Why an archive could not be used.

use std::{io, path::PathBuf};

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    layer::LayerError,
    manifest::ManifestError,
};

/// Why an archive could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file cannot be opened or read.
    #[error("cannot {operation} the archive {place}")]
    Input {
        /// What was tried.
        operation: &'static str,
        /// The archive.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// What can be read only once cannot be kept.
    #[error("cannot keep what comes from {place} in {}", .directory.display())]
    Spool {
        /// Where it comes from.
        place: String,
        /// The directory for temporary files.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no tar archive that can be trusted.
    #[error("{place} is no archive that can be read")]
    Tar {
        /// The archive.
        place: String,
        /// What is wrong.
        source: LayerError,
    },
    /// It is an archive of something else, or malformed.
    #[error("{place} is no {form}: {what}")]
    Malformed {
        /// The archive.
        place: String,
        /// `OCI archive` or `docker archive`.
        form: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A document of the archive is no JSON of its kind.
    #[error("{member} in {place} is malformed")]
    Json {
        /// The archive.
        place: String,
        /// The member.
        member: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A manifest of the archive cannot be used.
    #[error("a manifest in {place} cannot be used")]
    Manifest {
        /// The archive.
        place: String,
        /// Why.
        source: ManifestError,
    },
    /// There is more than is accepted.
    #[error("{place} has more than {limit} {what}")]
    Limit {
        /// The archive.
        place: String,
        /// Of what there is too much.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// A member is missing.
    #[error("{member} is not in {place}")]
    Missing {
        /// The archive.
        place: String,
        /// What was looked for.
        member: String,
    },
    /// There is no such image.
    #[error("{place} has no image {wanted} (it has: {available})")]
    NoImage {
        /// The archive.
        place: String,
        /// What was asked for.
        wanted: String,
        /// The names there are.
        available: String,
    },
    /// There are several images, and none was named.
    #[error("{place} has several images, name one of: {available}")]
    Ambiguous {
        /// The archive.
        place: String,
        /// The names there are.
        available: String,
    },
    /// The archive cannot be written.
    #[error("cannot {operation} {}", .path.display())]
    Output {
        /// What was tried.
        operation: &'static str,
        /// The archive.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A docker archive is there already.
    #[error("{} is there already, and images cannot be added to a docker archive", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// stdin or stdout is a terminal.
    #[error("an archive is neither read from a terminal nor written to one")]
    Terminal,
    /// The archive is closed.
    #[error("the archive {} is complete, or was given up", .path.display())]
    Closed {
        /// The archive.
        path: PathBuf,
    },
    /// The content of a blob has another length than was announced.
    #[error("a blob for the archive has {found} bytes, {expected} were announced")]
    Length {
        /// What was announced.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A docker archive cannot hold this.
    #[error("a docker archive cannot hold {digest}: {what}")]
    NotForDocker {
        /// The manifest.
        digest: Digest,
        /// Why.
        what: &'static str,
    },
}

impl ArchiveError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Input { source, .. }
            | Self::Spool { source, .. }
            | Self::Output { source, .. } => ErrorKind::of_io(source),
            Self::Tar { source, .. } => source.kind(),
            Self::Manifest { source, .. } => source.kind(),
            Self::Malformed { .. } | Self::Json { .. } => ErrorKind::Malformed,
            Self::Limit { .. } => ErrorKind::LimitExceeded,
            Self::Missing { .. } | Self::NoImage { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } | Self::Exists { .. } => ErrorKind::Conflict,
            Self::Closed { .. } => ErrorKind::Canceled,
            Self::Length { .. } => ErrorKind::DigestMismatch,
            Self::NotForDocker { .. } | Self::Terminal => ErrorKind::Unsupported,
        }
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        Self::new(error.kind(), error)
    }
}
