//! Indexes put together and taken apart.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde_json::{Map, Value, json};

use super::{
    Changes, EditError, EditOptions, apply,
    mutate::{annotate as annotate_manifest, not_by_digest},
};
use crate::{
    context::Context,
    copy::{
        self, CopyOptions, CopyReport, Run,
        rewrite::{entries, manifest_of},
    },
    digest::Digest,
    error::Error,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    name::ImageRef,
    platform::{Platform, PlatformError},
    transport::{Sink, Source},
    trust::{self, Verified},
};

/// What is put into an index, and what is said about it.
#[derive(Debug, Clone, Default)]
pub struct IndexOptions {
    /// Which images of the indexes that are put into it; none is all of them.
    pub platforms: Vec<Platform>,
    /// Annotations of the index.
    pub annotations: Changes,
    /// The kind of artifact the index is.
    pub artifact_type: Option<String>,
    /// Whether an image takes the place of one for the same platform.
    pub replace: bool,
    /// How it is done.
    pub edit: EditOptions,
}

/// Entries of an index: every one for a platform, or one by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By platform; without a version of the operating system, those of all versions.
    Platform(Platform),
    /// By digest.
    Digest(Digest),
}

/// A change of entries of an index.
#[derive(Debug, Clone, Default)]
pub struct EntryChange {
    /// Their annotations.
    pub annotations: Changes,
    /// The version of the operating system; an empty one removes it.
    pub os_version: Option<String>,
    /// The variant of the processor; an empty one removes it.
    pub variant: Option<String>,
}

impl FromStr for Selector {
    type Err = PlatformError;

    fn from_str(input: &str) -> Result<Self, PlatformError> {
        match input.parse() {
            Ok(digest) => Ok(Self::Digest(digest)),
            Err(_) => input.parse().map(Self::Platform),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(platform) => platform.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Selector {
    fn chooses(&self, entry: &Descriptor) -> bool {
        match self {
            Self::Platform(wanted) => {
                let is_it = |platform: &Platform| wanted.covers(platform);
                entry.platform.as_ref().is_some_and(is_it)
            }
            Self::Digest(digest) => entry.digest == *digest,
        }
    }
}

/// Makes an index of images, in the OCI format. An index among them contributes its entries. What the destination's repository does
/// not have is copied there.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn create(
    cx: &Context,
    to: &ImageRef,
    images: &[ImageRef],
    options: &IndexOptions,
) -> Result<CopyReport, Error> {
    not_by_digest(to)?;
    let value = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []});
    let index = Draft {
        image: to.to_string(),
        media_type: media::OCI_INDEX.to_owned(),
        value,
        old: None,
    };
    assemble(cx, to, images, options, index).await
}

/// Adds images to an index that exists, as [`create`] does.
///
/// # Errors
///
/// There is no index, or it has an image for the same platform already (see [`IndexOptions::replace`]).
pub async fn add(
    cx: &Context,
    to: &ImageRef,
    images: &[ImageRef],
    options: &IndexOptions,
) -> Result<CopyReport, Error> {
    not_by_digest(to)?;
    let copying = options.edit.copy_options();
    // What is to be changed is at the destination, and is asked for with what opens that.
    let at_destination = cx.clone().destination_as_source();
    let run = Run::open(&at_destination, to, to, &copying).await?;
    let index = Draft::read(&run).await?;
    assemble(cx, to, images, options, index).await
}

/// Removes entries, and with them their attestations. Their manifests stay where they are.
///
/// # Errors
///
/// There is no such index, or no such entry.
pub async fn remove(
    cx: &Context,
    to: &ImageRef,
    selectors: &[Selector],
    options: &EditOptions,
) -> Result<CopyReport, Error> {
    change(cx, to, options, |index| {
        let entries = index.entries()?;
        let chosen = index.chosen(&entries, selectors)?;
        index.drop_entries(&entries, chosen);
        Ok(())
    })
    .await
}

/// Changes entries, or without selectors the index itself, which has annotations only.
///
/// # Errors
///
/// There is no such index, or no such entry.
pub async fn annotate(
    cx: &Context,
    to: &ImageRef,
    selectors: &[Selector],
    what: &EntryChange,
    options: &EditOptions,
) -> Result<CopyReport, Error> {
    change(cx, to, options, |index| {
        if selectors.is_empty() {
            return index.annotate(&what.annotations);
        }
        let entries = index.entries()?;
        let chosen = index.chosen(&entries, selectors)?;
        if !what.annotations.is_empty() && index.is_docker() {
            return Err(index.no_annotations().into());
        }
        let values = index.values().iter_mut().enumerate();
        for (_, value) in values.filter(|(at, _)| chosen.contains(at)) {
            if let Some(entry) = value.as_object_mut() {
                what.edit(entry);
            }
        }
        Ok(())
    })
    .await
}

