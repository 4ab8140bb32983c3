//! Transports: where an image is, in front of what it is called there.

use std::{fmt, path::PathBuf, str::FromStr};

use super::{Name, NameError, shorten};
use crate::digest::Digest;

/// An image somewhere: a transport, and what it is called there.
///
/// ```
/// use libimage::name::ImageRef;
/// let image: ImageRef = "oci:/srv/images:debian".parse()?;
/// assert_eq!(image.to_string(), "oci:/srv/images:debian");
/// # Ok::<(), libimage::name::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageRef {
    /// `docker://NAME`: in a registry.
    Docker(Name),
    /// `oci:PATH[:TAG]`: in an OCI image layout directory.
    Oci {
        /// The directory.
        path: PathBuf,
        /// The name inside the layout; without one, the layout's only image.
        tag: Option<String>,
    },
    /// `store:NAME` (also spelled `containers-storage:NAME`): in the local store, by name, digest or the beginning of an id.
    Store(String),
    /// A word without a transport, from [`ImageRef::parse_or_bare`]: the local store first, then a registry.
    Bare(String),
}

/// The transports of the field's tools that are recognised and refused.
const NOT_YET: [&str; 8] = [
    "docker-archive",
    "docker-daemon",
    "dir",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
    "atomic",
];

impl ImageRef {
    /// Parses as [`FromStr`] does, and takes a text without a transport as an image of the store or of a registry, whichever
    /// has it. This is how `run IMAGE` reads its argument.
    ///
    /// # Errors
    ///
    /// The text is neither.
    pub fn parse_or_bare(input: &str) -> Result<Self, NameError> {
        match Self::from_str(input) {
            Err(NameError::NoTransport { .. }) => {}
            other => return other,
        }
        match input.parse::<Name>() {
            Ok(_) | Err(NameError::LooksLikeId { .. }) => Ok(Self::Bare(input.to_owned())),
            // `sha256:<hex>`, the long spelling of an id, is no valid name.
            Err(_) if input.parse::<Digest>().is_ok() => Ok(Self::Bare(input.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// Returns the word in front of the colon.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Docker(_) => "docker",
            Self::Oci { .. } => "oci",
            Self::Store(_) | Self::Bare(_) => "store",
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(name) => write!(f, "docker://{name}"),
            Self::Oci { path, tag: None } => {
                let path = path.display().to_string();
                // A colon of the path's own would be taken for the tag's.
                let ambiguous = path
                    .rsplit('/')
                    .next()
                    .is_some_and(|last| last.contains(':'));
                write!(f, "oci:{path}{}", if ambiguous { ":" } else { "" })
            }
            Self::Oci {
                path,
                tag: Some(tag),
            } => write!(f, "oci:{}:{tag}", path.display()),
            Self::Store(name) => write!(f, "store:{name}"),
            Self::Bare(name) => f.write_str(name),
        }
    }
}

impl FromStr for ImageRef {
    type Err = NameError;

    fn from_str(input: &str) -> Result<Self, NameError> {
        if input.is_empty() {
            return Err(NameError::Empty);
        }
        let no_transport = || NameError::NoTransport {
            input: shorten(input),
        };
        let (transport, rest) = input.split_once(':').ok_or_else(no_transport)?;
        let something = |rest: &str| {
            if rest.is_empty() {
                Err(NameError::NothingNamed {
                    input: shorten(input),
                })
            } else {
                Ok(())
            }
        };
        match transport {
            "docker" => {
                // `docker:20` is the image called docker, where bare names are allowed; with a path it is a mistyped transport.
                let Some(name) = rest.strip_prefix("//") else {
                    return Err(if rest.contains('/') {
                        NameError::NoSlashes {
                            input: shorten(input),
                        }
                    } else {
                        no_transport()
                    });
                };
                something(name)?;
                Ok(Self::Docker(name.parse()?))
            }
            "oci" => {
                something(rest)?;
                let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
                let (path, tag) = match rest[after_slash..].rfind(':') {
                    Some(colon) => (
                        &rest[..after_slash + colon],
                        Some(&rest[after_slash + colon + 1..]),
                    ),
                    None => (rest, None),
                };
                something(path)?;
                let tag = tag.filter(|tag| !tag.is_empty()).map(str::to_owned);
                Ok(Self::Oci {
                    path: PathBuf::from(path),
                    tag,
                })
            }
            "store" | "containers-storage" => {
                something(rest)?;
                Ok(Self::Store(rest.to_owned()))
            }
            _ if NOT_YET.contains(&transport) => Err(NameError::UnsupportedTransport {
                transport: transport.to_owned(),
            }),
            _ => Err(no_transport()),
        }
    }
}
