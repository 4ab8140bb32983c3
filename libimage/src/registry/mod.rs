//! Registries: the distribution specification's endpoints, with authentication, retries and limits. The only importer of oci-client.
//!
//! Blobs are downloaded by `oci_client::Client`, with tokens of ours; what it lacks (HEAD, capped manifests, mounts that may turn
//! into uploads, monolithic uploads to a given location, paging, `Retry-After`, redirect rules) is a small client beside it.
//!
//! # References
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>

mod blob;
mod certificates;
mod chunked;
mod delete;
mod error;
mod http;
mod list;
mod lookaside;
mod manifest;
mod mount;
mod quota;
mod referrers;
mod request;
mod site;
mod unsized_upload;
mod upload;
mod watch;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use reqwest::Method;

pub use crate::traffic::Quota;
pub use blob::BlobStream;
pub use error::RegistryError;
pub(crate) use http::install_provider;
pub use list::{ListOptions, Pages};
pub(crate) use lookaside::Lookaside;
pub use manifest::{Answer, Head};
pub use referrers::fallback_tag;
pub use upload::{Begun, Location, UploadFailure};

use crate::{
    auth::Access,
    config::Endpoint,
    context::{Context, Patience, Side},
    digest::Digest,
    name::Name,
    progress::Progress,
    traffic::Host,
};
use request::{Call, challenge_of};
use site::{Repository, Site};

/// The host that serves docker.io.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How often a mirror is asked for the same thing.
const MIRROR_ATTEMPTS: u32 = 2;

/// One repository of one registry, as one side of a transfer. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    cx: Context,
    side: Side,
    /// Whether it is the registry that was named, not a mirror of it.
    own: bool,
    name: Name,
    host: String,
    http: reqwest::Client,
    patience: Patience,
    /// What is known about the host, also by others.
    traffic: Arc<Host>,
    progress: Arc<dyn Progress>,
    /// What is known about the host, for this side.
    site: Arc<Site>,
    /// What is known about the repository.
    repository: Arc<Repository>,
    requests: Arc<AtomicU64>,
    referrers: Arc<referrers::Known>,
}

impl Inner {
    /// The same under another name, which has to be of the same repository.
    fn renamed(&self, name: &Name) -> Self {
        Self {
            cx: self.cx.clone(),
            side: self.side,
            own: self.own,
            name: name.clone(),
            host: self.host.clone(),
            http: self.http.clone(),
            patience: self.patience,
            traffic: Arc::clone(&self.traffic),
            progress: Arc::clone(&self.progress),
            repository: Arc::clone(&self.repository),
            site: Arc::clone(&self.site),
            requests: Arc::clone(&self.requests),
            referrers: Arc::clone(&self.referrers),
        }
    }
}

impl Registry {
    /// Prepares access to the repository of a name; nothing is sent yet. `also_pull` are repositories of the same registry that
    /// blobs may be mounted from. What several of them know of one host and repository in one context, they share.
    ///
    /// To read, a repository is where `registries.conf` has moved it to; what is written goes where it was told to go. Mirrors are
    /// [`Registry::mirror`].
    ///
    /// # Errors
    ///
    /// `registries.conf` forbids it, or the HTTP client cannot be set up.
    pub fn new(
        cx: &Context,
        side: Side,
        name: &Name,
        also_pull: Vec<String>,
    ) -> Result<Self, RegistryError> {
        let location = cx.registries().place(name)?.location;
        let endpoint = match side {
            Side::Source => location,
            // As everywhere in the field: an image is pulled from elsewhere, but never pushed elsewhere.
            Side::Destination => Endpoint {
                name: name.clone(),
                ..location
            },
        };
        Self::at(cx, side, &endpoint, also_pull, true)
    }

    /// Prepares access to a mirror, for reading. It is shown the credentials that files have for it, not those given for the registry.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be set up.
    pub fn mirror(cx: &Context, endpoint: &Endpoint) -> Result<Self, RegistryError> {
        Self::at(cx, Side::Source, endpoint, Vec::new(), false)
    }

