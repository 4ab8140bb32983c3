//! Carries referrers over: those the destination lacks, level by level.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    DEPTH, Finder, Found, How, REFERRERS, Run, Tally,
    piece::{self, Piece},
};
use crate::{
    copy::{SelectError, transfer},
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor, Manifest},
    progress::Event,
};

/// Carries referrers from the source to the sink of a copy.
#[derive(Debug)]
pub(super) struct Bringer<'a> {
    run: &'a Run<'a>,
    finder: Finder<'a>,
    seen: BTreeSet<Digest>,
    tally: Tally,
}

impl<'a> Bringer<'a> {
    pub(super) async fn new(run: &'a Run<'a>) -> Result<Self, Error> {
        Ok(Self {
            run,
            finder: Finder::new(
                &run.source,
                run.options.jobs,
                run.options.tag_lists.as_ref(),
            )
            .await?,
            seen: BTreeSet::new(),
            tally: Tally::default(),
        })
    }

    /// Counts what refers to some manifests, without looking further.
    pub(super) async fn count(&self, subjects: &[Digest]) -> Result<usize, Error> {
        Ok(self.finder.look(subjects, true).await?.len())
    }

    /// Brings everything that refers to some manifests, and what refers to that.
    pub(super) async fn bring(&mut self, subjects: &[Digest]) -> Result<Tally, Error> {
        let mut subjects = subjects.to_vec();
        for depth in 0..DEPTH {
            let found = self.finder.look(&subjects, depth == 0).await?;
            subjects = self.level(found).await?;
            if subjects.is_empty() {
                break;
            }
        }
        Ok(self.tally)
    }

    /// Brings one level, and returns the digests of what was found.
    async fn level(&mut self, found: Vec<Found>) -> Result<Vec<Digest>, Error> {
        let (mut listed, mut next): (BTreeMap<Digest, Vec<Descriptor>>, _) = Default::default();
        let mut tags = Vec::new();
        for Found { subject, how } in found {
            if self.run.options.remove_signatures && how.is_signature() {
                continue;
            }
            match how {
                How::Tagged(tag) => tags.push(tag),
                How::Listed(entry) if self.seen.insert(entry.digest.clone()) => {
                    Vec::push(&mut next, entry.digest.clone());
                    listed.entry(subject).or_default().push(entry);
                }
                How::Listed(_) => {}
            }
        }
        if self.seen.len() > REFERRERS {
            return Err(SelectError::TooManyReferrers {
                image: self.run.source.image().to_string(),
                limit: REFERRERS,
            }
            .into());
        }
        self.listed(listed).await?;
        for tag in tags {
            self.tagged(&tag).await?;
        }
        Ok(next)
    }

    /// Brings what lists name, but for what the destination lists too.
    async fn listed(&mut self, listed: BTreeMap<Digest, Vec<Descriptor>>) -> Result<(), Error> {
        let jobs = self.run.options.jobs.max(1);
        let this = &*self;
        let asking: Vec<_> = listed
            .into_iter()
            .map(|(subject, entries)| this.missing(subject, entries))
            .collect();
        let missing: Vec<Vec<(Digest, Descriptor)>> =
            stream::iter(asking).buffered(jobs).try_collect().await?;
        let missing = missing.concat();
        let fetching: Vec<_> = missing
            .iter()
            .map(|(subject, entry)| this.fetch(subject, entry))
            .collect();
        let pieces: Vec<Option<Piece>> =
            stream::iter(fetching).buffered(jobs).try_collect().await?;
        let tops = self.below(pieces.into_iter().flatten().collect()).await?;
        self.tally.referrers += tops.len() as u64;
        if tops.is_empty() {
            return Ok(());
        }
        self.run.sink.put_referrers(tops).await
    }

