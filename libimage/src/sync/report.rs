//! What a synchronisation did.

use std::time::Duration;

use crate::{digest::Digest, error::ErrorKind, name::ImageRef};

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was copied.
    Copied {
        /// The digest at the destination.
        digest: Digest,
        /// The digest at the source; another one only if platforms were selected or the image was converted.
        source_digest: Digest,
    },
    /// The destination had it already.
    Unchanged {
        /// The digest at both ends.
        digest: Digest,
    },
    /// The destination has an image of this name, which must not change; the source was not asked.
    Immutable,
    /// It would be copied, were this no dry run.
    WouldCopy {
        /// The digest at the source, if the registry said so.
        digest: Option<Digest>,
        /// The digest the destination has now, if it has one.
        replaces: Option<Digest>,
    },
    /// It could not be copied.
    Failed {
        /// What went wrong, for programs.
        kind: ErrorKind,
        /// What went wrong, for people: the error and its causes.
        message: String,
    },
    /// It was not tried, because another had failed.
    NotTried,
}

impl Outcome {
    /// Returns one word for it, as the report's JSON has it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Copied { .. } => "copied",
            Self::Unchanged { .. } => "unchanged",
            Self::Immutable => "immutable",
            Self::WouldCopy { .. } => "would-copy",
            Self::Failed { .. } => "failed",
            Self::NotTried => "not-tried",
        }
    }
}

/// One image of a synchronisation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SyncedImage {
    /// Where it is.
    pub from: ImageRef,
    /// Where it goes; nothing if that is what failed.
    pub to: Option<ImageRef>,
    /// What became of it.
    pub outcome: Outcome,
    /// Blobs transferred.
    pub blobs: u64,
    /// Blobs that were there, or were mounted.
    pub skipped: u64,
    /// Bytes of the blobs transferred.
    pub bytes: u64,
    /// HTTP requests sent for it.
    pub requests: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// A source whose images could not be found out.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedSource {
    /// The source.
    pub source: String,
    /// What went wrong, for programs.
    pub kind: ErrorKind,
    /// What went wrong, for people.
    pub message: String,
}

/// What a synchronisation did, image by image, in the plan's order.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SyncReport {
    /// The images.
    pub images: Vec<SyncedImage>,
    /// Sources whose images could not be found out.
    pub failed_sources: Vec<FailedSource>,
    /// HTTP requests sent to find out which images there are.
    pub listing_requests: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Sums over all images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Images copied.
    pub copied: u64,
    /// Images the destination had.
    pub unchanged: u64,
    /// Images that must not change.
    pub immutable: u64,
    /// Images that would be copied.
    pub would_copy: u64,
    /// Images and sources that failed.
    pub failed: u64,
    /// Images not tried because of a failure.
    pub not_tried: u64,
    /// Blobs transferred.
    pub blobs: u64,
    /// Blobs that were there, or were mounted.
    pub skipped: u64,
    /// Bytes of the blobs transferred.
    pub bytes: u64,
    /// HTTP requests sent.
    pub requests: u64,
}

impl SyncReport {
    /// Tells whether anything failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.totals().failed > 0
    }

    /// Adds everything up.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            failed: self.failed_sources.len() as u64,
            requests: self.listing_requests,
            ..Totals::default()
        };
        for image in &self.images {
            *match image.outcome {
                Outcome::Copied { .. } => &mut totals.copied,
                Outcome::Unchanged { .. } => &mut totals.unchanged,
                Outcome::Immutable => &mut totals.immutable,
                Outcome::WouldCopy { .. } => &mut totals.would_copy,
                Outcome::Failed { .. } => &mut totals.failed,
                Outcome::NotTried => &mut totals.not_tried,
            } += 1;
            totals.blobs += image.blobs;
            totals.skipped += image.skipped;
            totals.bytes += image.bytes;
            totals.requests += image.requests;
        }
        totals
    }
}
