//! What credentials are bound to, and what is known of whoever asks for them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::Url;

use super::{Keyring, challenge, realm::Server};

/// How the registry wants it, as far as it has said.
#[derive(Debug, Clone, Default)]
pub(super) enum Mode {
    #[default]
    Unasked,
    Basic,
    Bearer(Server),
}

/// How a host has asked for credentials, whichever repository it was about: the next one need not be refused first.
#[derive(Debug, Default)]
pub struct Habit(Mutex<Mode>);

impl Habit {
    /// Reads a challenge that was about no repository; one that cannot be met is left to who meets it.
    pub fn learn(&self, challenge: &str, base: &Url) {
        let challenges = challenge::parse(challenge);
        let of = |scheme: &str| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme == scheme)
        };
        let bearer = of("bearer").and_then(|bearer| Server::of(bearer, base).ok());
        if let Some(server) = bearer {
            *self.mode() = Mode::Bearer(server);
        } else if of("basic").is_some() {
            *self.mode() = Mode::Basic;
        }
    }

    pub(super) fn mode(&self) -> MutexGuard<'_, Mode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Repositories that a token for another one covers too; shared by all who write to that one.
#[derive(Debug, Clone, Default)]
pub struct AlsoPull(Arc<Mutex<BTreeSet<String>>>);

impl AlsoPull {
    pub(super) fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds repositories.
    pub fn extend(&self, repositories: impl IntoIterator<Item = String>) {
        self.names().extend(repositories);
    }
}

/// Gives the client for a token server. It must not follow redirects.
pub type TokenClients = Arc<dyn Fn(&Url) -> Result<reqwest::Client, reqwest::Error> + Send + Sync>;

/// What an [`Authorizer`](super::Authorizer) is bound to.
#[derive(Clone)]
pub struct Binding {
    /// The registry.
    pub base: Url,
    /// The repository.
    pub repository: String,
    /// Who we are there.
    pub keyring: Keyring,
    /// Speaks to token servers.
    pub http: TokenClients,
    /// How long a token server may be silent.
    pub stall: Duration,
    /// Other repositories of the registry that tokens for writing let read: blobs may be mounted from them.
    pub also_pull: AlsoPull,
    /// Whether the repository will be written to: then one token does for everything.
    pub writes: bool,
    /// What is known of the host.
    pub habit: Arc<Habit>,
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding")
            .field("base", &self.base.as_str())
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}
