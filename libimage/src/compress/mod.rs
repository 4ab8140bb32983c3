//! How blobs are packed: decoding with limits, and encoding whose output depends on the input alone.
//!
//! The only importer of `zlib-rs` and `zstd`.

mod ahead;
mod decode;
mod encode;
mod gzip;

pub use ahead::{Ahead, decode_ahead};
#[cfg(feature = "registry")]
pub(crate) use decode::sniff;
pub use decode::{Decoder, decoder, decoder_with_limit};
pub use encode::{Encoder, encoder};

use crate::error::{Error, ErrorKind};
pub use crate::media::Compression;

/// Why a stream could not be decoded or encoded. Readers carry it inside their `io::Error` (see [`ErrorKind::of_io`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The first bytes could not be read, or the codec refused its settings.
    #[error("cannot start the {format:?} codec")]
    Start {
        /// The format.
        format: Compression,
        /// What the codec or the reader said.
        source: std::io::Error,
    },
    /// The stream does not follow its format, or lies about what it contains.
    #[error("corrupt {format:?} stream: {what}")]
    Corrupt {
        /// The format.
        format: Compression,
        /// What is wrong.
        what: String,
    },
    /// The stream ends in the middle.
    #[error("truncated {format:?} stream")]
    Truncated {
        /// The format.
        format: Compression,
    },
    /// There is more content than allowed.
    #[error("the stream unpacks to more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

impl CompressError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Start { source, .. } => ErrorKind::of_io(source),
            Self::Corrupt { .. } | Self::Truncated { .. } => ErrorKind::Malformed,
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
        }
    }
}

impl From<CompressError> for Error {
    fn from(error: CompressError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<CompressError> for std::io::Error {
    fn from(error: CompressError) -> Self {
        Error::from(error).into()
    }
}

#[cfg(test)]
mod tests;