impl EntryChange {
    fn edit(&self, entry: &mut Map<String, Value>) {
        apply(entry, "annotations", &self.annotations);
        for (field, text) in [("os.version", &self.os_version), ("variant", &self.variant)] {
            let Some(text) = text else { continue };
            let Some(Value::Object(platform)) = entry.get_mut("platform") else {
                continue;
            };
            if text.is_empty() {
                platform.remove(field);
            } else {
                platform.insert(field.to_owned(), json!(text));
            }
        }
    }
}

/// An index while it is edited.
#[derive(Debug)]
struct Draft {
    image: String,
    media_type: String,
    value: Value,
    /// What it was before, if it was there.
    old: Option<(Digest, Value)>,
}

impl Draft {
    async fn read(run: &Run<'_>) -> Result<Self, Error> {
        let top = run.source.verified(run.cx, run.asked.as_ref()).await?;
        let image = run.source.image().to_string();
        if !matches!(top.manifest().content(), Content::Index { .. }) {
            return Err(EditError::NoIndex { image }.into());
        }
        let value = json_of(&top)?;
        Ok(Self {
            image,
            media_type: top.manifest().media_type().to_owned(),
            old: Some((top.digest().clone(), value.clone())),
            value,
        })
    }

    fn values(&mut self) -> &mut Vec<Value> {
        let manifests = &mut self.value["manifests"];
        if !manifests.is_array() {
            *manifests = json!([]);
        }
        manifests.as_array_mut().expect("it was just made one")
    }

    /// Reads the entries as they are now, in the order of the values.
    fn entries(&self) -> Result<Vec<Descriptor>, Error> {
        match self.manifest()?.content() {
            Content::Index { entries } => Ok(entries.clone()),
            Content::Image { .. } => Ok(Vec::new()),
        }
    }

    fn manifest(&self) -> Result<Manifest, Error> {
        Ok(manifest_of(&self.value, &self.media_type)?)
    }

    fn is_docker(&self) -> bool {
        self.media_type == media::DOCKER_LIST
    }

    fn no_annotations(&self) -> EditError {
        EditError::NoAnnotations {
            image: self.image.clone(),
            digest: Digest::of(self.value.to_string().as_bytes()),
        }
    }

    fn annotate(&mut self, changes: &Changes) -> Result<(), Error> {
        let done = annotate_manifest(&mut self.value, changes, &self.media_type);
        Ok(done.ok_or_else(|| self.no_annotations())?)
    }

    /// Returns the positions of what the selectors choose; each has to choose something.
    fn chosen(
        &self,
        entries: &[Descriptor],
        selectors: &[Selector],
    ) -> Result<BTreeSet<usize>, EditError> {
        let mut chosen = BTreeSet::new();
        for selector in selectors {
            let all = entries.iter().enumerate();
            let mut some = all.filter(|(_, entry)| selector.chooses(entry)).peekable();
            if some.peek().is_none() {
                return Err(EditError::NoEntry {
                    image: self.image.clone(),
                    selector: selector.to_string(),
                });
            }
            chosen.extend(some.map(|(at, _)| at));
        }
        Ok(chosen)
    }

