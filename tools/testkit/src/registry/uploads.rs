//! What is the honest answer to an upload: opened, in one piece, in chunks, asked about, given up?

use super::settings::Settings;
use super::storage::Storage;
use super::wire::{Answer, Head};
use crate::image::digest_like;

/// Where an upload happens.
pub(super) struct Place<'a> {
    pub(super) repository: &'a str,
    pub(super) session: &'a str,
}

pub(super) fn answer(
    storage: &mut Storage,
    settings: &Settings,
    head: &Head,
    place: &Place<'_>,
    body: Vec<u8>,
) -> Answer {
    if let Some((status, limit)) = settings.largest_request
        && body.len() as u64 > limit
    {
        return Answer::error(status, "SIZE_INVALID", "the request is too large");
    }
    match head.method.as_str() {
        "POST" if place.session.is_empty() => open(storage, settings, head, place, body),
        "PATCH" => patch(storage, settings, head, place, &body),
        "PUT" => put(storage, settings, head, place, &body),
        "GET" => status(storage, place),
        "DELETE" => cancel(storage, place),
        _ => Answer::error(405, "UNSUPPORTED", "no such method for an upload"),
    }
}

fn open(
    storage: &mut Storage,
    settings: &Settings,
    head: &Head,
    place: &Place<'_>,
    body: Vec<u8>,
) -> Answer {
    let name = place.repository;
    if let (Some(digest), Some(from)) = (head.parameter("mount"), head.parameter("from"))
        && storage.mount(&from, name, &digest)
    {
        return created(name, &digest);
    }
    if let Some(digest) = head.parameter("digest") {
        return match settings.refuse_monolithic {
            Some(status) => chunks_only(status),
            None => store(storage, name, &digest, body),
        };
    }
    let session = storage.open_upload(name);
    let answer = accepted(name, &session, 0);
    match settings.smallest_chunk {
        Some(bytes) => answer.with("OCI-Chunk-Min-Length", bytes.to_string()),
        None => answer,
    }
}

fn patch(
    storage: &mut Storage,
    settings: &Settings,
    head: &Head,
    place: &Place<'_>,
    body: &[u8],
) -> Answer {
    let session = place.session;
    let Some(upload) = storage.upload(place.repository, session) else {
        return no_session();
    };
    let range = head.header("content-range");
    if range.is_none() && settings.ranges_required {
        return Answer::error(400, "RANGE_INVALID", "Content-Range is missing");
    }
    let held = upload.bytes.len();
    let expected = format!("{held}-{}", (held + body.len()).saturating_sub(1));
    if range.is_some_and(|range| range != expected) || upload.closed {
        return Answer::error(416, "RANGE_INVALID", "chunk out of order")
            .with("Range", format!("0-{}", held.saturating_sub(1)));
    }
    // Whatever follows a chunk that is too small proves that it was not the last.
    upload.closed = settings
        .smallest_chunk
        .is_some_and(|least| (body.len() as u64) < least);
    upload.bytes.extend_from_slice(body);
    let length = upload.bytes.len();
    accepted(place.repository, session, length)
}

fn put(
    storage: &mut Storage,
    settings: &Settings,
    head: &Head,
    place: &Place<'_>,
    body: &[u8],
) -> Answer {
    let Some(digest) = head.parameter("digest") else {
        return Answer::error(400, "DIGEST_INVALID", "digest missing");
    };
    let Some(upload) = storage.upload(place.repository, place.session) else {
        return no_session();
    };
    if let Some(status) = settings.refuse_monolithic
        && upload.bytes.is_empty()
        && !body.is_empty()
    {
        return chunks_only(status);
    }
    let mut bytes = std::mem::take(&mut upload.bytes);
    storage.close_upload(place.session);
    bytes.extend_from_slice(body);
    store(storage, place.repository, &digest, bytes)
}

fn store(storage: &mut Storage, name: &str, digest: &str, bytes: Vec<u8>) -> Answer {
    if digest_like(digest, &bytes) != digest {
        return Answer::error(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        );
    }
    storage.put_blob(name, digest, bytes);
    created(name, digest)
}

fn status(storage: &mut Storage, place: &Place<'_>) -> Answer {
    let Some(upload) = storage.upload(place.repository, place.session) else {
        return no_session();
    };
    let length = upload.bytes.len();
    let mut answer = accepted(place.repository, place.session, length);
    answer.status = 204;
    answer
}

fn cancel(storage: &mut Storage, place: &Place<'_>) -> Answer {
    storage
        .close_upload(place.session)
        .map_or_else(no_session, |_| Answer::new(204))
}

fn chunks_only(status: u16) -> Answer {
    Answer::error(status, "UNSUPPORTED", "blobs are uploaded in chunks here")
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
