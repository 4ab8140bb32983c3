//! Credentials to headers: challenges, token exchange, and the one place that decides which request may carry what.
//!
//! Credentials are bound to (scheme, host, port, repository). [`Authorizer::proof`] is the only source of `Authorization`
//! headers, and gives none for any other URL: redirects, upload locations on other hosts and foreign layer URLs get nothing.

mod challenge;
mod error;
mod token;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Url, header::HeaderValue};
use tokio::sync::OnceCell;

pub use challenge::{Challenge, parse as parse_challenges};
pub use error::AuthError;
use token::{Server, Token};

use crate::config::{Credentials, Secret};

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read the repository.
    Pull,
    /// Read and write it.
    Push,
    /// Read, write and delete in it.
    Delete,
    /// List the repositories of the registry.
    Catalog,
}

/// What was sent along with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    None,
    /// A name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Bearer(Secret),
}

impl Proof {
    /// Returns the `Authorization` header; `None` if there is none, or the secret cannot stand in a header.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::None => return None,
            Self::Basic { user, password } => {
                format!(
                    "Basic {}",
                    STANDARD.encode(format!("{user}:{}", password.reveal()))
                )
            }
            Self::Bearer(token) => format!("Bearer {}", token.reveal()),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// How the registry wants it, as far as it has said.
#[derive(Debug, Clone)]
enum Mode {
    Unasked,
    Basic,
    Bearer(Server),
}

/// A token being fetched or fetched: whoever comes second waits for the first one's.
type Slot = Arc<OnceCell<Token>>;

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Repositories that a token for pushing has to cover too.
    also_pull: Vec<String>,
    slots: HashMap<Access, Slot>,
}

/// Answers one registry's challenges for one repository.
#[derive(Debug)]
pub struct Authorizer {
    base: Url,
    repository: String,
    credentials: Credentials,
    /// Whether tokens for reading are for pushing too, as that will be wanted next.
    pushes: bool,
    state: Mutex<State>,
}

impl Authorizer {
    /// Binds credentials to the registry at `base` and to a repository. Tokens for pushing will also ask for reading
    /// `also_pull`, the repositories blobs may be mounted from.
    #[must_use]
    pub fn new(
        base: Url,
        repository: String,
        also_pull: Vec<String>,
        credentials: Credentials,
    ) -> Self {
        let state = Mutex::new(State {
            mode: Mode::Unasked,
            also_pull,
            slots: HashMap::new(),
        });
        Self {
            base,
            repository,
            credentials,
            pushes: false,
            state,
        }
    }

    /// Asks for tokens to read and push at once: the repository is going to be written to. Without credentials that would be refused
    /// by token servers that give tokens for reading to anybody.
    #[must_use]
    pub fn for_pushing(mut self) -> Self {
        self.pushes = self.credentials != Credentials::Anonymous;
        self
    }

    fn effective(&self, access: Access) -> Access {
        match access {
            Access::Pull if self.pushes => Access::Push,
            other => other,
        }
    }

    /// Asks for reading another repository too when the next token for pushing is fetched: a blob is to be mounted from there.
    pub fn also_pull(&self, repository: &str) {
        let mut state = self.state();
        if !state.also_pull.iter().any(|known| known == repository) {
            state.also_pull.push(repository.to_owned());
            state.slots.remove(&Access::Push);
        }
    }

