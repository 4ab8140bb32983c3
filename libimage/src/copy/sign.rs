//! Signs what is copied, in the form that cosign reads.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    context::Context,
    digest::Digest,
    error::Error,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media,
    name::{ImageRef, Name},
    platform::Platform,
    transport::{Sink, worker},
    trust::{
        self, PAYLOAD_BYTES, Signer, SigstoreSignature, TrustError,
        attachment::{self, Existing},
    },
};

/// Manifests signed at once.
const AT_ONCE: usize = 4;

/// Who signs what goes to a destination, and under which name: checked before anything is copied.
#[derive(Debug)]
pub(crate) struct Signing<'a> {
    signers: &'a [Signer],
    names: Vec<Name>,
}

impl<'a> Signing<'a> {
    /// Finds out whether signatures can be made for a destination.
    ///
    /// # Errors
    ///
    /// There is no name to sign, or the destination may not get signatures.
    pub(crate) fn new(
        cx: &Context,
        to: &ImageRef,
        signers: &'a [Signer],
    ) -> Result<Self, TrustError> {
        let own = match to {
            ImageRef::Docker(name) => Some(name),
            _ => None,
        };
        if let Some(name) = own
            && !signers.is_empty()
            && cx.policy().registries_d().storage(name).attachments == Some(false)
        {
            return Err(TrustError::NoPlace {
                image: to.to_string(),
                why: "registries.d says use-sigstore-attachments: false",
            });
        }
        let name = |signer: &Signer| {
            let name = signer.identity.as_ref().or(own).cloned();
            name.ok_or_else(|| TrustError::NoIdentity {
                image: to.to_string(),
            })
        };
        let names = signers.iter().map(name).collect::<Result<_, _>>()?;
        Ok(Self { signers, names })
    }

    /// Tells whether there is nothing to sign with.
    pub(crate) fn is_idle(&self) -> bool {
        self.signers.is_empty()
    }

    /// Signs a manifest, and what it names if it is an index; returns how many signatures are new. The image need not be there
    /// yet: whoever finds it finds its signatures.
    ///
    /// # Errors
    ///
    /// The destination has no place for signatures, or they cannot be written.
    ///
    /// # Concurrency
    ///
    /// The list of a manifest's signatures is read, extended and written: somebody else who signs the same manifest at the same
    /// moment may lose a signature.
    pub(crate) async fn sign(&self, sink: &Sink, top: &Manifest) -> Result<u64, Error> {
        if self.is_idle() {
            return Ok(0);
        }
        if !sink.keeps_referrers() {
            return self.keep_beside(sink, top).await;
        }
        let (crew, muster) = worker::crew();
        let mut signing = Vec::new();
        for digest in digests(top) {
            let crew = crew.clone();
            signing.push(async move { self.sign_one(sink, &digest, &crew).await });
        }
        let signed: Result<Vec<u64>, Error> =
            stream::iter(signing).buffered(AT_ONCE).try_collect().await;
        drop(crew);
        muster.gone().await;
        Ok(signed?.iter().sum())
    }

    async fn sign_one(
        &self,
        sink: &Sink,
        digest: &Digest,
        crew: &worker::Crew,
    ) -> Result<u64, Error> {
        let tag = attachment::tag(digest);
        let mut existing = self.existing(sink, digest, &tag).await?;
        let mut made = Vec::new();
        for (signer, name) in self.signers.iter().zip(&self.names) {
            let there = existing
                .as_ref()
                .map(|(existing, signatures)| (existing, signatures.as_slice()));
            if let Some(extended) = trust::sign(&signer.key, name, digest, there)? {
                let mut signatures = existing.map_or_else(Vec::new, |(_, signatures)| signatures);
                signatures.push(extended.signature);
                made.push(extended.payload);
                let extended = Existing {
                    manifest: extended.manifest,
                    config: extended.config,
                };
                existing = Some((extended, signatures));
            }
        }
        let Some((extended, _)) = existing.filter(|_| !made.is_empty()) else {
            return Ok(0);
        };
        for content in made.iter().chain([&extended.config]) {
            sink.put_small(content, crew).await?;
        }
        let manifest = Manifest::parse(extended.manifest, None)?;
        sink.put_tagged(&manifest, &tag).await?;
        Ok(made.len() as u64)
    }

    /// Reads the signatures that a manifest has at the destination. They are kept, so they have to be understood.
    async fn existing(
        &self,
        sink: &Sink,
        digest: &Digest,
        tag: &str,
    ) -> Result<Option<(Existing, Vec<SigstoreSignature>)>, Error> {
        let Some(raw) = sink.tagged(tag).await? else {
            return Ok(None);
        };
        let image = || format!("{} ({digest})", sink.image());
        let attached = attachment::list(&raw).map_err(|problem| TrustError::Attachment {
            image: image(),
            problem: format!("what is at {tag} is something else: {problem}"),
        })?;
        if attached.len() >= attachment::SIGNATURES {
            return Err(TrustError::TooMuch {
                image: image(),
                what: "their number",
                limit: attachment::SIGNATURES as u64,
            }
            .into());
        }
        let mut signatures = Vec::new();
        for one in attached {
            signatures.push(SigstoreSignature {
                payload: sink.read_small(&one.payload, PAYLOAD_BYTES).await?,
                signature: one.signature,
            });
        }
        let manifest = Manifest::parse(raw, None)?;
        let config = match manifest.content() {
            Content::Image { config, .. } => sink.read_small(config, limits::CONFIG_BYTES).await?,
            Content::Index { .. } => Vec::new(),
        };
        let existing = Existing {
            manifest: manifest.into_raw(),
            config,
        };
        Ok(Some((existing, signatures)))
    }

    /// Writes signatures as files, where the destination is a directory of files. It has no place for those of an index's parts.
    async fn keep_beside(&self, sink: &Sink, top: &Manifest) -> Result<u64, Error> {
        let no_place = |why| TrustError::NoPlace {
            image: sink.image().to_string(),
            why,
        };
        if matches!(top.content(), Content::Index { .. }) {
            return Err(no_place("it takes those of a single image only").into());
        }
        let mut files = Vec::new();
        for (signer, name) in self.signers.iter().zip(&self.names) {
            if let Some(made) = trust::sign(&signer.key, name, top.digest(), None)? {
                files.push(made.signature.to_file());
            }
        }
        let count = files.len() as u64;
        if !sink.keep_signatures(files).await? {
            return Err(no_place("copy to a registry, an OCI layout or a dir:").into());
        }
        Ok(count)
    }
}

/// The manifest itself, and the images that an index names: those who pull one platform look for signatures of that one.
fn digests(top: &Manifest) -> Vec<Digest> {
    let entries: &[Descriptor] = match top.content() {
        Content::Index { entries } => entries,
        Content::Image { .. } => &[],
    };
    let mut seen = BTreeSet::from([top.digest().clone()]);
    let image = |entry: &&Descriptor| {
        let kind = media::kind(&entry.media_type);
        let attestation = entry.platform.as_ref().is_some_and(Platform::is_unknown);
        matches!(kind, media::Kind::Manifest | media::Kind::Index) && !attestation
    };
    let below = entries.iter().filter(image);
    let below = below.map(|entry| entry.digest.clone());
    let mut digests = vec![top.digest().clone()];
    digests.extend(below.filter(|digest| seen.insert(digest.clone())));
    digests
}
