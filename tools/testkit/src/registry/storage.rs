//! What does the registry hold? Everything in memory, blobs linked per repository as real registries do.

use crate::image::Blob;
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
    manifests: HashMap<String, Blob>,
    tags: BTreeMap<String, String>,
}

/// An upload that is not finished.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) repository: String,
    pub(super) bytes: Vec<u8>,
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
        };
        self.uploads.insert(name.clone(), upload);
        name
    }

    pub(super) fn upload(&mut self, session: &str) -> Option<&mut Upload> {
        self.uploads.get_mut(session)
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
