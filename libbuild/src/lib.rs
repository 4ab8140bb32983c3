//! Builds OCI images without a Dockerfile, reproducibly.
pub mod edit;
mod error;
pub mod op;
pub mod repro;

pub use error::{Error, ErrorKind, Result};
