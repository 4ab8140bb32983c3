//! From any transport to any other: manifests byte for byte, missing blobs only, several at once.

mod convert;
mod inspect;
mod plan;
mod referrers;
pub(crate) mod rewrite;
mod select;
mod sign;
mod transfer;

use std::{collections::BTreeSet, sync::Arc};

pub use convert::{ConvertError, Format, Recompress};
pub use inspect::{InspectOptions, Inspected, InspectedImage, LayerPart, inspect, tags};
pub(crate) use referrers::{Finder, How};
pub use select::SelectError;
pub(crate) use select::{best, one, with_attestations};
pub(crate) use sign::Signing;

use crate::{
    context::Context,
    digest::Digest,
    error::Error,
    manifest::Content,
    manifest::Manifest,
    name::ImageRef,
    platform::Platform,
    registry::{Quota, Registry},
    store::Store,
    transport::{Sink, Source},
    trust::{self, Signer, Verified},
};
use select::Selection;

/// How to copy. The default copies an index whole.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Which platforms of an index: none is all of them; one copies that manifest alone; several make a smaller index, whose
    /// digest is another.
    pub platforms: Vec<Platform>,
    /// Whether what refers to the image comes along.
    pub referrers: Referrers,
    /// Who signs what is copied: a whole index with each of its images, in the form that cosign reads.
    pub sign: Vec<Signer>,
    /// Whether signatures of the source stay behind, of what would come along.
    pub remove_signatures: bool,
    /// How many blobs are under way at once, at most: how many requests a registry is sent at once depends on how it bears them.
    /// Each blob takes up to a megabyte of memory on its way from registry to registry, two more on its way from or to a file, and
    /// eight (at most 64) to a registry that wants chunks, however large the blobs are.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
    /// Stop before a source registry that tells its quota allows fewer than this many further pulls.
    pub min_quota: Option<u64>,
    /// With platforms: what is no index leaves nothing to choose, and is copied whatever it is for.
    pub any_single: bool,
    /// With platforms: the index stays as it is, byte for byte, and only their manifests and blobs are copied.
    pub sparse: bool,
    /// Into which family of media types to convert; without it they stay as they are.
    pub format: Option<Format>,
    /// How layers are to be compressed; without it they stay as they are.
    pub compress: Option<Recompress>,
    /// Further names for the copy: tags of the destination's repository or layout, or names of the store, archive or engine.
    pub additional_tags: Vec<String>,
}

/// Whether what refers to an image comes along: signatures, SBOMs, attestations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Referrers {
    /// It stays behind.
    Never,
    /// It comes along when the image is copied whole, or as a smaller index; not with one platform's manifest, and not if the
    /// destination has the image already: that is not looked into.
    #[default]
    WithImage,
    /// It comes along, also with one platform's manifest, and is looked for if the destination has the image already.
    Always,
}

/// What parts of a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    manifests: u64,
    referrers: u64,
    copied: u64,
    skipped: u64,
    mounted: u64,
    bytes: u64,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            any_single: false,
            sparse: false,
            format: None,
            compress: None,
            additional_tags: Vec::new(),
            platforms: Vec::new(),
            referrers: Referrers::default(),
            sign: Vec::new(),
            remove_signatures: false,
            jobs: 6,
            store: None,
            min_quota: None,
        }
    }
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The digest at the destination.
    pub digest: Digest,
    /// The digest the source's reference has; another one only if platforms were selected.
    pub source_digest: Digest,
    /// Whether the destination had it already.
    pub unchanged: bool,
    /// Manifests written.
    pub manifests: u64,
    /// Blobs transferred.
    pub copied: u64,
    /// Blobs that were there.
    pub skipped: u64,
    /// Blobs the registry took from another of its repositories.
    pub mounted: u64,
    /// Bytes of the blobs transferred.
    pub bytes: u64,
    /// Manifests written that refer to the image, or are named after its digest: signatures, SBOMs, attestations.
    pub referrers: u64,
    /// Signatures made.
    pub signatures: u64,
    /// HTTP requests sent, to both ends.
    pub requests: u64,
    /// How many pulls the source's registry still allows, if it says so.
    pub quota: Option<Quota>,
    /// Manifests that were changed on the way: the digest before and after. What an index names comes before it.
    pub changes: Vec<(Digest, Digest)>,
}

