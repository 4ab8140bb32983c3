//! What is to be synchronised with what, as data.

use std::path::{Component, Path, PathBuf};

use super::{Pattern, Reference, Selection, SyncError};
use crate::{
    config::Credentials,
    name::{ImageRef, Name},
    platform::Platform,
};

/// What is to be synchronised. It says nothing about how: that is [`super::SyncOptions`].
#[derive(Debug, Clone, Default)]
pub struct SyncPlan {
    /// The entries, each with its own source, selection and target.
    pub entries: Vec<SyncEntry>,
}

/// One source of images and where they go.
#[derive(Debug, Clone)]
pub struct SyncEntry {
    /// Where the images are.
    pub source: SyncSource,
    /// Which of them are meant; of layouts and directories by the tags of their names.
    pub selection: Selection,
    /// Where they go.
    pub target: SyncTarget,
    /// Appended to the tags at the destination.
    pub suffix: String,
    /// Which platforms of an index; none takes those of the options.
    pub platforms: Vec<Platform>,
    /// How the source's registry is reached, where that differs from the context.
    pub access: SyncAccess,
}

impl SyncEntry {
    /// Makes an entry for all of a source's images; its other fields say otherwise.
    #[must_use]
    pub fn new(source: SyncSource, target: SyncTarget) -> Self {
        Self {
            source,
            selection: Selection::default(),
            target,
            suffix: String::new(),
            platforms: Vec::new(),
            access: SyncAccess::default(),
        }
    }
}

/// How a registry is reached, where that differs from the context. Every `None` is the context's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncAccess {
    /// What it is shown.
    pub credentials: Option<Credentials>,
    /// Whether it must prove who it is.
    pub tls_verify: Option<bool>,
    /// A directory of certificates for it, as `certs.d` has them.
    pub cert_dir: Option<PathBuf>,
}

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncSource {
    /// A repository of a registry; the name's own tag or digest does not matter.
    Repository(Name),
    /// All repositories of a registry that its catalog lists.
    Registry {
        /// Host and port.
        host: String,
        /// Only those whose path one of these matches; all if there are none.
        repositories: Vec<Pattern>,
    },
    /// An OCI layout with named images, or a directory with such layouts below it.
    Layouts(PathBuf),
    /// A directory tree of `dir:` images, as skopeo's sync writes it.
    Dirs(PathBuf),
}

/// Where images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncTarget {
    /// Exactly this repository, whatever the source's is called; for sources with one repository.
    Repository(Name),
    /// Below a place, by their own names.
    Below {
        /// The place.
        place: Place,
        /// Whether the whole path with the registry is kept, and not only its last part.
        scoped: bool,
    },
}

/// A place that holds many images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A registry, or a path in it: `host/path`.
    Registry(String),
    /// A directory: each image in a `dir:` of its own, called `NAME:TAG`, as skopeo's sync writes it.
    Dirs(PathBuf),
    /// One OCI layout, whose images are called `NAME:TAG`.
    Layout(PathBuf),
    /// A directory with an OCI layout for each repository, whose images are called `TAG`.
    Layouts(PathBuf),
}

impl std::fmt::Display for SyncSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(name) => write!(f, "docker://{}", name.without_reference()),
            Self::Registry { host, .. } => write!(f, "docker://{host}"),
            Self::Layouts(path) => write!(f, "oci:{}", path.display()),
            Self::Dirs(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(prefix) => write!(f, "docker://{prefix}"),
            Self::Dirs(path) => write!(f, "dir:{}", path.display()),
            Self::Layout(path) | Self::Layouts(path) => write!(f, "oci:{}", path.display()),
        }
    }
}

