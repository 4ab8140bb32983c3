//! Secrets, and credentials made of them. Neither shows itself in a log.

use std::fmt;

/// A text that must not be printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret itself: only for the request it is meant for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How to show a registry who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody in particular; most public images need no more, though a token may still be asked for.
    Anonymous,
    /// A name and a password (or an access token in its place).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, exchanged for access tokens by OAuth2 (`identitytoken` in docker's files).
    Identity(Secret),
    /// A token that is sent as it is (`registrytoken` in docker's files).
    Bearer(Secret),
}

impl Credentials {
    /// Reads `USER:PASSWORD`; the password may hold colons. `None` if there is no colon or no user.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.split_once(':').filter(|(user, _)| !user.is_empty())?;
        Some(Self::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        })
    }
}
