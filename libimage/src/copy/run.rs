//! The stages of a copy, one after the other.

use std::collections::BTreeSet;

use super::{
    CopyOptions, CopyReport, Tally, beside, convert, plan, referrers, rewrite,
    select::{self, Selection},
    sign, transfer,
};
use crate::{
    context::Context,
    digest::Digest,
    error::Error,
    manifest::{Content, Manifest},
    name::ImageRef,
    registry::Registry,
    transport::{Sink, Source},
    trust::{self, Verified},
};

/// A copy under way: both ends, and what they said about their references.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) options: &'a CopyOptions,
    pub(crate) source: Source,
    pub(crate) sink: Sink,
    pub(super) signing: sign::Signing<'a>,
    /// What to copy, if that has been found out already.
    pub(super) chosen: Option<Chosen>,
    /// The digest of the source's reference, if the source says it.
    pub(crate) asked: Option<Digest>,
    /// The digest of the destination's reference, if there is one.
    pub(crate) present: Option<Digest>,
}

/// What is to be done.
#[derive(Debug)]
enum Decision {
    /// Nothing: the destination has the image.
    Unchanged(CopyReport),
    /// Only to sign: the destination has the image.
    Sign(Chosen),
    /// To copy this.
    Copy(Chosen),
}

/// What of the source is to be copied, verified.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// The digest of the source's reference.
    pub(super) source_digest: Digest,
    pub(super) top: Verified,
    /// If the top is an index copied sparsely: the entries that are copied with it.
    pub(super) only: Option<BTreeSet<Digest>>,
}

impl Chosen {
    /// Fetches the manifest, asks the policy, and chooses by platforms.
    async fn new(
        cx: &Context,
        source: &Source,
        options: &CopyOptions,
        asked: Option<&Digest>,
    ) -> Result<Self, Error> {
        // An index that is copied as it is has to be signed itself.
        let verified = match options.platforms.is_empty() || options.sparse {
            true => source.verified(cx, asked).await?,
            false => source.verified_to_select(cx, asked).await?,
        };
        let source_digest = verified.digest().clone();
        let Selection { top, only } = choose(source, verified, options).await?;
        Ok(Self {
            source_digest,
            top,
            only,
        })
    }

    /// Does this at once if the policy wants signatures: what it does not allow leaves no trace at the destination, and what the
    /// destination has already is not called good without being checked.
    pub(super) async fn if_signed(
        cx: &Context,
        source: &Source,
        options: &CopyOptions,
    ) -> Result<Option<Self>, Error> {
        match trust::wants(cx.policy(), source.image()) {
            Some(_) => Ok(Some(Self::new(cx, source, options, None).await?)),
            None => Ok(None),
        }
    }
}

/// Everything of an image is at the destination but its name.
#[derive(Debug)]
pub(super) struct Staged {
    /// What will get the name.
    pub(super) top: Manifest,
    /// The digest of it that will be told.
    pub(super) digest: Digest,
    /// Every manifest of the source whose digest is the same at the destination: what refers to these still does.
    pub(super) kept: Vec<Digest>,
    /// Manifests that are others there: the digest before and after.
    pub(super) changes: Vec<(Digest, Digest)>,
    pub(super) tally: Tally,
}

impl<'a> Run<'a> {
    /// Opens both ends and asks them for their digests, at once where nothing is made by opening.
    pub(crate) async fn open(
        cx: &'a Context,
        from: &ImageRef,
        to: &ImageRef,
        options: &'a CopyOptions,
    ) -> Result<Self, Error> {
        let signing = sign::Signing::new(cx, to, &options.sign)?;
        let source = Source::open(cx, from, options.store.as_ref()).await?;
        if let (Some(least), Some(registry)) = (options.min_quota, source.registry()) {
            registry.keep_quota(least);
        }
        let chosen = Chosen::if_signed(cx, &source, options).await?;
        let head = async {
            match &chosen {
                Some(chosen) => Ok(Some(chosen.source_digest.clone())),
                None => source.head().await,
            }
        };
        let destination = async {
            let sink = Sink::open(cx, to, options.store.as_ref(), &source).await?;
            let sink = sink.with_names(&options.additional_tags)?;
            let present = sink.head().await?;
            Ok((sink, present))
        };
        let (asked, (sink, present)) = match to {
            ImageRef::Docker(_) => tokio::try_join!(head, destination)?,
            // Opening makes the directory: not before it is known that there is something to put into it.
            _ => (head.await?, destination.await?),
        };
        Ok(Self {
            cx,
            options,
            source,
            sink,
            signing,
            chosen,
            asked,
            present,
        })
    }

    pub(super) async fn perform(&self) -> Result<CopyReport, Error> {
        let mut report = match self.decide().await? {
            Decision::Unchanged(report) => referrers::unchanged(self, report).await?,
            Decision::Sign(chosen) => {
                let report =
                    CopyReport::unchanged(chosen.top.digest().clone(), chosen.source_digest);
                let mut report = referrers::unchanged(self, report).await?;
                report.signatures = self.signing.sign(&self.sink, chosen.top.manifest()).await?;
                report
            }
            Decision::Copy(chosen) => self.carry_out(chosen).await?,
        };
        report.requests = self.source.requests() + self.sink.requests();
        report.quota = self.source.registry().and_then(Registry::quota);
        Ok(report)
    }