/// Copies an image.
///
/// Both ends are asked for their digest first: if it is the same, that is all. Otherwise blobs are copied (those the destination
/// lacks, the largest first, several at once), then the manifests an index names, then what refers to the image (see [`Referrers`]),
/// then the image's own manifest under its name.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. Blobs copied before a failure stay at the destination, unnamed; a manifest is only written when
/// everything it names is there.
///
/// # Concurrency
///
/// Needs a tokio runtime with time and I/O. Dropping the future stops the transfer; no temporary file and no changed tag remains.
pub async fn copy(
    cx: &Context,
    from: &ImageRef,
    to: &ImageRef,
    options: &CopyOptions,
) -> Result<CopyReport, Error> {
    trust::admit(cx.policy(), from)?;
    let run = Run::open(cx, from, to, options).await?;
    let report = run.perform().await?;
    // An archive is not there before it is complete.
    run.sink.finish().await?;
    Ok(report)
}

/// Copies one more image into an archive that is open: `sink` is from [`Sink::open`] or [`Sink::beside`], and [`Sink::finish`]
/// has to be called after the last image.
///
/// # Errors
///
/// As [`copy`]; the archive cannot be finished then.
pub async fn copy_into(
    cx: &Context,
    from: &ImageRef,
    sink: &Sink,
    options: &CopyOptions,
) -> Result<CopyReport, Error> {
    trust::admit(cx.policy(), from)?;
    let signing = sign::Signing::new(cx, sink.image(), &options.sign)?;
    let source = Source::open(cx, from, options.store.as_ref()).await?;
    let sink = sink.clone().with_names(&options.additional_tags)?;
    let chosen = Chosen::if_signed(cx, &source, options).await?;
    let asked = match &chosen {
        Some(chosen) => Some(chosen.source_digest.clone()),
        None => source.head().await?,
    };
    let present = sink.head().await?;
    let run = Run {
        cx,
        options,
        source,
        sink,
        signing,
        chosen,
        asked,
        present,
    };
    run.perform().await
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
async fn choose(
    source: &Source,
    whole: Verified,
    options: &CopyOptions,
) -> Result<Selection, Error> {
    if options.any_single && matches!(whole.manifest().content(), Content::Image { .. }) {
        return select::select(source, whole, &[], false).await;
    }
    select::select(source, whole, &options.platforms, options.sparse).await
}

/// A copy under way: both ends, and what they said about their references.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) options: &'a CopyOptions,
    pub(crate) source: Source,
    pub(crate) sink: Sink,
    signing: sign::Signing<'a>,
    /// What to copy, if that has been found out already.
    chosen: Option<Chosen>,
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
struct Chosen {
    /// The digest of the source's reference.
    source_digest: Digest,
    top: Verified,
    /// If the top is an index copied sparsely: the entries that are copied with it.
    only: Option<BTreeSet<Digest>>,
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
    async fn if_signed(
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
struct Staged {
    /// What will get the name.
    top: Manifest,
    /// The digest of it that will be told.
    digest: Digest,
    /// Every manifest of the source whose digest is the same at the destination: what refers to these still does.
    kept: Vec<Digest>,
    /// Manifests that are others there: the digest before and after.
    changes: Vec<(Digest, Digest)>,
    tally: Tally,
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

    async fn perform(&self) -> Result<CopyReport, Error> {
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

impl CopyOptions {
    /// Tells whether manifests are to be changed.
    fn is_conversion(&self) -> bool {
        self.format.is_some() || self.compress.is_some()
    }
}

impl CopyReport {
    fn unchanged(digest: Digest, source_digest: Digest) -> Self {
        Self {
            unchanged: true,
            source_digest,
            ..Self::empty(digest)
        }
    }

    fn add(&mut self, tally: &Tally) {
        self.manifests += tally.manifests;
        self.referrers += tally.referrers;
        self.copied += tally.copied;
        self.skipped += tally.skipped;
        self.mounted += tally.mounted;
        self.bytes += tally.bytes;
    }

    pub(crate) fn empty(digest: Digest) -> Self {
        Self {
            source_digest: digest.clone(),
            digest,
            unchanged: false,
            manifests: 0,
            copied: 0,
            skipped: 0,
            mounted: 0,
            bytes: 0,
            referrers: 0,
            signatures: 0,
            requests: 0,
            quota: None,
            changes: Vec::new(),
        }
    }
}
