//! Manifests made from others: edited as JSON from the leaves of an index to its top, so that what is not understood stays.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    CopyOptions, CopyReport, Run, Staged, Tally, plan,
    select::{DEPTH, SelectError},
    sign, transfer,
};
use crate::{
    context::Context,
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor, Manifest, ManifestError},
    progress::BlobKind,
    transport::{Put, Sink, Source, worker},
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
    pub(super) tally: Tally,
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
        report.add(&staged.tally);
        report.requests = run.source.requests() + run.sink.requests();
        Ok(report)
    }

    /// Copies the blobs that are as they were, writes those made here, then all manifests but the last.
    pub(super) async fn stage(self) -> Result<Staged, Error> {
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

impl<'a> Run<'a> {
    /// Prepares to bring parts of something to a destination that is open, whatever has its name.
    pub(crate) async fn between(
        cx: &'a Context,
        source: Source,
        sink: Sink,
        options: &'a CopyOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            signing: sign::Signing::new(cx, sink.image(), &options.sign)?,
            chosen: None,
            asked: source.head().await?,
            present: None,
            cx,
            options,
            source,
            sink,
        })
    }

    /// Brings everything below a manifest to the destination; if that is an image, the manifest itself too, without a name.
    pub(crate) async fn bring(&self, top: Verified, report: &mut CopyReport) -> Result<(), Error> {
        let is_image = matches!(top.manifest().content(), Content::Image { .. });
        if is_image && self.sink.has_manifest(top.digest()).await? {
            return Ok(());
        }
        let walk = plan::Walk {
            source: &self.source,
            sink: &self.sink,
            ask: true,
            jobs: self.options.jobs,
            only: None,
        };
        let plan = walk.plan(top).await?;
        let mut staged = transfer::stage(self, plan).await?;
        if is_image {
            self.sink.put_child(&staged.top, &staged.digest).await?;
            staged.tally.manifests += 1;
        }
        report.add(&staged.tally);
        Ok(())
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
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
