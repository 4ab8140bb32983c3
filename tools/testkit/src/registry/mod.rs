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

mod fault;
mod log;

pub use fault::{Fault, Rule};
pub use log::Request;

use crate::image::{Blob, Content};

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
pub struct Registry {}

impl Registry {
    /// Starts a registry without authentication.
    pub fn start() -> Registry {
        Registry::with_auth(Auth::Anonymous)
    }

    /// Starts a registry that asks for credentials.
    pub fn with_auth(auth: Auth) -> Registry {
        drop(auth);
        unimplemented!()
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        unimplemented!()
    }

    /// Returns `docker://127.0.0.1:PORT/REPOSITORY:TAG`.
    pub fn reference(&self, repository: &str, tag: &str) -> String {
        format!("docker://{}/{repository}:{tag}", self.host())
    }

    /// Puts an image or index under a tag, without a request.
    pub fn add(&self, repository: &str, tag: &str, content: &dyn Content) {
        let _unused = (repository, tag, content.root());
        unimplemented!()
    }

    /// Puts a blob into a repository, under the digest it claims.
    pub fn add_blob(&self, repository: &str, blob: &Blob) {
        let _unused = (repository, blob);
        unimplemented!()
    }

    /// Returns the manifest a tag or digest names.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Blob> {
        let _unused = (repository, reference);
        unimplemented!()
    }

    /// Returns a blob of a repository.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let _unused = (repository, digest);
        unimplemented!()
    }

    /// Adds a scripted fault; the first rule that matches a request wins.
    pub fn fault(&self, rule: Rule) {
        drop(rule);
        unimplemented!()
    }

    /// Returns the requests so far, in the order in which they arrived.
    pub fn requests(&self) -> Vec<Request> {
        unimplemented!()
    }

    /// Counts requests by method and path pattern (`*` matches anything).
    pub fn count(&self, method: &str, pattern: &str) -> usize {
        let _unused = (method, pattern);
        unimplemented!()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        unimplemented!()
    }
}
