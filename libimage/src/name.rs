//! Names of images.

/// A normalised image name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name was refused.
#[derive(Debug, thiserror::Error)]
#[error("invalid name {0:?}")]
pub struct NameError(String);

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Ok(Self(s.to_owned()))
    }
}
