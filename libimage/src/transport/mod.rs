//! Both ends of a transfer. Each medium has a file: registries, OCI layouts, the local store, archives, directories, Docker engines.
//!
//! A registry is asynchronous; everything else is on this machine and works in threads, behind the traits of `local`.

mod error;
mod layout;
pub(crate) mod local;
pub(crate) mod meter;
pub(crate) mod pieces;
mod registry;
mod sink;
mod source;
mod store;
pub(crate) mod worker;

pub use error::TransportError;
pub use sink::{Put, Sink};
pub use source::Source;
