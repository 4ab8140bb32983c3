//! What may be used: a resolved manifest becomes a verified one only here, and only verified ones are fetched.

use std::path::Path;

use crate::{
    config::{Policy, Requirement},
    digest::Digest,
    error::{Error, ErrorKind},
    manifest::{Content, Descriptor, Manifest, ManifestError},
    name::{ImageRef, Name},
};

/// Why an image may not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The policy says no.
    #[error("the policy rejects {image}")]
    Rejected {
        /// The image.
        image: String,
    },
    /// The policy wants a signature we cannot check: that is a no.
    #[error(
        "the policy wants {image} to be signed ({requirement}), and such signatures cannot be checked yet"
    )]
    CannotCheck {
        /// The image.
        image: String,
        /// The word of the policy.
        requirement: &'static str,
    },
    /// The bytes are not those that were asked for.
    #[error("the manifest of {image} has the digest {found}, {expected} was expected")]
    Digest {
        /// The image.
        image: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The bytes are no manifest.
    #[error("the manifest of {image} cannot be used")]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
}

impl TrustError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Rejected { .. } | Self::CannotCheck { .. } => ErrorKind::Denied,
            Self::Digest { .. } => ErrorKind::DigestMismatch,
            Self::Manifest { source, .. } => source.kind(),
        }
    }
}

impl From<TrustError> for Error {
    fn from(error: TrustError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Bytes that came for a reference, not yet looked at.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Where they came from.
    pub image: ImageRef,
    /// The type they came with.
    pub media_type: Option<String>,
    /// The bytes.
    pub raw: Vec<u8>,
    /// The digest that was asked for, if it is not already in the reference.
    pub expected: Option<Digest>,
}

/// A manifest that the policy allows, and whose bytes are the ones asked for.
#[derive(Debug, Clone)]
pub struct Verified {
    image: ImageRef,
    manifest: Manifest,
    digest: Digest,
}

impl Verified {
    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the digest it is known by: the one that was asked for, or that an index names.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the reference it came from.
    #[must_use]
    pub fn image(&self) -> &ImageRef {
        &self.image
    }

    /// Verifies a manifest that this index names: the index vouches for it by digest, size and type.
    ///
    /// # Errors
    ///
    /// The bytes are others, or no manifest.
    pub fn child(&self, entry: &Descriptor, raw: Vec<u8>) -> Result<Self, TrustError> {
        let named = match self.manifest.content() {
            Content::Index { entries } => entries.contains(entry),
            Content::Image { .. } => false,
        };
        debug_assert!(named, "a child is one of the index's entries");
        let image = || format!("{} ({})", self.image, entry.digest);
        check_digest(&raw, &entry.digest, image)?;
        let outer = Some(entry.media_type.as_str()).filter(|media_type| !media_type.is_empty());
        let manifest = Manifest::parse(raw, outer).map_err(|source| TrustError::Manifest {
            image: image(),
            source,
        })?;
        Ok(Self {
            image: self.image.clone(),
            manifest,
            digest: entry.digest.clone(),
        })
    }

    /// Returns the smaller index that holds the entries for which `keep` is true.
    ///
    /// # Errors
    ///
    /// This is no index.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Result<Self, TrustError> {
        let failed = |source| TrustError::Manifest {
            image: self.image.to_string(),
            source,
        };
        let manifest = self.manifest.filter(keep).map_err(failed)?;
        Ok(Self {
            image: self.image.clone(),
            digest: manifest.digest().clone(),
            manifest,
        })
    }
}

/// Decides whether a manifest may be used. Every requirement of the policy's most specific scope has to be fulfilled.
///
/// # Errors
///
/// The policy forbids it, its bytes are not what was asked for, or they are no manifest.
pub fn verify(policy: &Policy, resolved: Resolved) -> Result<Verified, TrustError> {
    admit(policy, &resolved.image)?;
    let Resolved {
        image,
        media_type,
        raw,
        expected,
    } = resolved;
    let in_reference = match &image {
        ImageRef::Docker(name) => name.digest(),
        _ => None,
    };
    for expected in expected.iter().chain(in_reference) {
        check_digest(&raw, expected, || image.to_string())?;
    }
    let asked_for = in_reference.or(expected.as_ref()).cloned();
    let manifest =
        Manifest::parse(raw, media_type.as_deref()).map_err(|source| TrustError::Manifest {
            image: image.to_string(),
            source,
        })?;
    let digest = asked_for.unwrap_or_else(|| manifest.digest().clone());
    Ok(Verified {
        image,
        manifest,
        digest,
    })
}

