//! Where images come from: their signatures, and whether the policy is satisfied with them.

use std::{fs::File, io::Read as _};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Source;
use crate::{
    context::Context,
    digest::Digest,
    error::{Error, ErrorKind},
    manifest::Descriptor,
    name::ImageRef,
    registry::Lookaside,
    transport::worker,
    trust::{
        self, Material, Needs, Resolved, SigstoreSignature, TrustError, Verified,
        attachment::{self, Attached},
    },
};

/// Simple signing signatures of one manifest: those of Red Hat's images have three.
const SIMPLE: usize = 64;
/// Bytes of a simple signing signature: about 600 are usual, several keys may sign one.
const SIMPLE_BYTES: u64 = 256 << 10;
/// Artifacts that refer to an image as signatures: each holds several.
const ARTIFACTS: usize = 16;
/// Payloads fetched at once.
const AT_ONCE: usize = 4;

/// Whether an index without a signature may be chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Whole,
    Select,
}

impl Source {
    /// Fetches the image's manifest or index as [`Source::resolve`] does, and asks the policy whether it may be used, with the
    /// signatures that the policy wants.
    ///
    /// # Errors
    ///
    /// There is no such image, or the policy does not allow it.
    pub async fn verified(&self, cx: &Context, digest: Option<&Digest>) -> Result<Verified, Error> {
        let resolved = self.resolve(digest).await?;
        self.judged(cx, resolved, Use::Whole).await
    }

    /// Fetches and verifies as [`Source::verified`] does, but an index that only lacks a signature may be chosen from: see
    /// [`trust::verify_to_select`] and [`Source::verified_child`].
    ///
    /// # Errors
    ///
    /// As [`Source::verified`].
    pub async fn verified_to_select(
        &self,
        cx: &Context,
        digest: Option<&Digest>,
    ) -> Result<Verified, Error> {
        let resolved = self.resolve(digest).await?;
        self.judged(cx, resolved, Use::Select).await
    }

    /// Fetches a manifest that an index names, and verifies it: by the index, or by signatures of its own if the index has none.
    ///
    /// # Errors
    ///
    /// It is missing, or the policy does not allow it.
    pub async fn verified_child(
        &self,
        index: &Verified,
        entry: &Descriptor,
    ) -> Result<Verified, Error> {
        let raw = self.child(entry).await?;
        if index.is_covered() {
            return Ok(index.child(entry, raw)?);
        }
        let (index, entry) = (index.clone(), entry.clone());
        let digest = entry.digest.clone();
        self.with_signatures(&self.cx, &digest, move |policy, material| {
            index.signed_child(policy, &entry, raw.clone(), material)
        })
        .await
    }

    async fn judged(
        &self,
        cx: &Context,
        resolved: Resolved,
        purpose: Use,
    ) -> Result<Verified, Error> {
        let in_reference = match &self.image {
            ImageRef::Docker(name) => name.digest(),
            _ => None,
        };
        let digest = in_reference
            .or(resolved.expected.as_ref())
            .cloned()
            .unwrap_or_else(|| Digest::of(&resolved.raw));
        self.with_signatures(cx, &digest, move |policy, material| match purpose {
            Use::Whole => trust::verify(policy, resolved.clone(), material),
            Use::Select => trust::verify_to_select(policy, resolved.clone(), material),
        })
        .await
    }

    /// Verifies with the signatures that the policy wants. Those that refer to the image are only asked for if those at the usual
    /// place were not enough.
    async fn with_signatures(
        &self,
        cx: &Context,
        digest: &Digest,
        verify: impl Fn(&crate::config::Policy, &Material) -> Result<Verified, TrustError>
        + Clone
        + Send
        + 'static,
    ) -> Result<Verified, Error> {
        let policy = cx.policy();
        let Some(needs) = trust::wants(policy, &self.image) else {
            return Ok(verify(policy, &Material::default())?);
        };
        let mut material = self.material(cx, needs, digest).await?;
        let first = judge(policy, needs.simple, &verify, &material).await?;
        let lacking = match &first {
            Ok(verified) => !verified.is_covered(),
            Err(error) => matches!(error, TrustError::Unsigned { .. }),
        };
        if lacking && needs.sigstore && self.add_artifacts(cx, digest, &mut material).await? {
            return Ok(judge(policy, needs.simple, &verify, &material).await??);
        }
        Ok(first?)
    }

    /// Fetches the signatures at the usual places, without looking at them.
    ///
    /// # Errors
    ///
    /// A place cannot be asked, or has more than anybody needs. What is there and is no signature is noted.
    pub(crate) async fn material(
        &self,
        cx: &Context,
        needs: Needs,
        digest: &Digest,
    ) -> Result<Material, Error> {
        let mut material = Material::default();
        let kept = self.kept_signatures().await?;
        if kept.len() > SIMPLE {
            return Err(self.too_many(digest, SIMPLE).into());
        }
        kept.into_iter().for_each(|file| material.add_file(file));
        if needs.simple {
            material.simple.extend(self.simple(cx, digest).await?);
        }
        if needs.sigstore && self.has_attachments(cx, &mut material) {
            let found = self.tagged(&attachment::tag(digest)).await?;
            if let Some(raw) = found {
                self.add_attached(&raw, digest, &mut material).await?;
            }
        }
        Ok(material)
    }

