//! Both ends of a transfer: a registry, an OCI layout, the local store.

mod error;
pub(crate) mod local;
pub(crate) mod meter;
pub(crate) mod pieces;
mod sink;
mod source;
pub(crate) mod worker;

pub use error::TransportError;
pub use sink::{Put, Sink};
pub use source::Source;
