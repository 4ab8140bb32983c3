//! What is signed: a small JSON document that names an image and the digest of its manifest.
//!
//! # References
//!
//! containers-signature(5); cosign's `specs/SIGNATURE_SPEC.md`, which has the same form with another `type`.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    config::{SignedIdentity, SignedName, strict},
    digest::{Digest, Hasher},
    name::Name,
};

/// Bytes of a payload: names have at most 500, so that this leaves room for what people put into `optional`.
pub(crate) const PAYLOAD_BYTES: u64 = 128 << 10;

/// Which kind of signature a payload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A sigstore signature.
    Sigstore,
    /// A simple signing signature: OpenPGP.
    Simple,
}

impl Form {
    fn word(self) -> &'static str {
        match self {
            Self::Sigstore => "cosign container image signature",
            Self::Simple => "atomic container signature",
        }
    }
}

/// What a signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The image's name.
    pub(super) name: SignedName,
    /// The manifest's digest.
    pub(super) digest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    critical: Critical,
    optional: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

impl Claim {
    /// Reads a payload whose signature has been verified.
    pub(super) fn parse(payload: &[u8], form: Form) -> Result<Self, String> {
        if payload.len() as u64 > PAYLOAD_BYTES {
            return Err("it is too large".to_owned());
        }
        let document: Document = strict::parse(payload)
            .and_then(serde_json::from_value)
            .map_err(|error| format!("it is not what a signature signs: {error}"))?;
        if document.critical.r#type != form.word() {
            let found: String = document.critical.r#type.chars().take(80).collect();
            return Err(format!("it signs something of the type {found:?}"));
        }
        let optional = match document.optional {
            Value::Object(optional) => optional,
            // cosign writes null if there is nothing to say.
            Value::Null => Map::new(),
            _ => return Err("its optional part is no object".to_owned()),
        };
        let valid = optional.get("creator").is_none_or(Value::is_string)
            && optional.get("timestamp").is_none_or(Value::is_number);
        if !valid {
            return Err("its creator or timestamp is not valid".to_owned());
        }
        let name = document.critical.identity.docker_reference;
        Ok(Self {
            name: SignedName::parse(&name).map_err(|error| error.to_string())?,
            digest: document
                .critical
                .image
                .docker_manifest_digest
                .parse()
                .map_err(|_| "it names no digest".to_owned())?,
        })
    }

    /// Checks that these bytes, called so, are what is meant.
    pub(super) fn check(
        &self,
        raw: &[u8],
        name: Option<&Name>,
        identity: &SignedIdentity,
    ) -> Result<(), String> {
        let mut hasher = Hasher::new(self.digest.algorithm());
        hasher.update(raw);
        if hasher.finish() != self.digest {
            return Err(format!("it is for the digest {}", self.digest));
        }
        if !identity.accepts(name, &self.name) {
            return Err(format!("it is for {}", self.name));
        }
        Ok(())
    }
}

/// Writes the payload of a sigstore signature: always the same bytes for the same image and name.
pub(super) fn write(name: &Name, digest: &Digest) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": name.to_string()},
            "image": {"docker-manifest-digest": digest.as_str()},
            "type": Form::Sigstore.word(),
        },
        "optional": {"creator": "trimaran"},
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        "registry.test/team/app:v1".parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let payload = write(&name(), &Digest::of(b"manifest"));
        let claim = Claim::parse(&payload, Form::Sigstore).unwrap();
        assert!(claim.name.is(&name()));
        let identity = SignedIdentity::MatchExact;
        claim.check(b"manifest", Some(&name()), &identity).unwrap();
        assert!(claim.check(b"other", Some(&name()), &identity).is_err());
        let other = name().with_tag("v2").unwrap();
        assert!(claim.check(b"manifest", Some(&other), &identity).is_err());
        assert!(Claim::parse(&payload, Form::Simple).is_err());
    }

    #[test]
    fn only_one_reading_is_possible() {
        let good = String::from_utf8(write(&name(), &Digest::of(b"manifest"))).unwrap();
        let replaced = |from: &str, to: &str| {
            assert!(good.contains(from), "{from}");
            good.replace(from, to)
        };
        let accepted = [
            replaced(r#"{"creator":"trimaran"}"#, "null"),
            replaced(r#"{"creator":"trimaran"}"#, r#"{"x": [1], "timestamp": 5}"#),
            replaced(":v1", ""),
        ];
        for text in accepted {
            assert!(
                Claim::parse(text.as_bytes(), Form::Sigstore).is_ok(),
                "{text}"
            );
        }
        let digest = Digest::of(b"manifest");
        let refused = [
            replaced(r#""type""#, r#""type": "x", "type""#),
            replaced(
                r#""image":"#,
                r#""image": {"docker-manifest-digest": "sha256:0"}, "image":"#,
            ),
            replaced(r#""critical":"#, r#""critical": {}, "critical":"#),
            replaced(r#""critical":"#, r#""Critical": {}, "critical":"#),
            replaced(r#""type":"#, r#""extra": 1, "type":"#),
            replaced(r#"{"creator":"trimaran"}"#, r#"{"creator": 1}"#),
            replaced(r#"{"creator":"trimaran"}"#, r#"{"a": 1, "a": 2}"#),
            replaced(digest.as_str(), "sha256:abc"),
            replaced("registry.test/team/app:v1", "NOT/valid//"),
            format!("{good}{good}"),
            good[..good.len() - 1].to_owned(),
            " ".repeat(PAYLOAD_BYTES as usize + 1),
        ];
        for text in refused {
            assert!(
                Claim::parse(text.as_bytes(), Form::Sigstore).is_err(),
                "{text}"
            );
        }
    }
}
