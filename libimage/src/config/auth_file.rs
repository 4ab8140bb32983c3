//! `auth.json` of the containers tools and `config.json` of docker: which credentials for which repository.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::secret::{Credentials, Secret};
use crate::{
    error::{Error, ErrorKind},
    name::Name,
};

/// Bytes of a file of credentials: thousands of entries, and still nothing.
pub(super) const FILE_BYTES: usize = 1 << 20;

/// The credentials of a file, by registry or by a path inside one.
///
/// # References
///
/// containers-auth.json(5)
#[derive(Debug, Clone, Default)]
pub struct AuthFile {
    entries: BTreeMap<String, Credentials>,
    helpers: BTreeMap<String, String>,
    default_helper: Option<String>,
}

/// Something that may have credentials for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Candidate {
    /// They are here.
    Credentials(Credentials),
    /// The program `docker-credential-PROGRAM` may have them.
    Helper {
        /// The program's suffix.
        program: String,
        /// Whether it was named for this registry, or for all.
        assigned: bool,
    },
}

/// Why a text is no file of credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFileError {
    /// It is not the JSON expected. The parser's message is withheld, for it may quote a secret.
    #[error("the file of credentials is no valid JSON of that kind (line {line}, column {column})")]
    Json {
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake, from 1.
        column: usize,
    },
    /// It is too large.
    #[error("the file of credentials has more than {} bytes", FILE_BYTES)]
    TooLarge,
    /// An entry is not base64 of `USER:PASSWORD`.
    #[error("the credentials of {key} are not base64 of USER:PASSWORD")]
    Entry {
        /// The registry or repository of the entry.
        key: String,
    },
}

impl From<AuthFileError> for Error {
    fn from(error: AuthFileError) -> Self {
        Self::new(ErrorKind::Malformed, error)
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    default_helper: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// The text is too large, no JSON, or an entry is not decodable.
    pub fn parse(text: &str) -> Result<Self, AuthFileError> {
        if text.len() > FILE_BYTES {
            return Err(AuthFileError::TooLarge);
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let document: Document =
            serde_json::from_str(text).map_err(|error| AuthFileError::Json {
                line: error.line(),
                column: error.column(),
            })?;
        let mut entries = BTreeMap::new();
        for (key, entry) in document.auths {
            if let Some(credentials) = entry
                .credentials()
                .map_err(|()| AuthFileError::Entry { key: key.clone() })?
            {
                entries.insert(normalise(&key).to_owned(), credentials);
            }
        }
        let helpers = document
            .helpers
            .into_iter()
            .map(|(key, helper)| (normalise(&key).to_owned(), helper))
            .collect();
        Ok(Self {
            entries,
            helpers,
            default_helper: document.default_helper.filter(|helper| !helper.is_empty()),
        })
    }

    /// Returns the credentials for a repository: the entry with the longest matching path wins.
    #[must_use]
    pub fn lookup(&self, name: &Name) -> Option<&Credentials> {
        keys(name).find_map(|key| self.entries.get(&key))
    }

    /// Reads the text of docker's file of old, `.dockercfg`: entries without anything around them.
    ///
    /// # Errors
    ///
    /// As [`AuthFile::parse`].
    pub fn parse_legacy(text: &str) -> Result<Self, AuthFileError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Self::parse(&format!("{{\"auths\": {}\n}}", text.trim_start()))
    }

    /// Returns what the file offers for a repository, in the order of precedence: the helper named for the registry, the one for all
    /// registries, the entry.
    pub fn candidates(&self, name: &Name) -> impl Iterator<Item = Candidate> {
        let helper = |program: &String, assigned| Candidate::Helper {
            program: program.clone(),
            assigned,
        };
        // Helpers know registries; they are not asked for a path inside one.
        let assigned = self.helpers.get(name.registry());
        let for_all = self.default_helper.as_ref().filter(|_| assigned.is_none());
        let entry = self.lookup(name).cloned().map(Candidate::Credentials);
        assigned
            .filter(|program| !program.is_empty())
            .map(|program| helper(program, true))
            .into_iter()
            .chain(for_all.map(|program| helper(program, false)))
            .chain(entry)
    }

    /// Returns the program that keeps a registry's credentials: the suffix of `docker-credential-…`.
    #[must_use]
    pub fn helper(&self, registry: &str) -> Option<&str> {
        let assigned = self.helpers.get(normalise(registry));
        assigned
            .or(self.default_helper.as_ref())
            .map(String::as_str)
            .filter(|program| !program.is_empty())
    }

    /// Returns the program that keeps the credentials of this registry in particular.
    #[must_use]
    pub fn assigned(&self, registry: &str) -> Option<&str> {
        let assigned = self.helpers.get(normalise(registry));
        assigned
            .map(String::as_str)
            .filter(|program| !program.is_empty())
    }

    /// Returns the registries and paths the file names, whether it holds their credentials or a helper does.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.entries.keys().chain(self.helpers.keys());
        keys.map(String::as_str)
    }

    /// Returns the credentials stored for exactly this registry or path.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Credentials> {
        self.entries.get(normalise(key))
    }
}

impl Entry {
    fn credentials(self) -> Result<Option<Credentials>, ()> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(self.identitytoken) {
            return Ok(Some(Credentials::Identity(Secret::new(token))));
        }
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Credentials::Bearer(Secret::new(token))));
        }
        if let Some(auth) = filled(self.auth) {
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| ())?;
            let text = String::from_utf8(bytes).map_err(|_| ())?;
            // Docker pads with NUL bytes in some versions; its own reader strips them.
            return Credentials::parse(text.trim_end_matches('\0'))
                .map(Some)
                .ok_or(());
        }
        match (filled(self.username), self.password) {
            (Some(user), Some(password)) => Ok(Some(Credentials::Basic {
                user,
                password: Secret::new(password),
            })),
            _ => Ok(None),
        }
    }
}

