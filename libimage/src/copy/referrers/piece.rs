//! One referrer with everything below it.

use std::collections::BTreeMap;

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    limits,
    manifest::{Content, Descriptor, Manifest},
    progress::BlobKind,
    transport::Source,
};

/// Indexes inside each other below a referrer: it is nearly always a manifest.
const DEPTH: usize = 4;

/// A manifest, the manifests below it, and the blobs they name.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) top: Manifest,
    /// What an index names comes before it.
    pub(super) children: Vec<Manifest>,
    pub(super) blobs: BTreeMap<Digest, (Descriptor, BlobKind)>,
}

impl Piece {
    /// Fetches what a manifest names; `None` if something below an index is missing, or not what it should be.
    pub(super) async fn below(source: &Source, top: Manifest) -> Result<Option<Self>, Error> {
        let mut levels: Vec<Vec<Manifest>> = Vec::new();
        let mut wanted = entries_of(&top);
        let mut count = 0;
        while !wanted.is_empty() {
            count += wanted.len();
            if levels.len() >= DEPTH || count > limits::INDEX_ENTRIES {
                return Ok(None);
            }
            let mut level = Vec::new();
            for entry in &wanted {
                let Some(manifest) = fetch(source, entry).await? else {
                    return Ok(None);
                };
                level.push(manifest);
            }
            wanted = level.iter().flat_map(entries_of).collect();
            levels.push(level);
        }
        let children: Vec<Manifest> = levels.into_iter().rev().flatten().collect();
        let mut blobs = BTreeMap::new();
        for manifest in children.iter().chain([&top]) {
            collect(manifest, &mut blobs);
        }
        Ok(Some(Self {
            top,
            children,
            blobs,
        }))
    }
}

/// Fetches a manifest; `None` if it is missing, or none that we accept.
pub(super) async fn fetch(source: &Source, entry: &Descriptor) -> Result<Option<Manifest>, Error> {
    let raw = match source.child(entry).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let outer = Some(entry.media_type.as_str()).filter(|outer| !outer.is_empty());
    // Only sha256 is written by us: another algorithm's digest would not be the same at the destination.
    Ok(Manifest::parse(raw, outer)
        .ok()
        .filter(|manifest| *manifest.digest() == entry.digest))
}

fn entries_of(manifest: &Manifest) -> Vec<Descriptor> {
    match manifest.content() {
        Content::Index { entries } => entries.clone(),
        Content::Image { .. } => Vec::new(),
    }
}

fn collect(manifest: &Manifest, blobs: &mut BTreeMap<Digest, (Descriptor, BlobKind)>) {
    let Content::Image { config, layers } = manifest.content() else {
        return;
    };
    for blob in layers
        .iter()
        .filter(|layer| !layer.is_foreign())
        .chain([config])
    {
        blobs
            .entry(blob.digest.clone())
            .or_insert_with(|| (blob.clone(), BlobKind::Other));
    }
}
