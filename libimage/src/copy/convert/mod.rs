//! From one family of media types, or one compression, to another.
//!
//! Configurations stay byte for byte, and with them an image's id: both families read the same document, and compression
//! changes no diffID. Manifests are edited as JSON, so that fields unknown to us live on where the other family allows them.

mod error;
mod layers;
mod learn;
mod options;
mod rewriter;
mod types;

use std::collections::BTreeMap;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

pub use error::ConvertError;
pub use options::{Format, Recompress};

use self::{layers::Job, rewriter::Rewriter};
use super::{
    Chosen, CopyOptions, Run, Staged, Tally,
    rewrite::{Delivery, Tree, entries},
};
use crate::{
    digest::Digest,
    error::Error,
    limits,
    manifest::{Content, Descriptor},
    media::{self, Compression, Kind},
    platform::Platform,
    progress::Event,
    transport::Source,
    trust::Verified,
};

/// Brings an image to the destination as the options want it, all but its name.
pub(super) async fn stage(run: &Run<'_>, chosen: Chosen) -> Result<Staged, Error> {
    let image = run.source.image().to_string();
    if chosen.only.is_some() {
        return Err(ConvertError::Sparse { image }.into());
    }
    let options = run.options;
    let tree = Tree::fetch(&run.source, chosen.top, options.jobs).await?;
    check(&image, &tree, options)?;
    let mut facts = facts(run, &tree).await?;
    let (mut became, mut tally) = (BTreeMap::new(), Tally::default());
    if let Some(wanted) = options.compress.as_ref().filter(|_| !facts.jobs.is_empty()) {
        became = learn::learn(run, &tree, wanted, &mut facts.jobs).await;
        tally.skipped = became.len() as u64;
        let (made, more) = layers::recompress(run, wanted, facts.jobs).await?;
        became.extend(made);
        tally.add(&more);
    }
    let mut rewriter = Rewriter::new(image, options, &became, &facts.platforms);
    let manifests = tree.rewrite(&mut rewriter)?;
    for message in rewriter.losses() {
        run.cx
            .progress()
            .event(&Event::Warning { message: &message });
    }
    let mut delivery = Delivery::new(run, manifests);
    delivery.there = became.into_values().map(|layer| layer.digest).collect();
    delivery.tally = tally;
    delivery.stage().await
}

/// Refuses what can be known to be impossible before anything is transferred.
fn check(image: &str, tree: &Tree, options: &CopyOptions) -> Result<(), ConvertError> {
    let top = tree.top();
    if let Content::Image { config, .. } = top.manifest().content()
        && media::kind(&config.media_type) != Kind::Config
    {
        return Err(ConvertError::Artifact {
            image: image.to_owned(),
            digest: top.digest().clone(),
        });
    }
    let zstd = options.compress.as_ref().map(Recompress::algorithm) == Some(Compression::Zstd);
    if zstd && options.format == Some(Format::V2s2) {
        return Err(ConvertError::ZstdInDocker {
            image: image.to_owned(),
        });
    }
    let nothing = (BTreeMap::new(), BTreeMap::new());
    Rewriter::new(image.to_owned(), options, &nothing.0, &nothing.1).refusals(tree)
}

/// What the configurations say.
#[derive(Debug, Default)]
struct Facts {
    /// Layers to be compressed another way, the largest first, each once.
    jobs: Vec<Job>,
    /// For what an image is that its index has no platform for.
    platforms: BTreeMap<Digest, Platform>,
}

/// Reads the configurations of the images for which they matter.
async fn facts(run: &Run<'_>, tree: &Tree) -> Result<Facts, Error> {
    let nameless = nameless(tree, run.options.format);
    let images = tree.images().filter(|image| is_image(image));
    let asking: Vec<_> = images
        .map(|image| of_image(run, image, nameless.contains(&image.digest())).boxed())
        .collect();
    let answers: Vec<Facts> = stream::iter(asking)
        .buffered(run.options.jobs.max(1))
        .try_collect()
        .await?;
    let mut facts = Facts::default();
    let mut jobs: BTreeMap<Digest, Job> = BTreeMap::new();
    for answer in answers {
        facts.platforms.extend(answer.platforms);
        for job in answer.jobs {
            if let Some(other) = jobs.insert(job.layer.digest.clone(), job.clone())
                && other.diff_id != job.diff_id
            {
                // It can be only one of them: at least one configuration lies.
                return Err(ConvertError::DiffId {
                    layer: job.layer.digest,
                    wanted: job.diff_id,
                    found: other.diff_id,
                }
                .into());
            }
        }
    }
    facts.jobs = jobs.into_values().collect();
    facts
        .jobs
        .sort_by_key(|job| std::cmp::Reverse(job.layer.size));
    Ok(facts)
}

/// Reads the configuration of an image, if it matters: for its diffIDs, or because the image is `nameless`.
async fn of_image(run: &Run<'_>, image: &Verified, nameless: bool) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    let Content::Image { config, layers } = image.manifest().content() else {
        return Ok(facts);
    };
    let wanted = run.options.compress.as_ref();
    let concerned = |layer: &Descriptor| match media::kind(&layer.media_type) {
        Kind::Layer(found) => wanted.is_some_and(|wanted| wanted.concerns(found)),
        _ => false,
    };
    let recompress = layers.iter().any(concerned);
    if !nameless && !recompress {
        return Ok(facts);
    }
    let read = read(&run.source, config).await?;
    if nameless && let Some(platform) = read.platform {
        facts.platforms.insert(image.digest().clone(), platform);
    }
    if recompress {
        let ids = read
            .rootfs
            .map(|rootfs| rootfs.diff_ids)
            .unwrap_or_default();
        if ids.len() != layers.len() {
            return Err(ConvertError::DiffIds {
                image: run.source.image().to_string(),
                config: config.digest.clone(),
                wanted: layers.len(),
                found: ids.len(),
            }
            .into());
        }
        let layers = layers.iter().cloned().zip(ids);
        let concerned = layers.filter(|(layer, _)| concerned(layer));
        facts.jobs = concerned
            .map(|(layer, diff_id)| Job { layer, diff_id })
            .collect();
    }
    Ok(facts)
}

/// Returns the images whose index does not say for what platform they are, where that will be needed.
fn nameless(tree: &Tree, format: Option<Format>) -> Vec<&Digest> {
    if format != Some(Format::V2s2) {
        return Vec::new();
    }
    let nameless = |entry: &&Descriptor| entry.platform.is_none();
    let of_index = |index| {
        entries(index)
            .iter()
            .filter(nameless)
            .map(|entry| &entry.digest)
    };
    tree.indexes().flat_map(of_index).collect()
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: Option<Platform>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

async fn read(source: &Source, config: &Descriptor) -> Result<Config, Error> {
    let raw = source.read(config, limits::CONFIG_BYTES).await?;
    let invalid = |error| ConvertError::Config {
        image: source.image().to_string(),
        config: config.digest.clone(),
        source: error,
    };
    Ok(serde_json::from_slice(&raw).map_err(invalid)?)
}

/// Tells whether this is an image, and not an artifact or an index.
fn is_image(manifest: &Verified) -> bool {
    match manifest.manifest().content() {
        Content::Image { config, .. } => media::kind(&config.media_type) == Kind::Config,
        Content::Index { .. } => false,
    }
}
