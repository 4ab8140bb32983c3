//! What refers to an image, where it goes.

use super::{Medium, Sink};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    limits,
    manifest::{Descriptor, Manifest},
    transport::worker,
};

impl Sink {
    /// Tells whether this medium can hold what refers to an image; if not, it is left behind, which somebody should say.
    #[must_use]
    pub fn keeps_referrers(&self) -> bool {
        matches!(&self.medium, Medium::Registry(_) | Medium::Layout { .. })
    }

    /// Lists what refers to a manifest already.
    ///
    /// # Errors
    ///
    /// The destination cannot be asked.
    pub async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        match &self.medium {
            Medium::Registry(registry) => Ok(registry.referrers(subject, None).await?),
            Medium::Layout { layout, .. } => {
                let (layout, subject) = (layout.clone(), subject.clone());
                let look = move || {
                    let found = layout.referrers()?;
                    Ok::<_, Error>(
                        found
                            .into_iter()
                            .filter(|referrer| referrer.subject == subject)
                            .map(|referrer| referrer.descriptor)
                            .collect(),
                    )
                };
                worker::run("look for referrers", look).await
            }
            _ => Ok(Vec::new()),
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
            Medium::Registry(registry) => Ok(registry.put_referrers(&manifests).await?),
            Medium::Layout { layout, .. } => {
                let layout = layout.clone();
                let write = move || {
                    manifests
                        .iter()
                        .try_for_each(|manifest| layout.put_referrer(manifest))
                };
                worker::run("write manifest", write).await
            }
            _ => Err(no_place()),
        }
    }

    /// Writes a manifest under another tag of the same repository or layout: where signatures are kept that are found by their name.
    ///
    /// # Errors
    ///
    /// As [`Sink::put_referrer`].
    pub async fn put_tagged(&self, manifest: &Manifest, tag: &str) -> Result<(), Error> {
        match &self.medium {
            Medium::Registry(registry) => Ok(registry.put_manifest(manifest, tag).await?),
            Medium::Layout { layout, .. } => {
                let (layout, manifest, tag) = (layout.clone(), manifest.clone(), tag.to_owned());
                let write =
                    move || layout.put_manifest(manifest.raw(), manifest.media_type(), Some(&tag));
                worker::run("write manifest", write).await.map(drop)
            }
            _ => Err(no_place()),
        }
    }

    /// Fetches the manifest that another tag of the same repository or layout has; `None` if there is no such tag.
    ///
    /// # Errors
    ///
    /// It cannot be fetched.
    pub async fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = match &self.medium {
            Medium::Registry(registry) => registry
                .get_manifest(tag)
                .await
                .map(|answer| answer.raw)
                .map_err(Error::from),
            Medium::Layout { layout, .. } => {
                let (layout, tag) = (layout.clone(), tag.to_owned());
                let read = move || {
                    let entry = layout.resolve(Some(&tag))?;
                    layout.read_blob(&entry.digest, limits::MANIFEST_BYTES)
                };
                worker::run("read manifest", read).await
            }
            _ => return Ok(None),
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
