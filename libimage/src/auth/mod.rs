//! Credentials to headers: where they are kept, challenges, token exchange, and the one place that decides which request may carry what.
//!
//! Credentials are bound to (scheme, host, port, repository). [`Authorizer::proof`] is the only source of `Authorization`
//! headers, and gives none for any other URL: redirects, upload locations on other hosts and foreign layer URLs get nothing.

mod authorizer;
mod binding;
mod challenge;
mod error;
pub mod helper;
mod keyring;
mod realm;
mod scope;
mod token;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Url, header::HeaderValue};

use crate::config::Secret;
pub use authorizer::Authorizer;
pub use binding::{AlsoPull, Binding, Habit, TokenClients};
pub use challenge::{Challenge, parse as parse_challenges};
pub use error::AuthError;
pub use keyring::Keyring;

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Be known to the registry.
    Registry,
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

/// Returns host and port of a URL, for people.
pub(crate) fn authority(url: &Url) -> String {
    match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}
