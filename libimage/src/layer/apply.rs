//! tar → directory.

use std::io::Read;

use cap_std::fs::Dir;

use super::{LayerError, OverlayXattrs};

/// What becomes of the owners an archive names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// They are set; an id outside of the user namespace's mapping is an error.
    Keep,
    /// Everything belongs to the caller (no sub-ids); files and directories are made readable (and directories searchable) for it.
    Squash,
}

/// What becomes of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// They are made; being refused by the kernel is an error.
    Create,
    /// They are left out and counted: user namespaces cannot make them.
    Skip,
    /// They are an error.
    Refuse,
}

/// How to apply a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// What becomes of owners.
    pub owners: Owners,
    /// What becomes of device nodes.
    pub devices: Devices,
    /// Where overlay looks for opaque markers.
    pub overlay_xattrs: OverlayXattrs,
    /// Entries the archive may have; see [`crate::limits::LAYER_ENTRIES`].
    pub max_entries: u64,
    /// Bytes the archive may have; see [`crate::limits::LAYER_UNPACKED_BYTES`].
    pub max_bytes: u64,
}

impl ApplyOptions {
    /// Returns the options of root on its own machine: owners, devices, `trusted.` attributes.
    #[must_use]
    pub fn privileged() -> Self {
        Self {
            owners: Owners::Keep,
            devices: Devices::Create,
            overlay_xattrs: OverlayXattrs::Trusted,
            max_entries: crate::limits::LAYER_ENTRIES,
            max_bytes: crate::limits::LAYER_UNPACKED_BYTES,
        }
    }

    /// Returns the options inside a user namespace.
    #[must_use]
    pub fn rootless(owners: Owners) -> Self {
        Self {
            owners,
            devices: Devices::Skip,
            overlay_xattrs: OverlayXattrs::User,
            ..Self::privileged()
        }
    }
}

/// What applying a layer did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerStats {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the archive, headers included: what the diffID covers.
    pub archive_bytes: u64,
    /// Bytes of the regular files.
    pub content_bytes: u64,
    /// Names this layer removes from those below.
    pub whiteouts: u64,
    /// Directories that hide those below.
    pub opaques: u64,
    /// Device nodes left out.
    pub skipped_devices: u64,
    /// Extended attributes left out because only the kernel or the host may set them.
    pub skipped_xattrs: u64,
    /// Sentences for people, at most a handful.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Applies a layer's archive to an empty directory, and reads the stream to its end.
///
/// # Errors
/// See [`LayerError`].
pub fn apply(
    _tar: impl Read,
    _into: &Dir,
    _options: &ApplyOptions,
) -> Result<LayerStats, LayerError> {
    unimplemented!()
}
