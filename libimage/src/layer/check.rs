//! Is it an archive that could be applied? Read, and nothing made of it.

use std::io::{BufReader, Read};

use super::{LayerError, archive::Archive, path};
use crate::limits;

/// Reads a layer's archive to the end of its members, and returns how many there are.
///
/// # Errors
/// [`LayerError`]: what [`super::apply`] would say about the archive itself. The rest of the stream is not read then.
pub fn check(tar: impl Read) -> Result<u64, LayerError> {
    let mut archive = Archive::new(BufReader::new(tar), limits::LAYER_UNPACKED_BYTES);
    let mut entries = 0;
    while let Some(member) = archive.next()? {
        path::clean(&member.path)?;
        entries += 1;
        if entries > limits::LAYER_ENTRIES {
            return Err(LayerError::Limit {
                what: "entries",
                limit: limits::LAYER_ENTRIES,
            });
        }
    }
    archive.drain()?;
    Ok(entries)
}
