//! Manifests made from others: edited as JSON from the leaves of an index to its top, so that what is not understood stays.

mod delivery;
mod parts;

use std::collections::BTreeMap;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

pub(crate) use self::delivery::{Delivery, Made};
use super::select::{DEPTH, SelectError};
use crate::{
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor, Manifest, ManifestError},
    transport::Source,
    trust::Verified,
};

/// A manifest and all that it names, to any depth.
#[derive(Debug)]
pub(crate) struct Tree {
    manifests: BTreeMap<Digest, Verified>,
    top: Digest,
}

/// What is done to each manifest.
pub(crate) trait Rewrite {
    /// Tells whether an entry of an index stays in it.
    fn keeps(&mut self, _index: &Verified, _entry: &Descriptor) -> bool {
        true
    }

    /// Changes a manifest of an image or artifact.
    fn image(&mut self, manifest: &Verified, value: &mut Value) -> Result<(), Error>;

    /// Changes an index. What its entries say about changed manifests (type, digest, size) is up to date already.
    fn index(&mut self, manifest: &Verified, value: &mut Value) -> Result<(), Error>;
}

/// A manifest after the rewriting.
#[derive(Debug, Clone)]
pub(crate) struct Rewritten {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// By which digest it is known: its own, or if it was not changed the one it was asked for by.
    pub(crate) digest: Digest,
    /// The digest before.
    pub(crate) old: Digest,
}

impl Rewritten {
    fn is_changed(&self) -> bool {
        self.digest != self.old
    }
}

impl Tree {
    /// Fetches everything below a manifest.
    pub(crate) async fn fetch(source: &Source, top: Verified, jobs: usize) -> Result<Self, Error> {
        let mut tree = Self {
            top: top.digest().clone(),
            manifests: BTreeMap::from([(top.digest().clone(), top.clone())]),
        };
        let mut parents = vec![top];
        for depth in 0.. {
            let mut wanted: BTreeMap<Digest, (&Verified, &Descriptor)> = BTreeMap::new();
            for parent in &parents {
                let entries = entries(parent).iter();
                let new = entries.filter(|entry| !tree.manifests.contains_key(&entry.digest));
                wanted.extend(new.map(|entry| (entry.digest.clone(), (parent, entry))));
            }
            if wanted.is_empty() {
                break;
            }
            if depth >= DEPTH {
                let image = source.image().to_string();
                return Err(SelectError::TooDeep {
                    image,
                    limit: DEPTH,
                }
                .into());
            }
            let fetching = wanted
                .into_values()
                .map(|(parent, entry)| fetch_child(source, parent, entry).boxed())
                .collect::<Vec<_>>();
            let fetched: Vec<Verified> = stream::iter(fetching)
                .buffered(jobs.max(1))
                .try_collect()
                .await?;
            let new = fetched
                .iter()
                .map(|child| (child.digest().clone(), child.clone()));
            tree.manifests.extend(new);
            parents = fetched;
        }
        Ok(tree)
    }

    /// Returns the manifest that everything is below of.
    pub(crate) fn top(&self) -> &Verified {
        &self.manifests[&self.top]
    }