/// Applies the part of the policy that needs no content, so that a rejected registry is not even asked.
///
/// # Errors
///
/// The policy forbids the reference.
pub fn admit(policy: &Policy, image: &ImageRef) -> Result<(), TrustError> {
    let (transport, scopes) = match image {
        ImageRef::Docker(name) => ("docker", docker_scopes(name)),
        ImageRef::Oci { path, tag } => ("oci", path_scopes(path, tag.as_deref())),
        ImageRef::OciArchive { path, tag } => ("oci-archive", path_scopes(path, tag.as_deref())),
        ImageRef::Dir { path } => ("dir", path_scopes(path, None)),
        // Archives of docker have no scopes of their own in containers-policy.json(5).
        ImageRef::DockerArchive { .. } => ("docker-archive", Vec::new()),
        ImageRef::DockerDaemon(name) => ("docker-daemon", vec![name.clone()]),
        ImageRef::Store(name) | ImageRef::Bare(name) => ("containers-storage", vec![name.clone()]),
    };
    for requirement in policy.requirements(transport, scopes.iter().map(String::as_str)) {
        let image = || image.to_string();
        match requirement {
            Requirement::AcceptAnything => {}
            Requirement::Reject => return Err(TrustError::Rejected { image: image() }),
            Requirement::SignedBy => {
                return Err(TrustError::CannotCheck {
                    image: image(),
                    requirement: "signedBy",
                });
            }
            Requirement::SigstoreSigned => {
                return Err(TrustError::CannotCheck {
                    image: image(),
                    requirement: "sigstoreSigned",
                });
            }
        }
    }
    Ok(())
}

fn check_digest(
    raw: &[u8],
    expected: &Digest,
    image: impl Fn() -> String,
) -> Result<(), TrustError> {
    let mut hasher = crate::digest::Hasher::new(expected.algorithm());
    hasher.update(raw);
    let found = hasher.finish();
    if found == *expected {
        return Ok(());
    }
    Err(TrustError::Digest {
        image: image(),
        expected: expected.clone(),
        found,
    })
}

/// The whole reference, the repository, its parents, the host, and the host's wildcards.
fn docker_scopes(name: &Name) -> Vec<String> {
    let repository = name.without_reference();
    let mut scopes = vec![match (name.digest(), name.tag()) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, tag) => format!("{repository}:{}", tag.unwrap_or("latest")),
    }];
    scopes.extend(
        std::iter::successors(Some(repository.as_str()), |scope| {
            scope.rsplit_once('/').map(|(parent, _)| parent)
        })
        .map(str::to_owned),
    );
    let host = name
        .registry()
        .rsplit_once(':')
        .map_or(name.registry(), |(host, _)| host);
    let parents = std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'));
    scopes.extend(parents.map(|(_, parent)| format!("*.{parent}")));
    scopes
}

/// The path with its tag, the path, and its parents.
fn path_scopes(path: &Path, tag: Option<&str>) -> Vec<String> {
    let with_tag = tag.map(|tag| format!("{}:{tag}", path.display()));
    with_tag
        .into_iter()
        .chain(path.ancestors().map(|parent| parent.display().to_string()))
        .filter(|scope| !scope.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_go_from_the_whole_name_to_the_host() {
        let name: Name = "registry.example.org:5000/team/app:v1".parse().unwrap();
        let expected = [
            "registry.example.org:5000/team/app:v1",
            "registry.example.org:5000/team/app",
            "registry.example.org:5000/team",
            "registry.example.org:5000",
            "*.example.org",
            "*.org",
        ];
        assert_eq!(docker_scopes(&name), expected);
        assert_eq!(
            path_scopes(Path::new("/srv/a"), Some("v1")),
            ["/srv/a:v1", "/srv/a", "/srv", "/"]
        );
    }

    #[test]
    fn only_the_bytes_asked_for_are_verified() {
        let raw = br#"{"schemaVersion": 2, "manifests": []}"#.to_vec();
        let resolved = |expected: Option<Digest>, image: &str| Resolved {
            image: image.parse().unwrap(),
            media_type: None,
            raw: raw.clone(),
            expected,
        };
        let policy = Policy::accept_anything();
        let (right, wrong) = (Digest::of(&raw), Digest::of(b"other"));
        assert_eq!(
            *verify(&policy, resolved(Some(right.clone()), "docker://a"))
                .unwrap()
                .digest(),
            right
        );
        for (expected, image) in [
            (Some(wrong.clone()), "docker://a".to_owned()),
            (None, format!("docker://a@{wrong}")),
        ] {
            assert!(matches!(
                verify(&policy, resolved(expected, &image)),
                Err(TrustError::Digest { .. })
            ));
        }
    }
}
