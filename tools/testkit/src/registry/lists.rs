//! Lists that come in pages: tags, repositories, referrers.
//!
//! # References
//! OCI distribution specification 1.1, "Content Discovery"; the distribution project's `_catalog`.

use super::settings::Settings;
use super::storage::Storage;
use super::wire::{Answer, Head};
use serde_json::{Value, json};

pub(super) fn tags(storage: &Storage, settings: &Settings, head: &Head, name: &str) -> Answer {
    let Some(all) = storage.tags(name) else {
        return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let path = format!("/v2/{name}/tags/list");
    names(
        &all,
        settings,
        head,
        &path,
        |shown| json!({"name": name, "tags": shown}),
    )
}

pub(super) fn repositories(storage: &Storage, settings: &Settings, head: &Head) -> Answer {
    let all = storage.repositories();
    names(
        &all,
        settings,
        head,
        "/v2/_catalog",
        |shown| json!({"repositories": shown}),
    )
}

/// One page of a sorted list, with `n`, `last` and `Link`.
fn names(
    all: &[String],
    settings: &Settings,
    head: &Head,
    path: &str,
    body: impl Fn(&[&String]) -> Value,
) -> Answer {
    let wanted = head
        .parameter("n")
        .and_then(|n| n.parse().ok())
        .unwrap_or(settings.page)
        .min(settings.page);
    let last = head.parameter("last");
    let after = |name: &&String| last.as_ref().is_none_or(|last| *name > last);
    let rest: Vec<&String> = all.iter().filter(after).collect();
    let shown = &rest[..rest.len().min(wanted)];
    let mut answer = Answer::new(200)
        .with("Content-Type", "application/json")
        .body(body(shown).to_string().into_bytes());
    if let Some(last) = shown.last().filter(|_| rest.len() > shown.len()) {
        answer.set(
            "Link",
            format!("<{path}?n={wanted}&last={last}>; rel=\"next\""),
        );
    }
    answer
}

/// The manifests of the repository that name `digest` as their subject, as an index. An unknown subject has none: that is no error.
pub(super) fn referrers(
    storage: &Storage,
    settings: &Settings,
    head: &Head,
    name: &str,
    digest: &str,
) -> Answer {
    if !settings.referrers {
        return Answer::error(404, "NOT_FOUND", "no such page");
    }
    let mut all = storage.referrers(name, digest);
    let wanted = head.parameter("artifactType").filter(|_| settings.filters);
    if let Some(wanted) = &wanted {
        all.retain(|entry| entry["artifactType"] == wanted.as_str());
    }
    let start: usize = head
        .parameter("start")
        .and_then(|start| start.parse().ok())
        .unwrap_or(0);
    let end = (start + settings.page).min(all.len());
    let shown = all.get(start..end).unwrap_or_default();
    let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": shown});
    let mut answer = Answer::new(200)
        .with("Content-Type", INDEX)
        .body(body.to_string().into_bytes());
    if wanted.is_some() {
        answer.set("OCI-Filters-Applied", "artifactType");
    }
    if end < all.len() {
        let filter = wanted.map_or_else(String::new, |wanted| format!("&artifactType={wanted}"));
        let path = format!("/v2/{name}/referrers/{digest}");
        answer.set(
            "Link",
            format!("<{path}?start={end}{filter}>; rel=\"next\""),
        );
    }
    answer
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
