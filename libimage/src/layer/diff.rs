//! directory → canonical tar.

use std::io::Write;

use cap_std::fs::Dir;

use super::{LayerError, OverlayXattrs};

/// How to write a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffOptions {
    /// Later times become this one, in seconds since 1970; `None` keeps them. Whiteouts get it (or 0).
    pub epoch: Option<i64>,
    /// Where overlay put its opaque markers.
    pub overlay_xattrs: OverlayXattrs,
}

/// What a diff contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiffStats {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Bytes of the regular files.
    pub content_bytes: u64,
    /// Whiteouts among the entries.
    pub whiteouts: u64,
    /// Sockets left out.
    pub skipped_sockets: u64,
}

impl DiffStats {
    /// Tells whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// Writes what an overlay's upper directory changes, as a canonical archive: a pure function of the trees and the options.
///
/// `lowers` are the directories below, topmost first. With none, every entry of `upper` is written.
///
/// # Errors
/// See [`LayerError`].
pub fn diff(
    _upper: &Dir,
    _lowers: &[Dir],
    _options: &DiffOptions,
    _out: impl Write,
) -> Result<DiffStats, LayerError> {
    unimplemented!()
}
