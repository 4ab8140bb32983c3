//! What is the honest answer to a request? The distribution specification over [`Storage`].
//!
//! Stricter than most registries where that finds mistakes: a manifest is taken only when all it names is there and its media type
//! agrees with the `Content-Type`, and is given out only in a media type that `Accept` lists.
//!
//! # References
//! OCI distribution specification 1.1, sections "Pull", "Push", "Content Discovery".

use super::storage::Storage;
use super::wire::{Answer, Head};
use crate::image::{Blob, sha256};
use serde_json::{Value, json};

/// Registries refuse larger manifests (distribution specification: at least 4 MiB must be taken).
const MANIFEST_BYTES: usize = 4 << 20;

/// Answers a request below `/v2/`.
pub(super) fn answer(storage: &mut Storage, page: usize, head: &Head, body: Vec<u8>) -> Answer {
    let Some(rest) = head.path.strip_prefix("/v2/") else {
        return Answer::error(404, "NOT_FOUND", "no such page");
    };
    if rest.is_empty() {
        return Answer::new(200)
            .with("Content-Type", "application/json")
            .body(b"{}".to_vec());
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return tags(storage, page, head, name);
    }
    if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
        return match head.method.as_str() {
            "GET" | "HEAD" => get_manifest(storage, head, name, reference),
            "PUT" => put_manifest(storage, head, name, reference, body),
            _ => Answer::error(405, "UNSUPPORTED", "no such method for a manifest"),
        };
    }
    if let Some((name, session)) = rest.split_once("/blobs/uploads/") {
        return match head.method.as_str() {
            "POST" if session.is_empty() => open(storage, head, name, body),
            "PATCH" => patch(storage, head, name, session, &body),
            "PUT" => put(storage, head, name, session, &body),
            "GET" => status(storage, name, session),
            "DELETE" => cancel(storage, session),
            _ => Answer::error(405, "UNSUPPORTED", "no such method for an upload"),
        };
    }
    match rest.rsplit_once("/blobs/") {
        Some((name, digest)) => get_blob(storage, head, name, digest),
        None => Answer::error(404, "NOT_FOUND", "no such page"),
    }
}

