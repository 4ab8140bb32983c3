//! What `docker save` wrote before version 1.10: a directory for each layer, with its own configuration and its parent's identifier.
//!
//! An image of that time has no configuration of its own: one is made as Docker made it when it moved such images into its new
//! store, from the topmost layer's configuration and the history of all.
//!
//! # References
//!
//! <https://github.com/moby/moby/blob/v20.10.0/image/spec/v1.md>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    ArchiveError, Found, Place, Tar,
    docker::{Part, digest_of, layer, made},
};
use crate::{
    compress::Compression,
    digest::{Algorithm, Digest, DigestReader},
    error::Error,
    limits, media,
    name::Name,
};

/// What a layer's own configuration has and an image's has not.
const OF_THE_LAYER: [&str; 7] = [
    "id",
    "parent",
    "parent_id",
    "Size",
    "layer_id",
    "throwaway",
    "rootfs",
];

/// The part of a layer's configuration that matters for others.
#[derive(Deserialize)]
struct Layer {
    #[serde(default)]
    parent: String,
    created: Option<Value>,
    #[serde(default)]
    author: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    container_config: Option<Container>,
    #[serde(default)]
    throwaway: Option<bool>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Cmd", default)]
    cmd: Option<Vec<String>>,
}

/// Returns the names of the images, with the identifiers of their topmost layers.
pub(super) fn names(tar: &Tar) -> Result<Vec<(Name, String)>, ArchiveError> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> =
        tar.json("repositories", limits::INDEX_BYTES)?;
    let mut names = Vec::new();
    for (repository, tags) in repositories {
        for (tag, id) in tags {
            if let Ok(name) = format!("{repository}:{tag}").parse() {
                names.push((name, id));
            }
        }
    }
    Ok(names)
}

/// Makes an image of a chain of layers.
pub(super) fn image(tar: &Tar, top: &str) -> Result<Found, Error> {
    let chain = chain(tar, top)?;
    let (mut layers, mut diff_ids, mut history) = (Vec::new(), Vec::new(), Vec::new());
    let mut elsewhere = BTreeMap::new();
    for (id, own) in &chain {
        let empty = own.throwaway == Some(true);
        history.push(history_of(own, empty));
        if empty {
            continue;
        }
        let path = format!("{id}/layer.tar");
        let diff_id = diff_id(tar, &path)?;
        let part = layer(tar, &path, diff_id.clone())?;
        elsewhere.insert(part.digest.clone(), Place::Member(path));
        diff_ids.push(diff_id);
        layers.push(part);
    }
    let mut config: Map<String, Value> = tar.json(&format!("{top}/json"), limits::CONFIG_BYTES)?;
    for key in OF_THE_LAYER {
        config.remove(key);
    }
    config.insert(
        "rootfs".to_owned(),
        json!({"type": "layers", "diff_ids": diff_ids}),
    );
    config.insert("history".to_owned(), Value::Array(history));
    let raw = serde_json::to_vec(&config).expect("it was JSON");
    let digest = Digest::of(&raw);
    let part = Part {
        media_type: media::DOCKER_CONFIG,
        size: raw.len() as u64,
        digest: digest.clone(),
    };
    elsewhere.insert(digest, Place::Bytes(raw));
    Ok(made(part, layers, elsewhere))
}

/// Returns a layer and those below it, the lowest first.
fn chain(tar: &Tar, top: &str) -> Result<Vec<(String, Layer)>, ArchiveError> {
    let mut chain = Vec::new();
    let mut id = top.to_owned();
    while !id.is_empty() {
        // An identifier becomes a name in the archive, and a circle would never end.
        if chain.len() >= limits::LAYERS {
            return Err(ArchiveError::Limit {
                place: tar.place_name().to_owned(),
                what: "layers in an image",
                limit: limits::LAYERS as u64,
            });
        }
        let layer: Layer = tar.json(&format!("{id}/json"), limits::CONFIG_BYTES)?;
        let parent = layer.parent.clone();
        chain.push((id, layer));
        id = parent;
    }
    chain.reverse();
    Ok(chain)
}

fn history_of(layer: &Layer, empty: bool) -> Value {
    let command = layer.container_config.as_ref();
    let command = command
        .and_then(|container| container.cmd.as_deref())
        .unwrap_or_default();
    let mut entry = Map::new();
    if let Some(created) = &layer.created {
        entry.insert("created".to_owned(), created.clone());
    }
    let mut text = |key: &str, value: String| {
        if !value.is_empty() {
            entry.insert(key.to_owned(), Value::String(value));
        }
    };
    text("author", layer.author.clone());
    text("created_by", command.join(" "));
    text("comment", layer.comment.clone());
    if empty {
        entry.insert("empty_layer".to_owned(), Value::Bool(true));
    }
    Value::Object(entry)
}

/// Hashes a layer as it is without compression.
fn diff_id(tar: &Tar, path: &str) -> Result<Digest, Error> {
    if tar.compression(path)? == Compression::None {
        return Ok(digest_of(tar, path)?);
    }
    let packed = std::io::BufReader::new(tar.open_member(path)?);
    let decoder = crate::compress::decoder(packed)?;
    let mut reader = DigestReader::new(decoder, Algorithm::Sha256);
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(|source| tar.unreadable(source))?;
    Ok(reader.finish().0)
}
