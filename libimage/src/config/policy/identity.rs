//! What a signature must say about the name of the image it signs.

use crate::name::{Name, NameError};

/// A docker reference as a signature or a policy writes it: unlike a [`Name`] it may have neither tag nor digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedName {
    name: Name,
    bare: bool,
}

impl SignedName {
    /// Reads the text of a signature or a policy.
    ///
    /// # Errors
    ///
    /// It is no image name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name: Name = text.parse()?;
        let after_slash = text.rfind('/').map_or(0, |slash| slash + 1);
        let bare = name.digest().is_none() && !text[after_slash..].contains(':');
        Ok(Self { name, bare })
    }

    /// Returns registry and repository.
    #[must_use]
    pub fn repository(&self) -> String {
        self.name.without_reference()
    }

    /// Returns the name; where it is bare, with the tag that is meant then.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Tells whether it names neither tag nor digest.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    /// Tells whether this is that name, tag and digest included.
    #[must_use]
    pub fn is(&self, name: &Name) -> bool {
        !self.bare && self.name == *name
    }
}

impl std::fmt::Display for SignedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.bare {
            f.write_str(&self.repository())
        } else {
            self.name.fmt(f)
        }
    }
}

/// The field `signedIdentity`: which names a signature may give to an image.
///
/// # References
///
/// containers-policy.json(5)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SignedIdentity {
    /// `matchExact`: the image's own name, tag or digest included.
    MatchExact,
    /// `matchRepoDigestOrExact`: of an image named by tag that name, of one named by digest any name in its repository.
    #[default]
    MatchRepoDigestOrExact,
    /// `matchRepository`: any name in the image's repository.
    MatchRepository,
    /// `exactReference`: this name, whatever the image is called here.
    ExactReference(Name),
    /// `exactRepository`: any name in this repository (registry and path), whatever the image is called here.
    ExactRepository(String),
    /// `remapIdentity`: as [`SignedIdentity::MatchRepoDigestOrExact`], once a prefix has been replaced.
    RemapIdentity {
        /// What the image's name begins with here.
        prefix: String,
        /// What it began with where it was signed.
        signed_prefix: String,
    },
    /// Any name: the digest alone decides. No policy file can say this; `verify` can.
    Any,
}

impl SignedIdentity {
    /// Tells whether a signature that claims the name `claimed` is one for `image`. An image without a name (in a directory) only
    /// fits the identities that do not need one.
    #[must_use]
    pub fn accepts(&self, image: Option<&Name>, claimed: &SignedName) -> bool {
        match (self, image) {
            (Self::Any, _) => true,
            (Self::ExactReference(wanted), _) => claimed.is(wanted),
            (Self::ExactRepository(wanted), _) => claimed.repository() == *wanted,
            (_, None) => false,
            (Self::MatchExact, Some(image)) => claimed.is(image),
            (Self::MatchRepository, Some(image)) => {
                claimed.repository() == image.without_reference()
            }
            (Self::MatchRepoDigestOrExact, Some(image)) => repo_digest_or_exact(image, claimed),
            (
                Self::RemapIdentity {
                    prefix,
                    signed_prefix,
                },
                Some(image),
            ) => remap(image, prefix, signed_prefix)
                .is_some_and(|image| repo_digest_or_exact(&image, claimed)),
        }
    }
}

/// A digest says more than a tag: who names one means those bytes, and only their repository is left to check.
fn repo_digest_or_exact(image: &Name, claimed: &SignedName) -> bool {
    match image.digest() {
        Some(_) => claimed.repository() == image.without_reference(),
        None => claimed.is(image),
    }
}

/// Replaces a prefix of whole components; a name without it stays. `None` if the result is no name.
fn remap(image: &Name, prefix: &str, signed_prefix: &str) -> Option<Name> {
    let whole = image.to_string();
    let repository = image.without_reference();
    match repository.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let remapped = format!("{signed_prefix}{}", &whole[prefix.len()..]);
            let name: Name = remapped.parse().ok()?;
            // A prefix that is not fully expanded would be expanded into another name than the one written.
            (name.to_string() == remapped).then_some(name)
        }
        _ => Some(image.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn accepts(identity: &SignedIdentity, image: &str, claimed: &str) -> bool {
        let image = (!image.is_empty()).then(|| image.parse::<Name>().unwrap());
        identity.accepts(image.as_ref(), &SignedName::parse(claimed).unwrap())
    }

    #[test]
    fn the_table_of_the_manual_page() {
        use SignedIdentity as S;
        let by_digest = format!("a.test/x@sha256:{HEX}");
        let reference = S::ExactReference("v.test/p:1".parse().unwrap());
        let repository = S::ExactRepository("v.test/p".to_owned());
        let remap = S::RemapIdentity {
            prefix: "a.test/m".to_owned(),
            signed_prefix: "v.test".to_owned(),
        };
        let table: [(&S, &str, &str, bool); 26] = [
            (&S::MatchExact, "a.test/x:1", "a.test/x:1", true),
            (&S::MatchExact, "a.test/x:1", "a.test/x:2", false),
            (&S::MatchExact, "a.test/x", "a.test/x", false),
            (&S::MatchExact, "a.test/x", "a.test/x:latest", true),
            (
                &S::MatchExact,
                "busybox",
                "docker.io/library/busybox:latest",
                true,
            ),
            (&S::MatchExact, &by_digest, "a.test/x:1", false),
            (&S::MatchExact, &by_digest, &by_digest, true),
            (&S::MatchRepoDigestOrExact, "a.test/x:1", "a.test/x:1", true),
            (&S::MatchRepoDigestOrExact, "a.test/x:1", "a.test/x", false),
            (&S::MatchRepoDigestOrExact, &by_digest, "a.test/x:1", true),
            (&S::MatchRepoDigestOrExact, &by_digest, "a.test/x", true),
            (&S::MatchRepoDigestOrExact, &by_digest, "a.test/y:1", false),
            (&S::MatchRepository, "a.test/x:1", "a.test/x", true),
            (&S::MatchRepository, "a.test/x:1", "a.test/x/y", false),
            (&S::MatchRepository, "", "a.test/x", false),
            (&reference, "", "v.test/p:1", true),
            (&reference, "a.test/x:1", "v.test/p", false),
            (&repository, "", "v.test/p:9", true),
            (&repository, "", "v.test/q:9", false),
            (&remap, "a.test/m/x:1", "v.test/x:1", true),
            (&remap, "a.test/m/x:1", "a.test/m/x:1", false),
            (&remap, "a.test/mm/x:1", "a.test/mm/x:1", true),
            (&remap, "a.test/mm/x:1", "v.testm/x:1", false),
            (&remap, "", "v.test/x:1", false),
            (&S::Any, "", "v.test/x", true),
            (&S::default(), "a.test/x:1", "a.test:80/x:1", false),
        ];
        for (identity, image, claimed, expected) in table {
            assert_eq!(
                accepts(identity, image, claimed),
                expected,
                "{identity:?} {image} {claimed}"
            );
        }
    }
}
