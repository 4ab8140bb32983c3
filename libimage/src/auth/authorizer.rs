//! The one place that decides which request may carry what.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use reqwest::Url;
use tokio::sync::OnceCell;

use super::{
    Access, AuthError, Binding, Proof, authority,
    binding::Mode,
    challenge,
    realm::Server,
    scope,
    token::{self, Token},
};
use crate::config::{Credentials, Secret};

/// A token being fetched or fetched: whoever comes second waits for the first one's.
type Slot = Arc<OnceCell<Token>>;

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Whether the mode is what the host asked for another repository.
    inherited: bool,
    /// Whether tokens for reading are tokens for writing at once.
    writes: bool,
    /// Actions the registry named in its challenges, beyond what we would have asked for.
    demanded: BTreeSet<String>,
    /// By scopes.
    slots: HashMap<Vec<String>, Slot>,
}

/// Answers one registry's challenges for one repository.
#[derive(Debug)]
pub struct Authorizer {
    binding: Binding,
    state: Mutex<State>,
}

impl Authorizer {
    /// Binds credentials to a registry and a repository.
    #[must_use]
    pub fn new(binding: Binding) -> Self {
        let mode = binding.habit.mode().clone();
        let state = State {
            inherited: !matches!(mode, Mode::Unasked),
            mode,
            writes: binding.writes,
            demanded: BTreeSet::new(),
            slots: HashMap::new(),
        };
        Self {
            binding,
            state: Mutex::new(state),
        }
    }

    /// Asks for reading another repository too when a token for writing is fetched: a blob is to be mounted from there.
    pub fn also_pull(&self, repository: &str) {
        self.binding.also_pull.extend([repository.to_owned()]);
    }

