//! Looks for what refers to manifests, in few requests.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::OnceCell;

use crate::{
    digest::Digest,
    error::Error,
    layout::Referrer,
    manifest::Descriptor,
    registry::{Registry, fallback_tag},
    transport::Source,
};

/// What cosign appends to the tag made from a digest: signatures, attestations, SBOMs.
const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// The kinds of artifacts that are signatures: cosign's and Notation's.
const SIGNATURES: [&str; 2] = [
    "application/vnd.dev.cosign.artifact.sig.v1+json",
    "application/vnd.cncf.notary.signature",
];

/// The tags of repositories that are made from digests, each list fetched once. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct TagLists(Arc<Mutex<HashMap<String, Arc<TagList>>>>);

type TagList = OnceCell<Option<BTreeSet<String>>>;

impl TagLists {
    async fn of(&self, source: &Source) -> Result<Option<BTreeSet<String>>, Error> {
        let Some(registry) = source.registry() else {
            return source.digest_tags().await;
        };
        let list = {
            let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let list = lists.entry(registry.name().without_reference());
            Arc::clone(list.or_default())
        };
        let tags = list.get_or_try_init(|| source.digest_tags()).await?;
        Ok(tags.clone())
    }
}

/// Something that refers to a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What it refers to.
    pub(crate) subject: Digest,
    /// How it was found.
    pub(crate) how: How,
}

/// How something was found that refers to a manifest.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// In a list.
    Listed(Descriptor),
    /// By its tag.
    Tagged(String),
}

impl How {
    /// Tells whether it is a signature, and not an SBOM or an attestation.
    pub(crate) fn is_signature(&self) -> bool {
        match self {
            Self::Listed(entry) => entry
                .artifact_type
                .as_deref()
                .is_some_and(|found| SIGNATURES.contains(&found)),
            Self::Tagged(tag) => tag.ends_with(".sig"),
        }
    }
}

/// Looks for what refers to manifests of one repository, layout or archive.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    source: &'a Source,
    jobs: usize,
    /// The tags that are made from digests; none if they are too many to list.
    tags: Option<BTreeSet<String>>,
    /// What a local medium holds: it is read once.
    held: Option<Vec<Referrer>>,
}

impl<'a> Finder<'a> {
    /// Prepares to look; `jobs` requests are under way at once.
    pub(crate) async fn new(
        source: &'a Source,
        jobs: usize,
        lists: Option<&TagLists>,
    ) -> Result<Self, Error> {
        let tags = match lists {
            Some(lists) => lists.of(source).await?,
            None => source.digest_tags().await?,
        };
        Ok(Self {
            source,
            jobs: jobs.max(1),
            tags,
            held: source.held_referrers().await?,
        })
    }

    /// Looks for what refers to each of `subjects`, the most important one first; tags that cannot be listed are asked for only if
    /// `ask_tags`.
    pub(crate) async fn look(
        &self,
        subjects: &[Digest],
        ask_tags: bool,
    ) -> Result<Vec<Found>, Error> {
        let mut found = match (self.source.registry(), &self.held) {
            (Some(registry), _) => self.ask(registry, subjects).await?,
            (None, Some(held)) => held
                .iter()
                .filter(|referrer| subjects.contains(&referrer.subject))
                .map(|referrer| listed(&referrer.subject, referrer.descriptor.clone()))
                .collect(),
            (None, None) => return Ok(Vec::new()),
        };
        if ask_tags || self.tags.is_some() {
            found.extend(self.tagged(subjects).await?);
        }
        Ok(found)
    }

    async fn ask(&self, registry: &Registry, subjects: &[Digest]) -> Result<Vec<Found>, Error> {
        let Some((first, rest)) = subjects.split_first() else {
            return Ok(Vec::new());
        };
        // The first answer tells whether there is an endpoint at all.
        let mut found = vec![self.ask_for(registry, first).await?];
        let asking: Vec<_> = rest
            .iter()
            .map(|subject| self.ask_for(registry, subject))
            .collect();
        let rest: Vec<_> = stream::iter(asking)
            .buffered(self.jobs)
            .try_collect()
            .await?;
        found.extend(rest);
        Ok(found.concat())
    }

    async fn ask_for(&self, registry: &Registry, subject: &Digest) -> Result<Vec<Found>, Error> {
        let endpoint = registry.referrers_by_endpoint(subject, None).await?;
        let tag = fallback_tag(subject);
        let has_tag = self.tags.as_ref().map(|tags| tags.contains(&tag));
        // Older clients may have left a list in the tag before the registry learnt to keep its own.
        let ask_tag = has_tag.unwrap_or(endpoint.is_none());
        let mut entries = endpoint.unwrap_or_default();
        if ask_tag {
            let seen: BTreeSet<Digest> = entries.iter().map(|entry| entry.digest.clone()).collect();
            let more = registry.referrers_by_tag(subject).await?;
            entries.extend(
                more.into_iter()
                    .filter(|entry| !seen.contains(&entry.digest)),
            );
        }
        Ok(entries
            .into_iter()
            .map(|entry| listed(subject, entry))
            .collect())
    }

    /// Looks for tags that are made from digests.
    async fn tagged(&self, subjects: &[Digest]) -> Result<Vec<Found>, Error> {
        if let Some(tags) = &self.tags {
            let all = subjects.iter().flat_map(tags_of);
            return Ok(all.filter(|found| found.is_tagged_in(tags)).collect());
        }
        let (Some(registry), Some((first, rest))) =
            (self.source.registry(), subjects.split_first())
        else {
            return Ok(Vec::new());
        };
        let mut found = self.heads(registry, std::slice::from_ref(first)).await?;
        if !found.is_empty() {
            found.extend(self.heads(registry, rest).await?);
        }
        Ok(found)
    }

    async fn heads(&self, registry: &Registry, subjects: &[Digest]) -> Result<Vec<Found>, Error> {
        let asking: Vec<_> = subjects
            .iter()
            .flat_map(tags_of)
            .map(|found| head(registry, found))
            .collect();
        let asked: Vec<Option<Found>> = stream::iter(asking)
            .buffered(self.jobs)
            .try_collect()
            .await?;
        Ok(asked.into_iter().flatten().collect())
    }
}

impl Found {
    fn is_tagged_in(&self, tags: &BTreeSet<String>) -> bool {
        matches!(&self.how, How::Tagged(tag) if tags.contains(tag))
    }
}

/// Asks whether a tag exists.
async fn head(registry: &Registry, found: Found) -> Result<Option<Found>, Error> {
    let How::Tagged(tag) = &found.how else {
        return Ok(None);
    };
    let there = registry.head_manifest(tag).await?.is_some();
    Ok(there.then_some(found))
}

fn listed(subject: &Digest, entry: Descriptor) -> Found {
    Found {
        subject: subject.clone(),
        how: How::Listed(entry),
    }
}

fn tags_of(subject: &Digest) -> impl Iterator<Item = Found> {
    let subject = subject.clone();
    SUFFIXES.iter().map(move |suffix| Found {
        how: How::Tagged(format!("{}.{suffix}", fallback_tag(&subject))),
        subject: subject.clone(),
    })
}
