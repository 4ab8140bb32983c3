//! What may be used: a resolved manifest becomes a verified one only here, and only verified ones are fetched.
//!
//! ```text
//! reference -> admit -> Resolved -> wants? -> signatures found -> verify -> Verified
//! ```
//!
//! # What a signature covers
//!
//! The signature of an index covers everything that the index names by digest. If all of an index is copied, the index itself has
//! to be signed. If one platform is chosen, the index's signature is enough, and so is one of the chosen manifest (which is all
//! that podman and skopeo look for): [`verify_to_select`] lets an index without a signature through to choose from, and
//! [`Verified::child`] then refuses its entries; only [`Verified::signed_child`] accepts one, with a signature of its own.
//!
//! # Limitations
//!
//! Certificates (Fulcio) and transparency logs (Rekor) are not checked: a policy that wants them rejects. OpenPGP signatures are
//! checked by a program, `gpgv`.

pub(crate) mod attachment;
mod check;
mod encrypted;
mod error;
mod key;
mod openpgp;
mod payload;
mod pem;
mod scope;
mod sign;

pub use check::{Accepted, Material, SigstoreSignature};
pub use error::TrustError;
pub use key::{KeyError, PrivateKey, PublicKey, Signer};
pub(crate) use payload::PAYLOAD_BYTES;
pub(crate) use sign::sign;

use crate::{
    config::{Policy, Requirement},
    digest::Digest,
    manifest::{Content, Descriptor, Manifest},
    name::ImageRef,
};

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
    /// Whether the policy is satisfied with this; if not, it is an index to choose from, and each choice has to be checked.
    covered: bool,
    signatures: Vec<Accepted>,
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

    /// Tells whether the policy is satisfied with this and all it names. If not, this is an index to choose from.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.covered
    }

    /// Returns the signatures that the policy asked for and got.
    #[must_use]
    pub fn signatures(&self) -> &[Accepted] {
        &self.signatures
    }

    /// Verifies a manifest that this index names: the index vouches for it by digest, size and type.
    ///
    /// # Errors
    ///
    /// The bytes are others, no manifest, or the index itself lacks the signature that the policy wants.
    pub fn child(&self, entry: &Descriptor, raw: Vec<u8>) -> Result<Self, TrustError> {
        if !self.covered {
            return Err(TrustError::Uncovered {
                image: self.image.to_string(),
                digest: entry.digest.clone(),
            });
        }
        self.named(entry, raw)
    }

    /// Verifies a manifest that this index names, by signatures of the manifest itself. An index among them may once more only be
    /// chosen from if it lacks one.
    ///
    /// # Errors
    ///
    /// The bytes are others, no manifest, or the policy is not satisfied.
    pub fn signed_child(
        &self,
        policy: &Policy,
        entry: &Descriptor,
        raw: Vec<u8>,
        material: &Material,
    ) -> Result<Self, TrustError> {
        let child = self.named(entry, raw)?;
        child.checked(policy, material, true)
    }

    /// Accepts an index that is not signed itself because each of its entries has been verified.
    ///
    /// # Errors
    ///
    /// The index is not signed, and neither is one of its entries.
    pub fn covered_by(mut self, children: &[Self]) -> Result<Self, TrustError> {
        let verified = |entry: &&Descriptor| {
            children
                .iter()
                .any(|child| child.covered && child.digest == entry.digest)
        };
        if !self.covered
            && let Content::Index { entries } = self.manifest.content()
            && let Some(entry) = entries.iter().find(|entry| !verified(entry))
        {
            return Err(TrustError::Uncovered {
                image: self.image.to_string(),
                digest: entry.digest.clone(),
            });
        }
        self.covered = true;
        Ok(self)
    }

    /// Asks the policy about this manifest.
    fn checked(
        mut self,
        policy: &Policy,
        material: &Material,
        to_select: bool,
    ) -> Result<Self, TrustError> {
        let is_index = matches!(self.manifest.content(), Content::Index { .. });
        match check::check(policy, &self.image, self.manifest.raw(), material) {
            Ok(signatures) => (self.covered, self.signatures) = (true, signatures),
            Err(TrustError::Unsigned { .. }) if is_index && to_select => self.covered = false,
            Err(error) => return Err(error),
        }
        Ok(self)
    }

    /// Reads a manifest that this index names.
    fn named(&self, entry: &Descriptor, raw: Vec<u8>) -> Result<Self, TrustError> {
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
            covered: self.covered,
            signatures: Vec::new(),
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
            covered: self.covered,
            signatures: Vec::new(),
        })
    }
}

