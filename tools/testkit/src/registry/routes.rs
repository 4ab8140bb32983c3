//! What is the honest answer to a request? The distribution specification over [`Storage`].
//!
//! Stricter than most registries where that finds mistakes: a manifest is taken only when all it names is there and its media type
//! agrees with the `Content-Type`, and is given out only in a media type that `Accept` lists.
//!
//! # References
//! OCI distribution specification 1.1, sections "Pull", "Push", "Content Discovery", "Content Management".

use super::settings::Settings;
use super::storage::Storage;
use super::uploads::Place;
use super::wire::{Answer, Head};
use super::{lists, manifests, uploads};

/// Answers a request below `/v2/`.
pub(super) fn answer(
    storage: &mut Storage,
    settings: &mut Settings,
    head: &Head,
    body: Vec<u8>,
) -> Answer {
    let Some(rest) = head.path.strip_prefix("/v2/") else {
        return no_page();
    };
    if rest.is_empty() {
        return Answer::new(200)
            .with("Content-Type", "application/json")
            .body(b"{}".to_vec());
    }
    if rest == "_catalog" {
        return lists::repositories(storage, settings, head);
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return lists::tags(storage, settings, head, name);
    }
    if let Some(place) = rest.rsplit_once("/manifests/") {
        return manifests::answer(storage, settings, head, place, body);
    }
    if let Some((name, digest)) = rest.rsplit_once("/referrers/") {
        return lists::referrers(storage, settings, head, name, digest);
    }
    if let Some((repository, session)) = rest.split_once("/blobs/uploads/") {
        let place = Place {
            repository,
            session,
        };
        return uploads::answer(storage, settings, head, &place, body);
    }
    match rest.rsplit_once("/blobs/") {
        Some((name, digest)) if head.method == "DELETE" => {
            if storage.delete_blob(name, digest) {
                Answer::new(202)
            } else {
                unknown_blob()
            }
        }
        Some((name, digest)) => get_blob(storage, head, name, digest),
        None => no_page(),
    }
}

fn get_blob(storage: &Storage, head: &Head, name: &str, digest: &str) -> Answer {
    let Some(bytes) = storage.blob(name, digest) else {
        return unknown_blob();
    };
    let answer = Answer::new(200)
        .with("Content-Type", "application/octet-stream")
        .with("Docker-Content-Digest", digest)
        .with("Accept-Ranges", "bytes");
    let Some(range) = head
        .header("range")
        .and_then(|range| range.strip_prefix("bytes="))
    else {
        return answer.body(bytes.to_vec());
    };
    let (from, to) = range.split_once('-').unwrap_or((range, ""));
    let from = from.parse::<usize>().unwrap_or(0);
    let end = to
        .parse::<usize>()
        .map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
    if from >= end {
        let length = bytes.len();
        return Answer::error(416, "RANGE_INVALID", "no such range")
            .with("Content-Range", format!("bytes */{length}"));
    }
    let mut part = answer.with(
        "Content-Range",
        format!("bytes {from}-{}/{}", end - 1, bytes.len()),
    );
    part.status = 206;
    part.body(bytes[from..end].to_vec())
}

fn unknown_blob() -> Answer {
    Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry")
}

fn no_page() -> Answer {
    Answer::error(404, "NOT_FOUND", "no such page")
}
