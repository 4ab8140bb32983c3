//! What did the synchronisation do: as a table, as JSON, as a file of digests.

use libimage::ErrorKind;
use libimage::name::ImageRef;
use libimage::sync::{Outcome, SyncReport, SyncedImage};
use serde_json::{Value, json};
use std::path::Path;
use trimaran_cli::table::{Table, printable};
use trimaran_cli::{Failure, human};

/// `1 image`, `2 images`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The table, repository by repository, and a line about everything.
pub(super) fn summary(report: &SyncReport) -> String {
    let mut rows: Vec<(String, [u64; 6])> = Vec::new();
    for image in &report.images {
        let repository = repository_of(&image.from);
        // Images of a repository come one after the other, but for a plan that names it twice.
        let row = match rows.iter().rposition(|(known, _)| *known == repository) {
            Some(at) => at,
            None => {
                rows.push((repository, [0; 6]));
                rows.len() - 1
            }
        };
        let cells = &mut rows[row].1;
        cells[match image.outcome {
            Outcome::Copied { .. } | Outcome::WouldCopy { .. } => 0,
            Outcome::Unchanged { .. } => 1,
            Outcome::Immutable => 2,
            Outcome::Failed { .. } => 3,
            _ => continue,
        }] += 1;
        cells[4] += image.blobs;
        cells[5] += image.bytes;
    }
    let totals = report.totals();
    let (first, verb) = if totals.would_copy > 0 {
        ("TO COPY", "would be copied")
    } else {
        ("COPIED", "copied")
    };
    let mut table = Table::new(&[
        "SOURCE",
        first,
        "UNCHANGED",
        "IMMUTABLE",
        "FAILED",
        "BLOBS",
        "SIZE",
    ]);
    for (repository, [copied, unchanged, immutable, failed, blobs, bytes]) in &rows {
        table.row([
            repository.clone(),
            copied.to_string(),
            unchanged.to_string(),
            immutable.to_string(),
            failed.to_string(),
            blobs.to_string(),
            human::bytes(*bytes),
        ]);
    }
    for failed in &report.failed_sources {
        table.row([failed.source.as_str(), "-", "-", "-", "1", "-", "-"]);
    }
    let mut parts = vec![format!("{} {verb}", totals.copied + totals.would_copy)];
    for (number, word) in [
        (totals.unchanged, "unchanged"),
        (totals.immutable, "immutable"),
        (totals.failed, "failed"),
        (totals.not_tried, "not tried"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    format!(
        "{table}{} in {}: {}; {}, {}, {}",
        count(report.images.len() as u64, "image", "images"),
        human::duration(report.elapsed),
        parts.join(", "),
        count(totals.blobs, "blob", "blobs"),
        human::bytes(totals.bytes),
        count(totals.requests, "request", "requests"),
    )
}

/// Where an image is, without its tag; directories are taken together.
fn repository_of(image: &ImageRef) -> String {
    match image {
        ImageRef::Docker(name) => format!("docker://{}", name.without_reference()),
        ImageRef::Oci { path, .. } => format!("oci:{}", path.display()),
        ImageRef::Dir { path } => {
            format!("dir:{}", path.parent().unwrap_or(path).display())
        }
        other => other.to_string(),
    }
}

/// A line for each image that would be copied.
pub(super) fn preview(report: &SyncReport) -> String {
    let line = |image: &SyncedImage| {
        let (Outcome::WouldCopy { .. }, Some(to)) = (&image.outcome, &image.to) else {
            return None;
        };
        let line = format!("{} -> {to}", image.from);
        Some(printable(&line) + "\n")
    };
    report.images.iter().filter_map(line).collect()
}

/// Everything, for programs.
pub(super) fn as_json(report: &SyncReport, dry_run: bool) -> Value {
    let totals = report.totals();
    let sources = report.failed_sources.iter().map(|failed| {
        json!({"source": failed.source, "error": {"kind": kind(failed.kind), "message": failed.message}})
    });
    json!({
        "dryRun": dry_run,
        "images": report.images.iter().map(image).collect::<Vec<_>>(),
        "failedSources": sources.collect::<Vec<_>>(),
        "totals": {
            "images": report.images.len(),
            "copied": totals.copied,
            "unchanged": totals.unchanged,
            "immutable": totals.immutable,
            "wouldCopy": totals.would_copy,
            "failed": totals.failed,
            "notTried": totals.not_tried,
            "blobs": {"copied": totals.blobs, "skipped": totals.skipped},
            "bytes": totals.bytes,
            "requests": totals.requests,
            "listingRequests": report.listing_requests,
            "milliseconds": millis(report.elapsed),
        },
    })
}

fn image(image: &SyncedImage) -> Value {
    let mut value = json!({
        "from": image.from.to_string(),
        "to": image.to.as_ref().map(ToString::to_string),
        "outcome": image.outcome.word(),
        "blobs": {"copied": image.blobs, "skipped": image.skipped},
        "bytes": image.bytes,
        "requests": image.requests,
        "milliseconds": millis(image.elapsed),
    });
    match &image.outcome {
        Outcome::Copied {
            digest,
            source_digest,
        } => {
            value["digest"] = json!(digest);
            value["sourceDigest"] = json!(source_digest);
        }
        Outcome::Unchanged { digest } => value["digest"] = json!(digest),
        Outcome::WouldCopy { digest, replaces } => {
            value["digest"] = json!(digest);
            value["replaces"] = json!(replaces);
        }
        Outcome::Failed { kind: why, message } => {
            value["error"] = json!({"kind": kind(*why), "message": message});
        }
        _ => {}
    }
    value
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A word for a kind of error.
fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not-found",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Denied => "denied",
        ErrorKind::RateLimited { .. } => "rate-limited",
        ErrorKind::DigestMismatch => "digest-mismatch",
        ErrorKind::Malformed => "malformed",
        ErrorKind::LimitExceeded => "limit-exceeded",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Conflict => "conflict",
        ErrorKind::NoSpace => "no-space",
        ErrorKind::Io => "io",
        ErrorKind::Network { .. } => "network",
        ErrorKind::Canceled => "canceled",
        ErrorKind::InvalidReference => "invalid-reference",
        _ => "other",
    }
}

/// Writes digest and name of every image that is at the destination.
pub(super) fn write_digests(path: &Path, report: &SyncReport) -> Result<(), Failure> {
    let line = |image: &SyncedImage| {
        let (Outcome::Copied { digest, .. } | Outcome::Unchanged { digest }) = &image.outcome
        else {
            return None;
        };
        let to = image.to.as_ref()?;
        Some(format!("{digest} {to}\n"))
    };
    let text: String = report.images.iter().filter_map(line).collect();
    std::fs::write(path, text).map_err(|error| {
        Failure::new(format!(
            "the images are synchronised, but their digests cannot be written to {}: {error}",
            path.display()
        ))
    })
}
