//! `registries.conf`: where the images of a name really are, which registries are not to be used, and what short names mean.
//!
//! Parsed here and asked here; whoever finds the files hands their texts in.

mod file;
mod place;
mod short;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use place::{Endpoint, Place, PlaceError};
pub use short::{ShortNameError, ShortNameMode};

use crate::error::{Error, ErrorKind};

/// What `registries.conf` and its drop-ins say; by default nothing.
///
/// ```
/// use libimage::config::Registries;
/// let registries = Registries::parse(r#"
///     [[registry]]
///     prefix = "docker.io"
///     location = "docker.io"
///     [[registry.mirror]]
///     location = "mirror.example/hub"
/// "#)?;
/// let place = registries.place(&"debian:12".parse()?)?;
/// assert_eq!(place.mirrors[0].name.to_string(), "mirror.example/hub/library/debian:12");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
///
/// containers-registries.conf(5), containers-registries.conf.d(5)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// By prefix.
    entries: BTreeMap<String, Entry>,
    search: Vec<String>,
    aliases: BTreeMap<String, String>,
    mode: Option<ShortNameMode>,
    credential_helpers: Option<Vec<String>>,
}

/// One `[[registry]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// What takes the prefix's place; `None` leaves the name as it is.
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

/// One `[[registry.mirror]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    pulls: Pulls,
}

/// Which images a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulls {
    All,
    ByDigest,
    ByTag,
}

/// Why a text is no `registries.conf`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistriesError {
    /// It is not the TOML expected.
    #[error("it is no valid registries.conf: {message}")]
    Toml {
        /// The parser's words, in one line.
        message: String,
    },
    /// It is larger than any such file.
    #[error("it has more than {} bytes", file::FILE_BYTES)]
    TooLarge,
    /// It is in the format from before 2019, which cannot name mirrors.
    #[error(
        "it is in version 1 of the format ([registries.search] and so on): write unqualified-search-registries and [[registry]] in its place"
    )]
    Version1,
    /// A `[[registry]]` says nothing, or a mirror has no location.
    #[error("a [[registry]] has neither prefix nor location, or a mirror has no location")]
    NoLocation,
    /// A location or prefix is not `HOST[:PORT][/PATH]`.
    #[error("{text:?} is no place of images: write HOST[:PORT][/PATH], or *.DOMAIN as a prefix")]
    Location {
        /// What is there.
        text: String,
    },
    /// `mirror-by-digest-only` and `pull-from-mirror` exclude each other.
    #[error(
        "the [[registry]] {prefix:?} sets mirror-by-digest-only, and a mirror of it pull-from-mirror: only one of them can be"
    )]
    TwoRules {
        /// Which one.
        prefix: String,
    },
    /// A word is none of those that are allowed.
    #[error("{key} is {value:?}, which is none of {allowed}")]
    Word {
        /// The setting.
        key: &'static str,
        /// What it is set to.
        value: String,
        /// What it may be set to.
        allowed: &'static str,
    },
    /// An alias does not lead from a short name to a full one.
    #[error(
        "the alias {name:?} = {value:?} does not lead from a short name to a full one, both without tag"
    )]
    Alias {
        /// The short name.
        name: String,
        /// Where it leads.
        value: String,
    },
}

impl From<RegistriesError> for Error {
    fn from(error: RegistriesError) -> Self {
        Self::new(ErrorKind::Malformed, error)
    }
}

impl Registries {
    /// Reads the text of a `registries.conf`.
    ///
    /// # Errors
    ///
    /// It is not of that format.
    pub fn parse(text: &str) -> Result<Self, RegistriesError> {
        Self::default().with(text)
    }

    /// Adds the text of another file, a drop-in or a list of aliases, which prevails over what was read before: a `[[registry]]` with
    /// the same prefix is replaced whole, an alias of the same name too (an empty one is removed).
    ///
    /// # Errors
    ///
    /// It is not of that format.
    pub fn with(mut self, text: &str) -> Result<Self, RegistriesError> {
        let file = file::parse(text)?;
        self.entries.extend(file.entries);
        if let Some(search) = file.search {
            self.search = search;
        }
        if file.mode.is_some() {
            self.mode = file.mode;
        }
        if file.credential_helpers.is_some() {
            self.credential_helpers = file.credential_helpers;
        }
        for (name, value) in file.aliases {
            if value.is_empty() {
                self.aliases.remove(&name);
            } else {
                self.aliases.insert(name, value);
            }
        }
        Ok(self)
    }

    /// Returns the helpers that are asked for credentials, in this order; `containers-auth.json` stands for the files of credentials.
    #[must_use]
    pub fn credential_helpers(&self) -> &[String] {
        self.credential_helpers.as_deref().unwrap_or_default()
    }
}
