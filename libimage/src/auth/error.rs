//! Why authentication failed.

use crate::error::{Error, ErrorKind};

/// Why a registry could not be convinced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The registry wants credentials, and there are none.
    #[error(
        "{registry} wants credentials for {repository}, and none were given (or the image does not exist)"
    )]
    Missing {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
    },
    /// The credentials are wrong, or not good enough.
    #[error(
        "{registry} does not accept the credentials of {user:?} for {repository}: check the name and the password"
    )]
    Rejected {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// The user, or the kind of token.
        user: String,
    },
    /// The credentials are right, but not for this.
    #[error("{registry} does not allow {user:?} to do this: it wants {scope:?}")]
    Scope {
        /// The registry.
        registry: String,
        /// The user, or the kind of token.
        user: String,
        /// What the registry wants to be allowed.
        scope: String,
    },
    /// A credential helper is of no help.
    #[error("cannot find out the credentials of {registry}")]
    Helper {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: Box<super::helper::HelperError>,
    },
    /// The token server says nothing.
    #[error("the token server {server} of {registry} has been silent for {} s", .after.as_secs())]
    Stalled {
        /// The registry.
        registry: String,
        /// The token server.
        server: String,
        /// How long.
        after: std::time::Duration,
    },
    /// The registry's challenge names no scheme we know.
    #[error("{registry} asks for an authentication nobody here knows: {challenge:?}")]
    Scheme {
        /// The registry.
        registry: String,
        /// What it sent.
        challenge: String,
    },
    /// The registry names a token server that credentials must not be shown to.
    #[error(
        "{registry} names the token server {realm:?}, which credentials are not sent to: {reason}"
    )]
    Realm {
        /// The registry.
        registry: String,
        /// What it sent.
        realm: String,
        /// Why not.
        reason: &'static str,
    },
    /// The token server could not be asked.
    #[error("the token server {server} of {registry} does not answer")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The token server.
        server: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The token server answered with an error.
    #[error("the token server {server} of {registry} answered {status}: {message}")]
    Status {
        /// The registry.
        registry: String,
        /// The token server.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What it said, shortened.
        message: String,
    },
    /// The token server's answer holds no token.
    #[error("the token server {server} of {registry} gave no usable token")]
    Token {
        /// The registry.
        registry: String,
        /// The token server.
        server: String,
    },
}

impl AuthError {
    /// Tells whether somebody was asked, and said no.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Rejected { .. })
    }

    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } | Self::Rejected { .. } => ErrorKind::Unauthorized,
            Self::Scheme { .. } => ErrorKind::Unsupported,
            Self::Realm { .. } | Self::Scope { .. } => ErrorKind::Denied,
            Self::Helper { source, .. } => source.kind(),
            Self::Unreachable { .. } | Self::Stalled { .. } => {
                ErrorKind::Network { transient: true }
            }
            Self::Status { status: 429, .. } => ErrorKind::RateLimited { retry_after: None },
            Self::Status { status, .. } => ErrorKind::Network {
                transient: *status >= 500,
            },
            Self::Token { .. } => ErrorKind::Malformed,
        }
    }
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        Self::new(error.kind(), error)
    }
}
