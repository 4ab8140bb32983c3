//! Rewritten manifests, and the blobs that were made for them, on their way to a destination.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use super::Rewritten;
use crate::{
    copy::{CopyReport, Run, Staged, Tally, transfer},
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor},
    progress::BlobKind,
    transport::{Put, worker},
};

/// A small blob that was made here.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Bytes,
}

/// Rewritten manifests on their way to a destination.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) run: &'a Run<'a>,
    /// The manifests, as [`Tree::rewrite`] returns them.
    pub(crate) manifests: Vec<Rewritten>,
    /// Blobs the source does not have.
    pub(crate) made: Vec<Made>,
    /// Blobs the source does not have either, which are at the destination already.
    pub(crate) there: BTreeSet<Digest>,
    /// What was done before.
    pub(in crate::copy) tally: Tally,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(run: &'a Run<'a>, manifests: Vec<Rewritten>) -> Self {
        Self {
            run,
            manifests,
            made: Vec::new(),
            there: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Brings everything to the destination and gives it the name.
    pub(crate) async fn deliver(self) -> Result<CopyReport, Error> {
        let run = self.run;
        let old = self.manifests.last().map(|top| top.old.clone());
        let staged = self.stage().await?;
        let unchanged = run.present.as_ref() == Some(&staged.digest);
        let mut report = CopyReport::empty(staged.digest);
        if let Some(old) = old {
            report.source_digest = old;
        }
        report.changes = staged.changes;
        report.unchanged = unchanged;
        if !unchanged {
            run.sink.publish(&staged.top).await?;
            report.manifests = 1;
        }
        // An archive is not there before it is complete.
        run.sink.finish().await?;
        report.add(&staged.tally);
        report.requests = run.source.requests() + run.sink.requests();
        Ok(report)
    }

    /// Copies the blobs that are as they were, writes those made here, then all manifests but the last.
    pub(in crate::copy) async fn stage(self) -> Result<Staged, Error> {
        let (top, below) = self.manifests.split_last().expect("a tree has a top");
        let changed = self
            .manifests
            .iter()
            .filter(|manifest| manifest.is_changed());
        let changes = changed.map(|manifest| (manifest.old.clone(), manifest.digest.clone()));
        let kept = self
            .manifests
            .iter()
            .filter(|manifest| !manifest.is_changed());
        let mut staged = Staged {
            changes: changes.collect(),
            kept: kept.map(|manifest| manifest.old.clone()).collect(),
            top: top.manifest.clone(),
            digest: top.digest.clone(),
            tally: self.tally,
        };
        if self.run.present.as_ref() == Some(&top.digest) {
            return Ok(staged);
        }
        let mut missing = Vec::new();
        for manifest in below {
            if !self.has(manifest).await? {
                missing.push(manifest);
            }
        }
        let blobs = self.kept_blobs(missing.iter().copied().chain([top]));
        let copied = transfer::blobs(self.run, blobs).await?;
        for made in &self.made {
            self.put(made, &mut staged.tally).await?;
        }
        for manifest in &missing {
            let sink = &self.run.sink;
            sink.put_child(&manifest.manifest, &manifest.digest).await?;
        }
        staged.tally.manifests += missing.len() as u64;
        staged.tally.add(&copied);
        Ok(staged)
    }

    /// Tells whether the destination has a manifest of an index: it is asked only where an earlier version may have left some.
    async fn has(&self, manifest: &Rewritten) -> Result<bool, Error> {
        let Run { sink, source, .. } = self.run;
        if !manifest.is_changed() && sink.is_repository_of(source) {
            return Ok(true);
        }
        Ok(self.run.present.is_some() && sink.has_manifest(&manifest.digest).await?)
    }

    /// Collects the blobs that come from the source as they are.
    fn kept_blobs<'m>(
        &self,
        manifests: impl Iterator<Item = &'m Rewritten>,
    ) -> Vec<(Descriptor, BlobKind)> {
        let made = self.made.iter().map(|made| &made.descriptor.digest);
        let made: BTreeSet<&Digest> = made.chain(&self.there).collect();
        let mut blobs = BTreeMap::new();
        for manifest in manifests {
            let Content::Image { config, layers } = manifest.manifest.content() else {
                continue;
            };
            let layers = layers.iter().filter(|layer| !layer.is_foreign());
            let layers = layers.map(|layer| (layer, BlobKind::Layer));
            let all = std::iter::once((config, BlobKind::Config)).chain(layers);
            for (blob, kind) in all.filter(|(blob, _)| !made.contains(&blob.digest)) {
                blobs
                    .entry(blob.digest.clone())
                    .or_insert_with(|| (blob.clone(), kind));
            }
        }
        let mut blobs: Vec<_> = blobs.into_values().collect();
        blobs.sort_by_key(|(blob, _)| std::cmp::Reverse(blob.size));
        blobs
    }

    async fn put(&self, made: &Made, tally: &mut Tally) -> Result<(), Error> {
        let sink = &self.run.sink;
        if sink.has_blob(&made.descriptor).await? {
            tally.skipped += 1;
            return Ok(());
        }
        let (crew, muster) = worker::crew();
        let open = || {
            let bytes = made.bytes.clone();
            stream::once(async move { Ok(bytes) }).boxed()
        };
        let put = sink.put_blob(&made.descriptor, open, &crew).await;
        drop(crew);
        muster.gone().await;
        match put? {
            Put::Copied => {
                tally.copied += 1;
                tally.bytes += made.descriptor.size;
            }
            Put::Mounted(_) => tally.mounted += 1,
        }
        Ok(())
    }
}

impl Tally {
    pub(in crate::copy) fn add(&mut self, other: &Self) {
        self.manifests += other.manifests;
        self.referrers += other.referrers;
        self.copied += other.copied;
        self.skipped += other.skipped;
        self.mounted += other.mounted;
        self.bytes += other.bytes;
    }
}

impl Made {
    /// Makes a blob of a JSON document.
    pub(crate) fn json(media_type: &str, value: &Value) -> Self {
        let bytes = Bytes::from(value.to_string());
        Self {
            descriptor: Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64),
            bytes,
        }
    }
}
