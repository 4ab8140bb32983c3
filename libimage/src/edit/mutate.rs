//! Changes images: new configurations and manifests around the layers that are there.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{Changes, EditError, EditOptions, Mutation, apply};
use crate::{
    context::Context,
    copy::{
        CopyReport, Run,
        rewrite::{Delivery, Made, Rewrite, Tree, entries},
    },
    digest::Digest,
    error::Error,
    limits,
    manifest::{Content, Descriptor},
    media::{self, Kind},
    name::ImageRef,
    platform::Platform,
    trust::{self, Verified},
};

/// Changes an image, or images of an index, and writes the result to `to`, which may be where it came from.
///
/// Layers are neither read nor written if both are in one repository, and mounted if both are in one registry. The report's
/// `changes` say which manifest became which.
///
/// # Errors
///
/// See [`crate::ErrorKind`]; nothing has its name before everything is there.
pub async fn mutate(
    cx: &Context,
    from: &ImageRef,
    to: &ImageRef,
    mutation: &Mutation,
    options: &EditOptions,
) -> Result<CopyReport, Error> {
    mutation.check()?;
    trust::admit(cx.policy(), from)?;
    not_by_digest(to)?;
    let options = options.copy_options();
    let run = Run::open(cx, from, to, &options).await?;
    let top = run.source.verified(cx, run.asked.as_ref()).await?;
    let tree = Tree::fetch(&run.source, top, options.jobs).await?;
    let chosen = chosen(&run, &tree, mutation).await?;
    let image = from.to_string();
    check(&image, &tree, &chosen, mutation)?;
    let configs = configs(&run, &tree, &chosen, mutation).await?;
    let mut editor = Editor {
        image,
        mutation,
        chosen: &chosen,
        configs: &configs,
    };
    let manifests = tree.rewrite(&mut editor)?;
    let mut delivery = Delivery::new(&run, manifests);
    delivery.made = configs.into_values().collect();
    delivery.deliver().await
}

