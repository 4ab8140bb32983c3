//! From any transport to any other: manifests byte for byte, missing blobs only, several at once.

mod beside;
mod convert;
mod inspect;
mod options;
mod plan;
mod referrers;
pub(crate) mod rewrite;
mod run;
mod select;
mod sign;
mod transfer;

pub use convert::{ConvertError, Format, Recompress};
pub use inspect::{InspectOptions, Inspected, InspectedImage, LayerPart, inspect, tags};
pub use options::{CopyOptions, CopyReport, Referrers};
pub use referrers::TagLists;
pub(crate) use referrers::{Finder, How};
pub(crate) use run::{Run, selected};
pub use select::SelectError;
pub(crate) use select::{best, one, with_attestations};
pub(crate) use sign::Signing;

use crate::{
    context::Context,
    error::Error,
    name::ImageRef,
    transport::{Sink, Source},
    trust,
};
use options::Tally;
use run::{Chosen, Staged};

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