impl SyncSource {
    /// Reads `docker://NAME`, `oci:PATH`, `dir:PATH`, or a name without a transport, which is a registry's; and the tag or digest, if the
    /// name has one (without one, no `latest` is thought of).
    ///
    /// # Errors
    ///
    /// The text is none of these.
    pub fn parse(text: &str) -> Result<(Self, Option<Reference>), SyncError> {
        if let Some(path) = path_of(text, "oci:") {
            return Ok((Self::Layouts(path), None));
        }
        if let Some(path) = path_of(text, "dir:") {
            return Ok((Self::Dirs(path), None));
        }
        let rest = text.strip_prefix("docker://").unwrap_or(text);
        let name: Name = rest.parse().map_err(|error| of_name(text, &error))?;
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let reference = match (name.digest(), name.tag()) {
            (Some(digest), _) => Some(Reference::Digest(digest.clone())),
            (None, Some(tag)) if rest[last..].contains(':') => Some(Reference::Tag(tag.to_owned())),
            _ => None,
        };
        Ok((Self::Repository(name), reference))
    }

    /// Reads `docker://HOST[:PORT]`, or the host alone: all of a registry's repositories.
    ///
    /// # Errors
    ///
    /// The text is no host.
    pub fn parse_registry(text: &str) -> Result<Self, SyncError> {
        let host = text.strip_prefix("docker://").unwrap_or(text);
        let host = host.trim_end_matches('/');
        let name: Name = format!("{host}/x")
            .parse()
            .map_err(|error| of_name(text, &error))?;
        if name.registry() != host || host.contains('/') {
            return Err(SyncError::Repository {
                text: text.to_owned(),
                problem: "the host of a registry is wanted".to_owned(),
            });
        }
        Ok(Self::Registry {
            host: host.to_owned(),
            repositories: Vec::new(),
        })
    }

    /// Returns the registry's host, if it is one's.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Repository(name) => Some(name.registry()),
            Self::Registry { host, .. } => Some(host),
            Self::Layouts(_) | Self::Dirs(_) => None,
        }
    }
}

impl SyncTarget {
    /// Reads a repository, `docker://NAME` or the name alone.
    ///
    /// # Errors
    ///
    /// The text is none, or has a tag or digest.
    pub fn parse_repository(text: &str) -> Result<Self, SyncError> {
        match SyncSource::parse(text)? {
            (SyncSource::Repository(name), None) => Ok(Self::Repository(name)),
            _ => Err(SyncError::Repository {
                text: text.to_owned(),
                problem: "a repository of a registry is wanted, without a tag".to_owned(),
            }),
        }
    }
}

impl Place {
    /// Reads `docker://HOST[/PATH]`, `dir:PATH`, or `oci:PATH` (a layout for each repository).
    ///
    /// # Errors
    ///
    /// The text is none of these.
    pub fn parse(text: &str) -> Result<Self, SyncError> {
        let wrong = |problem: String| SyncError::Repository {
            text: text.to_owned(),
            problem,
        };
        if let Some(path) = path_of(text, "oci:") {
            return Ok(Self::Layouts(path));
        }
        if let Some(path) = path_of(text, "dir:") {
            return Ok(Self::Dirs(path));
        }
        let prefix = text.strip_prefix("docker://").ok_or_else(|| {
            wrong("docker://HOST[/PATH], dir:PATH or oci:PATH is wanted".to_owned())
        })?;
        Self::registry(prefix)
    }

    /// Reads `HOST[/PATH]`.
    ///
    /// # Errors
    ///
    /// No repository can be called so.
    pub fn registry(prefix: &str) -> Result<Self, SyncError> {
        let prefix = prefix.trim_end_matches('/');
        let tried: Result<Name, _> = format!("{prefix}/x").parse();
        tried.map_err(|error| of_name(prefix, &error))?;
        Ok(Self::Registry(prefix.to_owned()))
    }
}

fn path_of(text: &str, transport: &str) -> Option<PathBuf> {
    let path = text.strip_prefix(transport)?;
    (!path.is_empty()).then(|| PathBuf::from(path))
}

fn of_name(text: &str, error: &crate::name::NameError) -> SyncError {
    SyncError::Repository {
        text: text.to_owned(),
        problem: error.to_string(),
    }
}

/// Checks the grammar of a tag.
pub(super) fn check_tag(tag: &str) -> Result<(), crate::name::NameError> {
    let any: Name = "localhost/x".parse()?;
    any.with_tag(tag).map(drop)
}

