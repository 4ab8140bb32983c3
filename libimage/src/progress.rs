//! Who is told what happens: the only progress interface of the workspace. A library never prints; the tools draw.

use std::{fmt, time::Duration};

use crate::digest::Digest;

/// What a blob is, for whoever draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobKind {
    /// A manifest or an index.
    Manifest,
    /// An image's configuration.
    Config,
    /// A layer.
    Layer,
    /// Anything else (artifacts, signatures).
    Other,
}

/// Something that happened. Sizes are bytes of the blob as transferred, unless said otherwise.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A transfer or an unpacking begins.
    Started {
        /// The blob.
        digest: &'a Digest,
        /// What it is.
        kind: BlobKind,
        /// Its size in bytes, if known.
        total: Option<u64>,
    },
    /// More of it is done; at most about ten times a second per blob.
    Advanced {
        /// The blob.
        digest: &'a Digest,
        /// Bytes done since the start.
        done: u64,
    },
    /// Nothing had to be done.
    Skipped {
        /// The blob.
        digest: &'a Digest,
        /// The reason, for people.
        why: &'a str,
    },
    /// The registry took the blob from another of its repositories.
    Mounted {
        /// The blob.
        digest: &'a Digest,
        /// The repository it was taken from.
        from: &'a str,
    },
    /// A layer has been unpacked and verified.
    Unpacked {
        /// The digest of the uncompressed layer.
        diff_id: &'a Digest,
        /// Entries of its archive.
        entries: u64,
        /// Uncompressed size in bytes.
        bytes: u64,
    },
    /// A request failed and will be tried again.
    Retry {
        /// The request, for people.
        what: &'a str,
        /// How long it will wait.
        after: Duration,
        /// What went wrong.
        reason: &'a str,
    },
    /// The blob is complete.
    Done {
        /// The blob.
        digest: &'a Digest,
    },
    /// One image of a synchronisation is done with.
    Image {
        /// Where it is.
        from: &'a str,
        /// Where it goes; empty if that cannot be said.
        to: &'a str,
        /// One word: `copied`, `unchanged`, `immutable`, `would-copy`, `failed` or `not-tried`.
        outcome: &'a str,
        /// Why it failed.
        reason: Option<&'a str>,
    },
    /// Something a person should read, and that stops nothing.
    Warning {
        /// One sentence.
        message: &'a str,
    },
}

/// Receives events, from any thread.
pub trait Progress: Send + Sync {
    /// Is told what happened; must not block for long.
    fn event(&self, event: &Event<'_>);
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: &Event<'_>) {}
}

impl fmt::Debug for dyn Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Progress")
    }
}