/// Which signatures have to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Simple signing: OpenPGP signatures, found in a lookaside storage.
    pub simple: bool,
    /// Sigstore: found beside the image in its registry.
    pub sigstore: bool,
}

/// Tells which signatures of an image have to be looked for; `None` if the policy asks for none.
#[must_use]
pub fn wants(policy: &Policy, image: &ImageRef) -> Option<Needs> {
    let requirements = scope::requirements(policy, image);
    let any = |wanted: fn(&Requirement) -> bool| requirements.iter().any(wanted);
    let needs = Needs {
        simple: any(|requirement| matches!(requirement, Requirement::SignedBy(_))),
        sigstore: any(|requirement| matches!(requirement, Requirement::SigstoreSigned(_))),
    };
    (needs.simple || needs.sigstore).then_some(needs)
}

/// Decides whether a manifest may be used, by the signatures that were found. Every requirement of the policy's most specific
/// scope has to be fulfilled.
///
/// # Errors
///
/// The policy forbids it, its bytes are not what was asked for, or they are no manifest.
///
/// # Concurrency
///
/// Where the policy wants OpenPGP signatures this runs a program and waits for it: not for a thread that must not block.
pub fn verify(
    policy: &Policy,
    resolved: Resolved,
    material: &Material,
) -> Result<Verified, TrustError> {
    parse(policy, resolved)?.checked(policy, material, false)
}

/// Decides as [`verify`] does, but lets an index through that only lacks a signature: to choose an image from it, which has to be
/// signed itself then.
///
/// # Errors
///
/// As [`verify`].
///
/// # Concurrency
///
/// As [`verify`].
pub fn verify_to_select(
    policy: &Policy,
    resolved: Resolved,
    material: &Material,
) -> Result<Verified, TrustError> {
    parse(policy, resolved)?.checked(policy, material, true)
}

/// Reads a manifest; nothing covers it yet.
fn parse(policy: &Policy, resolved: Resolved) -> Result<Verified, TrustError> {
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
        covered: false,
        signatures: Vec::new(),
    })
}

/// Applies the part of the policy that needs no content, so that a rejected registry is not even asked.
///
/// # Errors
///
/// The policy forbids the reference.
pub fn admit(policy: &Policy, image: &ImageRef) -> Result<(), TrustError> {
    for requirement in scope::requirements(policy, image) {
        if matches!(
            requirement,
            Requirement::Reject | Requirement::Unsupported(_)
        ) {
            return Err(refuse(image, requirement));
        }
    }
    if policy.requires_signatures() && wants(policy, image).is_none() {
        return Err(TrustError::NoneRequired {
            image: image.to_string(),
        });
    }
    Ok(())
}

/// The answer to a requirement that no content can fulfil.
fn refuse(image: &ImageRef, requirement: &Requirement) -> TrustError {
    match requirement {
        Requirement::Unsupported(what) => TrustError::CannotCheck {
            image: image.to_string(),
            requirement: (*what).to_owned(),
        },
        _ => TrustError::Rejected {
            image: image.to_string(),
        },
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
            *verify(
                &policy,
                resolved(Some(right.clone()), "docker://a"),
                &Material::default()
            )
            .unwrap()
            .digest(),
            right
        );
        for (expected, image) in [
            (Some(wrong.clone()), "docker://a".to_owned()),
            (None, format!("docker://a@{wrong}")),
        ] {
            assert!(matches!(
                verify(&policy, resolved(expected, &image), &Material::default()),
                Err(TrustError::Digest { .. })
            ));
        }
    }
}
