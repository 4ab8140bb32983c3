//! Why a registry could not be used.

use std::time::Duration;

use crate::{
    auth::AuthError,
    config::PlaceError,
    digest::DigestError,
    error::{Error, ErrorKind},
};

/// Why a request to a registry failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No connection, or it broke before an answer came.
    #[error("cannot reach {host} for the {what}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What was wanted.
        what: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The other side could not prove who it is.
    #[error("the certificate of {host} is not trusted")]
    Certificate {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answered, but not in TLS.
    #[error("{host} does not speak TLS")]
    NotTls {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke in the middle of an answer or an upload.
    #[error("the connection to {host} broke during the {what}")]
    Interrupted {
        /// Host and port.
        host: String,
        /// What was under way.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing came, or nothing could be sent, for too long.
    #[error("{host} has been silent for {} s during the {what}", .after.as_secs())]
    Stalled {
        /// Host and port.
        host: String,
        /// What was under way.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The registry does not have it.
    #[error("{host} has no {what}")]
    NotFound {
        /// Host and port.
        host: String,
        /// What was wanted.
        what: String,
    },
    /// Another answer than success.
    #[error("{host} answered {status} to the {what}{}{message}", if .message.is_empty() { "" } else { ": " })]
    Status {
        /// Host and port.
        host: String,
        /// What was wanted.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said, verbatim but shortened.
        message: String,
        /// What `Retry-After` said.
        retry_after: Option<Duration>,
    },
    /// A redirect that would lead from https to plain http, or in circles.
    #[error("{host} redirects the {what} to where it must not go")]
    Redirect {
        /// Host and port.
        host: String,
        /// What was wanted.
        what: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer breaks the distribution specification.
    #[error("the answer of {host} to the {what} makes no sense: {problem}")]
    Answer {
        /// Host and port.
        host: String,
        /// What was wanted.
        what: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The answer is larger than anything sensible.
    #[error("the {what} of {host} has more than {limit} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// What was wanted.
        what: String,
        /// How many bytes it may have.
        limit: u64,
    },
    /// The content is not what was asked for.
    #[error("{host} sent a wrong {what}")]
    Content {
        /// Host and port.
        host: String,
        /// What was wanted.
        what: String,
        /// How it differs.
        #[source]
        source: DigestError,
    },
    /// Another pull would leave fewer than are to be left.
    #[error("{host} allows {remaining} more pulls{}, and {least} are to be left", window_of(.window))]
    Quota {
        /// Host and port.
        host: String,
        /// How many pulls it still allows.
        remaining: u64,
        /// How many are to be left.
        least: u64,
        /// How long the registry's window is.
        window: Option<Duration>,
    },
    /// Authentication failed.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// `registries.conf` forbids it, or moves it to where nothing can be.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The certificates for a host cannot be used.
    #[error("cannot use the certificates for {host} in {}: {problem}", path.display())]
    Certificates {
        /// Host and port.
        host: String,
        /// The file or directory.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client could not be set up.
    #[error("cannot set up an HTTP client for {host}")]
    Client {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

impl RegistryError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::Stalled { .. } => {
                ErrorKind::Network { transient: true }
            }
            Self::Certificate { .. } | Self::NotTls { .. } | Self::Client { .. } => {
                ErrorKind::Network { transient: false }
            }
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Status {
                status,
                retry_after,
                ..
            } => match status {
                401 => ErrorKind::Unauthorized,
                403 => ErrorKind::Denied,
                404 => ErrorKind::NotFound,
                405 | 415 | 501 => ErrorKind::Unsupported,
                409 => ErrorKind::Conflict,
                413 => ErrorKind::LimitExceeded,
                429 => ErrorKind::RateLimited {
                    retry_after: *retry_after,
                },
                503 if retry_after.is_some() => ErrorKind::RateLimited {
                    retry_after: *retry_after,
                },
                408 | 500.. => ErrorKind::Network { transient: true },
                _ => ErrorKind::Malformed,
            },
            Self::Redirect { .. } => ErrorKind::Denied,
            Self::Answer { .. } => ErrorKind::Malformed,
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
            Self::Content { .. } => ErrorKind::DigestMismatch,
            // The window's length says nothing about its end.
            Self::Quota { .. } => ErrorKind::RateLimited { retry_after: None },
            Self::Auth(error) => error.kind(),
            Self::Place(error) => error.kind(),
            Self::Certificates { .. } => ErrorKind::Malformed,
        }
    }

    /// Tells whether the same request is worth another try now. Somebody who refuses connections, or a host without an address, may be
    /// there later; for a person who waits, later is not now.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !is_refused(source),
            // Pulls come back in hours.
            Self::Quota { .. } => false,
            _ => matches!(
                self.kind(),
                ErrorKind::Network { transient: true } | ErrorKind::RateLimited { .. }
            ),
        }
    }

    /// Returns the innermost cause, for a line that already says what was tried.
    pub(super) fn reason(&self) -> String {
        let mut reason = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            reason = error.to_string();
            cause = error.source();
        }
        reason
    }

    /// Sorts a failure of the HTTP client.
    pub(super) fn of_http(host: &str, what: &str, source: reqwest::Error) -> Self {
        let (host, what) = (host.to_owned(), what.to_owned());
        // Addresses of storage back ends hold signatures: they stay out of messages.
        let source = source.without_url();
        if source.is_redirect() {
            return Self::Redirect { host, what, source };
        }
        match tls_verdict(&source) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                return Self::Certificate { host, source };
            }
            Some(rustls::Error::InvalidMessage(_)) if source.is_connect() => {
                return Self::NotTls { host, source };
            }
            _ => {}
        }
        if source.is_body() || source.is_decode() {
            return Self::Interrupted {
                host,
                what,
                source: source.into(),
            };
        }
        Self::Unreachable { host, what, source }
    }
}

fn window_of(window: &Option<Duration>) -> String {
    window.map_or_else(String::new, |window| format!(" in {} s", window.as_secs()))
}

/// Walks the chain of causes, into the errors that an `io::Error` carries and hides from `source()`.
fn causes<'a>(
    error: &'a reqwest::Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let first: &'a (dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| {
        match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(carried) => Some(carried as &(dyn std::error::Error + 'static)),
            None => error.source(),
        }
    })
}

/// Returns the TLS library's verdict.
fn tls_verdict(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())
}

/// Nobody listens, or the name has no address.
fn is_refused(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        let kind = cause
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        kind == Some(std::io::ErrorKind::ConnectionRefused)
            || cause.to_string().starts_with("dns error")
    })
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        Self::new(error.kind(), error)
    }
}
