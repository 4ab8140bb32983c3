//! Tokens: where to get them, and the exchange.

use std::time::{Duration, Instant};

use reqwest::{
    Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, LOCATION},
};
use serde::Deserialize;

use super::{AuthError, Proof, authority, realm::Server};
use crate::config::{Credentials, Secret};

/// Bytes of a token server's answer: tokens with many scopes have a few kilobytes.
const ANSWER_BYTES: usize = 1 << 20;
/// What the specification says of tokens that name no lifetime, and the least anybody is given.
const LIFETIME: Duration = Duration::from_secs(60);
/// A token is renewed this much before it ends, so that a request under way does not lose it.
const MARGIN: Duration = Duration::from_secs(10);
/// Redirects of a token server to itself: a missing slash, another path.
const REDIRECTS: usize = 3;
/// How we introduce ourselves in OAuth2.
const CLIENT_ID: &str = "trimaran";

/// A token and its end.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) secret: Secret,
    renew: Instant,
}

impl Token {
    pub(super) fn is_stale(&self) -> bool {
        Instant::now() >= self.renew
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// One registry's token server, to be talked to.
pub(super) struct Exchange<'a> {
    pub(super) http: reqwest::Client,
    pub(super) server: &'a Server,
    pub(super) registry: String,
    pub(super) stall: Duration,
}

impl Exchange<'_> {
    /// Exchanges credentials for a token.
    pub(super) async fn fetch(
        &self,
        credentials: &Credentials,
        scopes: &[String],
    ) -> Result<Token, AuthError> {
        let mut url = match credentials {
            Credentials::Identity(_) => self.server.realm.clone(),
            _ => self.asking(scopes),
        };
        for _ in 0..=REDIRECTS {
            let response = self
                .timed(self.request(&url, credentials, scopes).send())
                .await?;
            let Some(next) = self.redirected(&response, &url, credentials)? else {
                return self.read(response).await;
            };
            url = next;
        }
        Err(self.astray("it redirects in circles"))
    }

    async fn timed<T>(
        &self,
        doing: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, AuthError> {
        match tokio::time::timeout(self.stall, doing).await {
            Ok(done) => done.map_err(|source| AuthError::Unreachable {
                registry: self.registry.clone(),
                server: self.name(),
                source: source.without_url(),
            }),
            Err(_) => Err(AuthError::Stalled {
                registry: self.registry.clone(),
                server: self.name(),
                after: self.stall,
            }),
        }
    }

    fn name(&self) -> String {
        authority(&self.server.realm)
    }

    /// Returns where a redirect leads. Only at the same server: whoever else is there must not see the credentials, nor the token. A body
    /// with an identity token goes nowhere else at all.
    fn redirected(
        &self,
        response: &Response,
        url: &Url,
        credentials: &Credentials,
    ) -> Result<Option<Url>, AuthError> {
        if !response.status().is_redirection() {
            return Ok(None);
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let next = location.and_then(|location| url.join(location).ok());
        let posted = matches!(credentials, Credentials::Identity(_));
        match next {
            Some(next) if next.origin() == url.origin() && !posted => {
                let mut next = next;
                next.set_fragment(None);
                Ok(Some(next))
            }
            Some(_) => Err(self.astray("it redirects elsewhere")),
            None => Err(self.astray("it redirects to nowhere")),
        }
    }

    fn astray(&self, reason: &'static str) -> AuthError {
        AuthError::Realm {
            registry: self.registry.clone(),
            realm: self.name(),
            reason,
        }
    }

    async fn read(&self, mut response: Response) -> Result<Token, AuthError> {
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = self.timed(response.chunk()).await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES {
                return Err(self.no_token());
            }
        }
        if !status.is_success() {
            let message: String = String::from_utf8_lossy(&body)
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            return Err(self.status(status.as_u16(), &message));
        }
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let lifetime = answer
            .as_ref()
            .and_then(|answer| answer.expires_in)
            .map_or(LIFETIME, Duration::from_secs)
            .max(LIFETIME);
        let secret = answer
            .and_then(|answer| answer.token.or(answer.access_token))
            .filter(|secret| !secret.is_empty());
        let secret = secret.ok_or_else(|| self.no_token())?;
        // A day bounds what a nonsensical lifetime could do to the clock's arithmetic.
        let lifetime = lifetime.min(Duration::from_secs(24 * 60 * 60)) - MARGIN;
        Ok(Token {
            secret: Secret::new(secret),
            renew: Instant::now() + lifetime,
        })
    }

    fn no_token(&self) -> AuthError {
        AuthError::Token {
            registry: self.registry.clone(),
            server: self.name(),
        }
    }

    fn status(&self, status: u16, message: &str) -> AuthError {
        AuthError::Status {
            registry: self.registry.clone(),
            server: self.name(),
            status,
            message: message.to_owned(),
        }
    }

    fn service(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let service = self.server.service.iter();
        service.map(|name| ("service", name.as_str()))
    }

    /// The realm with the question in its query.
    fn asking(&self, scopes: &[String]) -> Url {
        let mut url = self.server.realm.clone();
        url.query_pairs_mut()
            .extend_pairs(self.service())
            .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        url
    }

    /// GET with the scopes as a query; for identity tokens OAuth2's POST.
    fn request(
        &self,
        url: &Url,
        credentials: &Credentials,
        scopes: &[String],
    ) -> reqwest::RequestBuilder {
        if let Credentials::Identity(token) = credentials {
            let mut form = Url::parse("form:").expect("a scheme alone is a URL");
            let mut pairs = form.query_pairs_mut();
            pairs
                .append_pair("grant_type", "refresh_token")
                .append_pair("client_id", CLIENT_ID);
            pairs
                .append_pair("refresh_token", token.reveal())
                .append_pair("scope", &scopes.join(" "));
            pairs.extend_pairs(self.service());
            drop(pairs);
            let body = form.query().unwrap_or_default().to_owned();
            return self
                .http
                .post(url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body);
        }
        let request = self.http.get(url.clone());
        let proof = match credentials {
            Credentials::Basic { user, password } => Proof::Basic {
                user: user.clone(),
                password: password.clone(),
            },
            _ => Proof::None,
        };
        match proof.header() {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        }
    }
}