    fn at(
        cx: &Context,
        side: Side,
        endpoint: &Endpoint,
        also_pull: Vec<String>,
        own: bool,
    ) -> Result<Self, RegistryError> {
        let name = &endpoint.name;
        let host = match name.registry() {
            "docker.io" => DOCKER_HUB,
            registry => registry,
        };
        let site = Site::of(cx, side, endpoint, own)?;
        let repository = site.repository(name.repository());
        repository.also_pull.extend(also_pull);
        let mut patience = cx.patience();
        if !own {
            // There is somebody else to ask.
            patience.attempts = patience.attempts.min(MIRROR_ATTEMPTS);
        }
        Ok(Self(Arc::new(Inner {
            cx: cx.clone(),
            side,
            own,
            name: name.clone(),
            host: host.to_owned(),
            http: site.http.clone(),
            patience,
            traffic: cx.traffic.host(host),
            progress: Arc::clone(cx.progress()),
            repository,
            site,
            requests: Arc::default(),
            referrers: cx.kept(&referrers::key_of(name), referrers::Known::default),
        })))
    }

    /// Prepares access to a registry as a whole: for what is no repository's business, such as its catalog. `registry` is a host,
    /// with its port if it has one.
    ///
    /// # Errors
    ///
    /// It is no host, or the HTTP client cannot be set up.
    pub fn of_host(cx: &Context, side: Side, registry: &str) -> Result<Self, RegistryError> {
        // Any repository will do: its name is never sent.
        let name = format!("{registry}/v2");
        let name = name.parse().map_err(|_| RegistryError::Answer {
            host: registry.to_owned(),
            what: "registry".to_owned(),
            problem: "it is no host name",
        })?;
        Self::new(cx, side, &name, Vec::new())
    }

    /// Returns access to the tag or digest of `name` in the same repository: connections, tokens and the count of requests are
    /// shared. Only the tag and the digest are taken: where `registries.conf` moves a repository, this one has been moved already.
    #[must_use]
    pub fn with_name(&self, name: &Name) -> Self {
        Self(Arc::new(
            self.0.renamed(&self.0.name.with_reference_of(name)),
        ))
    }

    /// Returns access to another repository; connections are shared if it is of the same registry, and requests are counted together.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be set up.
    pub fn with_repository(
        &self,
        name: &Name,
        also_pull: Vec<String>,
    ) -> Result<Self, RegistryError> {
        let other = Self::new(&self.0.cx, self.0.side, name, also_pull)?;
        let inner = Inner {
            requests: Arc::clone(&self.0.requests),
            ..other.0.renamed(other.name())
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Returns the name it was made for.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Returns how many requests have been sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Waits before an upload is begun again; `attempt` counts from 1.
    ///
    /// # Errors
    ///
    /// The error itself, if another attempt cannot help or patience is at its end.
    pub async fn again(
        &self,
        attempt: &mut u32,
        digest: &Digest,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        self.pause(
            attempt,
            &self.of_repository(&format!("upload of blob {digest}")),
            error,
        )
        .await
    }

    /// Starts a request to an endpoint of the repository.
    async fn call(
        &self,
        method: Method,
        endpoint: &str,
        access: Access,
        what: String,
    ) -> Result<Call, RegistryError> {
        let path = format!("{}/{endpoint}", self.0.name.repository());
        let url = self
            .base()
            .await?
            .url
            .join(&path)
            .map_err(|_| self.nonsense(&what, "the name makes no URL"))?;
        Ok(Call::new(method, url, access, what))
    }

    /// Starts a request to the list of repositories, which belongs to none.
    async fn call_catalog(&self) -> Result<Call, RegistryError> {
        let what = format!("list of repositories of {}", self.0.host);
        let url = self
            .base()
            .await?
            .url
            .join("_catalog")
            .map_err(|_| self.nonsense(&what, "the name makes no URL"))?;
        Ok(Call::new(Method::GET, url, Access::Catalog, what))
    }

    /// Names something of the repository, for people.
    fn of_repository(&self, what: &str) -> String {
        format!("{what} of {}", self.0.name.without_reference())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.0.name)
            .field("side", &self.0.side)
            .finish_non_exhaustive()
    }
}
