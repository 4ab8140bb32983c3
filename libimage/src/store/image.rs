//! What the store hands out about an image.

use oci_spec::image::{ImageConfiguration, ImageManifest};

use crate::digest::Digest;

/// An image of the store: its documents, parsed and as raw bytes.
#[derive(Debug, Clone)]
pub struct Image {
    name: Option<String>,
    manifest_digest: Digest,
    raw_manifest: Vec<u8>,
    manifest: ImageManifest,
    config_digest: Digest,
    raw_config: Vec<u8>,
    config: ImageConfiguration,
    diff_ids: Vec<Digest>,
}

impl Image {
    /// Returns the name it was found by, if it was found by name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the digest of the manifest.
    #[must_use]
    pub fn manifest_digest(&self) -> &Digest {
        &self.manifest_digest
    }

    /// Returns the manifest's bytes, as they came.
    #[must_use]
    pub fn raw_manifest(&self) -> &[u8] {
        &self.raw_manifest
    }

    /// Returns the manifest, parsed: fields the specification's type does not know are only in the raw bytes.
    #[must_use]
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// Returns the image's id: the digest of its configuration.
    #[must_use]
    pub fn id(&self) -> &Digest {
        &self.config_digest
    }

    /// Returns the configuration's bytes, as they came.
    #[must_use]
    pub fn raw_config(&self) -> &[u8] {
        &self.raw_config
    }

    /// Returns the configuration, parsed; see [`Image::manifest`].
    #[must_use]
    pub fn config(&self) -> &ImageConfiguration {
        &self.config
    }

    /// Returns the digests of the uncompressed layers, bottom first.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }
}

/// A row of the list of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// The full name; `None` for a manifest nothing names.
    pub name: Option<String>,
    /// The digest of the manifest (or index).
    pub manifest_digest: Digest,
    /// The image's id: the digest of its configuration; of an index, that of its own manifest digest.
    pub id: Digest,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
    /// Bytes of its blobs, as transferred.
    pub size_bytes: u64,
    /// Bytes of its unpacked layers, if all are unpacked.
    pub unpacked_bytes: Option<u64>,
    /// `os/architecture[/variant]`; `None` of an index.
    pub platform: Option<String>,
}
