//! The endpoint `/manifests/`.

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};

use super::{Registry, RegistryError};
use crate::{
    auth::Access,
    digest::{Digest, DigestError, Hasher},
    limits,
    manifest::Manifest,
};

const CONTENT_DIGEST: &str = "docker-content-digest";
/// What a registry with the referrers endpoint answers to a manifest that refers to another.
const SUBJECT: &str = "oci-subject";

/// What HEAD says about a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its digest, if the registry says so.
    pub digest: Option<Digest>,
    /// Its size in bytes, if the registry says so.
    pub size: Option<u64>,
    /// Its media type, if the registry says so.
    pub media_type: Option<String>,
}

/// What GET says about a manifest: bytes nobody has looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The `Content-Type`.
    pub media_type: Option<String>,
    /// The bytes.
    pub raw: Vec<u8>,
}

impl Registry {
    fn what_manifest(&self, reference: &str) -> String {
        self.of_repository(&format!("manifest {reference}"))
    }

    /// Asks for a manifest's digest, by tag or digest. `None` if there is no such manifest.
    ///
    /// # Errors
    ///
    /// The registry cannot be asked.
    pub async fn head_manifest(&self, reference: &str) -> Result<Option<Head>, RegistryError> {
        let what = self.what_manifest(reference);
        let call = self
            .call(
                Method::HEAD,
                &format!("manifests/{reference}"),
                Access::Pull,
                what,
            )
            .await?;
        let response = match self
            .send(&call.accepting_manifests(), &[StatusCode::OK])
            .await
        {
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let size = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Some(Head {
            digest: digest_of(&response),
            size,
            media_type: type_of(&response),
        }))
    }

    /// Fetches a manifest, by tag or digest. The bytes are those of the digest, if it was one, or of the digest the registry
    /// itself names.
    ///
    /// # Errors
    ///
    /// There is no such manifest, it is too large, or its digest differs.
    pub async fn get_manifest(&self, reference: &str) -> Result<Answer, RegistryError> {
        let what = self.what_manifest(reference);
        let call = self
            .call(
                Method::GET,
                &format!("manifests/{reference}"),
                Access::Pull,
                what,
            )
            .await?
            .accepting_manifests();
        let mut attempt = 1;
        loop {
            self.take_pull()?;
            let response = self.send(&call, &[StatusCode::OK]).await?;
            let media_type = type_of(&response);
            let expected = reference.parse().ok().or_else(|| digest_of(&response));
            match self
                .body(&call.what, response, limits::MANIFEST_BYTES)
                .await
            {
                Ok(raw) => {
                    self.check(&call.what, &raw, expected.as_ref())?;
                    return Ok(Answer { media_type, raw });
                }
                Err(error) => self.pause(&mut attempt, &call.what, error).await?,
            }
        }
    }

    /// Stores a manifest under a tag, or under its digest alone, byte for byte. One that refers to another is entered in the other's
    /// fallback tag, where the registry does not keep track of that itself.
    ///
    /// # Errors
    ///
    /// The registry refuses it, or stored something else.
    pub async fn put_manifest(
        &self,
        manifest: &Manifest,
        reference: &str,
    ) -> Result<(), RegistryError> {
        let tracked = self.send_manifest(manifest, reference).await?;
        match manifest.subject() {
            Some(subject) if !tracked => self.list_in_tag(&subject.digest, &[manifest]).await,
            _ => Ok(()),
        }
    }

    /// Stores a manifest; tells whether the registry keeps track of what it refers to.
    pub(super) async fn send_manifest(
        &self,
        manifest: &Manifest,
        reference: &str,
    ) -> Result<bool, RegistryError> {
        let what = self.what_manifest(reference);
        let media_type = HeaderValue::from_str(manifest.media_type())
            .map_err(|_| self.nonsense(&what, "its media type cannot stand in a header"))?;
        let call = self
            .call(
                Method::PUT,
                &format!("manifests/{reference}"),
                Access::Push,
                what,
            )
            .await?;
        let call = call.body(Bytes::copy_from_slice(manifest.raw()), media_type);
        let accepted = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
        let response = self.send(&call, &accepted).await;
        // Perhaps something it names is gone that was there earlier in this run: nothing is believed to be there any more.
        if response.is_err() {
            self.forget();
        }
        let response = response?;
        let tracked = response.headers().contains_key(SUBJECT);
        match digest_of(&response) {
            // Another algorithm's digest says nothing about ours.
            Some(found)
                if found.algorithm() == manifest.digest().algorithm()
                    && found != *manifest.digest() =>
            {
                let source = DigestError::Mismatch {
                    expected: manifest.digest().clone(),
                    found,
                };
                Err(RegistryError::Content {
                    host: self.0.host.clone(),
                    what: call.what,
                    source,
                })
            }
            _ => Ok(tracked),
        }
    }

    fn check(
        &self,
        what: &str,
        raw: &[u8],
        expected: Option<&Digest>,
    ) -> Result<(), RegistryError> {
        let Some(expected) = expected else {
            return Ok(());
        };
        let mut hasher = Hasher::new(expected.algorithm());
        hasher.update(raw);
        let found = hasher.finish();
        if found == *expected {
            return Ok(());
        }
        let source = DigestError::Mismatch {
            expected: expected.clone(),
            found,
        };
        Err(RegistryError::Content {
            host: self.0.host.clone(),
            what: what.to_owned(),
            source,
        })
    }
}

fn type_of(response: &Response) -> Option<String> {
    let value = response.headers().get(CONTENT_TYPE)?;
    value.to_str().ok().map(str::to_owned)
}

fn digest_of(response: &Response) -> Option<Digest> {
    response
        .headers()
        .get(CONTENT_DIGEST)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
