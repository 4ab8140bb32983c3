//! What a specification must hold before anything is done with it. Pure.

use oci_spec::runtime::Spec;
use thiserror::Error;

/// What is wrong with a specification.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field}: {reason}")]
pub struct ValidateError {
    /// Path of names: `process.args`.
    pub field: String,
    /// What is wrong there.
    pub reason: String,
}

/// Checks a specification.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(spec: &Spec) -> Result<(), ValidateError> {
    let _unused = spec;
    unimplemented!()
}
