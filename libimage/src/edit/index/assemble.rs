//! Images brought to an index, and entered into it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    IndexOptions,
    draft::{Draft, json_of},
};
use crate::{
    context::Context,
    copy::{self, CopyOptions, CopyReport, Run, rewrite::entries},
    digest::Digest,
    edit::EditError,
    error::Error,
    limits,
    manifest::{Content, Descriptor, ManifestError},
    media::{self, Kind},
    name::ImageRef,
    platform::Platform,
    transport::{Sink, Source},
    trust::{self, Verified},
};

/// Brings images to the index's repository, enters them, and writes the index.
pub(super) async fn assemble(
    cx: &Context,
    to: &ImageRef,
    images: &[ImageRef],
    options: &IndexOptions,
    mut draft: Draft,
) -> Result<CopyReport, Error> {
    draft.annotate(&options.annotations)?;
    if let Some(kind) = &options.artifact_type {
        if draft.is_docker() {
            return Err(draft.no_annotations().into());
        }
        draft.value["artifactType"] = json!(kind);
    }
    let copying = options.edit.copy_options();
    let last = Sink::open_alone(cx, to, copying.store.as_ref()).await?;
    let mut report = CopyReport::empty(Digest::of(b""));
    let mut requests = 0;
    for image in images {
        trust::admit(cx.policy(), image)?;
        let run = beside(cx, image, to, &last, &copying).await?;
        let top = chosen(&run, &options.platforms).await?;
        run.bring(top.clone(), &mut report).await?;
        enter(&mut draft, &run, &top, options.replace).await?;
        requests += run.source.requests();
        // A sink of a registry was opened for this image.
        if matches!(to, ImageRef::Docker(_)) {
            requests += run.sink.requests();
        }
    }
    let present = last.head().await?;
    let report = draft.publish(&last, present.as_ref(), report).await?;
    Ok(CopyReport {
        requests: requests + last.requests(),
        ..report
    })
}

/// Opens one of the images. A registry's sink is one of its own, that may mount blobs from the image's repository; any other is
/// shared.
async fn beside<'a>(
    cx: &'a Context,
    image: &ImageRef,
    to: &ImageRef,
    shared: &Sink,
    options: &'a CopyOptions,
) -> Result<Run<'a>, Error> {
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    let sink = match to {
        ImageRef::Docker(_) => Sink::open(cx, to, options.store.as_ref(), &source).await?,
        _ => shared.clone(),
    };
    Run::between(cx, source, sink, options).await
}

/// Fetches what is to be put into the index: an image, or an index with those of its entries that are wanted.
async fn chosen(run: &Run<'_>, platforms: &[Platform]) -> Result<Verified, Error> {
    let top = run.source.verified(run.cx, run.asked.as_ref()).await?;
    if platforms.is_empty() {
        return Ok(top);
    }
    let Content::Index { entries } = top.manifest().content() else {
        for platform in platforms {
            copy::one(&run.source, top.clone(), platform).await?;
        }
        return Ok(top);
    };
    let mut chosen = BTreeSet::new();
    for platform in platforms {
        chosen.insert(copy::best(&top, entries, platform)?);
    }
    copy::with_attestations(entries, &mut chosen);
    Ok(top.filter(|at| chosen.contains(&at))?)
}

/// Enters an image, or the entries of an index.
async fn enter(
    draft: &mut Draft,
    run: &Run<'_>,
    top: &Verified,
    replace: bool,
) -> Result<(), Error> {
    if let Content::Index { .. } = top.manifest().content() {
        let index = json_of(top)?;
        let values = index["manifests"].as_array().into_iter().flatten();
        for (entry, value) in entries(top).iter().zip(values) {
            draft.push(entry, value.clone(), replace)?;
        }
        return Ok(());
    }
    let value = entry_of(run, top).await?;
    let entry = serde_json::from_value(value.clone());
    let entry: Descriptor = entry.map_err(|source| ManifestError::Json {
        digest: top.digest().clone(),
        source,
    })?;
    draft.push(&entry, value, replace)
}

/// Describes an image: with the platform its configuration names, as it names it.
async fn entry_of(run: &Run<'_>, image: &Verified) -> Result<Value, Error> {
    let manifest = image.manifest();
    let mut value = json!({
        "mediaType": manifest.media_type(),
        "digest": image.digest(),
        "size": manifest.raw().len(),
    });
    let Content::Image { config, .. } = manifest.content() else {
        return Ok(value);
    };
    if media::kind(&config.media_type) != Kind::Config {
        value["artifactType"] = json!(manifest.artifact_type());
        return Ok(value);
    }
    let raw = run.source.read(config, limits::CONFIG_BYTES).await?;
    let invalid = |source| EditError::Config {
        image: run.source.image().to_string(),
        config: config.digest.clone(),
        source,
    };
    let read: Map<String, Value> = serde_json::from_slice(&raw).map_err(invalid)?;
    // Anything else than what the specification wants there would make the whole index unreadable.
    let platform: Platform = serde_json::from_slice(&raw).map_err(invalid)?;
    value["platform"] = json!(platform);
    if let Some(Value::Array(features)) = read.get("os.features")
        && features.iter().all(Value::is_string)
    {
        value["platform"]["os.features"] = json!(features);
    }
    Ok(value)
}