    fn has_attachments(&self, cx: &Context, material: &mut Material) -> bool {
        let forbidden = match &self.image {
            ImageRef::Docker(name) => {
                cx.policy().registries_d().storage(name).attachments == Some(false)
            }
            _ => false,
        };
        if forbidden {
            let note = "registries.d says use-sigstore-attachments: false";
            material.notes.push(note.to_owned());
        }
        !forbidden
    }

    /// Adds the signatures among what refers to the image; tells whether there were any.
    async fn add_artifacts(
        &self,
        cx: &Context,
        digest: &Digest,
        material: &mut Material,
    ) -> Result<bool, Error> {
        if !self.has_attachments(cx, &mut Material::default()) {
            return Ok(false);
        }
        let before = material.sigstore.len();
        let referrers = self
            .referrers(digest, Some(attachment::ARTIFACT_TYPE))
            .await?;
        for artifact in referrers.iter().take(ARTIFACTS) {
            match self.child(artifact).await {
                Ok(raw) if Digest::of(&raw) == artifact.digest => {
                    self.add_attached(&raw, digest, material).await?;
                }
                Ok(_) => material
                    .notes
                    .push(format!("{} has another digest", artifact.digest)),
                Err(error) => note(material, error)?,
            }
        }
        Ok(material.sigstore.len() > before)
    }

    /// Fetches the payloads that a signature manifest names.
    async fn add_attached(
        &self,
        raw: &[u8],
        digest: &Digest,
        material: &mut Material,
    ) -> Result<(), Error> {
        let attached = match attachment::list(raw) {
            Ok(attached) => attached,
            Err(problem) => {
                let place = attachment::tag(digest);
                material
                    .notes
                    .push(format!("what is at {place} are no signatures: {problem}"));
                return Ok(());
            }
        };
        if attached.len() + material.sigstore.len() > attachment::SIGNATURES {
            return Err(self.too_many(digest, attachment::SIGNATURES).into());
        }
        let fetching: Vec<_> = attached
            .iter()
            .map(|attached| self.payload(attached))
            .collect();
        let fetched: Vec<Result<SigstoreSignature, Error>> = stream::iter(fetching)
            .buffered(AT_ONCE)
            .map(Ok::<_, Error>)
            .try_collect()
            .await?;
        for signature in fetched {
            match signature {
                Ok(signature) => material.sigstore.push(signature),
                Err(error) => note(material, error)?,
            }
        }
        Ok(())
    }

    async fn payload(&self, attached: &Attached) -> Result<SigstoreSignature, Error> {
        let limit = trust::PAYLOAD_BYTES;
        Ok(SigstoreSignature {
            payload: self.read(&attached.payload, limit).await?,
            signature: attached.signature.clone(),
        })
    }

    /// Fetches simple signing signatures: numbered from 1, until one is missing.
    async fn simple(&self, cx: &Context, digest: &Digest) -> Result<Vec<Vec<u8>>, Error> {
        let ImageRef::Docker(name) = &self.image else {
            return Ok(Vec::new());
        };
        let Some(base) = &cx.policy().registries_d().storage(name).lookaside else {
            return Ok(Vec::new());
        };
        let storage = Lookaside::new(cx, base, name, digest)?;
        let mut found = Vec::new();
        while let Some(signature) = one_simple(&storage, found.len() + 1).await? {
            if found.len() >= SIMPLE {
                return Err(self.too_many(digest, SIMPLE).into());
            }
            found.push(signature);
        }
        Ok(found)
    }

    fn too_many(&self, digest: &Digest, limit: usize) -> TrustError {
        TrustError::TooMuch {
            image: format!("{} ({digest})", self.image),
            what: "their number",
            limit: limit as u64,
        }
    }
}

/// Reads one signature of a storage; `None` if there is none of that number.
async fn one_simple(storage: &Lookaside, number: usize) -> Result<Option<Vec<u8>>, Error> {
    let Some(path) = storage.file(number) else {
        return Ok(storage.get(number, SIMPLE_BYTES).await?);
    };
    let read = move || {
        let mut content = Vec::new();
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other,
        };
        match file.and_then(|file| file.take(SIMPLE_BYTES + 1).read_to_end(&mut content)) {
            Ok(length) if length as u64 > SIMPLE_BYTES => Err(TrustError::TooMuch {
                image: path.display().to_string(),
                what: "bytes",
                limit: SIMPLE_BYTES,
            }
            .into()),
            Ok(_) => Ok(Some(content)),
            Err(error) => Err(Error::new(
                ErrorKind::of_io(&error),
                format!("cannot read the signature {}: {error}", path.display()),
            )),
        }
    };
    worker::run("read signature", read).await
}

/// Asks the policy; with simple signatures this runs a program and waits for it, on a thread of its own.
async fn judge<V>(
    policy: &crate::config::Policy,
    simple: bool,
    verify: &V,
    material: &Material,
) -> Result<Result<Verified, TrustError>, Error>
where
    V: Fn(&crate::config::Policy, &Material) -> Result<Verified, TrustError>
        + Clone
        + Send
        + 'static,
{
    if !simple {
        return Ok(verify(policy, material));
    }
    let (verify, policy, material) = (verify.clone(), policy.clone(), material.clone());
    let run = move || Ok::<_, Error>(verify(&policy, &material));
    worker::run("verify signatures", run).await
}

/// What is missing or damaged is noted; that a place cannot be asked is a failure.
fn note(material: &mut Material, error: Error) -> Result<(), Error> {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::DigestMismatch | ErrorKind::Malformed => {
            material
                .notes
                .push(format!("a signature cannot be read: {error}"));
            Ok(())
        }
        _ => Err(error),
    }
}
