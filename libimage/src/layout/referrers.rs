//! What refers to a manifest in a layout: entries of index.json that have it as their `subject`, and tags made from its digest.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Entry, INDEX_DEPTH, Layout, LayoutError};
use crate::{
    digest::Digest,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
};

/// Tells whether a tag is made from a digest, as signatures and lists of referrers have them: `sha256-<hex>`, and the same with
/// `.sig`, `.att` or `.sbom`.
#[must_use]
pub fn is_digest_tag(tag: &str) -> bool {
    let stem = tag.split('.').next().unwrap_or_default();
    let Some((algorithm, hex)) = stem.split_once('-') else {
        return false;
    };
    matches!(algorithm, "sha256" | "sha512")
        && hex.len() >= 64
        && hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// What it refers to.
    pub subject: Digest,
    /// What it is, as a list of referrers says it.
    pub descriptor: Descriptor,
}

impl Layout {
    /// Returns every manifest of the layout that refers to another: those in index.json, and in the indexes it names. What cannot be
    /// read is left out.
    ///
    /// # Errors
    /// If index.json cannot be read.
    pub fn referrers(&self) -> Result<Vec<Referrer>, LayoutError> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for entry in self.entries()? {
            self.collect_referrers(&entry.digest, INDEX_DEPTH, &mut seen, &mut found);
        }
        Ok(found)
    }

    fn collect_referrers(
        &self,
        digest: &Digest,
        depth: usize,
        seen: &mut BTreeSet<Digest>,
        found: &mut Vec<Referrer>,
    ) {
        if !seen.insert(digest.clone()) {
            return;
        }
        let Ok(raw) = self.read_blob(digest, limits::MANIFEST_BYTES) else {
            return;
        };
        let Ok(manifest) = Manifest::parse(raw, None) else {
            return;
        };
        if let Some(subject) = manifest.subject() {
            let descriptor = Descriptor {
                digest: digest.clone(),
                ..Descriptor::of(&manifest)
            };
            found.push(Referrer {
                subject: subject.digest.clone(),
                descriptor,
            });
        }
        if let (Content::Index { entries }, true) = (manifest.content(), depth > 0) {
            for entry in entries {
                if matches!(media::kind(&entry.media_type), Kind::Manifest | Kind::Index) {
                    self.collect_referrers(&entry.digest, depth - 1, seen, found);
                }
            }
        }
    }

    /// Tells whether an entry is about another one rather than an image of its own.
    pub(super) fn is_about_another(&self, entry: &Entry) -> bool {
        if let Some(tag) = &entry.tag {
            return is_digest_tag(tag);
        }
        let raw = self.read_blob(&entry.digest, limits::MANIFEST_BYTES);
        raw.is_ok_and(|raw| {
            Manifest::parse(raw, None).is_ok_and(|manifest| manifest.subject().is_some())
        })
    }

    /// Writes a manifest that refers to another, and enters it in index.json with its kind and annotations, where others look for it.
    ///
    /// # Errors
    /// As [`Layout::put_manifest`].
    ///
    /// # Durability
    /// As [`Layout::put_manifest`].
    pub fn put_referrer(&self, manifest: &Manifest) -> Result<(), LayoutError> {
        self.settle(manifest)?;
        self.edit_index(|index| {
            let there = |entry: &Entry| entry.digest == *manifest.digest();
            if !index.entries().iter().any(there) {
                index.push(json!(manifest.to_entry()));
            }
            Ok(())
        })
    }
}
