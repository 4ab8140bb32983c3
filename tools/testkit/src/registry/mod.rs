//! An in-process registry whose faults are scripted: OCI distribution over HTTP/1.1 on a free loopback port.
//!
//! ```
//! use trimaran_testkit::{Fault, ImageMaker, Registry, Rule};
//! let registry = Registry::start();
//! registry.add("library/sample", "latest", &ImageMaker::sample().make());
//! registry.fault(Rule::get("*/blobs/*").nth(2).fault(Fault::ResetAt(100)));
//! let reference = format!("docker://{}/library/sample:latest", registry.host());
//! // … the tool under test pulls `reference` and has to cope …
//! assert_eq!(registry.requests().len(), 0);
//! ```

mod deliver;
mod fault;
mod lists;
mod log;
mod manifests;
mod routes;
mod server;
mod settings;
mod storage;
mod token;
mod uploads;
mod wire;

pub use fault::{Fault, Rule};
pub use log::Request;
pub use settings::{Quota, Settings};

use crate::image::{Blob, Content};
use server::Server;
use std::sync::atomic::Ordering;

/// Which credentials the registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// None.
    Anonymous,
    /// Basic authentication with this user and password.
    Basic(String, String),
    /// A bearer token from the registry's own token endpoint, which asks for this user and password.
    Bearer(String, String),
    /// A bearer token that the token endpoint gives to anybody, for reading only.
    BearerAnonymous,
}

/// A running registry; dropping it closes all connections and joins all threads.
#[derive(Debug)]
pub struct Registry {
    server: Server,
}

impl Registry {
    /// Starts a registry without authentication.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn start() -> Registry {
        Registry::with_auth(Auth::Anonymous)
    }

    /// Starts a registry that asks for credentials.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn with_auth(auth: Auth) -> Registry {
        Registry {
            server: Server::start(auth),
        }
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.server.shared.host()
    }

    /// Returns `docker://127.0.0.1:PORT/REPOSITORY:TAG`.
    pub fn reference(&self, repository: &str, tag: &str) -> String {
        format!("docker://{}/{repository}:{tag}", self.host())
    }

    /// Changes what the registry can do and how it wants things.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.server.shared.settings());
    }

    /// Limits the pages of tag lists (100 tags otherwise).
    pub fn tags_per_page(&self, count: usize) {
        self.configure(|settings| settings.page = count);
    }

    /// Returns how many pulls are left, where there is a quota.
    pub fn pulls_left(&self) -> Option<u64> {
        let quota = self.server.shared.settings().quota;
        quota.map(|quota| quota.remaining)
    }

    /// Puts an image or index under a tag, without a request.
    pub fn add(&self, repository: &str, tag: &str, content: &dyn Content) {
        let mut storage = self.server.shared.storage();
        for blob in content.blobs() {
            storage.put_blob(repository, &blob.digest, blob.bytes.clone());
        }
        for manifest in content.manifests() {
            storage.put_manifest(repository, None, manifest.clone());
        }
        storage.put_manifest(repository, Some(tag), content.root().clone());
    }

    /// Puts an image, an index or an artifact into a repository without a tag.
    pub fn add_untagged(&self, repository: &str, content: &dyn Content) {
        let mut storage = self.server.shared.storage();
        for blob in content.blobs() {
            storage.put_blob(repository, &blob.digest, blob.bytes.clone());
        }
        for manifest in content.manifests().into_iter().chain([content.root()]) {
            storage.put_manifest(repository, None, manifest.clone());
        }
    }

    /// Puts a blob into a repository, under the digest it claims.
    pub fn add_blob(&self, repository: &str, blob: &Blob) {
        self.server
            .shared
            .storage()
            .put_blob(repository, &blob.digest, blob.bytes.clone());
    }

    /// Takes a blob out of a repository, as a registry's own clean-up may.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        self.server.shared.storage().delete_blob(repository, digest);
    }

    /// Puts a manifest under a tag as it is, whether or not what it names is there.
    pub fn add_manifest(&self, repository: &str, tag: &str, manifest: &Blob) {
        self.server
            .shared
            .storage()
            .put_manifest(repository, Some(tag), manifest.clone());
    }

    /// Returns the manifest a tag or digest names.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Blob> {
        self.server
            .shared
            .storage()
            .manifest(repository, reference)
            .cloned()
    }

    /// Returns the tags of a repository in lexical order; none where there is no such repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.server
            .shared
            .storage()
            .tags(repository)
            .unwrap_or_default()
    }

    /// Returns descriptors of the manifests whose subject is `digest`, as the referrers API gives them.
    pub fn referrers(&self, repository: &str, digest: &str) -> Vec<serde_json::Value> {
        self.server.shared.storage().referrers(repository, digest)
    }

    /// Returns a blob of a repository.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.server
            .shared
            .storage()
            .blob(repository, digest)
            .map(<[u8]>::to_vec)
    }

    /// Counts upload sessions that were neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.server.shared.storage().open_uploads()
    }

    /// Adds a scripted fault; the first rule that is due for a request wins.
    pub fn fault(&self, rule: Rule) {
        self.server.shared.rules.add(rule);
    }

    /// Removes all scripted faults.
    pub fn heal(&self) {
        self.server.shared.rules.clear();
    }

    /// Makes all bearer tokens given so far invalid.
    pub fn expire_tokens(&self) {
        self.server.shared.tokens.expire();
    }

    /// Returns the requests so far, in the order in which they arrived.
    pub fn requests(&self) -> Vec<Request> {
        self.server.shared.log.all()
    }

    /// Counts requests by method and path pattern; `*` matches anything, any method too.
    pub fn count(&self, method: &str, pattern: &str) -> usize {
        let wanted = |request: &Request| {
            (method == "*" || request.method == method) && fault::matches(pattern, &request.path)
        };
        self.requests().into_iter().filter(wanted).count()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.server.shared.log.forget();
    }

    /// Counts the connections on which requests came, since the start.
    pub fn connections(&self) -> usize {
        self.server.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns how many requests were being answered at once, at most, since the start.
    pub fn most_at_once(&self) -> usize {
        self.server.shared.most_at_once.load(Ordering::SeqCst)
    }

    /// Counts connections on which a client tried TLS; they are refused and not in the log.
    pub fn tls_probes(&self) -> usize {
        self.server.shared.tls_probes.load(Ordering::SeqCst)
    }

    /// Returns the repository a path is about.
    fn repository_of(path: &str) -> Option<&str> {
        let rest = path.strip_prefix("/v2/")?;
        let ends = ["/manifests/", "/blobs/", "/tags/list", "/referrers/"]
            .iter()
            .filter_map(|end| rest.rfind(end));
        ends.min().map(|end| &rest[..end])
    }
}

#[cfg(test)]
mod tests;