    /// Stops asking for reading another repository: it may not be read.
    pub fn not_pull(&self, repository: &str) {
        let mut state = self.state();
        state.also_pull.retain(|known| known != repository);
        state.slots.remove(&Access::Push);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is valid after every statement: a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry(&self) -> String {
        authority(&self.base)
    }

    /// Returns what may be sent with a request to `url`: nothing, unless it goes to this registry itself.
    ///
    /// # Errors
    ///
    /// A token is needed and cannot be had.
    pub async fn proof(
        &self,
        http: &reqwest::Client,
        url: &Url,
        access: Access,
    ) -> Result<Proof, AuthError> {
        let access = self.effective(access);
        if url.origin() != self.base.origin() {
            return Ok(Proof::None);
        }
        let (server, slot) = {
            let mut state = self.state();
            match (&state.mode, &self.credentials) {
                (Mode::Unasked, _) => return Ok(Proof::None),
                (_, Credentials::Bearer(token)) => return Ok(Proof::Bearer(token.clone())),
                (Mode::Basic, Credentials::Basic { user, password }) => {
                    return Ok(Proof::Basic {
                        user: user.clone(),
                        password: password.clone(),
                    });
                }
                (Mode::Basic, _) => return Ok(Proof::None),
                (Mode::Bearer(server), _) => {
                    let server = server.clone();
                    let slot = state.slots.entry(access).or_default();
                    if slot.get().is_some_and(Token::is_stale) {
                        *slot = Slot::default();
                    }
                    (server, Arc::clone(slot))
                }
            }
        };
        let registry = self.registry();
        let fetch = || {
            token::fetch(
                http,
                &server,
                &self.credentials,
                self.scopes(access),
                &registry,
            )
        };
        match slot.get_or_try_init(fetch).await {
            Ok(token) => Ok(Proof::Bearer(token.secret.clone())),
            Err(AuthError::Status {
                status: 401 | 403, ..
            }) => Err(self.refused(&Proof::Bearer(Secret::new("")))),
            Err(error) => Err(error),
        }
    }

    /// Reads the challenge of a 401 that `sent` was not enough for. When it returns, another try is worthwhile.
    ///
    /// # Errors
    ///
    /// Nothing we have will help.
    pub fn answer(&self, challenge: &str, sent: &Proof, access: Access) -> Result<(), AuthError> {
        let access = self.effective(access);
        let challenges = challenge::parse(challenge);
        let of = |scheme: &str| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme == scheme)
        };
        if matches!(self.credentials, Credentials::Bearer(_)) && *sent != Proof::None {
            return Err(self.refused(sent));
        }
        if let Some(bearer) = of("bearer") {
            let server = Server::of(bearer, &self.base)?;
            let mut state = self.state();
            // A token that was refused is thrown away, unless somebody else has already renewed it.
            if let (Proof::Bearer(refused), Some(slot)) = (sent, state.slots.get(&access))
                && slot.get().is_some_and(|token| token.secret == *refused)
            {
                state.slots.remove(&access);
            }
            state.mode = Mode::Bearer(server);
            return Ok(());
        }
        if of("basic").is_some() {
            return match (&self.credentials, sent) {
                (Credentials::Basic { .. } | Credentials::Bearer(_), Proof::None) => {
                    self.state().mode = Mode::Basic;
                    Ok(())
                }
                _ => Err(self.refused(sent)),
            };
        }
        if challenge.is_empty() {
            return Err(self.refused(sent));
        }
        Err(AuthError::Scheme {
            registry: self.registry(),
            challenge: challenge.chars().take(200).collect(),
        })
    }

    /// Returns the error for a request that was refused in spite of `sent`.
    #[must_use]
    pub fn refused(&self, sent: &Proof) -> AuthError {
        let (registry, repository) = (self.registry(), self.repository.clone());
        let user = match (&self.credentials, sent) {
            (Credentials::Anonymous, _) => {
                return AuthError::Missing {
                    registry,
                    repository,
                };
            }
            (Credentials::Basic { user, .. }, _) => user.clone(),
            (Credentials::Identity(_), _) => "an identity token".to_owned(),
            (Credentials::Bearer(_), _) => "a registry token".to_owned(),
        };
        AuthError::Rejected {
            registry,
            repository,
            user,
        }
    }

    fn scopes(&self, access: Access) -> Vec<String> {
        match access {
            Access::Pull => vec![format!("repository:{}:pull", self.repository)],
            Access::Catalog => vec!["registry:catalog:*".to_owned()],
            Access::Delete => vec![format!("repository:{}:pull,push,delete", self.repository)],
            Access::Push => {
                let own = format!("repository:{}:pull,push", self.repository);
                let state = self.state();
                let others = state
                    .also_pull
                    .iter()
                    .map(|repository| format!("repository:{repository}:pull"));
                std::iter::once(own).chain(others).collect()
            }
        }
    }
}

/// Returns host and port of a URL, for people.
pub(crate) fn authority(url: &Url) -> String {
    match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}
