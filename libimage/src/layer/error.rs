//! Why a layer could not be applied or made.

use std::{io, path::PathBuf};

use crate::error::{Error, ErrorKind};

/// Why a layer could not be applied or made. Paths are those inside the layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The stream failed: the network, the disk, or the codec's verdict on it.
    #[error("cannot read the layer's archive")]
    Read {
        /// What the reader said.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the layer's archive")]
    Write {
        /// What the writer said.
        source: io::Error,
    },
    /// The archive ends in the middle of an entry.
    #[error("the layer's archive ends in the middle of {path:?}")]
    Truncated {
        /// The entry; empty inside a header.
        path: PathBuf,
    },
    /// The archive does not follow the format.
    #[error("malformed archive at {path:?}: {what}")]
    Malformed {
        /// The entry, or the one before it.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A name leads out of the layer.
    #[error("{path:?} leads out of the layer by \"..\"")]
    Escapes {
        /// The name as the archive has it.
        path: PathBuf,
    },
    /// A limit of [`crate::limits`] was reached.
    #[error("the layer has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The archive is valid, and we do not do that.
    #[error("{path:?} of the layer is not supported: {what}")]
    Unsupported {
        /// The entry.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A system call failed on an entry of the tree.
    #[error("cannot {operation} {path:?} of the layer")]
    Entry {
        /// What was tried.
        operation: &'static str,
        /// The entry.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The user namespace has no id for the owner, or an ordinary user works outside of one.
    #[error(
        "{path:?} of the layer belongs to {uid}:{gid}, ids this process may not use: its user namespace does not map them, \
         or it is in none (give the user more ids in /etc/subuid and /etc/subgid, or unpack with everything owned by the caller)"
    )]
    NotMapped {
        /// The entry.
        path: PathBuf,
        /// The owner the archive names.
        uid: u32,
        /// The group the archive names.
        gid: u32,
    },
    /// The target of a hard link is not in the layer before the link.
    #[error("{path:?} is a hard link to {target:?}, which is no file of the layer before it")]
    LinkTarget {
        /// The link.
        path: PathBuf,
        /// What it should be the same file as.
        target: PathBuf,
    },
    /// A file of the tree cannot be told from a whiteout, or from overlay's private language.
    #[error("{path:?} cannot be in a layer: {what}")]
    NotALayer {
        /// The file.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
    /// A file changed while the layer was made from it.
    #[error("{path:?} changed while it was read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl LayerError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source } | Self::Write { source } | Self::Entry { source, .. } => {
                ErrorKind::of_io(source)
            }
            Self::Truncated { .. }
            | Self::Malformed { .. }
            | Self::Escapes { .. }
            | Self::LinkTarget { .. } => ErrorKind::Malformed,
            Self::Limit { .. } => ErrorKind::LimitExceeded,
            Self::Unsupported { .. } | Self::NotMapped { .. } | Self::NotALayer { .. } => {
                ErrorKind::Unsupported
            }
            Self::Changed { .. } => ErrorKind::Conflict,
        }
    }
}

impl From<LayerError> for Error {
    fn from(error: LayerError) -> Self {
        Self::new(error.kind(), error)
    }
}