fn tags(storage: &Storage, page: usize, head: &Head, name: &str) -> Answer {
    let Some(all) = storage.tags(name) else {
        return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let wanted = head
        .parameter("n")
        .and_then(|n| n.parse().ok())
        .unwrap_or(page)
        .min(page);
    let last = head.parameter("last");
    let after = |tag: &&String| last.as_ref().is_none_or(|last| *tag > last);
    let rest: Vec<&String> = all.iter().filter(after).collect();
    let shown = &rest[..rest.len().min(wanted)];
    let body = json!({"name": name, "tags": shown});
    let mut answer = Answer::new(200)
        .with("Content-Type", "application/json")
        .body(body.to_string().into_bytes());
    if let Some(last) = shown.last().filter(|_| rest.len() > shown.len()) {
        answer.set(
            "Link",
            format!("</v2/{name}/tags/list?n={wanted}&last={last}>; rel=\"next\""),
        );
    }
    answer
}

fn get_manifest(storage: &Storage, head: &Head, name: &str, reference: &str) -> Answer {
    let Some(manifest) = storage.manifest(name, reference) else {
        return Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let mut listed = head
        .header_all("accept")
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .peekable();
    let matches = |kind: &str| {
        kind.starts_with("*/*") || kind.split(';').next() == Some(&manifest.media_type)
    };
    if listed.peek().is_some() && !listed.any(matches) {
        return Answer::error(
            404,
            "MANIFEST_UNKNOWN",
            "the manifest's media type is not in the Accept header",
        );
    }
    Answer::new(200)
        .with("Content-Type", &manifest.media_type)
        .with("Docker-Content-Digest", &manifest.digest)
        .body(manifest.bytes.clone())
}

fn put_manifest(
    storage: &mut Storage,
    head: &Head,
    name: &str,
    reference: &str,
    body: Vec<u8>,
) -> Answer {
    if body.len() > MANIFEST_BYTES {
        return Answer::error(413, "SIZE_INVALID", "manifest too large");
    }
    let Ok(parsed) = serde_json::from_slice::<Value>(&body) else {
        return Answer::error(400, "MANIFEST_INVALID", "manifest is not JSON");
    };
    let media = head.header("content-type").unwrap_or_default();
    if parsed["mediaType"]
        .as_str()
        .is_some_and(|inside| inside != media)
    {
        return Answer::error(
            400,
            "MANIFEST_INVALID",
            "media type and Content-Type disagree",
        );
    }
    let digest_of = |entry: &Value| entry["digest"].as_str().unwrap_or_default().to_owned();
    let parts = parsed["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(parsed.get("config"));
    if let Some(lost) = parts
        .map(digest_of)
        .find(|digest| storage.blob(name, digest).is_none())
    {
        return Answer::error(
            400,
            "MANIFEST_BLOB_UNKNOWN",
            &format!("blob unknown to registry: {lost}"),
        );
    }
    let children = parsed["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .map(digest_of);
    if let Some(lost) = children
        .into_iter()
        .find(|digest| storage.manifest(name, digest).is_none())
    {
        return Answer::error(
            400,
            "MANIFEST_UNKNOWN",
            &format!("manifest unknown to registry: {lost}"),
        );
    }
    let manifest = Blob::new(media, body);
    let by_digest = reference.contains(':');
    if by_digest && reference != manifest.digest {
        return Answer::error(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        );
    }
    let digest = manifest.digest.clone();
    storage.put_manifest(name, (!by_digest).then_some(reference), manifest);
    Answer::new(201)
        .with("Location", format!("/v2/{name}/manifests/{digest}"))
        .with("Docker-Content-Digest", digest)
}

fn get_blob(storage: &Storage, head: &Head, name: &str, digest: &str) -> Answer {
    let Some(bytes) = storage.blob(name, digest) else {
        return Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
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

fn open(storage: &mut Storage, head: &Head, name: &str, body: Vec<u8>) -> Answer {
    if let (Some(digest), Some(from)) = (head.parameter("mount"), head.parameter("from"))
        && storage.mount(&from, name, &digest)
    {
        return created(name, &digest);
    }
    if let Some(digest) = head.parameter("digest") {
        return store(storage, name, &digest, body);
    }
    let session = storage.open_upload(name);
    accepted(name, &session, 0)
}

fn patch(storage: &mut Storage, head: &Head, name: &str, session: &str, body: &[u8]) -> Answer {
    let Some(upload) = storage
        .upload(session)
        .filter(|upload| upload.repository == name)
    else {
        return no_session();
    };
    let start = head
        .header("content-range")
        .and_then(|range| range.split('-').next()?.parse::<usize>().ok());
    if start.is_some_and(|start| start != upload.bytes.len()) {
        return Answer::error(416, "RANGE_INVALID", "chunk out of order");
    }
    upload.bytes.extend_from_slice(body);
    let length = upload.bytes.len();
    accepted(name, session, length)
}

fn put(storage: &mut Storage, head: &Head, name: &str, session: &str, body: &[u8]) -> Answer {
    let Some(digest) = head.parameter("digest") else {
        return Answer::error(400, "DIGEST_INVALID", "digest missing");
    };
    let Some(mut upload) = storage
        .close_upload(session)
        .filter(|upload| upload.repository == name)
    else {
        return no_session();
    };
    upload.bytes.extend_from_slice(body);
    store(storage, name, &digest, upload.bytes)
}

fn store(storage: &mut Storage, name: &str, digest: &str, bytes: Vec<u8>) -> Answer {
    if sha256(&bytes) != digest {
        return Answer::error(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        );
    }
    storage.put_blob(name, digest, bytes);
    created(name, digest)
}

fn status(storage: &mut Storage, name: &str, session: &str) -> Answer {
    let Some(upload) = storage.upload(session) else {
        return no_session();
    };
    let length = upload.bytes.len();
    let mut answer = accepted(name, session, length);
    answer.status = 204;
    answer
}

fn cancel(storage: &mut Storage, session: &str) -> Answer {
    storage
        .close_upload(session)
        .map_or_else(no_session, |_| Answer::new(204))
}

fn no_session() -> Answer {
    Answer::error(
        404,
        "BLOB_UPLOAD_UNKNOWN",
        "blob upload unknown to registry",
    )
}

fn created(name: &str, digest: &str) -> Answer {
    Answer::new(201)
        .with("Location", format!("/v2/{name}/blobs/{digest}"))
        .with("Docker-Content-Digest", digest)
}

fn accepted(name: &str, session: &str, length: usize) -> Answer {
    Answer::new(202)
        .with(
            "Location",
            format!("/v2/{name}/blobs/uploads/{session}?state=opaque"),
        )
        .with("Docker-Upload-UUID", session)
        .with("Range", format!("0-{}", length.saturating_sub(1)))
}
