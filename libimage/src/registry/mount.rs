//! What this run knows about blobs in repositories: not asked for again, mounted from there, sent once.

use std::sync::Arc;

use super::Registry;
use crate::{digest::Digest, traffic::Host};

impl Registry {
    fn repository(&self) -> Arc<str> {
        Arc::from(self.0.name.repository())
    }

    /// Notes that the repository has a blob.
    pub(crate) fn remember(&self, digest: &Digest) {
        self.0.traffic.history.has(digest, &self.repository());
    }

    /// Tells whether the repository is known to have a blob.
    pub(crate) fn remembers(&self, digest: &Digest) -> bool {
        let repository = self.0.name.repository();
        self.0.traffic.history.knows(digest, repository)
    }

    /// Forgets what the repository has: it turned out not to have something.
    pub(super) fn forget(&self) {
        self.0.traffic.history.forget(self.0.name.repository());
    }

    /// Returns another repository of the registry that the blob can be mounted from, as far as is known.
    pub(crate) fn mount_candidate(
        &self,
        digest: &Digest,
        preferred: Option<&str>,
    ) -> Option<String> {
        let history = &self.0.traffic.history;
        history.elsewhere(digest, &self.repository(), preferred)
    }

    /// Notes that nothing can be mounted from another repository.
    pub(super) fn may_not_mount(&self, from: &str) {
        self.0.traffic.history.refuses(&self.repository(), from);
    }

    /// Returns what this run knows about the host.
    pub(crate) fn traffic(&self) -> &Arc<Host> {
        &self.0.traffic
    }
}
