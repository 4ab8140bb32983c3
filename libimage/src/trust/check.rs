//! Does what was found fulfil what the policy wants?

use base64::{Engine as _, engine::general_purpose::STANDARD};

use serde::Deserialize;

use super::{
    PublicKey, TrustError,
    attachment::{PAYLOAD_TYPE, SIGNATURE_ANNOTATION},
    openpgp,
    payload::{Claim, Form},
    scope,
};
use crate::{
    config::{Keys, Policy, Requirement, SignedBy, SigstoreSigned},
    digest::Digest,
    name::ImageRef,
};

/// Reasons told of signatures that do not fit.
const REASONS: usize = 4;

/// Signatures as they were found, not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Material {
    /// Simple signing signatures: OpenPGP messages.
    pub simple: Vec<Vec<u8>>,
    /// Sigstore signatures.
    pub sigstore: Vec<SigstoreSignature>,
    /// What was at a place of signatures and could not be used.
    pub notes: Vec<String>,
}

/// A sigstore signature as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigstoreSignature {
    /// What was signed.
    pub payload: Vec<u8>,
    /// The signature in base64.
    pub signature: String,
}

/// What the file of a sigstore signature in a `dir:` begins with; a file without it is a simple signing signature.
const FILE_MAGIC: &[u8] = b"\0sigstore-json\n";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileDocument {
    mime_type: String,
    payload: String,
    annotations: std::collections::BTreeMap<String, String>,
}

impl SigstoreSignature {
    /// Writes the file that holds it in a `dir:`.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let document = serde_json::json!({
            "mimeType": PAYLOAD_TYPE,
            "payload": STANDARD.encode(&self.payload),
            "annotations": {SIGNATURE_ANNOTATION: self.signature},
        });
        [FILE_MAGIC, document.to_string().as_bytes()].concat()
    }
}

impl Material {
    /// Adds a file of signatures as they are in a `dir:`.
    pub(crate) fn add_file(&mut self, file: Vec<u8>) {
        if file.first() != Some(&0) {
            self.simple.push(file);
            return;
        }
        let document = file
            .strip_prefix(FILE_MAGIC)
            .and_then(|json| serde_json::from_slice::<FileDocument>(json).ok())
            .filter(|document| document.mime_type == PAYLOAD_TYPE);
        let read = document.and_then(|mut document| {
            Some(SigstoreSignature {
                payload: STANDARD.decode(document.payload).ok()?,
                signature: document.annotations.remove(SIGNATURE_ANNOTATION)?,
            })
        });
        match read {
            Some(signature) => self.sigstore.push(signature),
            None => self
                .notes
                .push("a file of signatures is of an unknown form".to_owned()),
        }
    }
}

/// A signature that fulfils a requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The name that it gives the image.
    pub name: String,
    /// The key: where it comes from.
    pub key: String,
}

/// Checks the manifest `raw` of an image against all requirements.
pub(super) fn check(
    policy: &Policy,
    image: &ImageRef,
    raw: &[u8],
    material: &Material,
) -> Result<Vec<Accepted>, TrustError> {
    let subject = Subject { image, raw };
    let mut accepted = Vec::new();
    for requirement in scope::requirements(policy, image) {
        accepted.extend(match requirement {
            Requirement::AcceptAnything => None,
            Requirement::SigstoreSigned(wanted) => Some(subject.sigstore(wanted, material)?),
            Requirement::SignedBy(wanted) => Some(subject.simple(policy, wanted, material)?),
            other => return Err(super::refuse(image, other)),
        });
    }
    Ok(accepted)
}

/// What has to be signed.
struct Subject<'a> {
    image: &'a ImageRef,
    raw: &'a [u8],
}

