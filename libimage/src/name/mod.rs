//! How images are named: docker's reference grammar, and the transports in front of it.
//!
//! Everything a person types becomes one of these types once, at the edge; nothing inside parses names again.

mod image_ref;

use std::{fmt, str::FromStr};

pub use image_ref::ImageRef;

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
};

/// The registry of names that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The old spelling of the same registry, still found in files.
const LEGACY_REGISTRY: &str = "index.docker.io";
/// The namespace of docker.io's own images.
const OFFICIAL: &str = "library/";
/// The tag of names that have neither tag nor digest.
const DEFAULT_TAG: &str = "latest";

/// Bytes of registry and repository together: the limit of the distribution project's own parser.
const REPOSITORY_BYTES: usize = 255;
/// Bytes of a tag, by the distribution specification.
const TAG_BYTES: usize = 128;
/// Bytes of a host name and its port: DNS allows 253, a port takes 6.
const REGISTRY_BYTES: usize = 259;

/// Why a text is no image name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("the image name is empty")]
    Empty,
    /// A repository has upper-case letters.
    #[error("{input:?} is no image name: repository names are lower-case")]
    Uppercase {
        /// What was given.
        input: String,
    },
    /// A part does not follow the grammar.
    #[error("{input:?} is no image name: the {part} is not valid")]
    Part {
        /// What was given.
        input: String,
        /// `registry`, `repository`, `tag`, `digest` or `index`.
        part: &'static str,
    },
    /// A part is too long.
    #[error("{input:?} is no image name: the {part} has more than {limit} characters")]
    TooLong {
        /// What was given, shortened.
        input: String,
        /// `registry`, `repository` or `tag`.
        part: &'static str,
        /// How many characters it may have.
        limit: usize,
    },
    /// Sixty-four hexadecimal digits would be confused with an image id.
    #[error("{input:?} is an image id and cannot be an image name")]
    LooksLikeId {
        /// What was given.
        input: String,
    },
    /// The transport is known, and not supported.
    #[error(
        "the transport {transport}: is not supported (supported: docker://NAME, oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME], dir:PATH, docker-daemon:NAME, store:NAME)"
    )]
    UnsupportedTransport {
        /// The word before the colon.
        transport: String,
    },
    /// No transport was given where one is needed.
    #[error(
        "{input:?} names no transport (docker://NAME, oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME], dir:PATH, docker-daemon:NAME, store:NAME)"
    )]
    NoTransport {
        /// What was given.
        input: String,
    },
    /// `docker:` without the slashes.
    #[error("{input:?} lacks the slashes of docker://NAME")]
    NoSlashes {
        /// What was given.
        input: String,
    },
    /// A transport without anything behind it.
    #[error("{input:?} names nothing after its transport")]
    NothingNamed {
        /// What was given.
        input: String,
    },
}

impl NameError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsupportedTransport { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidReference,
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// A normalised image name: registry, repository, and a tag or a digest (or both: then the digest decides what is meant).
///
/// ```
/// use libimage::name::Name;
/// let name: Name = "debian".parse()?;
/// assert_eq!(name.to_string(), "docker.io/library/debian:latest");
/// # Ok::<(), libimage::name::NameError>(())
/// ```
///
/// # References
///
/// <https://github.com/distribution/reference/blob/main/reference.go>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Name {
    /// Returns the host, with its port if one was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path of the repository inside the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; `None` only if there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, which decides what is meant if there is one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the same repository at a digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest.clone()),
            ..self.clone()
        }
    }

    /// Returns the same repository at a tag, without a digest.
    ///
    /// # Errors
    ///
    /// The text does not follow the grammar of tags.
    pub fn with_tag(&self, tag: &str) -> Result<Self, NameError> {
        check_tag(tag, tag)?;
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// Returns the same repository with the tag and the digest of another name.
    #[must_use]
    pub fn with_reference_of(&self, other: &Self) -> Self {
        Self {
            tag: other.tag.clone(),
            digest: other.digest.clone(),
            ..self.clone()
        }
    }

    /// Returns what the registry is asked for: the digest, else the tag.
    #[must_use]
    pub fn reference(&self) -> &str {
        match &self.digest {
            Some(digest) => digest.as_str(),
            None => self.tag.as_deref().unwrap_or(DEFAULT_TAG),
        }
    }

    /// Returns registry and repository, without tag and digest.
    #[must_use]
    pub fn without_reference(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(input: &str) -> Result<Self, NameError> {
        let part = |part| NameError::Part {
            input: shorten(input),
            part,
        };
        if input.is_empty() {
            return Err(NameError::Empty);
        }
        if input.len() == 64
            && input
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(NameError::LooksLikeId {
                input: input.to_owned(),
            });
        }
        let (rest, digest) = match input.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse::<Digest>().map_err(|_| part("digest"))?),
            ),
            None => (input, None),
        };
        // A colon after the last slash starts the tag; before it, a port.
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match rest[after_slash..].find(':') {
            Some(colon) => (
                &rest[..after_slash + colon],
                Some(&rest[after_slash + colon + 1..]),
            ),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag, input)?;
        }
        let (registry, repository) = split_registry(path);
        check_registry(registry, input)?;
        check_repository(&repository, input)?;
        if registry.len() + 1 + repository.len() > REPOSITORY_BYTES {
            return Err(NameError::TooLong {
                input: shorten(input),
                part: "repository",
                limit: REPOSITORY_BYTES,
            });
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

/// Splits a path as docker does: the first component is a host only if it looks like one.
fn split_registry(path: &str) -> (&str, String) {
    let (registry, rest) = match path.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, path),
    };
    let registry = if registry == LEGACY_REGISTRY {
        DEFAULT_REGISTRY
    } else {
        registry
    };
    if registry == DEFAULT_REGISTRY && !rest.contains('/') {
        return (registry, format!("{OFFICIAL}{rest}"));
    }
    (registry, rest.to_owned())
}

fn check_registry(registry: &str, input: &str) -> Result<(), NameError> {
    if registry.len() > REGISTRY_BYTES {
        return Err(NameError::TooLong {
            input: shorten(input),
            part: "registry",
            limit: REGISTRY_BYTES,
        });
    }
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (
                None,
                rest.strip_prefix(':').or(rest.is_empty().then_some("0")),
            ),
            _ => (Some(""), None),
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), Some("0")),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let host_is_valid = host.is_none_or(|host| host.split('.').all(label));
    let port_is_valid = port.is_some_and(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    if host_is_valid && port_is_valid {
        Ok(())
    } else {
        Err(NameError::Part {
            input: shorten(input),
            part: "registry",
        })
    }
}

fn check_repository(repository: &str, input: &str) -> Result<(), NameError> {
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(NameError::Uppercase {
            input: shorten(input),
        });
    }
    if repository.split('/').all(is_component) {
        return Ok(());
    }
    Err(NameError::Part {
        input: shorten(input),
        part: "repository",
    })
}

/// Letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends && bytes.split(alphanumeric).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    })
}

fn check_tag(tag: &str, input: &str) -> Result<(), NameError> {
    if tag.len() > TAG_BYTES {
        return Err(NameError::TooLong {
            input: shorten(input),
            part: "tag",
            limit: TAG_BYTES,
        });
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if valid {
        Ok(())
    } else {
        Err(NameError::Part {
            input: shorten(input),
            part: "tag",
        })
    }
}

/// Keeps error messages short whatever was typed.
fn shorten(input: &str) -> String {
    const SHOWN: usize = 120;
    match input.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &input[..end]),
        None => input.to_owned(),
    }
}

#[cfg(test)]
mod tests;
