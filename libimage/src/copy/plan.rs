//! What has to be copied: every manifest below the selected one, and every blob they name, once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use super::select::{DEPTH, SelectError};
use crate::{
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor},
    media::{self, Kind},
    progress::BlobKind,
    transport::{Sink, Source},
    trust::Verified,
};

/// The work of a copy.
#[derive(Debug)]
pub(super) struct Plan {
    /// Blobs, the largest first.
    pub(super) blobs: Vec<(Descriptor, BlobKind)>,
    /// Manifests below the top one: what an index names comes before it.
    pub(super) children: Vec<Verified>,
    /// The manifest that gets the name.
    pub(super) top: Verified,
}

impl Plan {
    /// Returns the digests of the image's manifests, also of those that the destination has and are not copied.
    pub(super) fn manifests(&self) -> Vec<Digest> {
        let mut digests = vec![self.top.digest().clone()];
        for manifest in self.children.iter().chain([&self.top]) {
            if let Content::Index { entries } = manifest.manifest().content() {
                let is_manifest = |entry: &&Descriptor| {
                    matches!(media::kind(&entry.media_type), Kind::Manifest | Kind::Index)
                };
                digests.extend(
                    entries
                        .iter()
                        .filter(is_manifest)
                        .map(|entry| entry.digest.clone()),
                );
            }
        }
        digests
    }
}

/// Walks from an index down.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) source: &'a Source,
    pub(super) sink: &'a Sink,
    /// Whether the destination is asked for each child: worth it only where an earlier version may have left some.
    pub(super) ask: bool,
    pub(super) jobs: usize,
    /// Of a sparse index, the entries that are copied.
    pub(super) only: Option<&'a BTreeSet<Digest>>,
}

impl Walk<'_> {
    /// Fetches the manifests and collects the blobs.
    pub(super) async fn plan(&self, top: Verified) -> Result<Plan, Error> {
        let mut levels: Vec<Vec<Verified>> = Vec::new();
        let mut parents = vec![top.clone()];
        let mut seen: BTreeMap<Digest, ()> = BTreeMap::new();
        // A sparse index limits its own entries, not those of indexes inside.
        let mut only = self.only;
        while let Some(next) = self.below(&parents, &mut seen, only.take()).await? {
            if levels.len() >= DEPTH {
                return Err(SelectError::TooDeep {
                    image: self.source.image().to_string(),
                    limit: DEPTH,
                }
                .into());
            }
            levels.push(next.clone());
            parents = next;
        }
        // Images come first: an index may name one that another index names as well.
        let is_index =
            |manifest: &&Verified| matches!(manifest.manifest().content(), Content::Index { .. });
        let (indexes, images): (Vec<&Verified>, Vec<&Verified>) =
            levels.iter().rev().flatten().partition(is_index);
        let children: Vec<Verified> = images.into_iter().chain(indexes).cloned().collect();
        let mut blobs = BTreeMap::new();
        for manifest in children.iter().chain([&top]) {
            collect(manifest, &mut blobs);
        }
        let mut blobs: Vec<_> = blobs.into_values().collect();
        blobs.sort_by_key(|(blob, _)| std::cmp::Reverse(blob.size));
        Ok(Plan {
            blobs,
            children,
            top,
        })
    }

    /// Fetches what the indexes among `parents` name (or those of `only`); `None` if they name nothing.
    async fn below(
        &self,
        parents: &[Verified],
        seen: &mut BTreeMap<Digest, ()>,
        only: Option<&BTreeSet<Digest>>,
    ) -> Result<Option<Vec<Verified>>, Error> {
        let mut wanted = Vec::new();
        for parent in parents {
            if let Content::Index { entries } = parent.manifest().content() {
                let new = entries
                    .iter()
                    .filter(|entry| only.is_none_or(|only| only.contains(&entry.digest)))
                    .filter(|entry| seen.insert(entry.digest.clone(), ()).is_none());
                wanted.extend(new.map(|entry| (parent, entry)));
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        // Boxed, or the compiler does not see that a copy may go to another thread.
        let fetching: Vec<BoxFuture<'_, _>> = wanted
            .into_iter()
            .map(|(parent, entry)| self.fetch(parent, entry).boxed())
            .collect();
        let fetched: Vec<Option<Verified>> = stream::iter(fetching)
            .buffered(self.jobs.max(1))
            .try_collect()
            .await?;
        Ok(Some(fetched.into_iter().flatten().collect()))
    }

    /// Fetches a child; `None` if the destination has it.
    async fn fetch(
        &self,
        parent: &Verified,
        entry: &Descriptor,
    ) -> Result<Option<Verified>, Error> {
        if self.ask && self.sink.has_manifest(&entry.digest).await? {
            return Ok(None);
        }
        let raw = self.source.child(entry).await?;
        Ok(Some(parent.child(entry, raw)?))
    }
}

fn collect(manifest: &Verified, blobs: &mut BTreeMap<Digest, (Descriptor, BlobKind)>) {
    let Content::Image { config, layers } = manifest.manifest().content() else {
        return;
    };
    blobs
        .entry(config.digest.clone())
        .or_insert_with(|| (config.clone(), BlobKind::Config));
    // Foreign layers live elsewhere by agreement: registries take the descriptor without the content.
    for layer in layers.iter().filter(|layer| !layer.is_foreign()) {
        blobs
            .entry(layer.digest.clone())
            .or_insert_with(|| (layer.clone(), BlobKind::Layer));
    }
}
