//! What refers to an image travels with it: signatures, SBOMs, attestations.
//!
//! Three conventions are followed: manifests with a `subject`, found by the registry's endpoint; the same, listed in a tag
//! `sha256-<hex>` where a registry does not have the endpoint; and cosign's tags `sha256-<hex>.sig`, `.att` and `.sbom`. Whatever is
//! found is looked for referrers too: an SBOM may be signed.
//!
//! # What it costs
//!
//! At the source, for an image that nothing refers to: one request for each of its manifests (the index and every entry), and one for
//! the list of tags. A registry without the endpoint answers the first of them by 404 and is not asked again: two requests, however many
//! manifests there are. Where the list of tags is longer than a page it is not read on; then the three tags of the top manifest are
//! asked for by HEAD (those of its entries only if it has one, those of referrers not at all), and so are fallback tags if there is no endpoint. Every referrer found costs
//! one request more, for its own referrers. At the destination: nothing if there are none, else one request for each manifest
//! that has any.

mod bring;
mod find;
mod piece;

use std::collections::BTreeSet;

pub use find::TagLists;
pub(crate) use find::{Finder, Found, How};

use super::{CopyReport, Referrers, Run, Staged, Tally, run::choose, select::Selection};
use crate::{
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    progress::Event,
    trust::Verified,
};
use bring::Bringer;

/// Referrers of referrers, again and again: a signature of an SBOM of an image is the second level.
const DEPTH: usize = 4;
/// Referrers of one image, all levels together: one a day for ten years.
const REFERRERS: usize = 4096;

const NO_PLACE: &str = "the destination has no place for them";

/// Brings what refers to the image that is being copied. `top` is the manifest that was selected, before any conversion.
pub(super) async fn bring(
    run: &Run<'_>,
    source_digest: &Digest,
    top: &Verified,
    staged: &Staged,
) -> Result<Tally, Error> {
    let whole = run.options.platforms.len() != 1
        || (top.digest() == source_digest && run.sink.keeps_referrers());
    let wanted = match run.options.referrers {
        Referrers::Never => false,
        Referrers::WithImage => whole,
        Referrers::Always => true,
    };
    // In the same repository everything is there.
    if !wanted || run.sink.is_repository_of(&run.source) {
        return Ok(Tally::default());
    }
    let mut kept = staged.kept.clone();
    // The most important one comes first.
    if let Some(at) = kept.iter().position(|digest| digest == top.digest()) {
        kept.swap(0, at);
    }
    let changed = std::iter::once(source_digest).chain(staged.changes.iter().map(|(old, _)| old));
    let mut seen: BTreeSet<&Digest> = kept.iter().collect();
    let changed: Vec<Digest> = changed
        .filter(|digest| seen.insert(digest))
        .cloned()
        .collect();
    let mut bringer = Bringer::new(run).await?;
    if !run.sink.keeps_referrers() {
        let count = bringer.count(&[changed, kept].concat()).await?;
        warn(run, count, NO_PLACE);
        return Ok(Tally::default());
    }
    let tally = bringer.bring(&kept).await?;
    let count = bringer.count(&changed).await?;
    warn(
        run,
        count,
        "what they refer to has another digest in the copy",
    );
    Ok(tally)
}

/// Brings what refers to an image that the destination has already, if that is wanted.
pub(super) async fn unchanged(run: &Run<'_>, mut report: CopyReport) -> Result<CopyReport, Error> {
    if run.options.referrers != Referrers::Always || run.sink.is_repository_of(&run.source) {
        return Ok(report);
    }
    let verified = run.source.verified(run.cx, run.asked.as_ref()).await?;
    let Selection { top, only } = choose(&run.source, verified, run.options).await?;
    let mut bringer = Bringer::new(run).await?;
    let mut subjects = manifests(top.digest(), top.manifest());
    if let Some(only) = only {
        subjects.retain(|digest| digest == top.digest() || only.contains(digest));
    }
    if run.sink.keeps_referrers() {
        report.add(&bringer.bring(&subjects).await?);
    } else {
        let count = bringer.count(&subjects).await?;
        warn(run, count, NO_PLACE);
    }
    Ok(report)
}

/// Returns the digests of a manifest and of what it names.
fn manifests(digest: &Digest, manifest: &Manifest) -> Vec<Digest> {
    let mut digests = vec![digest.clone()];
    if let Content::Index { entries } = manifest.content() {
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
    digests
}

fn warn(run: &Run<'_>, count: usize, why: &str) {
    if count == 0 {
        return;
    }
    let message = format!(
        "{count} referrers of {} (signatures, SBOMs, attestations) stay behind: {why}",
        run.source.image()
    );
    run.cx
        .progress()
        .event(&Event::Warning { message: &message });
}