    /// Drops entries, and the attestations of images that are left nowhere in the index.
    fn drop_entries(&mut self, entries: &[Descriptor], mut chosen: BTreeSet<usize>) {
        let kept = |chosen: &BTreeSet<usize>| -> BTreeSet<Digest> {
            let kept = entries
                .iter()
                .enumerate()
                .filter(|(at, _)| !chosen.contains(at));
            kept.map(|(_, entry)| entry.digest.clone()).collect()
        };
        let left = kept(&chosen);
        let gone: BTreeSet<&str> = chosen
            .iter()
            .map(|at| &entries[*at].digest)
            .filter(|digest| !left.contains(digest))
            .map(Digest::as_str)
            .collect();
        let orphan = |entry: &Descriptor| entry.attests().is_some_and(|image| gone.contains(image));
        let orphans = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| orphan(entry));
        chosen.extend(orphans.map(|(at, _)| at).collect::<Vec<_>>());
        let mut at = 0;
        self.values().retain(|_| {
            at += 1;
            !chosen.contains(&(at - 1))
        });
    }

    /// Adds an entry. One for the same platform is in the way, unless it is replaced.
    fn push(&mut self, new: &Descriptor, value: Value, replace: bool) -> Result<(), Error> {
        if self.is_docker() && new.media_type != media::DOCKER_MANIFEST {
            return Err(EditError::MixedFormats {
                image: self.image.clone(),
                added: new.digest.to_string(),
            }
            .into());
        }
        let entries = self.entries()?;
        if entries
            .iter()
            .any(|entry| entry.digest == new.digest && entry.platform == new.platform)
        {
            return Ok(());
        }
        let image = |platform: &&Platform| !platform.is_unknown();
        let same = |entry: &Descriptor| match (new.platform.as_ref().filter(image), &entry.platform)
        {
            (Some(new), Some(old)) => new.covers(old) && old.covers(new),
            _ => false,
        };
        let in_the_way: BTreeSet<usize> = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| same(entry))
            .map(|(at, _)| at)
            .collect();
        if let (Some(at), false) = (in_the_way.first(), replace) {
            return Err(EditError::Occupied {
                image: self.image.clone(),
                platform: new
                    .platform
                    .as_ref()
                    .map(Platform::to_string)
                    .unwrap_or_default(),
                digest: entries[*at].digest.clone(),
            }
            .into());
        }
        self.drop_entries(&entries, in_the_way);
        self.values().push(value);
        Ok(())
    }

    /// Writes the index, if it is another than before.
    async fn publish(
        self,
        sink: &Sink,
        present: Option<&Digest>,
        mut report: CopyReport,
    ) -> Result<CopyReport, Error> {
        let new = match &self.old {
            Some((_, old)) if *old == self.value => None,
            _ => Some(self.manifest()?),
        };
        let old = self.old.map(|(digest, _)| digest);
        let digest = new.as_ref().map(|manifest| manifest.digest().clone());
        report.digest = digest.or_else(|| old.clone()).unwrap_or(report.digest);
        report.source_digest = old.unwrap_or_else(|| report.digest.clone());
        report.unchanged = new.is_none() || present == Some(&report.digest);
        if let (Some(manifest), false) = (&new, report.unchanged) {
            sink.publish(manifest).await?;
            report.manifests += 1;
        }
        sink.finish().await?;
        if report.source_digest != report.digest {
            report.changes = vec![(report.source_digest.clone(), report.digest.clone())];
        }
        Ok(report)
    }
}

fn json_of(manifest: &Verified) -> Result<Value, Error> {
    let parsed = serde_json::from_slice(manifest.manifest().raw());
    Ok(
        parsed.map_err(|source| crate::manifest::ManifestError::Json {
            digest: manifest.digest().clone(),
            source,
        })?,
    )
}

/// Reads an index, changes it, writes it back.
async fn change(
    cx: &Context,
    to: &ImageRef,
    options: &EditOptions,
    edit: impl FnOnce(&mut Draft) -> Result<(), Error>,
) -> Result<CopyReport, Error> {
    not_by_digest(to)?;
    trust::admit(cx.policy(), to)?;
    let copying = options.copy_options();
    let at_destination = cx.clone().destination_as_source();
    let run = Run::open(&at_destination, to, to, &copying).await?;
    let mut draft = Draft::read(&run).await?;
    edit(&mut draft)?;
    let report = CopyReport::empty(Digest::of(b""));
    let report = draft
        .publish(&run.sink, run.present.as_ref(), report)
        .await?;
    Ok(CopyReport {
        requests: run.source.requests() + run.sink.requests(),
        ..report
    })
}

