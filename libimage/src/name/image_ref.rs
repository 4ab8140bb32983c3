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
    /// `oci-archive:PATH[:TAG]`: in a tar archive of an OCI image layout.
    OciArchive {
        /// The file; `-` is stdin or stdout.
        path: PathBuf,
        /// The name inside the archive; without one, the archive's only image.
        tag: Option<String>,
    },
    /// `docker-archive:PATH[:NAME|:@INDEX]`: in a tar archive as `docker save` makes it.
    DockerArchive {
        /// The file; `-` is stdin or stdout.
        path: PathBuf,
        /// The name of the image inside the archive.
        name: Option<Name>,
        /// The position of the image in the archive, counted from 0; only for reading.
        index: Option<usize>,
    },
    /// `dir:PATH`: in a directory of plain files, one image a directory.
    Dir {
        /// The directory.
        path: PathBuf,
    },
    /// `docker-daemon:NAME` or `docker-daemon:sha256:ID`: in a Docker engine.
    DockerDaemon(String),
    /// A word without a transport, from [`ImageRef::parse_or_bare`]: the local store first, then a registry.
    Bare(String),
}

/// The transports of the field's tools that are recognised and refused.
const NOT_SUPPORTED: [&str; 4] = ["ostree", "sif", "tarball", "atomic"];

/// The path that is stdin for a source and stdout for a destination.
const STANDARD: &str = "-";

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
            Self::OciArchive { .. } => "oci-archive",
            Self::DockerArchive { .. } => "docker-archive",
            Self::Dir { .. } => "dir",
            Self::DockerDaemon(_) => "docker-daemon",
            Self::Store(_) | Self::Bare(_) => "store",
        }
    }

    /// Returns the registry's name, if the image is in one.
    #[must_use]
    pub fn docker_name(&self) -> Option<&Name> {
        match self {
            Self::Docker(name) => Some(name),
            _ => None,
        }
    }

    /// Tells whether the image is an archive on stdin or stdout.
    #[must_use]
    pub fn is_standard_stream(&self) -> bool {
        match self {
            Self::OciArchive { path, .. } | Self::DockerArchive { path, .. } => {
                path.as_os_str() == STANDARD
            }
            _ => false,
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(name) => write!(f, "docker://{name}"),
            Self::Oci { path, tag } | Self::OciArchive { path, tag } => {
                write!(f, "{}:{}", self.transport(), path.display())?;
                tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
            }
            Self::DockerArchive { path, name, index } => {
                write!(f, "docker-archive:{}", path.display())?;
                match (name, index) {
                    (Some(name), _) => write!(f, ":{name}"),
                    (None, Some(index)) => write!(f, ":@{index}"),
                    (None, None) => Ok(()),
                }
            }
            Self::Dir { path } => write!(f, "dir:{}", path.display()),
            Self::DockerDaemon(name) => write!(f, "docker-daemon:{name}"),
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
                something(name, input)?;
                Ok(Self::Docker(name.parse()?))
            }
            "oci" => {
                let (path, tag) = path_and_name(rest, input)?;
                Ok(Self::Oci { path, tag })
            }
            "oci-archive" => {
                let (path, tag) = path_and_name(rest, input)?;
                Ok(Self::OciArchive { path, tag })
            }
            "docker-archive" => docker_archive(rest, input),
            "dir" => {
                something(rest, input)?;
                Ok(Self::Dir { path: rest.into() })
            }
            "docker-daemon" => docker_daemon(rest, input),
            "store" | "containers-storage" => {
                something(rest, input)?;
                Ok(Self::Store(rest.to_owned()))
            }
            _ if NOT_SUPPORTED.contains(&transport) => Err(NameError::UnsupportedTransport {
                transport: transport.to_owned(),
            }),
            _ => Err(no_transport()),
        }
    }
}

fn something(rest: &str, input: &str) -> Result<(), NameError> {
    if rest.is_empty() {
        return Err(NameError::NothingNamed {
            input: shorten(input),
        });
    }
    Ok(())
}

/// Splits at the first colon, as the field's tools do: names inside of layouts and archives often are whole image names, with
/// slashes and colons of their own. So a path with a colon cannot be named.
fn path_and_name(rest: &str, input: &str) -> Result<(PathBuf, Option<String>), NameError> {
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name).filter(|name| !name.is_empty())),
        None => (rest, None),
    };
    something(path, input)?;
    Ok((PathBuf::from(path), name.map(str::to_owned)))
}

fn docker_archive(rest: &str, input: &str) -> Result<ImageRef, NameError> {
    let part = |part| NameError::Part {
        input: shorten(input),
        part,
    };
    let (path, inside) = path_and_name(rest, input)?;
    let (name, index) = match inside {
        None => (None, None),
        Some(inside) => match inside.strip_prefix('@') {
            Some(index) => (None, Some(index.parse().map_err(|_| part("index"))?)),
            None => (Some(inside.parse::<Name>()?), None),
        },
    };
    // Such archives know names with tags only.
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(part("tag"));
    }
    Ok(ImageRef::DockerArchive { path, name, index })
}

fn docker_daemon(rest: &str, input: &str) -> Result<ImageRef, NameError> {
    something(rest, input)?;
    match rest.parse::<Name>() {
        Ok(_) | Err(NameError::LooksLikeId { .. }) => {}
        // `sha256:<hex>`, the long spelling of an id, is no valid name.
        Err(_) if rest.parse::<Digest>().is_ok() => {}
        Err(error) => return Err(error),
    }
    Ok(ImageRef::DockerDaemon(rest.to_owned()))
}
