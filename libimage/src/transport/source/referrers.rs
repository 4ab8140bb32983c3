//! What refers to an image, where it comes from.

use std::sync::Arc;

use super::{Medium, Source};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
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
            Medium::Local(local) => {
                let (local, subject) = (Arc::clone(local), subject.clone());
                let mut found =
                    worker::run("look for referrers", move || local.referrers(&subject)).await?;
                found.retain(|entry| {
                    artifact_type
                        .is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
                });
                Ok(found)
            }
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
            Medium::Local(local) => {
                let (local, tag) = (Arc::clone(local), tag.to_owned());
                return worker::run("read manifest", move || local.tagged(&tag)).await;
            }
        };
        match found {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}