/// Brings images to the index's repository, enters them, and writes the index.
async fn assemble(
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
    let entry: Descriptor = entry.map_err(|source| crate::manifest::ManifestError::Json {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A step of somebody who edits an index.
    #[derive(Debug, Clone)]
    enum Step {
        /// Adds an image, with an attestation if so wished.
        Add {
            image: u8,
            architecture: usize,
            attested: bool,
            replace: bool,
        },
        /// Removes what is for a platform.
        Remove { architecture: usize },
        /// Annotates what is for a platform.
        Annotate { architecture: usize, remove: bool },
    }

    const ARCHITECTURES: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7"];

    fn step() -> impl Strategy<Value = Step> {
        let architecture = 0..ARCHITECTURES.len();
        prop_oneof![
            (
                any::<u8>(),
                architecture.clone(),
                any::<bool>(),
                any::<bool>()
            )
                .prop_map(|(image, architecture, attested, replace)| Step::Add {
                    image,
                    architecture,
                    attested,
                    replace
                }),
            architecture
                .clone()
                .prop_map(|architecture| Step::Remove { architecture }),
            (architecture, any::<bool>()).prop_map(|(architecture, remove)| Step::Annotate {
                architecture,
                remove
            }),
        ]
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn push(draft: &mut Draft, value: Value, replace: bool) -> Result<(), Error> {
        let entry: Descriptor = serde_json::from_value(value.clone()).unwrap();
        draft.push(&entry, value, replace)
    }

    fn take(draft: &mut Draft, step: &Step) {
        let selector = |at: usize| [ARCHITECTURES[at].parse::<Selector>().unwrap()];
        match *step {
            Step::Add {
                image,
                architecture,
                attested,
                replace,
            } => {
                let platform: Platform = ARCHITECTURES[architecture].parse().unwrap();
                let image = digest(&format!("{image} {platform}"));
                let value = json!({"mediaType": media::OCI_MANIFEST, "digest": image, "size": 2, "platform": platform, "x": 1});
                let occupied = draft.entries().unwrap().iter().any(|entry| {
                    entry.digest != image
                        && entry
                            .platform
                            .as_ref()
                            .is_some_and(|there| platform.covers(there))
                });
                assert_eq!(push(draft, value, replace).is_err(), occupied && !replace);
                if attested
                    && draft
                        .entries()
                        .unwrap()
                        .iter()
                        .any(|entry| entry.digest == image)
                {
                    let about = json!({media::REFERENCE_DIGEST: image, "kept": "yes"});
                    let value = json!({
                        "mediaType": media::OCI_MANIFEST, "digest": digest(image.as_str()), "size": 2,
                        "platform": {"os": "unknown", "architecture": "unknown"}, "annotations": about,
                    });
                    push(draft, value, false).unwrap();
                }
            }
            Step::Remove { architecture } => {
                let entries = draft.entries().unwrap();
                let before = entries.len();
                match draft.chosen(&entries, &selector(architecture)) {
                    Ok(chosen) => {
                        let least = before - chosen.len();
                        draft.drop_entries(&entries, chosen);
                        assert!(draft.entries().unwrap().len() <= least);
                    }
                    Err(error) => assert_eq!(error.kind(), crate::ErrorKind::NotFound),
                }
            }
            Step::Annotate {
                architecture,
                remove,
            } => {
                let entries = draft.entries().unwrap();
                let Ok(chosen) = draft.chosen(&entries, &selector(architecture)) else {
                    return;
                };
                let value = (!remove).then(|| "value".to_owned());
                let change = EntryChange {
                    annotations: vec![("name".to_owned(), value)],
                    ..EntryChange::default()
                };
                for at in chosen {
                    change.edit(draft.values()[at].as_object_mut().unwrap());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn an_edited_index_stays_in_order(steps in proptest::collection::vec(step(), 0..24)) {
            let mut draft = Draft {
                image: "docker://a".to_owned(),
                media_type: media::OCI_INDEX.to_owned(),
                value: json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [], "unheardOf": [1, 2]}),
                old: None,
            };
            for step in &steps {
                take(&mut draft, step);
                let entries = draft.entries().unwrap();
                prop_assert_eq!(entries.len(), draft.values().len());
                let images: Vec<&Descriptor> = entries.iter().filter(|entry| entry.attests().is_none()).collect();
                for (at, image) in images.iter().enumerate() {
                    let platform = image.platform.as_ref().unwrap();
                    let twin = |other: &&Descriptor| platform.covers(other.platform.as_ref().unwrap());
                    prop_assert!(!images[..at].iter().any(|other| twin(&other)), "two images for {}", platform);
                }
                for about in entries.iter().filter_map(Descriptor::attests) {
                    prop_assert!(images.iter().any(|image| image.digest.as_str() == about), "an attestation of nothing");
                }
                prop_assert_eq!(&draft.value["unheardOf"], &json!([1, 2]));
                prop_assert!(draft.values().iter().all(|value| value.get("x").is_some() || value["annotations"]["kept"] == "yes"));
            }
        }
    }
}