/// Docker writes its own registry as a URL.
pub(super) fn normalise(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let host = key.split('/').next().unwrap_or(key);
    let legacy_path = key.len() > host.len()
        && matches!(&key[host.len()..], "/v1/" | "/v2/" | "/v1" | "/v2" | "/");
    let key = if legacy_path {
        host
    } else {
        key.trim_end_matches('/')
    };
    if key == "index.docker.io" || key == "registry-1.docker.io" {
        "docker.io"
    } else {
        key
    }
}

/// `quay.io/a/b`, `quay.io/a`, `quay.io`.
fn keys(name: &Name) -> impl Iterator<Item = String> {
    let whole = name.without_reference();
    std::iter::successors(Some(whole), |key| {
        key.rsplit_once('/').map(|(parent, _)| parent.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(file: &AuthFile, name: &str) -> Option<String> {
        match file.lookup(&name.parse().unwrap())? {
            Credentials::Basic { user, .. } => Some(user.clone()),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn the_longest_path_wins() {
        let entry = |user: &str| {
            format!(
                r#"{{"auth": "{}"}}"#,
                STANDARD.encode(format!("{user}:pass:word"))
            )
        };
        let text = format!(
            r#"{{"auths": {{"quay.io": {}, "quay.io/a": {}, "quay.io/a/b": {}, "https://index.docker.io/v1/": {}, "empty.org": {{}}}},
                "credHelpers": {{"ecr.example.org": "ecr-login"}}, "HttpHeaders": {{}}}}"#,
            entry("host"),
            entry("team"),
            entry("repository"),
            entry("hub")
        );
        let file = AuthFile::parse(&text).unwrap();
        let cases = [
            ("quay.io/x", Some("host")),
            ("quay.io/a/x", Some("team")),
            ("quay.io/a/b", Some("repository")),
            ("quay.io/a/b/c", Some("repository")),
            ("quay.io/ab", Some("host")),
            ("debian", Some("hub")),
            ("empty.org/x", None),
            ("quay.io.example.org/x", None),
        ];
        for (name, expected) in cases {
            assert_eq!(user(&file, name).as_deref(), expected, "{name}");
        }
        assert_eq!(file.helper("ecr.example.org"), Some("ecr-login"));
        assert_eq!(file.helper("quay.io"), None);
    }

    #[test]
    fn tokens_and_plain_fields_are_read() {
        let text = r#"{"auths": {"a.org": {"identitytoken": "i"}, "b.org": {"registrytoken": "r"}, "c.org": {"username": "u", "password": "p"}}}"#;
        let file = AuthFile::parse(text).unwrap();
        assert_eq!(
            file.lookup(&"a.org/x".parse().unwrap()),
            Some(&Credentials::Identity(Secret::new("i")))
        );
        assert_eq!(
            file.lookup(&"b.org/x".parse().unwrap()),
            Some(&Credentials::Bearer(Secret::new("r")))
        );
        assert_eq!(user(&file, "c.org/x").as_deref(), Some("u"));
        assert!(AuthFile::parse("  ").unwrap().entries.is_empty());
    }

    #[test]
    fn helpers_come_before_entries() {
        let text = r#"{"credsStore": "all", "credHelpers": {"a.org": "one", "https://index.docker.io/v1/": "hub", "plain.org": ""},
            "auths": {"a.org": {"username": "u", "password": "p"}, "b.org/team": {"username": "t", "password": "p"}}}"#;
        let file = AuthFile::parse(text).unwrap();
        let cases = [
            ("a.org/x", "one! u"),
            ("b.org/team/x", "all? t"),
            ("b.org/x", "all?"),
            ("debian", "hub!"),
            // An empty name says that no helper is to be asked.
            ("plain.org/x", ""),
        ];
        for (name, expected) in cases {
            let found: Vec<String> = file
                .candidates(&name.parse().unwrap())
                .map(|candidate| match candidate {
                    Candidate::Helper { program, assigned } => {
                        format!("{program}{}", if assigned { "!" } else { "?" })
                    }
                    Candidate::Credentials(Credentials::Basic { user, .. }) => user,
                    other => format!("{other:?}"),
                })
                .collect();
            assert_eq!(found.join(" "), expected, "{name}");
        }
        let old = AuthFile::parse_legacy(r#"{"a.org": {"auth": "dTpw", "email": "x"}}"#).unwrap();
        assert_eq!(user(&old, "a.org/x").as_deref(), Some("u"));
        assert!(AuthFile::parse_legacy("").is_ok_and(|file| file.keys().next().is_none()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).*", auth in ".*", key in ".*") {
            let near = serde_json::json!({"auths": {key.as_str(): {"auth": auth}}, "credHelpers": {"a.org": key}}).to_string();
            for text in [text, near] {
                if let Ok(file) = AuthFile::parse(&text) {
                    assert!(file.candidates(&"a.org/b".parse().unwrap()).count() <= 2);
                }
            }
        }
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let text = format!(
            r#"{{"auths": {{"a.org": {{"auth": "{}"}}}}}}"#,
            STANDARD.encode("me:hunter2")
        );
        assert!(!format!("{:?}", AuthFile::parse(&text).unwrap()).contains("hunter2"));
        for bad in [
            r#"{"auths": {"a.org": {"auth": "hunter2"}}}"#,
            r#"{"auths": {"a.org": {"auth": 1, "password": "hunter2"}}}"#,
            r#"{"auths": "hunter2"}"#,
            "{",
        ] {
            let error = AuthFile::parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{bad}");
        }
    }
}