/// Refuses a destination that says what its content is.
pub(super) fn not_by_digest(to: &ImageRef) -> Result<(), EditError> {
    match to {
        ImageRef::Docker(name) if name.digest().is_some() => Err(EditError::ByDigest {
            image: to.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Returns the manifests that are to be changed.
async fn chosen(
    run: &Run<'_>,
    tree: &Tree,
    mutation: &Mutation,
) -> Result<BTreeSet<Digest>, Error> {
    // Attestations have a configuration like an image's, which nobody runs.
    let unknown = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(Platform::is_unknown);
    let of_indexes = || tree.indexes().flat_map(entries);
    let attestations: BTreeSet<&Digest> = of_indexes()
        .filter(|entry| unknown(entry) || entry.attests().is_some())
        .map(|entry| &entry.digest)
        .collect();
    let images = tree.images().map(Verified::digest);
    if mutation.platforms.is_empty() {
        let images = images.filter(|digest| !attestations.contains(digest));
        return Ok(images.cloned().collect());
    }
    let mut chosen = BTreeSet::new();
    for platform in &mutation.platforms {
        let top = tree.top();
        if entries(top).is_empty() {
            // Not an index: it is checked to be for that platform.
            let one = crate::copy::one(&run.source, top.clone(), platform).await?;
            chosen.insert(one.digest().clone());
            continue;
        }
        let mut found = tree.indexes().filter_map(|index| {
            let entries = entries(index);
            let best = platform.best(entries.iter().map(|entry| entry.platform.as_ref()))?;
            Some(entries[best].digest.clone())
        });
        match found.next() {
            Some(first) => chosen.extend(std::iter::once(first).chain(found)),
            // Says what there is.
            None => drop(crate::copy::best(top, entries(top), platform)?),
        }
    }
    Ok(chosen)
}

/// Refuses what is impossible.
fn check(
    image: &str,
    tree: &Tree,
    chosen: &BTreeSet<Digest>,
    mutation: &Mutation,
) -> Result<(), EditError> {
    let image = || image.to_owned();
    let is_index = !matches!(tree.top().manifest().content(), Content::Image { .. });
    if !mutation.index_annotations.is_empty() && !is_index {
        return Err(EditError::NoIndex { image: image() });
    }
    for manifest in tree
        .images()
        .filter(|manifest| chosen.contains(manifest.digest()))
    {
        let is_image = config_of(manifest)
            .is_some_and(|config| media::kind(&config.media_type) == Kind::Config);
        // Inside an index an artifact is passed by; alone, it is what was meant.
        if mutation.is_of_config() && !is_image && !is_index {
            return Err(EditError::Artifact {
                image: image(),
                digest: manifest.digest().clone(),
            });
        }
    }
    Ok(())
}

fn config_of(manifest: &Verified) -> Option<&Descriptor> {
    match manifest.manifest().content() {
        Content::Image { config, .. } => Some(config),
        Content::Index { .. } => None,
    }
}

/// Makes the new configurations, by the digest of the manifest.
async fn configs(
    run: &Run<'_>,
    tree: &Tree,
    chosen: &BTreeSet<Digest>,
    mutation: &Mutation,
) -> Result<BTreeMap<Digest, Made>, Error> {
    if !mutation.is_of_config() {
        return Ok(BTreeMap::new());
    }
    let concerned = tree
        .images()
        .filter(|image| chosen.contains(image.digest()));
    let concerned = concerned.filter_map(|image| Some((image.digest(), config_of(image)?)));
    let concerned = concerned.filter(|(_, config)| media::kind(&config.media_type) == Kind::Config);
    let reading = concerned.map(|(digest, config)| {
        let made = edited(run, config, mutation);
        made.map_ok(move |made| made.map(|made| (digest.clone(), made)))
            .boxed()
    });
    let reading: Vec<_> = reading.collect();
    let made: Vec<_> = stream::iter(reading)
        .buffered(run.options.jobs.max(1))
        .try_collect()
        .await?;
    Ok(made.into_iter().flatten().collect())
}

/// Reads a configuration and changes it; `None` if it stays the same.
async fn edited(
    run: &Run<'_>,
    config: &Descriptor,
    mutation: &Mutation,
) -> Result<Option<Made>, Error> {
    let raw = run.source.read(config, limits::CONFIG_BYTES).await?;
    let image = || run.source.image().to_string();
    let invalid = |source| EditError::Config {
        image: image(),
        config: config.digest.clone(),
        source,
    };
    let before: Map<String, Value> = serde_json::from_slice(&raw).map_err(invalid)?;
    let mut after = before.clone();
    mutation.edit_config(&mut after);
    if after == before {
        return Ok(None);
    }
    let made = Made::json(&config.media_type, &Value::Object(after));
    if made.descriptor.size > limits::CONFIG_BYTES {
        return Err(EditError::TooLarge { image: image() }.into());
    }
    Ok(Some(made))
}

struct Editor<'a> {
    image: String,
    mutation: &'a Mutation,
    chosen: &'a BTreeSet<Digest>,
    configs: &'a BTreeMap<Digest, Made>,
}

impl Editor<'_> {
    fn annotate(
        &self,
        manifest: &Verified,
        value: &mut Value,
        changes: &Changes,
    ) -> Result<(), EditError> {
        annotate(value, changes, manifest.manifest().media_type()).ok_or_else(|| {
            EditError::NoAnnotations {
                image: self.image.clone(),
                digest: manifest.digest().clone(),
            }
        })
    }
}

/// Changes annotations of a manifest; `None` if its format has none.
pub(super) fn annotate(value: &mut Value, changes: &Changes, media_type: &str) -> Option<()> {
    if changes.is_empty() {
        return Some(());
    }
    if matches!(media_type, media::DOCKER_MANIFEST | media::DOCKER_LIST) {
        return None;
    }
    apply(value.as_object_mut()?, "annotations", changes);
    Some(())
}

impl Rewrite for Editor<'_> {
    fn image(&mut self, manifest: &Verified, value: &mut Value) -> Result<(), Error> {
        if !self.chosen.contains(manifest.digest()) {
            return Ok(());
        }
        if let (Some(made), Some(config)) =
            (self.configs.get(manifest.digest()), value.get_mut("config"))
        {
            config["digest"] = json!(made.descriptor.digest);
            config["size"] = json!(made.descriptor.size);
            if let Some(config) = config.as_object_mut() {
                // A copy of the old content.
                config.remove("data");
            }
        }
        Ok(self.annotate(manifest, value, &self.mutation.annotations)?)
    }

    fn index(&mut self, manifest: &Verified, value: &mut Value) -> Result<(), Error> {
        Ok(self.annotate(manifest, value, &self.mutation.index_annotations)?)
    }
}
