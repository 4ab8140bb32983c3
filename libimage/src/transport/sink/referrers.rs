//! What refers to an image, where it goes.

use std::sync::Arc;

use super::{Medium, Sink};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    manifest::{Descriptor, Manifest},
    transport::worker,
};

impl Sink {
    /// Tells whether this medium can hold what refers to an image; if not, it is left behind, which somebody should say.
    #[must_use]
    pub fn keeps_referrers(&self) -> bool {
        match &self.medium {
            Medium::Registry(_) => true,
            Medium::Local(sink) => sink.keeps_referrers(),
        }
    }

    /// Lists what refers to a manifest already.
    ///
    /// # Errors
    ///
    /// The destination cannot be asked.
    pub async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        match &self.medium {
            Medium::Registry(sink) => Ok(sink.registry.referrers(subject, None).await?),
            Medium::Local(sink) => {
                let (sink, subject) = (Arc::clone(sink), subject.clone());
                worker::run("look for referrers", move || sink.referrers(&subject)).await
            }
        }
    }

    /// Writes a manifest that refers to another, so that it is found from there; everything it names must be there.
    ///
    /// # Errors
    ///
    /// It cannot be written, or the medium has no place for it.
    pub async fn put_referrer(&self, manifest: &Manifest) -> Result<(), Error> {
        self.put_referrers(vec![manifest.clone()]).await
    }

    /// Writes several manifests that refer to others: cheaper than one by one where a registry does not keep track of that itself.
    ///
    /// # Errors
    ///
    /// As [`Sink::put_referrer`].
    pub async fn put_referrers(&self, manifests: Vec<Manifest>) -> Result<(), Error> {
        match &self.medium {
            Medium::Registry(sink) => Ok(sink.registry.put_referrers(&manifests).await?),
            Medium::Local(sink) if sink.keeps_referrers() => {
                let sink = Arc::clone(sink);
                let write = move || {
                    manifests
                        .iter()
                        .try_for_each(|manifest| sink.put_entry(manifest, None))
                };
                worker::run("write manifest", write).await
            }
            Medium::Local(_) => Err(no_place()),
        }
    }

    /// Writes a manifest under another tag of the same repository or layout: where signatures are kept that are found by their name.
    ///
    /// # Errors
    ///
    /// As [`Sink::put_referrer`].
    pub async fn put_tagged(&self, manifest: &Manifest, tag: &str) -> Result<(), Error> {
        match &self.medium {
            Medium::Registry(sink) => Ok(sink.registry.put_manifest(manifest, tag).await?),
            Medium::Local(sink) if sink.keeps_referrers() => {
                let (sink, manifest, tag) = (Arc::clone(sink), manifest.clone(), tag.to_owned());
                let write = move || sink.put_entry(&manifest, Some(&tag));
                worker::run("write manifest", write).await
            }
            Medium::Local(_) => Err(no_place()),
        }
    }

    /// Fetches the manifest that another tag of the same repository or layout has; `None` if there is no such tag.
    ///
    /// # Errors
    ///
    /// It cannot be fetched.
    pub async fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = match &self.medium {
            Medium::Registry(sink) => sink
                .registry
                .get_manifest(tag)
                .await
                .map(|answer| answer.raw)
                .map_err(Error::from),
            Medium::Local(sink) => {
                let (sink, tag) = (Arc::clone(sink), tag.to_owned());
                return worker::run("read manifest", move || sink.tagged(&tag)).await;
            }
        };
        match found {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

fn no_place() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the destination has no place for what refers to an image",
    )
}
