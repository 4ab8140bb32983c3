//! How do several images become one, by platform?

use super::{Blob, Content, Image};
use serde_json::{Value, json};

/// A multi-platform index.
#[derive(Clone, Debug)]
pub struct Index {
    blob: Blob,
    images: Vec<Image>,
}

impl Index {
    /// Joins images into an OCI index, in the order given.
    pub fn new(images: Vec<Image>) -> Index {
        Index::with(
            images,
            "application/vnd.oci.image.index.v1+json",
            Vec::new(),
        )
    }

    /// Joins images into a Docker manifest list.
    pub fn docker(images: Vec<Image>) -> Index {
        Index::with(
            images,
            "application/vnd.docker.distribution.manifest.list.v2+json",
            Vec::new(),
        )
    }

    /// Joins images and adds raw entries, such as attestations or images that are not there.
    pub fn with(images: Vec<Image>, media_type: &str, more: Vec<Value>) -> Index {
        let mut entries: Vec<Value> = images
            .iter()
            .map(|image| {
                let mut descriptor = image.root().descriptor();
                descriptor["platform"] = image.platform.clone();
                descriptor
            })
            .collect();
        entries.extend(more);
        let raw = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        Index {
            blob: Blob::new(media_type, super::maker::render(&raw)),
            images,
        }
    }

    /// Returns the images.
    pub fn images(&self) -> &[Image] {
        &self.images
    }
}

impl Content for Index {
    fn root(&self) -> &Blob {
        &self.blob
    }

    fn manifests(&self) -> Vec<&Blob> {
        self.images.iter().map(Content::root).collect()
    }

    fn blobs(&self) -> Vec<&Blob> {
        let mut all: Vec<&Blob> = self.images.iter().flat_map(Content::blobs).collect();
        all.sort_by(|a, b| a.digest.cmp(&b.digest));
        all.dedup_by(|a, b| a.digest == b.digest);
        all
    }
}
