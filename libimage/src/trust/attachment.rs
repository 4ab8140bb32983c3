//! Sigstore signatures beside the image they are for: a manifest with a layer for each, under a tag that is named after the digest.
//!
//! # References
//!
//! cosign's `specs/SIGNATURE_SPEC.md`

use serde::Deserialize;
use serde_json::{Value, json};

use super::{SigstoreSignature, payload::PAYLOAD_BYTES};
use crate::{
    digest::Digest,
    manifest::{Descriptor, Manifest},
    media,
};

/// The type of a payload.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a payload's layer that holds its signature, in base64.
pub(crate) const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The type of an artifact that refers to the image it signs.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Signatures of one manifest: everybody in a large organisation may sign, a bot may not fill our memory.
pub(crate) const SIGNATURES: usize = 64;
/// Characters of a signature: an RSA one of 16,384 bits has 2,732.
const SIGNATURE_CHARS: usize = 4 << 10;
/// The time of what has none: the same bytes whenever they are made.
const EPOCH: &str = "0001-01-01T00:00:00Z";

/// A signature and where its payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The payload.
    pub(crate) payload: Descriptor,
    /// The signature in base64, not looked at.
    pub(crate) signature: String,
}

/// Returns the tag of the signatures of a manifest.
#[must_use]
pub(crate) fn tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm().as_str(), digest.hex())
}

#[derive(Deserialize)]
struct Document {
    layers: Vec<Descriptor>,
}

/// Lists the signatures of a signature manifest; `Err` says why it is none.
pub(crate) fn list(raw: &[u8]) -> Result<Vec<Attached>, String> {
    let manifest = Manifest::parse(raw.to_vec(), None).map_err(|error| error.to_string())?;
    if media::kind(manifest.media_type()) != media::Kind::Manifest {
        return Err("they are an index, not a manifest".to_owned());
    }
    let document: Document = serde_json::from_slice(raw).map_err(|error| error.to_string())?;
    let attached = document.layers.into_iter().filter_map(|layer| {
        let signature = layer.annotations.get(SIGNATURE_ANNOTATION)?.clone();
        let usable = layer.media_type == PAYLOAD_TYPE
            && layer.size <= PAYLOAD_BYTES
            && signature.len() <= SIGNATURE_CHARS;
        usable.then_some(Attached {
            payload: layer,
            signature,
        })
    });
    Ok(attached.collect())
}

/// A signature manifest to be: its bytes, its configuration, and the signature that is new.
#[derive(Debug, Clone)]
pub(crate) struct Extended {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: SigstoreSignature,
}

/// What is at the tag already: the manifest and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Existing {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
}

/// Adds a signature to those that are there; whatever else the manifest says is kept.
pub(crate) fn extend(
    existing: Option<&Existing>,
    payload: Vec<u8>,
    signature: &str,
) -> Result<Extended, String> {
    let parse =
        |raw: &[u8]| serde_json::from_slice::<Value>(raw).map_err(|error| error.to_string());
    let (mut manifest, mut config) = match existing {
        Some(existing) => (parse(&existing.manifest)?, parse(&existing.config)?),
        None => (
            json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "layers": []}),
            empty_config(),
        ),
    };
    let digest = Digest::of(&payload);
    let layer = json!({
        "mediaType": PAYLOAD_TYPE,
        "size": payload.len(),
        "digest": digest.as_str(),
        "annotations": {SIGNATURE_ANNOTATION: signature},
    });
    let push = |list: Option<&mut Value>, value: Value| {
        let list = list.and_then(Value::as_array_mut);
        list.map(|list| list.push(value))
            .ok_or_else(|| "they are not in the form of signatures".to_owned())
    };
    push(manifest.get_mut("layers"), layer)?;
    // An artifact's configuration lists nothing; an image's has to list what the manifest has.
    if let Some(listed) = config.pointer_mut("/rootfs/diff_ids") {
        push(Some(listed), json!(digest.as_str()))?;
    }
    let config = config.to_string().into_bytes();
    let of_config = json!({
        "mediaType": manifest.pointer("/config/mediaType").cloned().unwrap_or_else(|| json!(media::OCI_CONFIG)),
        "size": config.len(),
        "digest": Digest::of(&config).as_str(),
    });
    let object = manifest.as_object_mut();
    object
        .ok_or("they are no manifest")?
        .insert("config".to_owned(), of_config);
    Ok(Extended {
        manifest: manifest.to_string().into_bytes(),
        config,
        signature: SigstoreSignature {
            payload: payload.clone(),
            signature: signature.to_owned(),
        },
        payload,
    })
}

fn empty_config() -> Value {
    json!({
        "architecture": "",
        "created": EPOCH,
        "history": [{"created": EPOCH}],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": []},
        "config": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_added_to_those_that_are_there() {
        let first = extend(None, b"one".to_vec(), "c2ln").unwrap();
        let mut manifest: Value = serde_json::from_slice(&first.manifest).unwrap();
        manifest["annotations"] = json!({"kept": "yes"});
        let existing = Existing {
            manifest: manifest.to_string().into_bytes(),
            config: first.config,
        };
        let second = extend(Some(&existing), b"two".to_vec(), "c2ln").unwrap();
        let listed = list(&second.manifest).unwrap();
        let payloads: Vec<Digest> = listed
            .iter()
            .map(|one| one.payload.digest.clone())
            .collect();
        assert_eq!(payloads, [Digest::of(b"one"), Digest::of(b"two")]);
        assert!(
            String::from_utf8(second.manifest.clone())
                .unwrap()
                .contains("kept")
        );
        let config: Value = serde_json::from_slice(&second.config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        assert_eq!(
            extend(None, b"one".to_vec(), "c2ln").unwrap().manifest,
            first.manifest,
            "the same signature makes the same bytes"
        );
    }

    #[test]
    fn what_is_no_list_of_signatures_is_told() {
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []});
        assert!(list(index.to_string().as_bytes()).is_err());
        assert!(list(b"{}").is_err());
        let digest = Digest::of(b"x");
        let layer = |media_type: &str, size: u64, signature: String| json!({"mediaType": media_type, "digest": digest.as_str(), "size": size, "annotations": {SIGNATURE_ANNOTATION: signature}});
        let manifest = json!({
            "schemaVersion": 2,
            "config": {"mediaType": media::OCI_CONFIG, "digest": digest.as_str(), "size": 1},
            "layers": [
                layer(PAYLOAD_TYPE, PAYLOAD_BYTES + 1, "eA==".to_owned()),
                layer("text/plain", 1, "eA==".to_owned()),
                layer(PAYLOAD_TYPE, 1, "A".repeat(SIGNATURE_CHARS + 1)),
                {"mediaType": PAYLOAD_TYPE, "digest": digest.as_str(), "size": 1},
                layer(PAYLOAD_TYPE, 1, "eA==".to_owned()),
            ],
        });
        assert_eq!(list(manifest.to_string().as_bytes()).unwrap().len(), 1);
    }
}
