//! Layers as trees: apply (tar to directory) and diff (directory to tar), which are inverses.

mod apply;
pub(crate) mod archive;
mod check;
mod diff;
mod error;
mod flatten;
pub(crate) mod header;
mod metadata;
mod path;
mod pax;
mod scan;
mod scene;
mod tree;
mod xattr;

pub use apply::{ApplyOptions, Devices, LayerStats, Owners, apply};
pub use check::check;
pub use diff::{DiffOptions, DiffStats, diff};
pub use error::LayerError;
pub use flatten::{FlattenStats, flatten};

/// The namespace in which overlay looks for its own extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayXattrs {
    /// `trusted.overlay.*`, for mounts made with CAP_SYS_ADMIN in the initial user namespace.
    Trusted,
    /// `user.overlay.*`, for mounts with `userxattr` inside a user namespace.
    User,
}

impl OverlayXattrs {
    /// Returns the attribute that makes a directory opaque.
    #[must_use]
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }

    /// Returns the attribute that makes an empty file a whiteout, where overlay writes those (directories opaque as `x`).
    #[must_use]
    pub fn whiteout(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.whiteout",
            Self::User => "user.overlay.whiteout",
        }
    }
}