/// What an image is called at its source: a path whose first part may be a registry, and a tag or digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// `registry.example.com/team/app`, `app`.
    pub(super) path: String,
    /// Its tag or digest.
    pub(super) reference: Reference,
}

impl Origin {
    /// Takes `path/name:tag`, `path/name@digest` or `path/name` apart, as directories and layouts call their images.
    pub(super) fn parse(text: &str) -> Self {
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        if let Some(at) = text[last..].find('@')
            && let Ok(digest) = text[last + at + 1..].parse()
        {
            return Self {
                path: text[..last + at].to_owned(),
                reference: Reference::Digest(digest),
            };
        }
        let (path, tag) = match text[last..].rfind(':') {
            Some(colon) => (&text[..last + colon], &text[last + colon + 1..]),
            None => (text, "latest"),
        };
        Self {
            path: path.to_owned(),
            reference: Reference::Tag(tag.to_owned()),
        }
    }

    /// Returns `name:tag` or `name@digest`, with a suffix for the tag.
    fn named(&self, path: &str, suffix: &str) -> String {
        match &self.reference {
            Reference::Tag(tag) => format!("{path}:{tag}{suffix}"),
            Reference::Digest(digest) => format!("{path}@{digest}"),
        }
    }
}

impl SyncTarget {
    /// Decides what an image is called at the destination. Digests keep no suffix: they are what they are.
    pub(super) fn of(&self, origin: &Origin, suffix: &str) -> Result<ImageRef, SyncError> {
        let wrong = |place: &dyn std::fmt::Display, problem: String| SyncError::Unnameable {
            image: origin.named(&origin.path, ""),
            place: place.to_string(),
            problem,
        };
        let (place, scoped) = match self {
            Self::Repository(name) => {
                let there = match &origin.reference {
                    Reference::Tag(tag) => name
                        .with_tag(&format!("{tag}{suffix}"))
                        .map_err(|error| wrong(&name.without_reference(), error.to_string()))?,
                    Reference::Digest(digest) => name.with_digest(digest),
                };
                return Ok(ImageRef::Docker(there));
            }
            Self::Below { place, scoped } => (place, *scoped),
        };
        let path = if scoped {
            origin.path.as_str()
        } else {
            origin.path.rsplit('/').next().unwrap_or_default()
        };
        check_path(path).map_err(|problem| wrong(place, problem.to_owned()))?;
        let named = origin.named(path, suffix);
        match place {
            Place::Registry(prefix) => {
                let name = format!(
                    "{}/{}",
                    prefix.trim_end_matches('/'),
                    in_registry(&named, path)
                );
                let name = name
                    .parse()
                    .map_err(|error: crate::name::NameError| wrong(place, error.to_string()))?;
                Ok(ImageRef::Docker(name))
            }
            Place::Dirs(directory) => Ok(ImageRef::Dir {
                path: directory.join(named),
            }),
            Place::Layout(layout) => Ok(ImageRef::Oci {
                path: layout.clone(),
                tag: Some(named),
            }),
            Place::Layouts(directory) => Ok(ImageRef::Oci {
                path: directory.join(path),
                tag: Some(match &origin.reference {
                    Reference::Tag(tag) => format!("{tag}{suffix}"),
                    Reference::Digest(digest) => digest.to_string(),
                }),
            }),
        }
    }
}

/// A path below another path of a registry has no place for the colon of a port: it becomes a `_`.
fn in_registry(named: &str, path: &str) -> String {
    match path.split_once('/') {
        Some((host, _)) if host.contains(':') => {
            format!("{}{}", host.replace(':', "_"), &named[host.len()..])
        }
        _ => named.to_owned(),
    }
}

/// Names come from outside and become paths of files: nothing may lead out of the directory.
fn check_path(path: &str) -> Result<(), &'static str> {
    let ordinary = Path::new(path)
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if path.is_empty() || !ordinary || path.chars().any(char::is_control) {
        return Err("its name is no plain path");
    }
    Ok(())
}
