//! The endpoint `/referrers/`, and the tag that stands in for it where a registry does not have it.
//!
//! # References
//!
//! Distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU8, Ordering},
};

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, LINK},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Registry, RegistryError, list::next_of, request::Call};
use crate::{
    auth::Access,
    digest::Digest,
    error::ErrorKind,
    layout::is_digest_tag,
    limits,
    manifest::{Content, Descriptor, Manifest},
    media,
    name::Name,
};

/// Pages of a list of referrers. Those seen hold a hundred entries or more each.
const PAGES: usize = 200;
/// How often a fallback tag is written again because somebody else wrote it meanwhile.
const WRITES: usize = 8;

/// What a context remembers about a registry's referrers.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// [`PRESENT`], [`ABSENT`], or 0 if it has not been asked.
    api: AtomicU8,
    /// Held while a fallback tag is rewritten: our own writers at least do not race.
    writing: Mutex<()>,
}

/// Returns for which repositories a registry behaves alike. Behind one host name there may be several registries, told apart by the
/// first part of the path.
pub(super) fn key_of(name: &Name) -> String {
    let first = name.repository().split('/').next().unwrap_or_default();
    format!("{}/{first}", name.registry())
}

const PRESENT: u8 = 1;
const ABSENT: u8 = 2;

/// Returns the tag under which the referrers of a manifest are listed where the registry has no endpoint for them.
#[must_use]
pub fn fallback_tag(digest: &Digest) -> String {
    // The specification cuts the two parts at 32 and 64 characters.
    let hex: String = digest.hex().chars().take(64).collect();
    format!("{}-{hex}", digest.algorithm().as_str())
}

