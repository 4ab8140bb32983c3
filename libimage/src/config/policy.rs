//! `policy.json`: which images may be used at all.

mod document;
mod identity;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use document::{FILE_BYTES, Scopes};
pub use identity::{SignedIdentity, SignedName};

use super::RegistriesD;
use crate::error::{Error, ErrorKind};

/// What an image must fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Nothing.
    AcceptAnything,
    /// Nothing is good enough.
    Reject,
    /// An OpenPGP signature in the simple signing form (`signedBy`).
    SignedBy(SignedBy),
    /// A sigstore signature by a key (`sigstoreSigned`).
    SigstoreSigned(SigstoreSigned),
    /// Something the format knows and we cannot check: never fulfilled.
    Unsupported(&'static str),
}

/// The requirement of an OpenPGP signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// Key rings: a signature by any key in any of them counts.
    pub keys: Vec<Keys>,
    /// Which name the signature has to give the image.
    pub identity: SignedIdentity,
}

/// The requirement of a sigstore signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigstoreSigned {
    /// Public keys, PEM: a signature by any of them counts.
    pub keys: Vec<Keys>,
    /// Which name the signature has to give the image.
    pub identity: SignedIdentity,
}

/// Keys of a requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Where they come from, for messages.
    pub origin: String,
    /// The file's content, or why it could not be read: then no signature can be checked with it.
    pub content: Result<Vec<u8>, String>,
}

impl Keys {
    /// Keys that are at hand.
    pub fn new(origin: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            origin: origin.into(),
            content: Ok(content.into()),
        }
    }
}

/// Requirements by transport and scope, with a default; and how signatures are found and checked. Cheap to clone.
///
/// # References
///
/// containers-policy.json(5), containers-registries.d(5)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    tables: Arc<Tables>,
    registries_d: Arc<RegistriesD>,
    openpgp: Option<PathBuf>,
    require_signed: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Tables {
    default: Vec<Requirement>,
    transports: BTreeMap<String, Scopes>,
}

/// Why a text is no policy. A policy that cannot be understood must not be ignored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is not the JSON expected.
    #[error("the policy is not valid")]
    Json(#[source] serde_json::Error),
    /// It is too large.
    #[error("the policy has more than {} bytes", FILE_BYTES)]
    TooLarge,
    /// A list of requirements is empty, which the format forbids.
    #[error("the policy for {scope:?} has no requirements; write insecureAcceptAnything or reject")]
    Empty {
        /// Transport and scope.
        scope: String,
    },
    /// A type of requirement nobody has heard of.
    #[error("the policy for {scope:?} has the unknown requirement {requirement:?}")]
    Unknown {
        /// Transport and scope.
        scope: String,
        /// The word.
        requirement: String,
    },
    /// A requirement does not say what it must, or says what we do not understand.
    #[error("the policy for {scope:?} has a requirement that is not valid: {what}")]
    Requirement {
        /// Transport and scope.
        scope: String,
        /// What is wrong.
        what: String,
    },
    /// A scope that no image can have.
    #[error(
        "the policy has the scope {scope:?}, which fits no image: scopes of directories are absolute paths without `.` and `..`, docker-archive has none (for all images of a transport write the scope \"\")"
    )]
    Scope {
        /// Transport and scope.
        scope: String,
    },
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::new(ErrorKind::Malformed, error)
    }
}

impl Policy {
    /// Returns the policy that asks for nothing: content is still verified against its digest.
    #[must_use]
    pub fn accept_anything() -> Self {
        Self::requiring(vec![Requirement::AcceptAnything])
    }

    /// Returns the policy that asks the same of every image. An empty list is the same as [`Requirement::Reject`].
    #[must_use]
    pub fn requiring(mut requirements: Vec<Requirement>) -> Self {
        if requirements.is_empty() {
            requirements.push(Requirement::Reject);
        }
        Self::of(requirements, BTreeMap::new())
    }

    fn of(default: Vec<Requirement>, transports: BTreeMap<String, Scopes>) -> Self {
        Self {
            tables: Arc::new(Tables {
                default,
                transports,
            }),
            registries_d: Arc::default(),
            openpgp: None,
            require_signed: false,
        }
    }

    /// Reads the text of a file. Keys that it names by path are not loaded: requirements with such keys cannot be fulfilled.
    ///
    /// # Errors
    ///
    /// Anything in it is not understood.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::parse_with(text, &mut |_| {
            Err(std::io::Error::other("key files are not read here"))
        })
    }

    /// Reads the text of a file; `load` reads the key files that it names. One that cannot be read makes its requirement one
    /// that cannot be fulfilled.
    ///
    /// # Errors
    ///
    /// Anything in it is not understood.
    pub fn parse_with(
        text: &str,
        load: &mut dyn FnMut(&Path) -> std::io::Result<Vec<u8>>,
    ) -> Result<Self, PolicyError> {
        let (default, transports) = document::parse(text, load)?;
        Ok(Self::of(default, transports))
    }

    /// Returns a policy that asks the same of every image, and finds and checks signatures as this one does.
    #[must_use]
    pub fn with_requirements(&self, requirements: Vec<Requirement>) -> Self {
        Self {
            tables: Self::requiring(requirements).tables,
            ..self.clone()
        }
    }

    /// Sets where signatures are found.
    #[must_use]
    pub fn with_registries_d(mut self, registries_d: RegistriesD) -> Self {
        self.registries_d = Arc::new(registries_d);
        self
    }

    /// Sets the program that checks OpenPGP signatures; it is called as `gpgv` is.
    #[must_use]
    pub fn with_openpgp(mut self, program: impl Into<PathBuf>) -> Self {
        self.openpgp = Some(program.into());
        self
    }

    /// Makes images unusable for which it asks for no signature.
    #[must_use]
    pub fn requiring_signatures(mut self) -> Self {
        self.require_signed = true;
        self
    }

    /// Returns where signatures are found.
    #[must_use]
    pub fn registries_d(&self) -> &RegistriesD {
        &self.registries_d
    }

    /// Returns the program that checks OpenPGP signatures.
    #[must_use]
    pub fn openpgp(&self) -> Option<&Path> {
        self.openpgp.as_deref()
    }

    /// Tells whether images are unusable for which it asks for no signature.
    #[must_use]
    pub fn requires_signatures(&self) -> bool {
        self.require_signed
    }

    /// Tells whether the scopes of a transport make any difference.
    #[must_use]
    pub fn has_scopes(&self, transport: &str) -> bool {
        self.tables.transports.contains_key(transport)
    }

    /// Returns the requirements of the most specific scope: `scopes` in that order, then the transport's own default (`""`),
    /// then the default of all.
    pub fn requirements<'a>(
        &self,
        transport: &str,
        scopes: impl IntoIterator<Item = &'a str>,
    ) -> &[Requirement] {
        let Some(table) = self.tables.transports.get(transport) else {
            return &self.tables.default;
        };
        scopes
            .into_iter()
            .chain([""])
            .find_map(|scope| table.get(scope))
            .unwrap_or(&self.tables.default)
    }
}

#[cfg(test)]
mod tests;
