//! Checks that what a registry holds is a valid image: what the image specification requires, sizes and digests, diffIDs.

use std::io::Read as _;

use libimage::{compress, digest::Digest};
use serde_json::Value;
use trimaran_testkit::Registry;

/// A family of media types, for what must be of one family throughout.
pub(crate) const OCI: &str = "application/vnd.oci.image.";
pub(crate) const DOCKER: &str = "application/vnd.docker.";

/// Reads a manifest or index as JSON.
#[track_caller]
pub(crate) fn json(registry: &Registry, repository: &str, reference: &str) -> Value {
    let manifest = registry
        .manifest(repository, reference)
        .unwrap_or_else(|| panic!("{reference} is not there"));
    serde_json::from_slice(&manifest.bytes).unwrap()
}

/// Asserts that everything below a reference is valid and of one family; returns how many images there are.
#[track_caller]
pub(crate) fn assert_valid(
    registry: &Registry,
    repository: &str,
    reference: &str,
    family: &str,
) -> usize {
    let found = registry.manifest(repository, reference).unwrap();
    let value = json(registry, repository, reference);
    assert_eq!(value["schemaVersion"], 2);
    let media_type = value["mediaType"].as_str().expect("a mediaType");
    assert_eq!(media_type, found.media_type, "the Content-Type");
    assert!(media_type.starts_with(family), "{media_type}");
    if family == DOCKER {
        assert_docker_fields(&value);
    }
    if let Some(entries) = value.get("manifests") {
        let entries = entries.as_array().expect("a list of manifests");
        return entries
            .iter()
            .map(|entry| assert_entry(registry, repository, entry, family))
            .sum();
    }
    let config = assert_blob(registry, repository, &value["config"]);
    assert!(
        value["config"]["mediaType"]
            .as_str()
            .unwrap()
            .starts_with(family)
    );
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert!(config["os"].is_string() && config["architecture"].is_string());
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let layers = value["layers"].as_array().expect("a list of layers");
    assert_eq!(ids.len(), layers.len());
    for (layer, id) in layers.iter().zip(ids) {
        assert_layer(registry, repository, layer, id.as_str().unwrap(), family);
    }
    1
}

fn assert_entry(registry: &Registry, repository: &str, entry: &Value, family: &str) -> usize {
    let digest = assert_descriptor(entry);
    let child = registry.manifest(repository, &digest).unwrap();
    assert_eq!(entry["size"], child.bytes.len());
    assert_eq!(entry["mediaType"], child.media_type);
    let is_index = child.media_type.contains("index") || child.media_type.contains("list");
    if family == DOCKER || !is_index {
        let platform = &entry["platform"];
        assert!(
            platform["os"].is_string() && platform["architecture"].is_string(),
            "{entry}"
        );
    }
    if entry["platform"]["os"] == "unknown" {
        return 0;
    }
    assert_valid(registry, repository, &digest, family)
}

/// Asserts what a descriptor must have, and returns its digest.
fn assert_descriptor(descriptor: &Value) -> String {
    assert!(descriptor["mediaType"].is_string(), "{descriptor}");
    assert!(descriptor["size"].is_u64(), "{descriptor}");
    let digest = descriptor["digest"].as_str().expect("a digest");
    digest.parse::<Digest>().expect("a valid digest");
    digest.to_owned()
}

fn assert_blob(registry: &Registry, repository: &str, descriptor: &Value) -> Vec<u8> {
    let digest = assert_descriptor(descriptor);
    let blob = registry
        .blob(repository, &digest)
        .expect("the blob is there");
    assert_eq!(descriptor["size"], blob.len());
    assert_eq!(digest, Digest::of(&blob).to_string());
    blob
}

fn assert_layer(registry: &Registry, repository: &str, layer: &Value, diff_id: &str, family: &str) {
    let media_type = layer["mediaType"].as_str().unwrap();
    assert!(media_type.starts_with(family), "{media_type}");
    let blob = assert_blob(registry, repository, layer);
    let mut tar = Vec::new();
    let mut decoder = compress::decoder(&blob[..]).unwrap();
    let found = decoder.compression();
    decoder.read_to_end(&mut tar).unwrap();
    let promised = libimage::media::layer_compression(media_type);
    assert_eq!(promised, Some(found), "{media_type} tells how it is packed");
    assert_eq!(Digest::of(&tar).to_string(), diff_id);
}

/// Docker's schema 2 has these fields, and no others.
fn assert_docker_fields(value: &Value) {
    let fields = |value: &Value, allowed: &[&str]| {
        for key in value.as_object().expect("an object").keys() {
            assert!(
                allowed.contains(&key.as_str()),
                "{key} is no field of Docker's"
            );
        }
    };
    fields(
        value,
        &[
            "schemaVersion",
            "mediaType",
            "config",
            "layers",
            "manifests",
        ],
    );
    for part in value["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(value.get("config"))
    {
        fields(part, &["mediaType", "size", "digest", "urls"]);
    }
    for entry in value["manifests"].as_array().into_iter().flatten() {
        fields(entry, &["mediaType", "size", "digest", "urls", "platform"]);
    }
}

/// Digests of a manifest's layers.
pub(crate) fn layers(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}
