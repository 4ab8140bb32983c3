//! What refers to an image, where it comes from.

use std::{collections::BTreeSet, sync::Arc};

use super::{Medium, Source};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    layout::{Referrer, is_digest_tag},
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
            Medium::Registry(mirrors) => {
                Ok(mirrors.registry().referrers(subject, artifact_type).await?)
            }
            Medium::Local(_) => {
                let held = self.held_referrers().await?.unwrap_or_default();
                let mut found: Vec<Descriptor> = held
                    .into_iter()
                    .filter(|referrer| referrer.subject == *subject)
                    .map(|referrer| referrer.descriptor)
                    .collect();
                found.retain(|entry| {
                    artifact_type
                        .is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
                });
                Ok(found)
            }
        }
    }

    /// Returns the tags that are made from digests (see [`is_digest_tag`]); `None` if there are too many tags to list, or
    /// the registry does not list them.
    pub(crate) async fn digest_tags(&self) -> Result<Option<BTreeSet<String>>, Error> {
        let tags = match &self.medium {
            Medium::Registry(mirrors) => return Ok(mirrors.registry().digest_tags().await?),
            Medium::Local(local) => {
                let local = Arc::clone(local);
                worker::run("list tags", move || local.tags()).await?
            }
        };
        Ok(Some(
            tags.into_iter().filter(|tag| is_digest_tag(tag)).collect(),
        ))
    }

    /// Returns everything that refers to something, of a medium that can be read as a whole; `None` for a registry.
    pub(crate) async fn held_referrers(&self) -> Result<Option<Vec<Referrer>>, Error> {
        match &self.medium {
            Medium::Registry(_) => Ok(None),
            Medium::Local(local) => {
                let local = Arc::clone(local);
                worker::run("look for referrers", move || local.held_referrers())
                    .await
                    .map(Some)
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
            Medium::Registry(mirrors) => mirrors
                .registry()
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
