//! The text of a policy.json, read so strictly that nothing in it can be overlooked.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{Keys, PolicyError, Requirement, SignedBy, SignedIdentity, SigstoreSigned};
use crate::{config::strict, name::Name};

/// Bytes of a policy: far more than any published one.
pub(super) const FILE_BYTES: usize = 1 << 20;

/// Requirements by scope.
pub(super) type Scopes = BTreeMap<String, Vec<Requirement>>;

/// Reads a key file a policy names.
pub(super) type Load<'a> = dyn FnMut(&Path) -> std::io::Result<Vec<u8>> + 'a;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Vec<Value>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Value>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SignedByFields {
    key_type: String,
    key_path: Option<String>,
    key_paths: Option<Vec<String>>,
    key_data: Option<String>,
    signed_identity: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SigstoreFields {
    key_path: Option<String>,
    key_paths: Option<Vec<String>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    fulcio: Option<Value>,
    pki: Option<Value>,
    rekor_public_key_path: Option<String>,
    rekor_public_key_paths: Option<Vec<String>>,
    rekor_public_key_data: Option<String>,
    rekor_public_key_datas: Option<Vec<String>>,
    signed_identity: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReferenceFields {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RepositoryFields {
    docker_repository: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RemapFields {
    prefix: String,
    signed_prefix: String,
}

/// Reads the default and the transports.
pub(super) fn parse(
    text: &str,
    load: &mut Load<'_>,
) -> Result<(Vec<Requirement>, BTreeMap<String, Scopes>), PolicyError> {
    if text.len() > FILE_BYTES {
        return Err(PolicyError::TooLarge);
    }
    let value = strict::parse(text.as_bytes()).map_err(PolicyError::Json)?;
    let document: Document = serde_json::from_value(value).map_err(PolicyError::Json)?;
    let mut transports = BTreeMap::new();
    for (transport, scopes) in document.transports {
        let mut read = Scopes::new();
        for (scope, entries) in scopes {
            let name = format!("{transport}:{scope}");
            check_scope(&transport, &scope, &name)?;
            let requirements = requirements(&name, entries, load)?;
            read.insert(scope, requirements);
        }
        transports.insert(transport, read);
    }
    Ok((requirements("default", document.default, load)?, transports))
}

/// A scope that can never match is a policy that is not enforced.
fn check_scope(transport: &str, scope: &str, name: &str) -> Result<(), PolicyError> {
    let paths = matches!(transport, "dir" | "oci" | "oci-archive");
    let unclean = |path: &str| {
        !path.starts_with('/')
            || path == "/"
            || path[1..]
                .split('/')
                .any(|component| matches!(component, "" | "." | ".."))
    };
    let never = transport == "docker-archive" || (paths && unclean(scope));
    if never && !scope.is_empty() {
        return Err(PolicyError::Scope {
            scope: name.to_owned(),
        });
    }
    Ok(())
}

fn requirements(
    scope: &str,
    entries: Vec<Value>,
    load: &mut Load<'_>,
) -> Result<Vec<Requirement>, PolicyError> {
    if entries.is_empty() {
        return Err(PolicyError::Empty {
            scope: scope.to_owned(),
        });
    }
    entries
        .into_iter()
        .map(|entry| Entry::new(scope, entry)?.requirement(load))
        .collect()
}

/// An object with a `type`, which is taken out of it.
struct Entry<'a> {
    scope: &'a str,
    kind: String,
    fields: Value,
}

impl<'a> Entry<'a> {
    fn new(scope: &'a str, mut fields: Value) -> Result<Self, PolicyError> {
        let kind = fields
            .as_object_mut()
            .and_then(|fields| fields.remove("type"));
        match kind {
            Some(Value::String(kind)) => Ok(Self {
                scope,
                kind,
                fields,
            }),
            _ => Err(PolicyError::Requirement {
                scope: scope.to_owned(),
                what: "an entry has no type".to_owned(),
            }),
        }
    }

    fn unknown(&self) -> PolicyError {
        PolicyError::Unknown {
            scope: self.scope.to_owned(),
            requirement: self.kind.chars().take(80).collect(),
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> PolicyError {
        PolicyError::Requirement {
            scope: self.scope.to_owned(),
            what: format!("{}: {what}", self.kind),
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, PolicyError> {
        serde_json::from_value(self.fields.take()).map_err(|error| self.wrong(error))
    }

    fn requirement(mut self, load: &mut Load<'_>) -> Result<Requirement, PolicyError> {
        match self.kind.as_str() {
            "insecureAcceptAnything" => {
                self.read::<NoFields>().map(|_| Requirement::AcceptAnything)
            }
            "reject" => self.read::<NoFields>().map(|_| Requirement::Reject),
            "signedBy" => self.signed_by(load),
            "sigstoreSigned" => self.sigstore_signed(load),
            _ => Err(self.unknown()),
        }
    }

    fn signed_by(&mut self, load: &mut Load<'_>) -> Result<Requirement, PolicyError> {
        let fields: SignedByFields = self.read()?;
        let identity = self.identity(fields.signed_identity)?;
        let data = fields.key_data.map(|data| vec![data]);
        let keys = self.keys([fields.key_path.map(one), fields.key_paths], [data], load)?;
        match fields.key_type.as_str() {
            "GPGKeys" => Ok(Requirement::SignedBy(SignedBy { keys, identity })),
            "signedByGPGKeys" | "X509Certificates" | "signedByX509CAs" => Ok(
                Requirement::Unsupported("signedBy with X.509 or indirect keys"),
            ),
            other => Err(self.wrong(format!("the unknown keyType {other:?}"))),
        }
    }

    fn sigstore_signed(&mut self, load: &mut Load<'_>) -> Result<Requirement, PolicyError> {
        let fields: SigstoreFields = self.read()?;
        let identity = self.identity(fields.signed_identity)?;
        let rekor = fields.rekor_public_key_path.is_some()
            || fields.rekor_public_key_paths.is_some()
            || fields.rekor_public_key_data.is_some()
            || fields.rekor_public_key_datas.is_some();
        let paths = [fields.key_path.map(one), fields.key_paths];
        let datas = [fields.key_data.map(one), fields.key_datas];
        let keyless = [fields.fulcio.is_some(), fields.pki.is_some()];
        if keyless.contains(&true) {
            let named = keyless.iter().filter(|named| **named).count();
            if named > 1 || paths.iter().chain(&datas).any(Option::is_some) {
                return Err(self.wrong("more than one way to know the signer"));
            }
            return Ok(Requirement::Unsupported(
                "sigstoreSigned with certificates (fulcio, pki)",
            ));
        }
        let keys = self.keys(paths, datas, load)?;
        if rekor {
            return Ok(Requirement::Unsupported(
                "sigstoreSigned with a transparency log (rekorPublicKey…)",
            ));
        }
        Ok(Requirement::SigstoreSigned(SigstoreSigned {
            keys,
            identity,
        }))
    }

    /// Takes the one field that names keys; none and several are errors.
    fn keys<const N: usize, const M: usize>(
        &self,
        paths: [Option<Vec<String>>; N],
        datas: [Option<Vec<String>>; M],
        load: &mut Load<'_>,
    ) -> Result<Vec<Keys>, PolicyError> {
        let mut named = paths
            .into_iter()
            .flatten()
            .map(|paths| (true, paths))
            .chain(datas.into_iter().flatten().map(|datas| (false, datas)));
        let (are_paths, texts) = named
            .next()
            .ok_or_else(|| self.wrong("it names no key (keyPath, keyData, …)"))?;
        if named.next().is_some() {
            return Err(self.wrong("it names keys in more than one way"));
        }
        if texts.is_empty() {
            return Err(self.wrong("its list of keys is empty"));
        }
        let read = |text: String| match are_paths {
            // A file that is missing matters only to images it speaks about: then the requirement cannot be fulfilled.
            true => Ok(Keys {
                content: load(Path::new(&text)).map_err(|error| error.to_string()),
                origin: text,
            }),
            false => match STANDARD.decode(&text) {
                Ok(content) => Ok(Keys {
                    content: Ok(content),
                    origin: "the policy's keyData".to_owned(),
                }),
                Err(error) => Err(self.wrong(format!("its keyData is no base64: {error}"))),
            },
        };
        texts.into_iter().map(read).collect()
    }

    fn identity(&self, value: Option<Value>) -> Result<SignedIdentity, PolicyError> {
        let Some(value) = value else {
            return Ok(SignedIdentity::default());
        };
        let mut entry = Entry::new(self.scope, value)?;
        match entry.kind.as_str() {
            "matchExact" => entry.read::<NoFields>().map(|_| SignedIdentity::MatchExact),
            "matchRepoDigestOrExact" => entry
                .read::<NoFields>()
                .map(|_| SignedIdentity::MatchRepoDigestOrExact),
            "matchRepository" => entry
                .read::<NoFields>()
                .map(|_| SignedIdentity::MatchRepository),
            "exactReference" => {
                let text = entry.read::<ReferenceFields>()?.docker_reference;
                let name = entry.name(&text)?;
                if name.is_bare() {
                    return Err(entry.wrong(format!("{text:?} has neither tag nor digest")));
                }
                text.parse::<Name>()
                    .map(SignedIdentity::ExactReference)
                    .map_err(|error| entry.wrong(error))
            }
            "exactRepository" => {
                let text = entry.read::<RepositoryFields>()?.docker_repository;
                let name = entry.name(&text)?;
                if !name.is_bare() {
                    return Err(entry.wrong(format!("{text:?} is not only a repository")));
                }
                Ok(SignedIdentity::ExactRepository(name.repository()))
            }
            "remapIdentity" => {
                let fields: RemapFields = entry.read()?;
                for prefix in [&fields.prefix, &fields.signed_prefix] {
                    entry.prefix(prefix)?;
                }
                Ok(SignedIdentity::RemapIdentity {
                    prefix: fields.prefix,
                    signed_prefix: fields.signed_prefix,
                })
            }
            _ => Err(entry.unknown()),
        }
    }

    fn name(&self, text: &str) -> Result<super::SignedName, PolicyError> {
        super::SignedName::parse(text).map_err(|error| self.wrong(error))
    }

    /// A host, a namespace or a repository, in the fully expanded form: with a host, which a name below it proves.
    fn prefix(&self, prefix: &str) -> Result<(), PolicyError> {
        let below = format!("{prefix}/x");
        let expanded = super::SignedName::parse(&below)
            .is_ok_and(|name| name.is_bare() && name.repository() == below);
        if expanded || prefix == "docker.io" {
            return Ok(());
        }
        Err(self.wrong(format!(
            "{prefix:?} is no host, namespace or repository in the fully expanded form"
        )))
    }
}

fn one(text: String) -> Vec<String> {
    vec![text]
}
