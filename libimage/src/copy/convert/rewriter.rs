//! What a conversion does to each manifest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{ConvertError, Format, Recompress, is_image, options::Layer, types};
use crate::{
    copy::{
        CopyOptions,
        rewrite::{Rewrite, Tree, entries},
    },
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor},
    media::{self, Compression, Kind},
    platform::Platform,
    trust::Verified,
};

/// Fields of manifests and descriptors that OCI's format has and Docker's has not. `data` is only a copy: its loss is none.
const ONLY_OCI: [&str; 4] = ["annotations", "artifactType", "subject", "data"];

/// Edits manifests, and keeps account of what the new form cannot hold.
pub(super) struct Rewriter<'a> {
    image: String,
    format: Option<Format>,
    compress: Option<&'a Recompress>,
    became: &'a BTreeMap<Digest, Layer>,
    platforms: &'a BTreeMap<Digest, Platform>,
    /// What Docker's format has no place for.
    lost: BTreeSet<String>,
    /// Annotations that described bytes which are no more.
    outdated: BTreeSet<String>,
    /// Attestations whose list cannot hold them.
    attestations: usize,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(
        image: String,
        options: &'a CopyOptions,
        became: &'a BTreeMap<Digest, Layer>,
        platforms: &'a BTreeMap<Digest, Platform>,
    ) -> Self {
        Self {
            image,
            format: options.format,
            compress: options.compress.as_ref(),
            became,
            platforms,
            lost: BTreeSet::new(),
            outdated: BTreeSet::new(),
            attestations: 0,
        }
    }

    /// Finds out, before anything is transferred, what is impossible.
    pub(super) fn refusals(&self, tree: &Tree) -> Result<(), ConvertError> {
        for index in tree.indexes() {
            self.check_index(index)?;
        }
        let attestations: BTreeSet<&Digest> = tree
            .indexes()
            .flat_map(entries)
            .filter(|entry| entry.attests().is_some())
            .map(|entry| &entry.digest)
            .collect();
        for image in tree.images() {
            // Attestations do not get that far: Docker's lists lose them.
            if self.format != Some(Format::V2s2) || !attestations.contains(image.digest()) {
                self.check_image(image)?;
            }
        }
        Ok(())
    }

    fn check_index(&self, index: &Verified) -> Result<(), ConvertError> {
        let is_index = |entry: &Descriptor| media::kind(&entry.media_type) == Kind::Index;
        if self.format == Some(Format::V2s2) && entries(index).iter().any(is_index) {
            return Err(ConvertError::NestedIndex {
                image: self.image.clone(),
                digest: index.digest().clone(),
            });
        }
        Ok(())
    }

    fn check_image(&self, image: &Verified) -> Result<(), ConvertError> {
        let Content::Image { layers, .. } = image.manifest().content() else {
            return Ok(());
        };
        if !is_image(image) {
            if self.format != Some(Format::V2s2) {
                return Ok(());
            }
            return Err(ConvertError::Artifact {
                image: self.image.clone(),
                digest: image.digest().clone(),
            });
        }
        for layer in layers {
            self.layer_type(layer)?;
        }
        Ok(())
    }

    /// Whether a layer is compressed another way.
    fn recompressed(&self, layer: &Descriptor) -> Option<Compression> {
        match (media::kind(&layer.media_type), self.compress) {
            (Kind::Layer(found), Some(wanted)) if wanted.concerns(found) => {
                Some(wanted.algorithm())
            }
            _ => None,
        }
    }

    /// Returns the type a layer will have.
    fn layer_type(&self, layer: &Descriptor) -> Result<String, ConvertError> {
        let own = types::family(&layer.media_type);
        let family = self.format.unwrap_or(own);
        if let Some(compression) = self.recompressed(layer) {
            let layer_type = types::layer(family, compression).map(str::to_owned);
            return layer_type.ok_or_else(|| ConvertError::ZstdInDocker {
                image: self.image.clone(),
            });
        }
        if family == own || (family == Format::Oci && media::kind(&layer.media_type) == Kind::Other)
        {
            return Ok(layer.media_type.clone());
        }
        let (image, digest) = (self.image.clone(), layer.digest.clone());
        types::translate(&layer.media_type, family).ok_or_else(|| {
            match media::kind(&layer.media_type) {
                Kind::Layer(Compression::Zstd) => ConvertError::ZstdLayer {
                    image,
                    layer: digest,
                },
                _ => ConvertError::LayerType {
                    image,
                    layer: digest,
                    media_type: layer.media_type.clone(),
                },
            }
        })
    }

    fn layer(&mut self, layer: &Descriptor, value: &mut Value) -> Result<(), Error> {
        let layer_type = self.layer_type(layer)?;
        if layer_type != layer.media_type {
            value["mediaType"] = json!(layer_type);
        }
        if self.recompressed(layer).is_some()
            && let Some(new) = self.became.get(&layer.digest)
            && new.digest != layer.digest
        {
            value["digest"] = json!(new.digest);
            value["size"] = json!(new.size);
            self.forget_bytes(value);
        }
        Ok(())
    }

    /// Removes what a descriptor says about bytes that are no more: where they are, copies of them, places in them.
    fn forget_bytes(&mut self, value: &mut Value) {
        let Some(descriptor) = value.as_object_mut() else {
            return;
        };
        descriptor.remove("data");
        descriptor.remove("urls");
        let Some(annotations) = descriptor
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        else {
            return;
        };
        let outdated: Vec<String> = annotations
            .keys()
            .filter(|key| types::describes_bytes(key))
            .cloned()
            .collect();
        for key in outdated {
            annotations.remove(&key);
            self.outdated.insert(key);
        }
        if annotations.is_empty() {
            descriptor.remove("annotations");
        }
    }

    /// Removes what Docker's format has no place for.
    fn forget_oci(&mut self, value: &mut Value) {
        let Some(object) = value.as_object_mut() else {
            return;
        };
        for field in ONLY_OCI {
            match object.remove(field) {
                Some(Value::Object(annotations)) if field == "annotations" => {
                    self.lost
                        .extend(annotations.keys().map(|key| format!("annotation {key}")));
                }
                Some(Value::Null) | None => {}
                Some(_) if field == "data" => {}
                Some(_) => {
                    self.lost.insert(field.to_owned());
                }
            }
        }
    }

    /// Returns what was lost, for people.
    pub(super) fn losses(&self) -> Vec<String> {
        let list = |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut messages = Vec::new();
        if !self.lost.is_empty() {
            messages.push(format!(
                "Docker's format (v2s2) has no place for: {}",
                list(&self.lost)
            ));
        }
        if self.attestations > 0 {
            messages.push(format!(
                "{} attestations stay behind: Docker's lists (v2s2) cannot hold them",
                self.attestations
            ));
        }
        if !self.outdated.is_empty() {
            messages.push(format!(
                "annotations about layers as they were compressed before are removed: {}",
                list(&self.outdated)
            ));
        }
        messages
    }

    fn set_type(&self, value: &mut Value, before: &str, of: fn(Format) -> &'static str) -> bool {
        match self.format {
            Some(format) if types::family(before) != format => {
                value["mediaType"] = json!(of(format));
                true
            }
            _ => false,
        }
    }
}

