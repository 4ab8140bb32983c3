//! What refers to an image, where it comes from.

use super::{Medium, Source};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    layout::Layout,
    limits,
    manifest::Descriptor,
    transport::worker,
};

impl Source {
    /// Lists what refers to a manifest: all of it, or one kind of artifact. A registry is asked as
    /// [`Registry::referrers`](crate::registry::Registry::referrers) says; a medium that has nothing of the kind has none.
    ///
    /// # Errors
    ///
    /// The registry or the layout cannot be asked.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        match &self.medium {
            Medium::Registry(registry) => Ok(registry.referrers(subject, artifact_type).await?),
            Medium::Layout { layout, .. } => {
                let (layout, subject) = (layout.clone(), subject.clone());
                let mut found =
                    worker::run("look for referrers", move || in_layout(&layout, &subject)).await?;
                found.retain(|entry| {
                    artifact_type
                        .is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
                });
                Ok(found)
            }
            _ => Ok(Vec::new()),
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

/// Looks among the manifests, and in the tag that stands in for a list where some tools write one.
fn in_layout(layout: &Layout, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
    let found = layout.referrers()?;
    Ok(found
        .into_iter()
        .filter(|referrer| referrer.subject == *subject)
        .map(|referrer| referrer.descriptor)
        .collect())
}
