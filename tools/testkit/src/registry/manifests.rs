//! What is the honest answer about a manifest?

use super::settings::Settings;
use super::storage::Storage;
use super::wire::{Answer, Head};
use crate::image::{Blob, digest_like};
use serde_json::Value;

/// Registries refuse larger manifests (distribution specification: at least 4 MiB must be taken).
const MANIFEST_BYTES: usize = 4 << 20;

pub(super) fn answer(
    storage: &mut Storage,
    settings: &mut Settings,
    head: &Head,
    place: (&str, &str),
    body: Vec<u8>,
) -> Answer {
    let (name, reference) = place;
    match head.method.as_str() {
        "GET" | "HEAD" => limited(settings, head, || get(storage, head, name, reference)),
        "PUT" => match put(storage, settings.sparse, head, place, body) {
            Ok(stored) => stored_answer(name, &stored, settings),
            Err(refusal) => refusal,
        },
        "DELETE" => delete(storage, settings, name, reference),
        _ => Answer::error(405, "UNSUPPORTED", "no such method for a manifest"),
    }
}

/// Counts a pull, and tells how many are left.
fn limited(settings: &mut Settings, head: &Head, get: impl FnOnce() -> Answer) -> Answer {
    let Some(quota) = &mut settings.quota else {
        return get();
    };
    let mut answer = match (head.method.as_str(), quota.remaining) {
        ("GET", 0) => Answer::error(
            429,
            "TOOMANYREQUESTS",
            "you have reached your pull rate limit",
        ),
        ("GET", _) => {
            quota.remaining -= 1;
            get()
        }
        _ => get(),
    };
    answer.set(
        "ratelimit-limit",
        format!("{};w={}", quota.limit, quota.window),
    );
    answer.set(
        "ratelimit-remaining",
        format!("{};w={}", quota.remaining, quota.window),
    );
    answer
}

fn get(storage: &Storage, head: &Head, name: &str, reference: &str) -> Answer {
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

/// What a stored manifest is answered with.
struct Stored {
    digest: String,
    subject: Option<String>,
}

fn put(
    storage: &mut Storage,
    sparse: bool,
    head: &Head,
    (name, reference): (&str, &str),
    body: Vec<u8>,
) -> Result<Stored, Answer> {
    if body.len() > MANIFEST_BYTES {
        return Err(Answer::error(413, "SIZE_INVALID", "manifest too large"));
    }
    let invalid = |message: &str| Answer::error(400, "MANIFEST_INVALID", message);
    let parsed: Value =
        serde_json::from_slice(&body).map_err(|_| invalid("manifest is not JSON"))?;
    let media = head.header("content-type").unwrap_or_default();
    if parsed["mediaType"]
        .as_str()
        .is_some_and(|inside| inside != media)
    {
        return Err(invalid("media type and Content-Type disagree"));
    }
    complete(storage, sparse, name, &parsed)?;
    let by_digest = reference.contains(':');
    let claimed = head
        .parameter("digest")
        .or_else(|| by_digest.then(|| reference.to_owned()));
    let found = digest_like(claimed.as_deref().unwrap_or_default(), &body);
    if claimed.is_some_and(|claimed| claimed != found) {
        return Err(Answer::error(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        ));
    }
    let manifest = Blob {
        media_type: media.to_owned(),
        digest: found.clone(),
        bytes: body,
    };
    storage.put_manifest(name, (!by_digest).then_some(reference), manifest);
    let subject = parsed["subject"]["digest"].as_str().map(str::to_owned);
    Ok(Stored {
        digest: found,
        subject,
    })
}

/// Everything a manifest names has to be there, except for its subject.
fn complete(storage: &Storage, sparse: bool, name: &str, parsed: &Value) -> Result<(), Answer> {
    let digest_of = |entry: &Value| entry["digest"].as_str().unwrap_or_default().to_owned();
    let is_foreign = |entry: &&Value| entry.get("urls").is_some();
    let parts = parsed["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| !is_foreign(entry))
        .chain(parsed.get("config"));
    if let Some(lost) = parts
        .map(digest_of)
        .find(|digest| storage.blob(name, digest).is_none())
    {
        let message = format!("blob unknown to registry: {lost}");
        return Err(Answer::error(400, "MANIFEST_BLOB_UNKNOWN", &message));
    }
    let mut children = parsed["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .map(digest_of);
    let lost = children.find(|digest| storage.manifest(name, digest).is_none());
    if let Some(lost) = lost.filter(|_| !sparse) {
        let message = format!("manifest unknown to registry: {lost}");
        return Err(Answer::error(400, "MANIFEST_UNKNOWN", &message));
    }
    Ok(())
}

fn stored_answer(name: &str, stored: &Stored, settings: &Settings) -> Answer {
    let digest = &stored.digest;
    let answer = Answer::new(201)
        .with("Location", format!("/v2/{name}/manifests/{digest}"))
        .with("Docker-Content-Digest", digest);
    match &stored.subject {
        Some(subject) if settings.referrers => answer.with("OCI-Subject", subject),
        _ => answer,
    }
}

fn delete(storage: &mut Storage, settings: &Settings, name: &str, reference: &str) -> Answer {
    let by_digest = reference.contains(':');
    let refusal = settings
        .refuse_deletes
        .or_else(|| settings.refuse_tag_deletes.filter(|_| !by_digest));
    if let Some(status) = refusal {
        return Answer::error(status, "UNSUPPORTED", "the operation is unsupported");
    }
    if storage.delete_manifest(name, reference) {
        Answer::new(202)
    } else {
        Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    }
}
