//! What refers to an image travels with it: signatures, SBOMs, attestations.

use super::{CopyReport, Run, Staged, Tally};
use crate::{digest::Digest, error::Error, trust::Verified};

/// Brings what refers to the image that is being copied.
#[expect(clippy::unused_async, reason = "the next step fills it")]
pub(super) async fn bring(
    _run: &Run<'_>,
    _source_digest: &Digest,
    _top: &Verified,
    _staged: &Staged,
) -> Result<Tally, Error> {
    Ok(Tally::default())
}

/// Brings what refers to an image that the destination has already, if that is wanted.
#[expect(clippy::unused_async, reason = "the next step fills it")]
pub(super) async fn unchanged(_run: &Run<'_>, report: CopyReport) -> Result<CopyReport, Error> {
    Ok(report)
}
