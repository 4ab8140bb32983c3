//! What a mount of the specification asks for.

mod options;

pub use options::{MountOptions, OptionError, Propagation};
