//! Who may do what? Basic authentication, and bearer tokens from an endpoint of the registry itself.
//!
//! # References
//! The distribution project's "Token Authentication Specification".

use super::wire::{Answer, Head, form_values};
use super::{Auth, Registry};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Mutex;

/// What the list of repositories belongs to.
const CATALOG: &str = "registry:catalog";

/// The tokens given out: token → (repository, action).
#[derive(Debug, Default)]
pub(super) struct Tokens {
    granted: Mutex<HashMap<String, Vec<(String, String)>>>,
    given: std::sync::atomic::AtomicU64,
}

impl Tokens {
    /// Makes all tokens invalid, as if they had expired.
    pub(super) fn expire(&self) {
        self.granted
            .lock()
            .expect("no test thread panics with the lock")
            .clear();
    }

    fn give(&self, scopes: Vec<(String, String)>) -> String {
        let number = self
            .given
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let token = format!("token-{number}");
        self.granted
            .lock()
            .expect("no test thread panics with the lock")
            .insert(token.clone(), scopes);
        token
    }

    fn allows(&self, token: &str, repository: &str, action: &str) -> Option<bool> {
        let granted = self
            .granted
            .lock()
            .expect("no test thread panics with the lock");
        let scopes = granted.get(token)?;
        Some(repository.is_empty() || scopes.iter().any(|(r, a)| r == repository && a == action))
    }
}

/// Returns the refusal where a request may not be answered.
pub(super) fn refuse(auth: &Auth, tokens: &Tokens, host: &str, head: &Head) -> Option<Answer> {
    let (repository, action) = needs(head);
    let sent = head.header("authorization").unwrap_or_default();
    match auth {
        Auth::Anonymous => None,
        Auth::Basic(user, password) => {
            let right = sent == basic(user, password);
            (!right).then(|| unauthorized("Basic realm=\"testkit\""))
        }
        Auth::Bearer(..) | Auth::BearerAnonymous => {
            let verdict = sent
                .strip_prefix("Bearer ")
                .map(|token| tokens.allows(token, &repository, action));
            let error = match verdict {
                Some(Some(true)) => return mount_refusal(tokens, host, head, sent),
                Some(Some(false)) => ",error=\"insufficient_scope\"",
                Some(None) => ",error=\"invalid_token\"",
                None => "",
            };
            Some(challenge(host, &repository, action, error))
        }
    }
}

/// A mount reads from a second repository, which the token must cover too.
fn mount_refusal(tokens: &Tokens, host: &str, head: &Head, sent: &str) -> Option<Answer> {
    let from = head
        .parameter("from")
        .filter(|_| head.parameter("mount").is_some())?;
    let token = sent.strip_prefix("Bearer ")?;
    let allowed = tokens.allows(token, &from, "pull") == Some(true);
    (!allowed).then(|| challenge(host, &from, "pull", ",error=\"insufficient_scope\""))
}

fn challenge(host: &str, repository: &str, action: &str, error: &str) -> Answer {
    let actions = if action == "push" {
        "pull,push"
    } else {
        action
    };
    let scope = match repository {
        "" => String::new(),
        CATALOG => format!(",scope=\"{CATALOG}:{actions}\""),
        name => format!(",scope=\"repository:{name}:{actions}\""),
    };
    unauthorized(&format!(
        "Bearer realm=\"http://{host}/token\",service=\"{host}\"{scope}{error}"
    ))
}

fn unauthorized(challenge: &str) -> Answer {
    Answer::error(401, "UNAUTHORIZED", "authentication required")
        .with("WWW-Authenticate", challenge)
}

/// Returns the repository and action a request is about; an empty repository for the ping.
fn needs(head: &Head) -> (String, &'static str) {
    if head.path == "/v2/_catalog" {
        return (CATALOG.to_owned(), "*");
    }
    let action = match head.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    };
    // An upload session is asked about with GET and given up with DELETE, but belongs to pushing.
    let action = if head.path.contains("/blobs/uploads/") {
        "push"
    } else {
        action
    };
    (
        Registry::repository_of(&head.path)
            .unwrap_or_default()
            .to_owned(),
        action,
    )
}

/// Answers the token endpoint: GET with a query, POST with a form.
pub(super) fn answer(auth: &Auth, tokens: &Tokens, head: &Head, body: &[u8]) -> Answer {
    let form = String::from_utf8_lossy(body).into_owned();
    let (scopes, sent) = if head.method == "POST" {
        let field = |name| {
            form_values(&form, name)
                .into_iter()
                .next()
                .unwrap_or_default()
        };
        let sent = match (field("grant_type").as_str(), auth) {
            // The password is good as an identity token too.
            ("refresh_token", Auth::Bearer(user, _)) => basic(user, &field("refresh_token")),
            _ => basic(&field("username"), &field("password")),
        };
        (form_values(&form, "scope"), sent)
    } else {
        let sent = head.header("authorization").unwrap_or_default();
        (head.parameters("scope").collect(), sent.to_owned())
    };
    let may_push = match auth {
        Auth::Bearer(user, password) if sent == basic(user, password) => true,
        Auth::BearerAnonymous if sent.is_empty() => false,
        _ => return unauthorized("Basic realm=\"testkit\""),
    };
    let mut granted = Vec::new();
    // One `scope` may hold several, separated by spaces (RFC 6749, 3.3).
    for scope in scopes.iter().flat_map(|scope| scope.split(' ')) {
        let mut parts = scope.rsplitn(2, ':');
        let (Some(actions), Some(resource)) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = match resource.strip_prefix("repository:") {
            Some(name) => name,
            None if resource == CATALOG => CATALOG,
            None => continue,
        };
        let allowed = actions
            .split(',')
            .filter(|action| may_push || *action == "pull");
        granted.extend(allowed.map(|action| (name.to_owned(), action.to_owned())));
    }
    let token = tokens.give(granted);
    let body = json!({"token": token, "access_token": token, "expires_in": 300, "issued_at": "2025-01-01T00:00:00Z"});
    Answer::new(200)
        .with("Content-Type", "application/json")
        .body(body.to_string().into_bytes())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
