//! Where the images of a name really are: the longest prefix, its mirrors, its location.

use super::{Entry, Pulls, Registries};
use crate::{
    error::{Error, ErrorKind},
    name::Name,
};

/// A repository of a registry that an image may be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The image's name there.
    pub name: Name,
    /// Whether plain http and certificates nobody knows are accepted.
    pub insecure: bool,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Asked first, in this order.
    pub mirrors: Vec<Endpoint>,
    /// The registry itself.
    pub location: Endpoint,
}

/// Why an image has no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// `registries.conf` forbids it.
    #[error("{name} may not be used: registries.conf blocks {prefix}")]
    Blocked {
        /// The image.
        name: String,
        /// The prefix that is blocked.
        prefix: String,
    },
    /// With the prefix replaced it is no name any more.
    #[error("registries.conf moves {name} to {moved:?}, which is no name of an image")]
    Moved {
        /// The image.
        name: String,
        /// What it became.
        moved: String,
    },
}

impl PlaceError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Blocked { .. } => ErrorKind::Denied,
            Self::Moved { .. } => ErrorKind::Malformed,
        }
    }
}

impl From<PlaceError> for Error {
    fn from(error: PlaceError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl Registries {
    /// Returns where an image is fetched from: its mirrors, which depend on whether it is named by tag or by digest, and its location.
    ///
    /// # Errors
    ///
    /// It is blocked, or what it would be called at its location is no name. A mirror of which that is true is left out.
    pub fn place(&self, name: &Name) -> Result<Place, PlaceError> {
        let text = name.to_string();
        let Some((prefix, covered, entry)) = self.entry(&text) else {
            let location = Endpoint {
                name: name.clone(),
                insecure: false,
            };
            return Ok(Place {
                mirrors: Vec::new(),
                location,
            });
        };
        if entry.blocked {
            return Err(PlaceError::Blocked {
                name: text,
                prefix: prefix.to_owned(),
            });
        }
        let rest = &text[covered..];
        let location = match &entry.location {
            None => name.clone(),
            Some(location) => at(location, rest).ok_or_else(|| PlaceError::Moved {
                name: text.clone(),
                moved: format!("{location}{rest}"),
            })?,
        };
        let asked = |pulls| match pulls {
            Pulls::All => true,
            Pulls::ByDigest => name.digest().is_some(),
            Pulls::ByTag => name.digest().is_none(),
        };
        let mirrors = entry.mirrors.iter().filter(|mirror| asked(mirror.pulls));
        let mirrors = mirrors.filter_map(|mirror| {
            let name = at(&mirror.location, rest)?;
            Some(Endpoint {
                name,
                insecure: mirror.insecure,
            })
        });
        Ok(Place {
            mirrors: mirrors.collect(),
            location: Endpoint {
                name: location,
                insecure: entry.insecure,
            },
        })
    }

    /// Returns the entry with the longest prefix, and how much of the name it covers.
    fn entry(&self, name: &str) -> Option<(&str, usize, &Entry)> {
        let matching = self.entries.iter().filter_map(|(prefix, entry)| {
            let covered = covered(name, prefix)?;
            Some((prefix.as_str(), covered, entry))
        });
        matching.max_by_key(|(prefix, _, _)| prefix.len())
    }
}

/// Returns how many bytes of a name a prefix stands for, if it does.
fn covered(name: &str, prefix: &str) -> Option<usize> {
    let host = name.find('/').unwrap_or(name.len());
    if let Some(domain) = prefix.strip_prefix('*') {
        // `.example.com`: the host has to end with it, and to have something before it.
        let without_port = name[..host].find(':').unwrap_or(host);
        let subdomain = name[..without_port].strip_suffix(domain)?;
        return (!subdomain.is_empty()).then_some(host);
    }
    let rest = name.strip_prefix(prefix)?;
    let ends = match rest.chars().next() {
        None | Some('/' | '@') => true,
        // Behind a host, a colon begins a port: that is another host.
        Some(':') => prefix.contains('/'),
        Some(_) => false,
    };
    ends.then_some(prefix.len())
}

/// Puts a location in the place of a prefix. The result must be on the location's own host: `mirror/app` is none, and must not
/// silently become docker.io's.
fn at(location: &str, rest: &str) -> Option<Name> {
    let name: Name = format!("{location}{rest}").parse().ok()?;
    let host = location.split('/').next()?;
    let same =
        name.registry() == host || (name.registry() == "docker.io" && host == "index.docker.io");
    same.then_some(name)
}
