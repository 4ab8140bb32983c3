//! `policy.json`: which images may be used at all.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, ErrorKind};

/// Bytes of a policy: far more than any published one.
const FILE_BYTES: usize = 1 << 20;

/// What an image must fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Nothing.
    AcceptAnything,
    /// Nothing is good enough.
    Reject,
    /// An OpenPGP signature (`signedBy`): cannot be checked yet, so it is never fulfilled.
    SignedBy,
    /// A sigstore signature (`sigstoreSigned`): cannot be checked yet, so it is never fulfilled.
    SigstoreSigned,
}

/// Requirements by transport and scope, with a default.
///
/// # References
///
/// containers-policy.json(5)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    default: Vec<Requirement>,
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
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
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::new(ErrorKind::Malformed, error)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Vec<Entry>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Entry>>>,
}

#[derive(Deserialize)]
struct Entry {
    r#type: String,
}

impl Policy {
    /// Returns the policy that asks for nothing: content is still verified against its digest.
    #[must_use]
    pub fn accept_anything() -> Self {
        Self {
            default: vec![Requirement::AcceptAnything],
            transports: BTreeMap::new(),
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// Anything in it is not understood.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > FILE_BYTES {
            return Err(PolicyError::TooLarge);
        }
        let document: Document = serde_json::from_str(text).map_err(PolicyError::Json)?;
        let mut transports = BTreeMap::new();
        for (transport, scopes) in document.transports {
            let mut read = BTreeMap::new();
            for (scope, entries) in scopes {
                let requirements = requirements(&format!("{transport}:{scope}"), &entries)?;
                read.insert(scope, requirements);
            }
            transports.insert(transport, read);
        }
        Ok(Self {
            default: requirements("default", &document.default)?,
            transports,
        })
    }

    /// Returns the requirements of the most specific scope: `scopes` in that order, then the transport's own default (`""`),
    /// then the default of all.
    pub fn requirements<'a>(
        &self,
        transport: &str,
        scopes: impl IntoIterator<Item = &'a str>,
    ) -> &[Requirement] {
        let Some(table) = self.transports.get(transport) else {
            return &self.default;
        };
        scopes
            .into_iter()
            .chain([""])
            .find_map(|scope| table.get(scope))
            .unwrap_or(&self.default)
    }
}

fn requirements(scope: &str, entries: &[Entry]) -> Result<Vec<Requirement>, PolicyError> {
    if entries.is_empty() {
        return Err(PolicyError::Empty {
            scope: scope.to_owned(),
        });
    }
    let requirement = |entry: &Entry| match entry.r#type.as_str() {
        "insecureAcceptAnything" => Ok(Requirement::AcceptAnything),
        "reject" => Ok(Requirement::Reject),
        "signedBy" => Ok(Requirement::SignedBy),
        "sigstoreSigned" => Ok(Requirement::SigstoreSigned),
        other => Err(PolicyError::Unknown {
            scope: scope.to_owned(),
            requirement: other.chars().take(80).collect(),
        }),
    };
    entries.iter().map(requirement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_scope_decides() {
        let text = r#"{"default": [{"type": "reject"}], "transports": {
            "docker": {"": [{"type": "insecureAcceptAnything"}], "quay.io": [{"type": "reject"}], "quay.io/good": [{"type": "signedBy", "keyType": "GPGKeys"}]},
            "oci": {"/srv": [{"type": "insecureAcceptAnything"}]}}}"#;
        let policy = Policy::parse(text).unwrap();
        let cases: [(&str, &[&str], Requirement); 6] = [
            (
                "docker",
                &["docker.io/a:b", "docker.io/a", "docker.io"],
                Requirement::AcceptAnything,
            ),
            ("docker", &["quay.io/bad", "quay.io"], Requirement::Reject),
            (
                "docker",
                &["quay.io/good", "quay.io"],
                Requirement::SignedBy,
            ),
            ("oci", &["/srv/a", "/srv", "/"], Requirement::AcceptAnything),
            ("oci", &["/tmp", "/"], Requirement::Reject),
            ("containers-storage", &["x"], Requirement::Reject),
        ];
        for (transport, scopes, expected) in cases {
            assert_eq!(
                policy.requirements(transport, scopes.iter().copied()),
                [expected],
                "{transport} {scopes:?}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for bad in [
            "{}",
            r#"{"default": []}"#,
            r#"{"default": [{"type": "insecureAcceptAnythin"}]}"#,
            r#"{"default": [{"type": "reject"}], "transport": {}}"#,
            r#"{"default": [{"type": "reject"}], "transports": {"docker": {"x": []}}}"#,
            "",
        ] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
    }
}