impl Subject<'_> {
    fn sigstore(
        &self,
        wanted: &SigstoreSigned,
        material: &Material,
    ) -> Result<Accepted, TrustError> {
        const REQUIREMENT: &str = "sigstoreSigned";
        let mut keys = Vec::new();
        for file in &wanted.keys {
            let text = self.content(file, REQUIREMENT)?;
            let key = PublicKey::parse(text).map_err(|error| TrustError::CannotCheck {
                image: self.image.to_string(),
                requirement: format!("{REQUIREMENT} with {}: {error}", file.origin),
            })?;
            keys.push((key, &file.origin));
        }
        let mut reasons = Vec::new();
        for found in &material.sigstore {
            let Ok(signature) = STANDARD.decode(&found.signature) else {
                reasons.push("one is no base64".to_owned());
                continue;
            };
            // The key comes first: a payload that nobody vouches for is not even read.
            let made_by = keys
                .iter()
                .find(|(key, _)| key.verifies(&found.payload, &signature));
            let Some((_, origin)) = made_by else {
                reasons.push("one was made by another key, or of another text".to_owned());
                continue;
            };
            let claim = Claim::parse(&found.payload, Form::Sigstore).and_then(|claim| {
                claim.check(self.raw, scope::name(self.image), &wanted.identity)?;
                Ok(claim)
            });
            match claim {
                Ok(claim) => {
                    return Ok(Accepted {
                        name: claim.name.to_string(),
                        key: (*origin).clone(),
                    });
                }
                Err(why) => reasons.push(format!("one does not fit: {why}")),
            }
        }
        Err(self.unsigned(REQUIREMENT, reasons, material))
    }

    fn simple(
        &self,
        policy: &Policy,
        wanted: &SignedBy,
        material: &Material,
    ) -> Result<Accepted, TrustError> {
        const REQUIREMENT: &str = "signedBy";
        let program = policy.openpgp().ok_or_else(|| TrustError::CannotCheck {
            image: self.image.to_string(),
            requirement: format!("{REQUIREMENT} needs a program such as gpgv, and none is known"),
        })?;
        let rings: Vec<&[u8]> = wanted
            .keys
            .iter()
            .map(|file| self.content(file, REQUIREMENT))
            .collect::<Result<_, _>>()?;
        let mut reasons = Vec::new();
        for found in &material.simple {
            let claim = openpgp::signed_text(program, &rings, found).and_then(|text| {
                let claim = Claim::parse(&text, Form::Simple)?;
                claim.check(self.raw, scope::name(self.image), &wanted.identity)?;
                Ok(claim)
            });
            match claim {
                Ok(claim) => {
                    return Ok(Accepted {
                        name: claim.name.to_string(),
                        key: origins(&wanted.keys),
                    });
                }
                Err(why) => reasons.push(format!("one does not fit: {why}")),
            }
        }
        Err(self.unsigned(REQUIREMENT, reasons, material))
    }

    /// A key that cannot be read leaves the requirement unfulfilled, whatever the other keys say: the policy is not what its
    /// author meant.
    fn content<'a>(&self, file: &'a Keys, requirement: &str) -> Result<&'a [u8], TrustError> {
        match &file.content {
            Ok(content) => Ok(content),
            Err(why) => Err(TrustError::CannotCheck {
                image: self.image.to_string(),
                requirement: format!(
                    "{requirement} with {}, which cannot be read: {why}",
                    file.origin
                ),
            }),
        }
    }

    fn unsigned(
        &self,
        requirement: &str,
        mut reasons: Vec<String>,
        material: &Material,
    ) -> TrustError {
        let found = reasons.len();
        reasons.dedup();
        reasons.extend(material.notes.iter().cloned());
        let more = reasons.len() > REASONS;
        reasons.truncate(REASONS);
        let reasons = match (found, reasons.is_empty()) {
            (0, true) => "no signature was found".to_owned(),
            (0, false) => format!("no signature was found; {}", reasons.join("; ")),
            (_, _) => {
                let dots = if more { "; …" } else { "" };
                format!("of {found} signatures {}{dots}", reasons.join("; "))
            }
        };
        TrustError::Unsigned {
            image: format!("{} ({})", self.image, Digest::of(self.raw)),
            requirement: requirement.to_owned(),
            reasons,
        }
    }
}

fn origins(keys: &[Keys]) -> String {
    let origins: Vec<&str> = keys.iter().map(|keys| keys.origin.as_str()).collect();
    origins.join(", ")
}
