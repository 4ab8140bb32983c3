//! `registries.d`: where the signatures of a registry's images are.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::scope::docker_scopes;
use crate::{
    error::{Error, ErrorKind},
    name::Name,
};

/// Bytes of one file: far more than any published one.
const FILE_BYTES: usize = 1 << 20;

/// Why a text is no such file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistriesDError {
    /// It is not the YAML expected.
    #[error("{file} is not valid: {message}")]
    Yaml {
        /// Which file.
        file: String,
        /// The parser's message.
        message: String,
    },
    /// It is too large.
    #[error("{file} has more than {} bytes", FILE_BYTES)]
    TooLarge {
        /// Which file.
        file: String,
    },
    /// Two files speak about the same images.
    #[error("{file} speaks about {scope:?}, and so does another file")]
    Twice {
        /// The second file.
        file: String,
        /// The scope, or `default-docker`.
        scope: String,
    },
    /// A storage that is neither a directory nor a web server.
    #[error(
        "{file} names the signature storage {url:?}, which is neither file:///… nor http(s)://…"
    )]
    Url {
        /// Which file.
        file: String,
        /// The storage.
        url: String,
    },
}

impl From<RegistriesDError> for Error {
    fn from(error: RegistriesDError) -> Self {
        Self::new(ErrorKind::Malformed, error)
    }
}

/// Where the signatures of one image are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignatureStorage {
    /// The base URL that signatures are read from.
    pub lookaside: Option<String>,
    /// The base URL that signatures are written to.
    pub staging: Option<String>,
    /// Whether signatures are attached to images in their registry; `None` if the files do not say.
    pub attachments: Option<bool>,
}

/// The files of registries.d, together.
///
/// ```
/// use libimage::config::RegistriesD;
/// let text = "docker:\n  registry.test/app:\n    lookaside: https://signatures.test\n";
/// let files = RegistriesD::parse([("app.yaml", text)])?;
/// let storage = files.storage(&"registry.test/app/x:1".parse()?);
/// assert_eq!(storage.lookaside.as_deref(), Some("https://signatures.test"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
///
/// containers-registries.d(5)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistriesD {
    default: Option<SignatureStorage>,
    scopes: BTreeMap<String, SignatureStorage>,
    built_in: SignatureStorage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    default_docker: Option<Section>,
    #[serde(default)]
    docker: Option<BTreeMap<String, Section>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Section {
    lookaside: Option<String>,
    lookaside_staging: Option<String>,
    /// The old spelling.
    sigstore: Option<String>,
    sigstore_staging: Option<String>,
    use_sigstore_attachments: Option<bool>,
}

impl RegistriesD {
    /// Reads files: their names, which only stand in messages, and their texts.
    ///
    /// # Errors
    ///
    /// One is not understood, or two contradict each other.
    pub fn parse<N: Into<String>, T: AsRef<str>>(
        files: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, RegistriesDError> {
        let mut all = Self::default();
        for (file, text) in files {
            all.add(&file.into(), text.as_ref())?;
        }
        Ok(all)
    }

    /// Sets the base URL for images that no file speaks about.
    #[must_use]
    pub fn with_built_in(mut self, lookaside: impl Into<String>) -> Self {
        let lookaside = lookaside.into();
        self.built_in = SignatureStorage {
            staging: Some(lookaside.clone()),
            lookaside: Some(lookaside),
            attachments: None,
        };
        self
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), RegistriesDError> {
        if text.len() > FILE_BYTES {
            return Err(RegistriesDError::TooLarge {
                file: file.to_owned(),
            });
        }
        let empty = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if empty {
            return Ok(());
        }
        let document: Document =
            serde_saphyr::from_str(text).map_err(|error| RegistriesDError::Yaml {
                file: file.to_owned(),
                message: error.to_string(),
            })?;
        let twice = |scope: &str| RegistriesDError::Twice {
            file: file.to_owned(),
            scope: scope.to_owned(),
        };
        if let Some(section) = document.default_docker
            && self.default.replace(section.storage(file)?).is_some()
        {
            return Err(twice("default-docker"));
        }
        for (scope, section) in document.docker.unwrap_or_default() {
            let storage = section.storage(file)?;
            if self.scopes.insert(scope.clone(), storage).is_some() {
                return Err(twice(&scope));
            }
        }
        Ok(())
    }

    /// Returns where the signatures of an image are: what the most specific scope says, and that alone.
    #[must_use]
    pub fn storage(&self, name: &Name) -> &SignatureStorage {
        docker_scopes(name)
            .iter()
            .find_map(|scope| self.scopes.get(scope))
            .or(self.default.as_ref())
            .unwrap_or(&self.built_in)
    }
}

impl Section {
    fn storage(self, file: &str) -> Result<SignatureStorage, RegistriesDError> {
        let lookaside = self.lookaside.or(self.sigstore);
        let staging = self
            .lookaside_staging
            .or(self.sigstore_staging)
            .or_else(|| lookaside.clone());
        for url in [&lookaside, &staging].into_iter().flatten() {
            let known = ["file:///", "https://", "http://"];
            if !known.iter().any(|scheme| url.starts_with(scheme)) {
                return Err(RegistriesDError::Url {
                    file: file.to_owned(),
                    url: url.chars().take(200).collect(),
                });
            }
        }
        Ok(SignatureStorage {
            lookaside,
            staging,
            attachments: self.use_sigstore_attachments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
default-docker:
  sigstore: file:///var/default
docker:
  registry.test:
    lookaside: https://a.test
    use-sigstore-attachments: true
  registry.test/team:
    lookaside-staging: file:///staging
  registry.test/team/app:v1:
    sigstore: https://old.test
    sigstore-staging: file:///old
";

    #[test]
    fn the_most_specific_scope_speaks_alone() {
        let files = RegistriesD::parse([("x.yaml", TEXT), ("empty.yaml", "# nothing\n")]).unwrap();
        let table = [
            (
                "registry.test/app:v1",
                Some("https://a.test"),
                Some("https://a.test"),
                Some(true),
            ),
            (
                "registry.test/team/app",
                None,
                Some("file:///staging"),
                None,
            ),
            (
                "registry.test/team/app:v1",
                Some("https://old.test"),
                Some("file:///old"),
                None,
            ),
            (
                "other.test/x",
                Some("file:///var/default"),
                Some("file:///var/default"),
                None,
            ),
        ];
        for (name, read, write, attachments) in table {
            let storage = files.storage(&name.parse().unwrap());
            assert_eq!(storage.lookaside.as_deref(), read, "{name}");
            assert_eq!(storage.staging.as_deref(), write, "{name}");
            assert_eq!(storage.attachments, attachments, "{name}");
        }
        let built_in = RegistriesD::default().with_built_in("file:///b");
        let storage = built_in.storage(&"a".parse().unwrap());
        assert_eq!(storage.lookaside.as_deref(), Some("file:///b"));
    }

    #[test]
    fn files_may_not_contradict_each_other() {
        for texts in [
            [TEXT, "default-docker: {}\n"],
            [TEXT, "docker: {registry.test: {}}\n"],
            ["docker: {a: {lookasid: x}}\n", ""],
            ["docker: {a: {lookaside: /tmp}}\n", ""],
            ["docker: {a: {}, a: {}}\n", ""],
            ["dockers: {}\n", ""],
            ["[]\n", ""],
        ] {
            let files = texts.map(|text| ("f", text));
            assert!(RegistriesD::parse(files).is_err(), "{texts:?}");
        }
    }
}
