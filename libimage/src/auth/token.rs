//! Tokens: where to get them, and the exchange.

use std::time::{Duration, Instant};

use reqwest::{
    Url,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;

use super::{AuthError, Challenge, Proof, authority};
use crate::config::{Credentials, Secret};

/// Bytes of a token server's answer: tokens with many scopes have a few kilobytes.
const ANSWER_BYTES: usize = 1 << 20;
/// What the specification says of tokens that name no lifetime, and the least anybody is given.
const LIFETIME: Duration = Duration::from_secs(60);
/// A token is renewed this much before it ends, so that a request under way does not lose it.
const MARGIN: Duration = Duration::from_secs(10);
/// How we introduce ourselves in OAuth2.
const CLIENT_ID: &str = "trimaran";

/// A token server that credentials may be shown to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    realm: Url,
    service: Option<String>,
}

impl Server {
    /// Checks the realm of a challenge: https, unless the registry itself speaks plain http; nothing that only a confused or
    /// hostile registry would name.
    pub(super) fn of(challenge: &Challenge, base: &Url) -> Result<Self, AuthError> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let refuse = |reason| AuthError::Realm {
            registry: authority(base),
            realm: realm.chars().take(200).collect(),
            reason,
        };
        let url = Url::parse(realm).map_err(|_| refuse("it is no URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if base.scheme() == "http" => {}
            "http" => return Err(refuse("it is not https, but the registry is")),
            _ => return Err(refuse("it is not https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it has credentials of its own"));
        }
        // An address in place of a name is how a hostile registry reaches into the network of its users (CVE-2026-48978).
        let is_address = |url: &Url| {
            url.host_str().is_some_and(|host| {
                host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
            })
        };
        if is_address(&url) && url.host_str() != base.host_str() {
            return Err(refuse("it is an IP address, and not the registry's"));
        }
        Ok(Self {
            realm: url,
            service: challenge.parameter("service").map(str::to_owned),
        })
    }
}

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

/// Exchanges credentials for a token.
pub(super) async fn fetch(
    http: &reqwest::Client,
    server: &Server,
    credentials: &Credentials,
    scopes: Vec<String>,
    registry: &str,
) -> Result<Token, AuthError> {
    let name = authority(&server.realm);
    let unreachable = |source: reqwest::Error| AuthError::Unreachable {
        registry: registry.to_owned(),
        server: name.clone(),
        source: source.without_url(),
    };
    let mut response = request(http, server, credentials, scopes)
        .send()
        .await
        .map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            return Err(AuthError::Token {
                registry: registry.to_owned(),
                server: name,
            });
        }
    }
    if !status.is_success() {
        let message = String::from_utf8_lossy(&body)
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        return Err(AuthError::Status {
            registry: registry.to_owned(),
            server: name,
            status: status.as_u16(),
            message,
        });
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
    let secret = secret.ok_or(AuthError::Token {
        registry: registry.to_owned(),
        server: name,
    })?;
    // A day bounds what a nonsensical lifetime could do to the clock's arithmetic.
    let lifetime = lifetime.min(Duration::from_secs(24 * 60 * 60)) - MARGIN;
    Ok(Token {
        secret: Secret::new(secret),
        renew: Instant::now() + lifetime,
    })
}

/// GET with the scopes as a query; for identity tokens OAuth2's POST.
fn request(
    http: &reqwest::Client,
    server: &Server,
    credentials: &Credentials,
    scopes: Vec<String>,
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
        pairs.extend_pairs(server.service.iter().map(|service| ("service", service)));
        drop(pairs);
        let body = form.query().unwrap_or_default().to_owned();
        return http
            .post(server.realm.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
    }
    let mut url = server.realm.clone();
    url.query_pairs_mut()
        .extend_pairs(server.service.iter().map(|service| ("service", service)))
        .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
    let request = http.get(url);
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
