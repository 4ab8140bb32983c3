//! What a mount of the specification asks for.

mod options;

pub use options::{Links, MapScope, MountOptions, OptionError, Propagation};