    /// Returns the manifests of images and artifacts.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Verified> {
        let image =
            |manifest: &&Verified| matches!(manifest.manifest().content(), Content::Image { .. });
        self.manifests.values().filter(image)
    }

    /// Returns the indexes.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = &Verified> {
        let index =
            |manifest: &&Verified| matches!(manifest.manifest().content(), Content::Index { .. });
        self.manifests.values().filter(index)
    }

    /// Rewrites all of it. What an index names comes before it; the last is the top.
    pub(crate) fn rewrite(&self, edit: &mut dyn Rewrite) -> Result<Vec<Rewritten>, Error> {
        let mut done = Done::default();
        self.descend(&self.top, edit, &mut done)?;
        Ok(done
            .order
            .into_iter()
            .filter_map(|old| done.by_digest.remove(&old))
            .collect())
    }

    fn descend(
        &self,
        digest: &Digest,
        edit: &mut dyn Rewrite,
        done: &mut Done,
    ) -> Result<(), Error> {
        if done.by_digest.contains_key(digest) {
            return Ok(());
        }
        let verified = &self.manifests[digest];
        let raw = verified.manifest().raw();
        let invalid = |source| ManifestError::Json {
            digest: digest.clone(),
            source,
        };
        let before: Value = serde_json::from_slice(raw).map_err(invalid)?;
        let mut value = before.clone();
        if matches!(verified.manifest().content(), Content::Index { .. }) {
            let kept: Vec<bool> = entries(verified)
                .iter()
                .map(|entry| edit.keeps(verified, entry))
                .collect();
            for (entry, _) in entries(verified)
                .iter()
                .zip(&kept)
                .filter(|(_, kept)| **kept)
            {
                // Digests make circles impossible, and fetching has limited the depth.
                self.descend(&entry.digest, edit, done)?;
            }
            done.refresh(&mut value, verified, &kept);
            edit.index(verified, &mut value)?;
        } else {
            edit.image(verified, &mut value)?;
        }
        let (manifest, known_as) = if value == before {
            (verified.manifest().clone(), digest.clone())
        } else {
            let manifest = manifest_of(&value, verified.manifest().media_type())?;
            let digest = manifest.digest().clone();
            (manifest, digest)
        };
        done.order.push(digest.clone());
        done.by_digest.insert(
            digest.clone(),
            Rewritten {
                manifest,
                digest: known_as,
                old: digest.clone(),
            },
        );
        Ok(())
    }
}

async fn fetch_child(
    source: &Source,
    parent: &Verified,
    entry: &Descriptor,
) -> Result<Verified, Error> {
    let raw = source.child(entry).await?;
    Ok(parent.child(entry, raw)?)
}

/// Serialises a manifest; one that does not name its type has `media_type`.
pub(crate) fn manifest_of(value: &Value, media_type: &str) -> Result<Manifest, ManifestError> {
    let outer = value.get("mediaType").is_none().then_some(media_type);
    // A `Value` can always be written; only its size and shape are left to be checked.
    Manifest::parse(value.to_string().into_bytes(), outer)
}

/// Returns the entries of an index; none of an image.
pub(crate) fn entries(manifest: &Verified) -> &[Descriptor] {
    match manifest.manifest().content() {
        Content::Index { entries } => entries,
        Content::Image { .. } => &[],
    }
}

#[derive(Default)]
struct Done {
    by_digest: BTreeMap<Digest, Rewritten>,
    order: Vec<Digest>,
}

impl Done {
    /// Brings an index's entries up to date, and drops those that are not kept.
    fn refresh(&self, index: &mut Value, before: &Verified, kept: &[bool]) {
        let Some(values) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            return;
        };
        for (value, entry) in values.iter_mut().zip(entries(before)) {
            let Some(new) = self
                .by_digest
                .get(&entry.digest)
                .filter(|new| new.is_changed())
            else {
                continue;
            };
            describe(value, &new.manifest);
        }
        for value in values.iter_mut() {
            self.refresh_attestation(value);
        }
        let mut kept = kept.iter();
        values.retain(|_| kept.next().copied().unwrap_or(true));
    }

    /// An attestation names the image it is about.
    fn refresh_attestation(&self, entry: &mut Value) {
        let Some(Value::String(about)) =
            entry.pointer_mut("/annotations/vnd.docker.reference.digest")
        else {
            return;
        };
        if let Some(new) = about
            .parse()
            .ok()
            .and_then(|digest: Digest| self.by_digest.get(&digest))
        {
            *about = new.digest.to_string();
        }
    }
}

/// Makes an entry of an index describe another manifest; platform and annotations stay.
pub(crate) fn describe(entry: &mut Value, manifest: &Manifest) {
    entry["mediaType"] = json!(manifest.media_type());
    entry["digest"] = json!(manifest.digest());
    entry["size"] = json!(manifest.raw().len());
    if let Some(entry) = entry.as_object_mut() {
        // A copy of the old content.
        entry.remove("data");
    }
}
