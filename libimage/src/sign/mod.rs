//! Signs images and verifies signatures where images are.
//!
//! Signatures have the form that cosign writes and reads: beside the image, under the tag `sha256-<hex>.sig`.
//!
//! ```no_run
//! # async fn example(cx: &libimage::context::Context) -> Result<(), Box<dyn std::error::Error>> {
//! use libimage::{sign::{self, SignOptions, VerifyOptions}, trust::{PrivateKey, Signer}};
//! let image = "docker://registry.example/team/app:1.0".parse()?;
//! let (key, _pem) = PrivateKey::generate(None)?;
//! let public = key.public();
//! let options = SignOptions { signers: vec![Signer::new(key)], ..SignOptions::default() };
//! let signed = sign::sign(cx, &image, &options).await?;
//! let found = sign::verify(cx, &image, &VerifyOptions::by_key("key.pub", public.to_pem())).await?;
//! assert_eq!(signed.digest, found.digest);
//! # Ok(())
//! # }
//! ```
//!
//! # Limitations
//!
//! Keyless signatures (Fulcio, Rekor) and cosign's bundles are neither made nor read.

use std::sync::Arc;

use crate::{
    config::{Keys, Policy, Requirement, SignedIdentity, SigstoreSigned},
    context::Context,
    copy::{self, Signing},
    digest::Digest,
    error::Error,
    name::ImageRef,
    platform::Platform,
    store::Store,
    transport::{Sink, Source},
    trust::{self, Accepted, Signer},
};

/// How to sign.
#[derive(Debug, Clone, Default)]
pub struct SignOptions {
    /// Who signs, and under which name; without a name, the image's own.
    pub signers: Vec<Signer>,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signed {
    /// The digest of the image, or of the index.
    pub digest: Digest,
    /// Signatures that are new: none if the same keys had given the same names before.
    pub signatures: u64,
}

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// What the image has to fulfil; if this is empty, what the context's policy wants, which has to be a signature.
    pub requirements: Vec<Requirement>,
    /// Which image of an index; without it, the image or the whole index.
    pub platform: Option<Platform>,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

impl VerifyOptions {
    /// Wants a sigstore signature by a key (PEM), which gives the image any name in its own repository. `origin` names the key.
    pub fn by_key(origin: impl Into<String>, pem: impl Into<Vec<u8>>) -> Self {
        let wanted = SigstoreSigned {
            keys: vec![Keys::new(origin, pem)],
            identity: SignedIdentity::MatchRepository,
        };
        Self {
            requirements: vec![Requirement::SigstoreSigned(wanted)],
            ..Self::default()
        }
    }
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The digest of what is signed: use this, the tag may move.
    pub digest: Digest,
    /// A signature for each requirement.
    pub signatures: Vec<Accepted>,
}

/// Signs an image where it is; an index with each of its images.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: the image is missing, or there is no place for signatures. The policy is not asked: whoever signs
/// decides.
///
/// # Concurrency
///
/// Two who sign the same image at the same moment may lose one of the signatures: registries have no way to prevent that.
pub async fn sign(cx: &Context, image: &ImageRef, options: &SignOptions) -> Result<Signed, Error> {
    let policy = Policy::accept_anything().with_registries_d(cx.policy().registries_d().clone());
    let cx = cx.with_policy(policy);
    let signing = Signing::new(&cx, image, &options.signers)?;
    let source = Source::open(&cx, image, options.store.as_ref()).await?;
    let top = source.verified(&cx, None).await?;
    let sink = Sink::open_alone(&cx, image, options.store.as_ref()).await?;
    let signatures = signing.sign(&sink, top.manifest()).await?;
    Ok(Signed {
        digest: top.digest().clone(),
        signatures,
    })
}

/// Verifies the signatures of an image.
///
/// With a platform, a signature of the index is as good as one of the image itself; see [`crate::trust`].
///
/// # Errors
///
/// See [`crate::ErrorKind`]: `Denied` if there is no signature that fulfils what is wanted.
pub async fn verify(
    cx: &Context,
    image: &ImageRef,
    options: &VerifyOptions,
) -> Result<Verification, Error> {
    let policy = match options.requirements.as_slice() {
        [] => cx.policy().clone(),
        requirements => cx.policy().with_requirements(requirements.to_vec()),
    };
    let cx = cx.with_policy(policy.requiring_signatures());
    trust::admit(cx.policy(), image)?;
    let source = Source::open(&cx, image, options.store.as_ref()).await?;
    let (index, chosen) = match &options.platform {
        None => (None, source.verified(&cx, None).await?),
        Some(platform) => {
            let whole = source.verified_to_select(&cx, None).await?;
            let chosen = copy::one(&source, whole.clone(), platform).await?;
            (Some(whole), chosen)
        }
    };
    // What an index vouches for has no signatures of its own that anybody looked for.
    let of_index = index.iter().flat_map(|index| index.signatures());
    Ok(Verification {
        digest: chosen.digest().clone(),
        signatures: match chosen.signatures() {
            [] => of_index.cloned().collect(),
            own => own.to_vec(),
        },
    })
}
