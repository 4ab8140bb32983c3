//! What an earlier conversion left at the destination: with it, a layer need not be compressed again to know what it becomes.
//!
//! An image there with the same configuration has layers that unpack to the same, as far as its manifest can be believed: as far as
//! the manifest of an image that is there already is believed anyway.

use std::collections::BTreeMap;

use super::{Recompress, layers::Job, options::Layer};
use crate::{
    copy::{Run, rewrite::Tree},
    digest::Digest,
    error::Error,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    transport::Sink,
};

/// How many manifests of the destination's index are read at most: where there are more, it is cheaper to begin anew.
const MANIFESTS: usize = 64;

/// Takes those jobs out of `jobs` whose result is there, and returns it.
pub(super) async fn learn(
    run: &Run<'_>,
    tree: &Tree,
    wanted: &Recompress,
    jobs: &mut Vec<Job>,
) -> BTreeMap<Digest, Layer> {
    let mut known = BTreeMap::new();
    let Some(present) = run.present.as_ref().filter(|_| !wanted.is_forced()) else {
        return known;
    };
    // A destination that may be written and not read is none to learn from, and no error.
    let Ok(there) = images(&run.sink, present).await else {
        return known;
    };
    let mut became: BTreeMap<&Digest, &Descriptor> = BTreeMap::new();
    for image in tree.images() {
        let Content::Image { config, layers } = image.manifest().content() else {
            continue;
        };
        let Some(others) = there
            .get(&config.digest)
            .filter(|others| others.len() == layers.len())
        else {
            continue;
        };
        became.extend(layers.iter().map(|layer| &layer.digest).zip(others));
    }
    jobs.retain(|job| {
        let Some(other) = became.get(&job.layer.digest) else {
            return true;
        };
        if media::kind(&other.media_type) != Kind::Layer(wanted.algorithm()) {
            return true;
        }
        let layer = Layer {
            digest: other.digest.clone(),
            size: other.size,
            diff_id: job.diff_id.clone(),
        };
        known.insert(job.layer.digest.clone(), layer);
        false
    });
    known
}

/// Returns the layers of the images at the destination, by their configuration.
async fn images(sink: &Sink, top: &Digest) -> Result<BTreeMap<Digest, Vec<Descriptor>>, Error> {
    let mut found = BTreeMap::new();
    let mut reading = vec![top.clone()];
    let mut read = 0;
    while let Some(digest) = reading.pop() {
        read += 1;
        if read > MANIFESTS {
            break;
        }
        let Some(raw) = sink.manifest(&digest).await? else {
            break;
        };
        if raw.len() as u64 > limits::MANIFEST_BYTES {
            break;
        }
        match Manifest::parse(raw, None)?.content() {
            Content::Image { config, layers } => {
                found.insert(config.digest.clone(), layers.clone());
            }
            Content::Index { entries } => {
                let images = entries.iter().filter(|entry| entry.attests().is_none());
                reading.extend(images.map(|entry| entry.digest.clone()));
            }
        }
    }
    Ok(found)
}
