//! Making a signature, and adding it to those a manifest has.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    PrivateKey, SigstoreSignature, TrustError,
    attachment::{self, Existing, Extended},
    payload::{self, Claim, Form},
};
use crate::{digest::Digest, name::Name};

/// Signs a manifest, and adds the signature to `existing`. `None` if this key has given the manifest this name already.
pub(crate) fn sign(
    key: &PrivateKey,
    name: &Name,
    digest: &Digest,
    existing: Option<(&Existing, &[SigstoreSignature])>,
) -> Result<Option<Extended>, TrustError> {
    let image = || format!("{name} ({digest})");
    let public = key.public();
    let same = |signature: &SigstoreSignature| {
        STANDARD
            .decode(&signature.signature)
            .is_ok_and(|made| public.verifies(&signature.payload, &made))
            && Claim::parse(&signature.payload, Form::Sigstore)
                .is_ok_and(|claim| claim.digest == *digest && claim.name.is(name))
    };
    if existing.is_some_and(|(_, signatures)| signatures.iter().any(same)) {
        return Ok(None);
    }
    let payload = payload::write(name, digest);
    let signature = key.sign(&payload).map_err(|source| TrustError::Sign {
        image: image(),
        source,
    })?;
    let existing = existing.map(|(existing, _)| existing);
    attachment::extend(existing, payload, &STANDARD.encode(signature))
        .map(Some)
        .map_err(|problem| TrustError::Attachment {
            image: image(),
            problem,
        })
}
