//! An index while it is edited.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Selector;
use crate::{
    copy::{CopyReport, Run, rewrite::manifest_of},
    digest::Digest,
    edit::{Changes, EditError, mutate::annotate},
    error::Error,
    manifest::{Content, Descriptor, Manifest, ManifestError},
    media,
    platform::Platform,
    transport::Sink,
    trust::Verified,
};

/// An index while it is edited.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) image: String,
    pub(super) media_type: String,
    pub(super) value: Value,
    /// What it was before, if it was there.
    pub(super) old: Option<(Digest, Value)>,
}

impl Draft {
    pub(super) async fn read(run: &Run<'_>) -> Result<Self, Error> {
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

    pub(super) fn values(&mut self) -> &mut Vec<Value> {
        let manifests = &mut self.value["manifests"];
        if !manifests.is_array() {
            *manifests = json!([]);
        }
        manifests.as_array_mut().expect("it was just made one")
    }

    /// Reads the entries as they are now, in the order of the values.
    pub(super) fn entries(&self) -> Result<Vec<Descriptor>, Error> {
        match self.manifest()?.content() {
            Content::Index { entries } => Ok(entries.clone()),
            Content::Image { .. } => Ok(Vec::new()),
        }
    }

    pub(super) fn manifest(&self) -> Result<Manifest, Error> {
        Ok(manifest_of(&self.value, &self.media_type)?)
    }

    pub(super) fn is_docker(&self) -> bool {
        self.media_type == media::DOCKER_LIST
    }

    pub(super) fn no_annotations(&self) -> EditError {
        EditError::NoAnnotations {
            image: self.image.clone(),
            digest: Digest::of(self.value.to_string().as_bytes()),
        }
    }

    pub(super) fn annotate(&mut self, changes: &Changes) -> Result<(), Error> {
        let done = annotate(&mut self.value, changes, &self.media_type);
        Ok(done.ok_or_else(|| self.no_annotations())?)
    }

    /// Returns the positions of what the selectors choose; each has to choose something.
    pub(super) fn chosen(
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
    pub(super) fn drop_entries(&mut self, entries: &[Descriptor], mut chosen: BTreeSet<usize>) {
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
    pub(super) fn push(
        &mut self,
        new: &Descriptor,
        value: Value,
        replace: bool,
    ) -> Result<(), Error> {
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
    pub(super) async fn publish(
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

pub(super) fn json_of(manifest: &Verified) -> Result<Value, Error> {
    let parsed = serde_json::from_slice(manifest.manifest().raw());
    Ok(parsed.map_err(|source| ManifestError::Json {
        digest: manifest.digest().clone(),
        source,
    })?)
}