    /// Finds out what has to be copied: HEADs first, then the manifest, the policy, the platforms.
    async fn decide(&self) -> Result<Decision, Error> {
        let exact = self.options.platforms.is_empty()
            && !self.options.sparse
            && !self.options.is_conversion();
        if let (true, Some(digest)) = (exact, &self.asked)
            && self.present.as_ref() == Some(digest)
            && self.signing.is_idle()
        {
            return Ok(Decision::Unchanged(CopyReport::unchanged(
                digest.clone(),
                digest.clone(),
            )));
        }
        let chosen = match &self.chosen {
            Some(chosen) => chosen.clone(),
            None => Chosen::new(self.cx, &self.source, self.options, self.asked.as_ref()).await?,
        };
        if self.options.is_conversion()
            || self.present.as_ref() != Some(chosen.top.digest())
            || !chosen.is_at(&self.sink).await?
        {
            return Ok(Decision::Copy(chosen));
        }
        if !self.signing.is_idle() {
            return Ok(Decision::Sign(chosen));
        }
        let Chosen {
            source_digest, top, ..
        } = chosen;
        let report = CopyReport::unchanged(top.digest().clone(), source_digest);
        Ok(Decision::Unchanged(report))
    }

    /// Copies. The name comes last: whoever sees it finds everything that belongs to it, its signatures too, and a copy that failed
    /// in between is not taken for a finished one when it is tried again.
    async fn carry_out(&self, chosen: Chosen) -> Result<CopyReport, Error> {
        let (source_digest, source_top) = (chosen.source_digest.clone(), chosen.top.clone());
        let mut staged = self.stage(chosen).await?;
        if self.options.platforms.len() > 1 {
            staged.note_filter(&source_digest, source_top.digest());
        }
        // What is converted has its digest only now.
        let unchanged =
            self.options.is_conversion() && self.present.as_ref() == Some(&staged.digest);
        let mut referrers = Tally::default();
        if !unchanged {
            referrers = referrers::bring(self, &source_digest, &source_top, &staged).await?;
        }
        if !unchanged {
            beside::bring(self, &source_digest, &staged).await?;
        }
        let signatures = self.signing.sign(&self.sink, &staged.top).await?;
        let mut report = CopyReport {
            source_digest,
            unchanged,
            changes: staged.changes,
            signatures,
            ..CopyReport::empty(staged.digest)
        };
        if !unchanged {
            self.sink.publish(&staged.top).await?;
            report.manifests = 1;
        }
        report.add(&staged.tally);
        report.add(&referrers);
        Ok(report)
    }

    /// Brings everything below the name to the destination.
    async fn stage(&self, chosen: Chosen) -> Result<Staged, Error> {
        if self.options.is_conversion() {
            return convert::stage(self, chosen).await;
        }
        let walk = plan::Walk {
            source: &self.source,
            sink: &self.sink,
            ask: self.present.is_some(),
            jobs: self.options.jobs,
            only: chosen.only.as_ref(),
        };
        let plan = walk.plan(chosen.top.clone()).await?;
        let mut staged = transfer::stage(self, plan).await?;
        if let Some(only) = &chosen.only {
            let named = rewrite::entries(&chosen.top);
            let is_left_out = |digest: &Digest| named.iter().any(|entry| entry.digest == *digest);
            staged
                .kept
                .retain(|digest| only.contains(digest) || !is_left_out(digest));
        }
        Ok(staged)
    }
}

impl Chosen {
    /// Tells whether a destination that has the top has what was chosen below it too: a sparse index may lack some.
    async fn is_at(&self, sink: &Sink) -> Result<bool, Error> {
        for digest in self.only.iter().flatten() {
            if !sink.has_manifest(digest).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Staged {
    /// Tells that the index was made smaller before anything else was done to it: all of that is one change.
    fn note_filter(&mut self, whole: &Digest, smaller: &Digest) {
        if whole == smaller {
            return;
        }
        match self.changes.iter_mut().find(|(old, _)| old == smaller) {
            Some((old, _)) => *old = whole.clone(),
            None => self.changes.push((whole.clone(), smaller.clone())),
        }
    }
}

/// Returns what would be at the destination of a copy without conversion.
pub(crate) async fn selected(
    source: &Source,
    whole: Verified,
    options: &CopyOptions,
) -> Result<Verified, Error> {
    if options.sparse {
        return Ok(whole);
    }
    Ok(choose(source, whole, options).await?.top)
}

/// Chooses by platforms.
pub(super) async fn choose(
    source: &Source,
    whole: Verified,
    options: &CopyOptions,
) -> Result<Selection, Error> {
    if options.any_single && matches!(whole.manifest().content(), Content::Image { .. }) {
        return select::select(source, whole, &[], false).await;
    }
    select::select(source, whole, &options.platforms, options.sparse).await
}
