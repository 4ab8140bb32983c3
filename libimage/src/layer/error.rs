//! Why a layer could not be applied or made.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind};

/// Why a layer could not be applied or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A system call failed on an entry of the tree.
    #[error("cannot {operation} {path:?} of the layer")]
    Entry {
        /// What was tried.
        operation: &'static str,
        /// The path inside the layer.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl LayerError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Entry { source, .. } => ErrorKind::of_io(source),
        }
    }
}

impl From<LayerError> for Error {
    fn from(error: LayerError) -> Self {
        Self::new(error.kind(), error)
    }
}
