//! What a mount of the specification asks for.

mod options;

pub(crate) use options::SUPERBLOCK;
pub use options::{Links, MapScope, MountOptions, OptionError, Propagation};
