//! Indexes put together and taken apart.

mod assemble;
mod draft;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use serde_json::{Map, Value, json};

use self::{assemble::assemble, draft::Draft};
use super::{Changes, EditOptions, apply, mutate::not_by_digest};
use crate::{
    context::Context,
    copy::{CopyReport, Run},
    digest::Digest,
    error::Error,
    manifest::Descriptor,
    media,
    name::ImageRef,
    platform::{Platform, PlatformError},
    trust,
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