impl Rewrite for Rewriter<'_> {
    fn keeps(&mut self, _index: &Verified, entry: &Descriptor) -> bool {
        if self.format == Some(Format::V2s2) && entry.attests().is_some() {
            self.attestations += 1;
            return false;
        }
        true
    }

    fn image(&mut self, manifest: &Verified, value: &mut Value) -> Result<(), Error> {
        let Content::Image { config, layers } = manifest.manifest().content() else {
            return Ok(());
        };
        if !is_image(manifest) {
            // An artifact of an index: allowed by OCI, and nothing in it is ours to convert.
            return Ok(self.check_image(manifest)?);
        }
        if let Some(values) = value.get_mut("layers").and_then(Value::as_array_mut) {
            for (value, layer) in values.iter_mut().zip(layers) {
                self.layer(layer, value)?;
            }
        }
        if let Some(value) = value.get_mut("config") {
            self.set_type(value, &config.media_type, types::config);
        }
        let changed = self.set_type(value, manifest.manifest().media_type(), types::manifest);
        if changed && self.format == Some(Format::V2s2) {
            self.forget_oci(value);
            let layers = value.get_mut("layers").and_then(Value::as_array_mut);
            for descriptor in layers.into_iter().flatten() {
                self.forget_oci(descriptor);
            }
            if let Some(config) = value.get_mut("config") {
                self.forget_oci(config);
            }
        }
        Ok(())
    }

    fn index(&mut self, manifest: &Verified, value: &mut Value) -> Result<(), Error> {
        self.check_index(manifest)?;
        let changed = self.set_type(value, manifest.manifest().media_type(), types::index);
        if !changed || self.format != Some(Format::V2s2) {
            return Ok(());
        }
        self.forget_oci(value);
        let values = value.get_mut("manifests").and_then(Value::as_array_mut);
        let kept = entries(manifest)
            .iter()
            .filter(|entry| entry.attests().is_none());
        for (value, entry) in values.into_iter().flatten().zip(kept) {
            self.forget_oci(value);
            if entry.platform.is_none() {
                let platform = self.platforms.get(&entry.digest);
                let platform = platform.ok_or_else(|| ConvertError::NoPlatform {
                    image: self.image.clone(),
                    digest: entry.digest.clone(),
                })?;
                value["platform"] = platform_value(platform);
            }
        }
        Ok(())
    }
}

fn platform_value(platform: &Platform) -> Value {
    let mut value = Map::new();
    value.insert("architecture".to_owned(), json!(platform.architecture));
    value.insert("os".to_owned(), json!(platform.os));
    if let Some(variant) = &platform.variant {
        value.insert("variant".to_owned(), json!(variant));
    }
    if let Some(version) = &platform.os_version {
        value.insert("os.version".to_owned(), json!(version));
    }
    Value::Object(value)
}
