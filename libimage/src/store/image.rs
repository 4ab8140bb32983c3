//! What the store hands out about an image.

use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::{Store, StoreError};
use crate::{
    digest::Digest,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media::{self, Kind},
    platform::Platform,
};

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
    layers: Vec<Descriptor>,
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

    /// Returns the digest of its configuration, which is its id.
    #[must_use]
    pub fn config_digest(&self) -> &Digest {
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

    /// Returns the layers' blobs with their diffIDs, bottom first.
    pub fn layers(&self) -> impl Iterator<Item = (&Descriptor, &Digest)> {
        self.layers.iter().zip(&self.diff_ids)
    }

    pub(super) fn with_name(self, name: Option<&str>) -> Self {
        Self {
            name: name.map(str::to_owned),
            ..self
        }
    }
}

/// A row of the list of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// The full name; `None` for a manifest nothing names.
    pub name: Option<String>,
    /// The digest of the manifest (or index).
    pub manifest_digest: Digest,
    /// The image's id: the digest of its configuration (of an index, of the image for this machine).
    pub id: Digest,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
    /// Bytes of its blobs, as transferred.
    pub size_bytes: u64,
    /// Bytes of the files of its unpacked layers, if all are unpacked.
    pub unpacked_bytes: Option<u64>,
    /// `os/architecture[/variant]`.
    pub platform: Option<String>,
}

impl Store {
    /// Opens the image a manifest or an index means on this machine.
    pub(super) fn load(&self, manifest: Manifest) -> Result<Image, StoreError> {
        let manifest = self.for_this_machine(manifest)?;
        let digest = manifest.digest().clone();
        let not = |what: String| StoreError::NotAnImage {
            digest: digest.clone(),
            what,
        };
        let Content::Image { config, layers } = manifest.content() else {
            return Err(not("an index inside of an index".to_owned()));
        };
        if media::kind(&config.media_type) != Kind::Config {
            return Err(not(format!(
                "its configuration has the type {:?}",
                config.media_type
            )));
        }
        if let Some(layer) = layers
            .iter()
            .find(|layer| !media::is_layer(&layer.media_type))
        {
            return Err(not(format!("a layer has the type {:?}", layer.media_type)));
        }
        let raw_config = self.read_small(&config.digest, limits::CONFIG_BYTES)?;
        let parsed: ImageConfiguration = serde_json::from_slice(&raw_config)
            .map_err(|error| not(format!("its configuration: {error}")))?;
        let diff_ids: Vec<Digest> = parsed
            .rootfs()
            .diff_ids()
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|error: crate::digest::DigestError| not(error.to_string()))?;
        if diff_ids.len() != layers.len() {
            return Err(not(format!(
                "{} layers and {} diffIDs",
                layers.len(),
                diff_ids.len()
            )));
        }
        Ok(Image {
            name: None,
            manifest_digest: digest.clone(),
            raw_manifest: manifest.raw().to_vec(),
            manifest: serde_json::from_slice(manifest.raw())
                .map_err(|error| not(error.to_string()))?,
            config_digest: config.digest.clone(),
            raw_config,
            config: parsed,
            layers: layers.clone(),
            diff_ids,
        })
    }

    /// Chooses from an index what is there and fits this machine best; of an index without any, the first image that is there.
    fn for_this_machine(&self, manifest: Manifest) -> Result<Manifest, StoreError> {
        let Content::Index { entries } = manifest.content() else {
            return Ok(manifest);
        };
        let host = Platform::host();
        let mut there = Vec::new();
        for entry in entries {
            let attestation = entry.platform.as_ref().is_some_and(Platform::is_unknown);
            if !attestation
                && media::kind(&entry.media_type) == Kind::Manifest
                && self.blob_size(&entry.digest)?.is_some()
            {
                there.push(entry);
            }
        }
        let best = host.best(there.iter().map(|entry| entry.platform.as_ref()));
        let chosen = best.map(|at| there[at]).or(there.first().copied());
        let chosen = chosen.ok_or_else(|| StoreError::NoPlatform {
            digest: manifest.digest().clone(),
            platform: host.to_string(),
        })?;
        self.read_manifest(&chosen.digest, Some(&chosen.media_type))
    }

    pub(super) fn read_manifest(
        &self,
        digest: &Digest,
        media_type: Option<&str>,
    ) -> Result<Manifest, StoreError> {
        let raw = self.read_small(digest, limits::MANIFEST_BYTES)?;
        Ok(Manifest::parse(raw, media_type)?)
    }
}
