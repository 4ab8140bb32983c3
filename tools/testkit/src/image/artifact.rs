//! What is in a registry beside images: signatures, SBOMs, files. What does an artifact look like that refers to an image?

use super::{Blob, Content};
use serde_json::{Value, json};

/// A manifest with files instead of layers, which may refer to another manifest.
#[derive(Clone, Debug)]
pub struct Artifact {
    blob: Blob,
    parts: Vec<Blob>,
}

impl Artifact {
    /// Makes an artifact of one part.
    pub fn new(kind: &str, content: &[u8]) -> Artifact {
        Artifact::made(kind, content, None)
    }

    /// Makes an artifact of one part that refers to `subject`.
    pub fn of(subject: &Blob, kind: &str, content: &[u8]) -> Artifact {
        Artifact::made(kind, content, Some(subject.descriptor()))
    }

    fn made(kind: &str, content: &[u8], subject: Option<Value>) -> Artifact {
        let empty = Blob::new("application/vnd.oci.empty.v1+json", b"{}".to_vec());
        let part = Blob::new("application/octet-stream", content.to_vec());
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": empty.descriptor(),
            "layers": [part.descriptor()],
            "annotations": {"org.opencontainers.image.created": "2024-05-01T00:00:00Z"},
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject;
        }
        Artifact {
            blob: Blob::new(MANIFEST, super::maker::render(&manifest)),
            parts: vec![empty, part],
        }
    }
}

impl Content for Artifact {
    fn root(&self) -> &Blob {
        &self.blob
    }

    fn manifests(&self) -> Vec<&Blob> {
        Vec::new()
    }

    fn blobs(&self) -> Vec<&Blob> {
        self.parts.iter().collect()
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