    /// Leaves out what the destination lists already.
    async fn missing(
        &self,
        subject: Digest,
        entries: Vec<Descriptor>,
    ) -> Result<Vec<(Digest, Descriptor)>, Error> {
        let there = self.run.sink.referrers(&subject).await?;
        let there: BTreeSet<Digest> = there.into_iter().map(|entry| entry.digest).collect();
        let missing = entries
            .into_iter()
            .filter(|entry| !there.contains(&entry.digest));
        Ok(missing.map(|entry| (subject.clone(), entry)).collect())
    }

    /// Fetches a referrer; one that is not what the list says is left out, with a warning.
    async fn fetch(&self, subject: &Digest, entry: &Descriptor) -> Result<Option<Piece>, Error> {
        let source = &self.run.source;
        let Some(manifest) = piece::fetch(source, entry).await? else {
            self.warn(
                &entry.digest,
                "it is missing, or nothing that can be copied",
            );
            return Ok(None);
        };
        if manifest.subject().map(|found| &found.digest) != Some(subject) {
            self.warn(&entry.digest, "it does not refer to what it is listed for");
            return Ok(None);
        }
        let piece = Piece::below(source, manifest).await?;
        if piece.is_none() {
            self.warn(&entry.digest, "a part of it is missing");
        }
        Ok(piece)
    }

    /// Brings everything below some manifests, and gives these back.
    async fn below(&mut self, pieces: Vec<Piece>) -> Result<Vec<Manifest>, Error> {
        let mut blobs = BTreeMap::new();
        let (mut children, mut tops) = (Vec::new(), Vec::new());
        for piece in pieces {
            blobs.extend(piece.blobs);
            children.extend(piece.children);
            tops.push(piece.top);
        }
        let brought = transfer::blobs(self.run, blobs.into_values().collect()).await?;
        self.tally.copied += brought.copied;
        self.tally.skipped += brought.skipped;
        self.tally.mounted += brought.mounted;
        self.tally.bytes += brought.bytes;
        for child in &children {
            self.run.sink.put_child(child, child.digest()).await?;
        }
        Ok(tops)
    }

    /// Brings a tag that is made from a digest. What the destination has there is replaced only by something that holds it all:
    /// it may have been signed there too.
    async fn tagged(&mut self, tag: &str) -> Result<(), Error> {
        let (source, sink) = (&self.run.source, &self.run.sink);
        let Some(raw) = source.tagged(tag).await? else {
            return Ok(());
        };
        let Ok(ours) = Manifest::parse(raw, None) else {
            self.tell(&format!("the tag {tag} is left out: it is no manifest"));
            return Ok(());
        };
        if let Some(theirs) = sink.tagged(tag).await? {
            let theirs = Manifest::parse(theirs, None);
            if theirs.as_ref().is_ok_and(|theirs| holds(theirs, &ours)) {
                return Ok(());
            }
            if !theirs.is_ok_and(|theirs| holds(&ours, &theirs)) {
                self.tell(&format!(
                    "the tag {tag} is left as it is: the destination has something else there"
                ));
                return Ok(());
            }
        }
        let Some(piece) = Piece::below(source, ours).await? else {
            self.tell(&format!(
                "the tag {tag} is left out: a part of it is missing"
            ));
            return Ok(());
        };
        for top in self.below(vec![piece]).await? {
            self.run.sink.put_tagged(&top, tag).await?;
            self.tally.referrers += 1;
        }
        Ok(())
    }

    fn warn(&self, digest: &Digest, why: &str) {
        self.tell(&format!("the referrer {digest} is left out: {why}"));
    }

    fn tell(&self, message: &str) {
        self.run.cx.progress().event(&Event::Warning { message });
    }
}

/// Tells whether one manifest has every part of another.
fn holds(one: &Manifest, other: &Manifest) -> bool {
    let parts = |manifest: &Manifest| -> BTreeSet<Digest> {
        match manifest.content() {
            Content::Image { layers, .. } => {
                layers.iter().map(|part| part.digest.clone()).collect()
            }
            Content::Index { entries } => entries.iter().map(|part| part.digest.clone()).collect(),
        }
    };
    one.digest() == other.digest() || parts(one).is_superset(&parts(other))
}
