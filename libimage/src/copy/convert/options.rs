//! What is asked for.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use super::ConvertError;
use crate::{digest::Digest, media::Compression};

/// A family of media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCI image specification 1.
    Oci,
    /// Docker image manifest version 2, schema 2.
    V2s2,
}

/// How layers are to be compressed.
///
/// Clones share what they have learned: which layer became which. Copies made with clones of one value (the tags of a
/// repository, say) compress a layer once, if the destination still has the result.
///
/// ```
/// use libimage::{copy::Recompress, media::Compression};
/// let wanted: Recompress = "zstd:9".parse()?;
/// assert_eq!((wanted.algorithm(), wanted.level()), (Compression::Zstd, Some(9)));
/// # Ok::<(), libimage::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recompress {
    algorithm: Compression,
    level: Option<i32>,
    force: bool,
    memory: Arc<Mutex<BTreeMap<Digest, Layer>>>,
}

/// What a layer has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The digest of what both unpack to.
    pub(super) diff_id: Digest,
}

impl Recompress {
    /// Compresses what is not compressed so already, at a level of the algorithm (1 to 9 for gzip, 1 to 22 for zstd), or at its
    /// default.
    ///
    /// # Errors
    ///
    /// The algorithm has no such level.
    pub fn new(algorithm: Compression, level: Option<i32>) -> Result<Self, ConvertError> {
        let levels = match algorithm {
            Compression::None => 0..=0,
            Compression::Gzip => 1..=9,
            Compression::Zstd => 1..=22,
        };
        match level {
            Some(level) if !levels.contains(&level) || algorithm == Compression::None => {
                Err(ConvertError::Level { algorithm, level })
            }
            _ => Ok(Self {
                algorithm,
                level,
                force: false,
                memory: Arc::default(),
            }),
        }
    }

    /// Compresses layers that are compressed so already again too.
    #[must_use]
    pub fn forced(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Returns the compression.
    #[must_use]
    pub fn algorithm(&self) -> Compression {
        self.algorithm
    }

    /// Returns the level; `None` is the algorithm's default.
    #[must_use]
    pub fn level(&self) -> Option<i32> {
        self.level
    }

    /// Tells whether layers that are compressed so already are compressed again too.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.force
    }

    /// Tells whether a layer with this compression has to be compressed again.
    pub(super) fn concerns(&self, found: Compression) -> bool {
        self.force || self.algorithm != found
    }

    /// Returns what a layer became earlier.
    pub(super) fn remembered(&self, layer: &Digest) -> Option<Layer> {
        // A panic elsewhere leaves the map whole: every change is one insertion.
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(layer).cloned()
    }

    pub(super) fn remember(&self, layer: &Digest, became: Layer) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert(layer.clone(), became);
    }
}

impl FromStr for Recompress {
    type Err = ConvertError;

    fn from_str(input: &str) -> Result<Self, ConvertError> {
        let wrong = || ConvertError::Compression {
            input: input.chars().take(80).collect(),
        };
        let (word, level) = match input.split_once(':') {
            Some((word, level)) => (word, Some(level.parse().map_err(|_| wrong())?)),
            None => (input, None),
        };
        let algorithm = match word {
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            "none" => Compression::None,
            _ => return Err(wrong()),
        };
        Self::new(algorithm, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_read() {
        let read = |text: &str| {
            text.parse::<Recompress>()
                .map(|wanted| (wanted.algorithm(), wanted.level()))
                .ok()
        };
        for (text, expected) in [
            ("gzip", Some((Compression::Gzip, None))),
            ("gzip:9", Some((Compression::Gzip, Some(9)))),
            ("zstd:22", Some((Compression::Zstd, Some(22)))),
            ("none", Some((Compression::None, None))),
            ("none:1", None),
            ("gzip:0", None),
            ("gzip:10", None),
            ("zstd:23", None),
            ("zstd:chunked", None),
            ("gzip:", None),
            ("bzip2", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
