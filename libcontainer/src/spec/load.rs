//! Reading a `config.json` that may name what this crate does not know.

use oci_spec::runtime::Spec;
use std::fmt;
use thiserror::Error;

/// Something in the file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where, as a path of names: `process.capabilities.bounding`.
    pub field: String,
    /// What was found there.
    pub value: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:?} is not known and left out",
            self.field, self.value
        )
    }
}

/// Why the file cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not JSON, or not a specification.
    #[error("config.json cannot be read")]
    Parse(#[source] serde_json::Error),
}

/// Reads a specification.
///
/// # Errors
/// Not JSON; a field of the wrong type.
pub fn load(raw: &[u8]) -> Result<(Spec, Vec<Warning>), LoadError> {
    let _unused = raw;
    unimplemented!()
}