    /// Stops asking for reading another repository: it may not be read.
    pub fn not_pull(&self, repository: &str) {
        self.binding.also_pull.names().remove(repository);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid after every statement: a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry(&self) -> String {
        authority(&self.binding.base)
    }

    /// Returns what may be sent with a request to `url`: nothing, unless it goes to this registry itself.
    ///
    /// # Errors
    ///
    /// A token is needed and cannot be had, or there are no credentials.
    pub async fn proof(&self, url: &Url, access: Access) -> Result<Proof, AuthError> {
        if url.origin() != self.binding.base.origin() {
            return Ok(Proof::None);
        }
        let (mode, inherited) = {
            let state = self.state();
            (state.mode.clone(), state.inherited)
        };
        if matches!(mode, Mode::Unasked) {
            return Ok(Proof::None);
        }
        let proof = match (mode, self.binding.keyring.credentials().await?) {
            (_, Credentials::Bearer(token)) => Ok(Proof::Bearer(token.clone())),
            (Mode::Bearer(server), _) => self.token(&server, access).await.map(Proof::Bearer),
            (_, Credentials::Basic { user, password }) => Ok(Proof::Basic {
                user: user.clone(),
                password: password.clone(),
            }),
            // Perhaps it is only asked of others: what is open to all stays readable.
            _ => Ok(Proof::None),
        };
        match proof {
            // The host asked this for another repository; this one may be open to all.
            Err(error) if inherited && error.is_refusal() => {
                self.state().mode = Mode::Unasked;
                Ok(Proof::None)
            }
            proof => proof,
        }
    }

    /// Returns a token that allows the access.
    async fn token(&self, server: &Server, access: Access) -> Result<Secret, AuthError> {
        // Without credentials, asking for more than reading would be refused where reading is free.
        let anonymous = self.binding.keyring.known() == Some(&Credentials::Anonymous);
        let wide = access == Access::Pull && self.state().writes && !anonymous;
        let wanted = if wide { Access::Push } else { access };
        let answer = match self.token_for(server, self.scopes(wanted)).await {
            // Some token servers give nothing at all to who may only read, and asks for more.
            Err(AuthError::Status { status: 403, .. }) if wide => {
                self.state().writes = false;
                self.token_for(server, self.scopes(access)).await
            }
            answer => answer,
        };
        match answer {
            Err(AuthError::Status {
                status: 401 | 403, ..
            }) => Err(self.refused(&Proof::Bearer(Secret::new("")))),
            answer => answer,
        }
    }

    async fn token_for(&self, server: &Server, scopes: Vec<String>) -> Result<Secret, AuthError> {
        let slot = {
            let mut state = self.state();
            let slot = state.slots.entry(scopes.clone()).or_default();
            if slot.get().is_some_and(Token::is_stale) {
                *slot = Slot::default();
            }
            Arc::clone(slot)
        };
        let fetch = || async {
            let http = (self.binding.http)(&server.realm);
            let exchange = token::Exchange {
                http: http.map_err(|source| AuthError::Unreachable {
                    registry: self.registry(),
                    server: authority(&server.realm),
                    source,
                })?,
                server,
                registry: self.registry(),
                stall: self.binding.stall,
            };
            let credentials = self.binding.keyring.credentials().await?;
            exchange.fetch(credentials, &scopes).await
        };
        slot.get_or_try_init(fetch)
            .await
            .map(|token| token.secret.clone())
    }

    /// Reads the challenge of a 401 that `sent` was not enough for. When it returns, another try is worthwhile.
    ///
    /// # Errors
    ///
    /// Nothing we have will help.
    pub fn answer(&self, challenge: &str, sent: &Proof) -> Result<(), AuthError> {
        let challenges = challenge::parse(challenge);
        let of = |scheme: &str| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme == scheme)
        };
        let as_it_is = matches!(self.binding.keyring.known(), Some(Credentials::Bearer(_)));
        if as_it_is && *sent != Proof::None {
            return Err(self.refused(sent));
        }
        if let Some(bearer) = of("bearer") {
            let server = Server::of(bearer, &self.binding.base)?;
            let demanded = scope::actions(
                bearer.parameter("scope").unwrap_or_default(),
                &self.binding.repository,
            );
            let mut state = self.state();
            // A token that was refused is thrown away, unless somebody else has already renewed it.
            if let Proof::Bearer(refused) = sent {
                state
                    .slots
                    .retain(|_, slot| slot.get().is_none_or(|token| token.secret != *refused));
            }
            state.demanded.extend(demanded);
            self.settle(&mut state, Mode::Bearer(server));
            return Ok(());
        }
        if of("basic").is_some() {
            return match sent {
                Proof::Basic { .. } => Err(self.refused(sent)),
                _ => {
                    self.settle(&mut self.state(), Mode::Basic);
                    Ok(())
                }
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

    fn settle(&self, state: &mut State, mode: Mode) {
        *self.binding.habit.mode() = mode.clone();
        (state.mode, state.inherited) = (mode, false);
    }

    /// Tells whether the registry has asked for credentials.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        !matches!(self.state().mode, Mode::Unasked)
    }

    /// Returns the error for a request that was refused with this challenge in spite of `sent`.
    #[must_use]
    pub fn denied(&self, challenge: &str, sent: &Proof) -> AuthError {
        let challenges = challenge::parse(challenge);
        let insufficient = challenges
            .iter()
            .find(|challenge| challenge.parameter("error") == Some("insufficient_scope"));
        match (insufficient, self.refused(sent)) {
            (Some(challenge), AuthError::Rejected { registry, user, .. }) => AuthError::Scope {
                registry,
                user,
                scope: challenge
                    .parameter("scope")
                    .unwrap_or_default()
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(200)
                    .collect(),
            },
            (_, refused) => refused,
        }
    }

    /// Returns the error for a request that was refused in spite of `sent`.
    #[must_use]
    pub fn refused(&self, sent: &Proof) -> AuthError {
        let (registry, repository) = (self.registry(), self.binding.repository.clone());
        let user = match self.binding.keyring.known() {
            None | Some(Credentials::Anonymous) if !matches!(sent, Proof::Basic { .. }) => {
                return AuthError::Missing {
                    registry,
                    repository,
                };
            }
            Some(Credentials::Basic { user, .. }) => user.clone(),
            Some(Credentials::Identity(_)) => "an identity token".to_owned(),
            _ => "a registry token".to_owned(),
        };
        AuthError::Rejected {
            registry,
            repository,
            user,
        }
    }

    fn scopes(&self, access: Access) -> Vec<String> {
        let state = self.state();
        let own = |actions: &[&str]| {
            let more = state.demanded.iter().map(String::as_str);
            let more = more.filter(|action| !actions.contains(action));
            let actions: Vec<&str> = actions.iter().copied().chain(more).collect();
            format!(
                "repository:{}:{}",
                self.binding.repository,
                actions.join(",")
            )
        };
        match access {
            Access::Registry => Vec::new(),
            Access::Catalog => vec!["registry:catalog:*".to_owned()],
            Access::Pull => vec![own(&["pull"])],
            Access::Delete => vec![own(&["pull", "push", "delete"])],
            Access::Push => {
                let others = self.binding.also_pull.names();
                let others = others
                    .iter()
                    .map(|repository| format!("repository:{repository}:pull"));
                std::iter::once(own(&["pull", "push"]))
                    .chain(others)
                    .collect()
            }
        }
    }
}
