//! From any transport to any other: manifests byte for byte, missing blobs only, several at once.

mod convert;
mod inspect;
mod plan;
mod select;
mod transfer;

use std::sync::Arc;

pub use convert::{ConvertError, Format, Recompress};
pub use inspect::{InspectOptions, Inspected, InspectedImage, inspect, tags};
pub use select::SelectError;
pub(crate) use select::one;

use crate::{
    context::Context,
    digest::Digest,
    error::Error,
    name::ImageRef,
    platform::Platform,
    store::Store,
    transport::{Sink, Source},
    trust,
};

/// How to copy. The default copies an index whole.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Which platforms of an index: none is all of them; one copies that manifest alone; several make a smaller index, whose
    /// digest is another.
    pub platforms: Vec<Platform>,
    /// How many blobs are under way at once.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
    /// With platforms: the index stays as it is, byte for byte, and only their manifests and blobs are copied.
    pub sparse: bool,
    /// Into which family of media types to convert; without it they stay as they are.
    pub format: Option<Format>,
    /// How layers are to be compressed; without it they stay as they are.
    pub compress: Option<Recompress>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            sparse: false,
            format: None,
            compress: None,
            platforms: Vec::new(),
            jobs: 4,
            store: None,
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
    /// HTTP requests sent, to both ends.
    pub requests: u64,
    /// Manifests that were changed on the way: the digest before and after. What an index names comes before it.
    pub changes: Vec<(Digest, Digest)>,
}

/// Copies an image.
///
/// Both ends are asked for their digest first: if it is the same, that is all. Otherwise blobs are copied (those the destination
/// lacks, the largest first, several at once), then the manifests an index names, then the image's own manifest under its name.
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
    let source = Source::open(cx, from, options.store.as_ref()).await?;
    let destination = async {
        let sink = Sink::open(cx, to, options.store.as_ref(), &source).await?;
        let present = sink.head().await?;
        Ok((sink, present))
    };
    let (asked, (sink, present)) = match to {
        ImageRef::Docker(_) => tokio::try_join!(source.head(), destination)?,
        // Opening makes the directory: not before it is known that there is something to put into it.
        _ => (source.head().await?, destination.await?),
    };
    let whole = options.platforms.is_empty();
    if let (true, Some(digest)) = (whole, &asked)
        && present.as_ref() == Some(digest)
    {
        return Ok(CopyReport::unchanged(
            digest.clone(),
            digest.clone(),
            &source,
            &sink,
        ));
    }
    let verified = source.verified(cx, asked.as_ref()).await?;
    let source_digest = verified.digest().clone();
    let selected = select::select(&source, verified, &options.platforms).await?;
    if present.as_ref() == Some(selected.digest()) {
        return Ok(CopyReport::unchanged(
            selected.digest().clone(),
            source_digest,
            &source,
            &sink,
        ));
    }
    let walk = plan::Walk {
        source: &source,
        sink: &sink,
        ask: present.is_some(),
        jobs: options.jobs,
    };
    let plan = walk.plan(selected).await?;
    transfer::transfer(cx.progress(), source, sink, plan, options.jobs)
        .await
        .map(|report| CopyReport {
            source_digest,
            ..report
        })
}

impl CopyReport {
    fn unchanged(digest: Digest, source_digest: Digest, source: &Source, sink: &Sink) -> Self {
        let requests = source.requests() + sink.requests();
        Self {
            unchanged: true,
            source_digest,
            requests,
            ..Self::empty(digest)
        }
    }

    fn empty(digest: Digest) -> Self {
        Self {
            source_digest: digest.clone(),
            digest,
            unchanged: false,
            manifests: 0,
            copied: 0,
            skipped: 0,
            mounted: 0,
            bytes: 0,
            requests: 0,
            changes: Vec::new(),
        }
    }
}
