//! What all repositories of a host share: clients, how it is reached, how it wants to be shown credentials.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use reqwest::{StatusCode, Url};
use tokio::sync::OnceCell;

use super::{Registry, RegistryError, challenge_of, http, http::Tls};
use crate::{
    auth::{Access, AlsoPull, Authorizer, Binding, Habit, Keyring, TokenClients, authority},
    config::Endpoint,
    context::{Context, Side},
};

/// One host, as one side of a context.
pub(super) struct Site {
    pub(super) http: reqwest::Client,
    /// Certificates and exceptions that are for this host alone.
    pub(super) tls: Tls,
    /// Under which URL its API is, once that is known.
    url: OnceCell<Url>,
    habit: Arc<Habit>,
    tokens: TokenClients,
    pub(super) downloads: OnceCell<Option<oci_client::Client>>,
    repositories: Mutex<HashMap<String, Arc<Repository>>>,
}

/// One repository of the host.
#[derive(Default)]
pub(super) struct Repository {
    base: OnceCell<Base>,
    pub(super) also_pull: AlsoPull,
}

/// Where the registry is, once that is known, and who we are there.
pub(super) struct Base {
    pub(super) url: Url,
    pub(super) auth: Authorizer,
}

impl Site {
    /// Returns the site of an endpoint, the same for everybody who asks in this context. `own` says that it is the registry that was
    /// named, not a mirror of it.
    pub(super) fn of(
        cx: &Context,
        side: Side,
        endpoint: &Endpoint,
        own: bool,
    ) -> Result<Arc<Self>, RegistryError> {
        let registry = endpoint.name.registry();
        let key = format!("{side:?} {own} {} {registry}", endpoint.insecure);
        let kept = cx.kept(&key, OnceLock::<Arc<Self>>::new);
        if let Some(site) = kept.get() {
            return Ok(Arc::clone(site));
        }
        let tls = Tls::of(cx, side, endpoint, own)?;
        let (http, tokens) = (
            http::client(cx, registry, &tls),
            http::tokens(cx, side, registry, &tls),
        );
        let http = http.map_err(|source| RegistryError::Client {
            host: registry.to_owned(),
            source,
        })?;
        let site = Self {
            http,
            tls,
            url: OnceCell::new(),
            habit: Arc::default(),
            tokens,
            downloads: OnceCell::new(),
            repositories: Mutex::default(),
        };
        Ok(Arc::clone(kept.get_or_init(|| Arc::new(site))))
    }

    /// Returns what is known of a repository, the same for everybody who asks.
    pub(super) fn repository(&self, name: &str) -> Arc<Repository> {
        // The map is valid after every statement: a panic elsewhere does not spoil it.
        let mut known = self
            .repositories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name.to_owned()).or_default())
    }
}

impl Registry {
    /// Finds out how the registry is reached, and how it is shown credentials.
    pub(super) async fn base(&self) -> Result<&Base, RegistryError> {
        let base = &self.0.repository.base;
        base.get_or_try_init(|| self.find_base()).await
    }

    async fn find_base(&self) -> Result<Base, RegistryError> {
        let site = &self.0.site;
        let url = site.url.get_or_try_init(|| self.find_url()).await?;
        let candidates = if self.0.own {
            self.0.cx.candidates(self.0.side, &self.0.name)
        } else {
            self.0.cx.stored(self.0.side, &self.0.name)
        };
        let keyring = Keyring::new(
            self.0.name.registry(),
            candidates,
            self.0.cx.helpers().cloned(),
            Arc::clone(&self.0.progress),
        );
        let auth = Authorizer::new(Binding {
            base: url.clone(),
            repository: self.0.name.repository().to_owned(),
            keyring,
            http: Arc::clone(&site.tokens),
            stall: self.0.patience.stall,
            also_pull: self.0.repository.also_pull.clone(),
            writes: self.0.side == Side::Destination,
            habit: Arc::clone(&site.habit),
        });
        Ok(Base {
            url: url.clone(),
            auth,
        })
    }

    /// With verified TLS the URL is https, and nothing is sent; else whatever answers.
    async fn find_url(&self) -> Result<Url, RegistryError> {
        let https = self.url_at("https")?;
        if self.0.site.tls.verify {
            return Ok(https);
        }
        let what = "version check";
        let answer = self
            .timed(what, self.0.http.get(https.clone()).send())
            .await;
        match answer {
            Ok(response) => {
                // The challenge saves the first request a refusal; one that cannot be met is reported by that request.
                if response.status() == StatusCode::UNAUTHORIZED {
                    self.0
                        .site
                        .habit
                        .learn(&challenge_of(response.headers()), &https);
                }
                Ok(https)
            }
            // Nobody speaks TLS there. A port nobody listens on fails the same way, and again when http is tried.
            Err(RegistryError::Unreachable { .. } | RegistryError::NotTls { .. }) => {
                self.0
                    .requests
                    .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                self.url_at("http")
            }
            Err(error) => Err(error),
        }
    }

    fn url_at(&self, scheme: &str) -> Result<Url, RegistryError> {
        Url::parse(&format!("{scheme}://{}/v2/", self.0.host))
            .map_err(|_| self.nonsense("name", "the registry is no host name"))
    }

    /// Returns the client that downloads blobs, if they are to go through oci-client: it knows one setting for all hosts, so it is of
    /// no use where this host has settings of its own.
    pub(super) async fn downloads(&self, scheme: &str) -> Option<&oci_client::Client> {
        let site = &self.0.site;
        if site.tls.is_special() {
            return None;
        }
        let make = || async { http::downloads(&self.0.cx, site.tls.verify, scheme) };
        site.downloads.get_or_init(make).await.as_ref()
    }

    /// Follows a redirect that the host's own client does not follow, because its certificates are nobody else's business.
    pub(super) async fn follow(
        &self,
        call: &super::Call,
        response: reqwest::Response,
    ) -> Result<reqwest::Response, RegistryError> {
        use reqwest::{Method, header::LOCATION};
        let reading = matches!(call.method, Method::GET | Method::HEAD);
        if !self.0.site.tls.is_special() || !response.status().is_redirection() || !reading {
            return Ok(response);
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let Some(next) = location.and_then(|location| response.url().join(location).ok()) else {
            return Ok(response);
        };
        if response.url().scheme() == "https" && next.scheme() != "https" {
            return Err(self.nonsense(&call.what, "it redirects from https to plain http"));
        }
        let plain =
            http::elsewhere(&self.0.cx, self.0.side).map_err(|source| RegistryError::Client {
                host: authority(&next),
                source,
            })?;
        let request = plain
            .request(call.method.clone(), next)
            .headers(call.headers.clone());
        self.timed(&call.what, request.send()).await
    }

    /// Shows the registry our credentials, and returns whether it wanted to see any.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or does not accept them.
    pub async fn login(&self) -> Result<bool, RegistryError> {
        let base = self.base().await?;
        let call = super::Call::new(
            reqwest::Method::GET,
            base.url.clone(),
            Access::Registry,
            "login".to_owned(),
        );
        self.send(&call, &[StatusCode::OK]).await?;
        Ok(base.auth.was_asked())
    }
}
