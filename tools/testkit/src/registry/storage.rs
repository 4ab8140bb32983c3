//! What does the registry hold? Everything in memory, blobs linked per repository as real registries do.

use crate::image::Blob;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The registry's content.
#[derive(Debug, Default)]
pub(super) struct Storage {
    blobs: HashMap<String, Vec<u8>>,
    repositories: BTreeMap<String, Repository>,
    uploads: HashMap<String, Upload>,
    sessions: u64,
}

#[derive(Debug, Default)]
struct Repository {
    links: BTreeSet<String>,
    manifests: BTreeMap<String, Blob>,
    tags: BTreeMap<String, String>,
}

/// An upload that is not finished.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) repository: String,
    pub(super) bytes: Vec<u8>,
    /// No chunk may follow any more.
    pub(super) closed: bool,
}

impl Storage {
    pub(super) fn put_blob(&mut self, repository: &str, digest: &str, bytes: Vec<u8>) {
        self.blobs.insert(digest.to_owned(), bytes);
        self.repository(repository).links.insert(digest.to_owned());
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<&[u8]> {
        let linked = self.repositories.get(repository)?.links.contains(digest);
        self.blobs.get(digest).filter(|_| linked).map(Vec::as_slice)
    }

    /// Makes a blob of one repository known in another; `false` where the first does not have it.
    pub(super) fn mount(&mut self, from: &str, to: &str, digest: &str) -> bool {
        let known = self.blob(from, digest).is_some();
        if known {
            self.repository(to).links.insert(digest.to_owned());
        }
        known
    }

    pub(super) fn put_manifest(&mut self, repository: &str, tag: Option<&str>, manifest: Blob) {
        let repository = self.repository(repository);
        if let Some(tag) = tag {
            repository
                .tags
                .insert(tag.to_owned(), manifest.digest.clone());
        }
        repository
            .manifests
            .insert(manifest.digest.clone(), manifest);
    }

    /// Finds a manifest by tag or digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<&Blob> {
        let repository = self.repositories.get(repository)?;
        let digest = repository
            .tags
            .get(reference)
            .map_or(reference, String::as_str);
        repository.manifests.get(digest)
    }

    /// Forgets a tag, or a manifest with all its tags; `false` where there is no such thing.
    pub(super) fn delete_manifest(&mut self, repository: &str, reference: &str) -> bool {
        let Some(repository) = self.repositories.get_mut(repository) else {
            return false;
        };
        if !reference.contains(':') {
            return repository.tags.remove(reference).is_some();
        }
        repository.tags.retain(|_, digest| digest != reference);
        repository.manifests.remove(reference).is_some()
    }

    /// Takes a blob out of a repository; `false` where it has none such.
    pub(super) fn delete_blob(&mut self, repository: &str, digest: &str) -> bool {
        let repository = self.repositories.get_mut(repository);
        repository.is_some_and(|repository| repository.links.remove(digest))
    }

    /// Returns descriptors of the manifests whose subject is `digest`, in the order of their digests.
    pub(super) fn referrers(&self, repository: &str, digest: &str) -> Vec<Value> {
        let manifests = self
            .repositories
            .get(repository)
            .into_iter()
            .flat_map(|repository| repository.manifests.values());
        manifests
            .filter_map(|manifest| refers(manifest, digest))
            .collect()
    }

    /// Returns the names of the repositories in lexical order.
    pub(super) fn repositories(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }

    /// Returns the tags in lexical order; `None` for an unknown repository.
    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(
            self.repositories
                .get(repository)?
                .tags
                .keys()
                .cloned()
                .collect(),
        )
    }

    /// Opens an upload session and returns its name.
    pub(super) fn open_upload(&mut self, repository: &str) -> String {
        self.sessions += 1;
        let name = format!("session-{}", self.sessions);
        let upload = Upload {
            repository: repository.to_owned(),
            bytes: Vec::new(),
            closed: false,
        };
        self.uploads.insert(name.clone(), upload);
        name
    }

    pub(super) fn upload(&mut self, repository: &str, session: &str) -> Option<&mut Upload> {
        self.uploads
            .get_mut(session)
            .filter(|upload| upload.repository == repository)
    }

    pub(super) fn close_upload(&mut self, session: &str) -> Option<Upload> {
        self.uploads.remove(session)
    }

    /// Counts upload sessions that were neither finished nor cancelled.
    pub(super) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}

/// Returns the descriptor of a manifest whose subject is `digest`, as the referrers API gives it.
fn refers(manifest: &Blob, digest: &str) -> Option<Value> {
    let parsed: Value = serde_json::from_slice(&manifest.bytes).ok()?;
    if parsed["subject"]["digest"] != digest {
        return None;
    }
    let mut entry = manifest.descriptor();
    // Without a type of its own, an artifact has that of its configuration.
    let kind = match &parsed["artifactType"] {
        Value::Null => &parsed["config"]["mediaType"],
        kind => kind,
    };
    for (name, value) in [
        ("artifactType", kind),
        ("annotations", &parsed["annotations"]),
    ] {
        if !value.is_null() {
            entry[name] = value.clone();
        }
    }
    Some(entry)
}