impl Registry {
    /// Lists what refers to a manifest: signatures, SBOMs, attestations; all of it, or one kind of artifact.
    ///
    /// The registry's endpoint is asked, one request a page. A registry that turns out not to have it is not asked again: there the
    /// fallback tag is fetched, one request.
    ///
    /// # Errors
    ///
    /// The registry cannot be asked, or its answer is no list of referrers.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let mut found = match self.referrers_by_endpoint(subject, artifact_type).await? {
            Some(found) => found,
            None => self.referrers_by_tag(subject).await?,
        };
        let mut seen = BTreeSet::new();
        // The endpoint may ignore the filter, and the tag has none.
        found.retain(|entry| {
            artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
                && seen.insert(entry.digest.clone())
        });
        Ok(found)
    }

    /// Lists what refers to a manifest by the registry's endpoint; `None` if it has none.
    ///
    /// # Errors
    ///
    /// As [`Registry::referrers`].
    pub async fn referrers_by_endpoint(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let known = &self.0.referrers.api;
        if known.load(Ordering::Relaxed) == ABSENT {
            return Ok(None);
        }
        let what = self.of_repository(&format!("referrers of {subject}"));
        let endpoint = format!("referrers/{subject}");
        let mut call = self
            .call(Method::GET, &endpoint, Access::Pull, what)
            .await?;
        call = call.header(ACCEPT, HeaderValue::from_static(media::OCI_INDEX));
        let first = call.url.clone();
        if let Some(wanted) = artifact_type {
            call.url
                .query_pairs_mut()
                .append_pair("artifactType", wanted);
        }
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let (page, link) = match self.referrers_page(&call).await {
                Ok(Some(page)) => page,
                Ok(None) if known.load(Ordering::Relaxed) == PRESENT => return Ok(Some(found)),
                Ok(None) => {
                    known.store(ABSENT, Ordering::Relaxed);
                    return Ok(None);
                }
                // The manifest itself could be read with these credentials: this registry guards an endpoint it may not even have.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            known.store(PRESENT, Ordering::Relaxed);
            (found, pages) = ([found, page].concat(), pages + 1);
            let Some(link) = link else {
                return Ok(Some(found));
            };
            if pages >= PAGES || found.len() > limits::INDEX_ENTRIES {
                return Err(self.nonsense(&call.what, "it does not end"));
            }
            call.url = self.next_page(&call.what, &call.url, &first, &link)?;
        }
    }

    /// Fetches one page and the link to the next; `None` if there is no such endpoint.
    async fn referrers_page(
        &self,
        call: &Call,
    ) -> Result<Option<(Vec<Descriptor>, Option<String>)>, RegistryError> {
        let mut attempt = 1;
        loop {
            let response = match self.send(call, &[StatusCode::OK]).await {
                Err(error) if is_absence(&error) => return Ok(None),
                other => other?,
            };
            let header = |name| response.headers().get(name)?.to_str().ok();
            let link = header(LINK).and_then(next_of).map(str::to_owned);
            let claims = header(CONTENT_TYPE).is_some_and(is_index);
            match self
                .body(&call.what, response, limits::MANIFEST_BYTES)
                .await
            {
                Ok(raw) => {
                    return match Manifest::parse(raw, None).map(|page| page.content().clone()) {
                        Ok(Content::Index { entries }) => Ok(Some((entries, link))),
                        // Servers that answer every address with a page of their own do not know this one.
                        _ if !claims => Ok(None),
                        _ => Err(self.nonsense(&call.what, "it is no index")),
                    };
                }
                Err(error) => self.pause(&mut attempt, &call.what, error).await?,
            }
        }
    }

    /// Lists what the fallback tag of a manifest names, whether or not the registry has the endpoint.
    ///
    /// # Errors
    ///
    /// The registry cannot be asked.
    pub async fn referrers_by_tag(
        &self,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let raw = match self.get_manifest(&fallback_tag(subject)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?.raw,
        };
        match Manifest::parse(raw, None).map(|list| list.content().clone()) {
            Ok(Content::Index { entries }) => Ok(entries),
            // Anybody may use such a tag for something else.
            _ => Ok(Vec::new()),
        }
    }

    /// Returns the tags of the repository that are made from digests, if one page lists all tags; `None` if it does not, or the
    /// registry does not say.
    pub(crate) async fn digest_tags(&self) -> Result<Option<BTreeSet<String>>, RegistryError> {
        match self.first_tags().await {
            Ok((tags, true)) => Ok(Some(
                tags.into_iter().filter(|tag| is_digest_tag(tag)).collect(),
            )),
            Ok((_, false)) => Ok(None),
            Err(error) if error.is_transient() => Err(error),
            // Some registries list no tags, or not for everybody, or far too many at once.
            Err(_) => Ok(None),
        }
    }

    /// Stores manifests that refer to others. Where the registry does not keep track of that itself, their subjects' fallback
    /// tags are extended: three requests a subject, however many refer to it.
    ///
    /// # Errors
    ///
    /// The registry refuses one.
    ///
    /// # Concurrency
    ///
    /// A fallback tag is read, changed and written: another client that does the same at that moment may lose an entry. It is read
    /// again afterwards, and written again if another's overwrote it.
    pub async fn put_referrers(&self, manifests: &[Manifest]) -> Result<(), RegistryError> {
        let mut untracked: BTreeMap<&Digest, Vec<&Manifest>> = BTreeMap::new();
        for manifest in manifests {
            let tracked = self
                .send_manifest(manifest, manifest.digest().as_str())
                .await?;
            if let (false, Some(subject)) = (tracked, manifest.subject()) {
                untracked.entry(&subject.digest).or_default().push(manifest);
            }
        }
        for (subject, manifests) in untracked {
            self.list_in_tag(subject, &manifests).await?;
        }
        Ok(())
    }

    /// Enters manifests in the fallback tag of their subject.
    pub(super) async fn list_in_tag(
        &self,
        subject: &Digest,
        manifests: &[&Manifest],
    ) -> Result<(), RegistryError> {
        let _turn = self.0.referrers.writing.lock().await;
        let tag = fallback_tag(subject);
        let what = self.of_repository(&format!("list of referrers {tag}"));
        for _ in 0..WRITES {
            let current = match self.get_manifest(&tag).await {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                other => Some(other?.raw),
            };
            let list = extended(current.as_deref(), manifests)
                .map_err(|problem| self.nonsense(&what, problem))?;
            let Some(list) = list else {
                return Ok(());
            };
            let list = Manifest::parse(list, Some(media::OCI_INDEX))
                .map_err(|_| self.nonsense(&what, "it has too many entries to add one"))?;
            self.send_manifest(&list, &tag).await?;
            let now = self.head_manifest(&tag).await?.and_then(|head| head.digest);
            if now.is_none_or(|now| now == *list.digest()) {
                return Ok(());
            }
        }
        Err(self.nonsense(&what, "somebody else overwrites it again and again"))
    }
}

/// Tells whether an answer means that there is no such endpoint: registries of before 2022 say this in several ways.
fn is_absence(error: &RegistryError) -> bool {
    match error {
        RegistryError::NotFound { .. } => true,
        RegistryError::Status { status, .. } => {
            matches!(status, 400 | 405 | 406 | 410 | 415 | 501)
        }
        _ => false,
    }
}

fn is_index(media_type: &str) -> bool {
    media::kind(media_type) == media::Kind::Index
}

/// Returns the list with the manifests that it lacks; `None` if it lacks none. What the list says otherwise is kept.
fn extended(
    current: Option<&[u8]>,
    manifests: &[&Manifest],
) -> Result<Option<Vec<u8>>, &'static str> {
    let no_list = "a tag of that name holds something else";
    let mut list = match current {
        Some(raw) => serde_json::from_slice(raw).map_err(|_| no_list)?,
        None => json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []}),
    };
    let entries = list
        .get_mut("manifests")
        .and_then(Value::as_array_mut)
        .ok_or(no_list)?;
    let before = entries.len();
    for manifest in manifests {
        let digest = manifest.digest().as_str();
        if !entries.iter().any(|entry| entry["digest"] == digest) {
            entries.push(manifest.to_entry());
        }
    }
    if entries.len() == before {
        return Ok(None);
    }
    Ok(Some(list.to_string().into_bytes()))
}
