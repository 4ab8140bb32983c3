//! Manifests and indexes: the raw bytes, which are never re-serialised, beside what we read in them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    limits, media,
    platform::Platform,
};

/// Why bytes are no manifest we accept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More bytes than [`limits::MANIFEST_BYTES`].
    #[error("the manifest has more than {} bytes", limits::MANIFEST_BYTES)]
    TooLarge,
    /// Not JSON, or not shaped like a manifest.
    #[error("manifest {digest} is not valid")]
    Json {
        /// The digest of the bytes.
        digest: Digest,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// Docker's schema 1.
    #[error(
        "manifest {digest} is Docker's schema 1, which is not supported: push the image again with a tool of this decade"
    )]
    Schema1 {
        /// The digest of the bytes.
        digest: Digest,
    },
    /// `schemaVersion` is something else than 2.
    #[error("manifest {digest} has schemaVersion {version}, only 2 is known")]
    SchemaVersion {
        /// The digest of the bytes.
        digest: Digest,
        /// The number found.
        version: u64,
    },
    /// It can be read as a manifest and as an index (CVE-2021-41190).
    #[error("manifest {digest} has both layers and manifests: two readers would see two images")]
    Ambiguous {
        /// The digest of the bytes.
        digest: Digest,
    },
    /// It is shaped like neither.
    #[error(
        "manifest {digest} is neither an image manifest nor an index (media type {media_type:?})"
    )]
    Shapeless {
        /// The digest of the bytes.
        digest: Digest,
        /// What it calls itself.
        media_type: String,
    },
    /// The registry and the manifest, or the manifest and its shape, disagree.
    #[error("manifest {digest} calls itself {inner:?}, but came as {outer:?}")]
    MediaType {
        /// The digest of the bytes.
        digest: Digest,
        /// The `mediaType` field, or what the shape means.
        inner: String,
        /// The `Content-Type`, or the descriptor's type.
        outer: String,
    },
    /// Too many entries or layers.
    #[error("manifest {digest} has {found} {what}, at most {limit} are accepted")]
    TooMany {
        /// The digest of the bytes.
        digest: Digest,
        /// `entries` or `layers`.
        what: &'static str,
        /// How many it has.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
}

impl ManifestError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge | Self::TooMany { .. } => ErrorKind::LimitExceeded,
            Self::Schema1 { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Malformed,
        }
    }
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// A reference to content: type, digest, size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
    /// In an index: for which machines.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Where else the content could be found. Never followed.
    #[serde(default)]
    pub urls: Vec<String>,
    /// In an index: the kind of artifact.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// What else is said about the content.
    #[serde(default, deserialize_with = "null_is_none")]
    pub annotations: BTreeMap<String, String>,
}

/// Reads annotations as leniently as everybody does: `null` is none (Go writes that), what is not text is left out.
fn null_is_none<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let read = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?;
    let text = |(key, value)| match value {
        Value::String(value) => Some((key, value)),
        _ => None,
    };
    Ok(read.into_iter().flatten().filter_map(text).collect())
}

impl Descriptor {
    /// Describes content by what is required: type, digest, size in bytes.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            urls: Vec::new(),
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Describes a manifest as lists of referrers do.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            media_type: manifest.media_type.clone(),
            digest: manifest.digest.clone(),
            size: manifest.raw.len() as u64,
            platform: None,
            urls: Vec::new(),
            artifact_type: manifest.artifact_type().map(str::to_owned),
            annotations: manifest.annotations.clone(),
        }
    }

    /// Returns the digest of the image that this entry of an index is an attestation of (BuildKit's provenance and SBOMs).
    #[must_use]
    pub fn attests(&self) -> Option<&str> {
        let unknown = self.platform.as_ref().is_some_and(Platform::is_unknown);
        unknown
            .then(|| self.annotations.get(media::REFERENCE_DIGEST))
            .flatten()
            .map(String::as_str)
    }

    /// Tells whether the content is a layer that registries do not carry (Windows base layers).
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        media::kind(&self.media_type) == media::Kind::ForeignLayer
    }
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a manifest, and a box would be in the way of every reader"
)]
pub enum Content {
    /// One image, or one artifact.
    Image {
        /// The configuration.
        config: Descriptor,
        /// The layers, base first.
        layers: Vec<Descriptor>,
    },
    /// A list of manifests.
    Index {
        /// The entries.
        entries: Vec<Descriptor>,
    },
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    raw: Vec<u8>,
    digest: Digest,
    media_type: String,
    content: Content,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<Value>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null_is_none")]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest. `outer` is the type it came with: a `Content-Type` header, or a descriptor's.
    ///
    /// # Errors
    ///
    /// It is no manifest we accept.
    pub fn parse(raw: Vec<u8>, outer: Option<&str>) -> Result<Self, ManifestError> {
        if raw.len() as u64 > limits::MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let digest = Digest::of(&raw);
        let document = read(&raw, &digest)?;
        let content = content(&document, &digest)?;
        let media_type = agree(&document, &content, outer, &digest)?;
        Ok(Self {
            raw,
            digest,
            media_type,
            content,
            subject: document.subject,
            artifact_type: document.artifact_type.filter(|kind| !kind.is_empty()),
            annotations: document.annotations,
        })
    }

    /// Returns the manifest this one is about: it is a signature of it, or an SBOM, or anything else that refers to it.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// Returns the kind of artifact: its own word for it, else the type of its configuration. Indexes have only their own word.
    #[must_use]
    pub fn artifact_type(&self) -> Option<&str> {
        let of_config = match &self.content {
            Content::Image { config, .. } => Some(config.media_type.as_str()),
            Content::Index { .. } => None,
        };
        self.artifact_type.as_deref().or(of_config)
    }

    /// Returns the annotations.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// Describes it as lists of referrers do: type, digest, size, kind of artifact, annotations.
    #[must_use]
    pub fn to_entry(&self) -> Value {
        let mut entry = serde_json::json!({
            "mediaType": self.media_type,
            "digest": self.digest.as_str(),
            "size": self.raw.len(),
        });
        if let Some(kind) = self.artifact_type() {
            entry["artifactType"] = kind.into();
        }
        if !self.annotations.is_empty() {
            entry["annotations"] = serde_json::json!(self.annotations);
        }
        entry
    }

    /// Returns the bytes.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Gives the bytes.
    #[must_use]
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }

    /// Returns the SHA-256 digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the media type: what it says itself, else what it came as, else what its shape means.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns what it says.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Returns an index that keeps the entries for which `keep` is true, everything else as it was. Its digest is another, unless
    /// that is all of them.
    ///
    /// # Errors
    ///
    /// This is no index.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Result<Self, ManifestError> {
        let shapeless = || ManifestError::Shapeless {
            digest: self.digest.clone(),
            media_type: self.media_type.clone(),
        };
        let json = |source| ManifestError::Json {
            digest: self.digest.clone(),
            source,
        };
        let mut value: Value = serde_json::from_slice(&self.raw).map_err(json)?;
        let entries = value
            .get_mut("manifests")
            .and_then(Value::as_array_mut)
            .ok_or_else(shapeless)?;
        let before = entries.len();
        let mut at = 0;
        entries.retain(|_| {
            at += 1;
            keep(at - 1)
        });
        if entries.len() == before {
            return Ok(self.clone());
        }
        Self::parse(
            serde_json::to_vec(&value).map_err(json)?,
            Some(&self.media_type),
        )
    }
}

fn read(raw: &[u8], digest: &Digest) -> Result<Document, ManifestError> {
    // Schema 1 has other fields altogether: name it before complaining about them.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: Option<u64>,
        media_type: Option<String>,
    }
    let json = |source| ManifestError::Json {
        digest: digest.clone(),
        source,
    };
    let version: Version = serde_json::from_slice(raw).map_err(json)?;
    let schema1 = version
        .media_type
        .as_deref()
        .is_some_and(|media_type| media::kind(media_type) == media::Kind::Schema1);
    if schema1 || version.schema_version == Some(1) {
        return Err(ManifestError::Schema1 {
            digest: digest.clone(),
        });
    }
    let document: Document = serde_json::from_slice(raw).map_err(json)?;
    if document.schema_version != 2 {
        return Err(ManifestError::SchemaVersion {
            digest: digest.clone(),
            version: document.schema_version,
        });
    }
    Ok(document)
}

fn content(document: &Document, digest: &Digest) -> Result<Content, ManifestError> {
    let too_many = |what, found, limit| ManifestError::TooMany {
        digest: digest.clone(),
        what,
        found,
        limit,
    };
    match (&document.config, &document.layers, &document.manifests) {
        _ if document.fs_layers.is_some() => Err(ManifestError::Ambiguous {
            digest: digest.clone(),
        }),
        (Some(config), Some(layers), None) => {
            // An artifact may have more parts; only an image is limited by what overlay can stack.
            if layers.len() > limits::LAYERS
                && media::kind(&config.media_type) == media::Kind::Config
            {
                return Err(too_many("layers", layers.len(), limits::LAYERS));
            }
            if layers.len() > limits::INDEX_ENTRIES {
                return Err(too_many("layers", layers.len(), limits::INDEX_ENTRIES));
            }
            Ok(Content::Image {
                config: config.clone(),
                layers: layers.clone(),
            })
        }
        (None, None, Some(entries)) if entries.len() > limits::INDEX_ENTRIES => {
            Err(too_many("entries", entries.len(), limits::INDEX_ENTRIES))
        }
        (None, None, Some(entries)) => Ok(Content::Index {
            entries: entries.clone(),
        }),
        (_, _, Some(_)) => Err(ManifestError::Ambiguous {
            digest: digest.clone(),
        }),
        _ => Err(ManifestError::Shapeless {
            digest: digest.clone(),
            media_type: document.media_type.clone().unwrap_or_default(),
        }),
    }
}

/// Checks that the field, the header and the shape mean the same, and returns the type.
fn agree(
    document: &Document,
    content: &Content,
    outer: Option<&str>,
    digest: &Digest,
) -> Result<String, ManifestError> {
    let essence = |media_type: &str| {
        media_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    };
    let (shape, default) = match content {
        Content::Image { .. } => (media::Kind::Manifest, media::OCI_MANIFEST),
        Content::Index { .. } => (media::Kind::Index, media::OCI_INDEX),
    };
    let disagree = |inner: &str, outer: &str| ManifestError::MediaType {
        digest: digest.clone(),
        inner: inner.to_owned(),
        outer: outer.to_owned(),
    };
    let inner = document
        .media_type
        .as_deref()
        .filter(|inner| !inner.is_empty());
    // Some servers know only generic types; they say nothing, so they do not contradict.
    let outer = outer.map(essence).filter(|outer| {
        !matches!(
            outer.as_str(),
            "" | "application/json" | "application/octet-stream" | "text/plain"
        )
    });
    if let Some(inner) = inner
        && media::kind(inner) != shape
    {
        return Err(disagree(inner, default));
    }
    match (inner, outer) {
        (Some(inner), Some(outer)) if essence(inner) != outer => Err(disagree(inner, &outer)),
        (Some(inner), _) => Ok(inner.to_owned()),
        (None, Some(outer)) if media::kind(&outer) != shape => Err(disagree(default, &outer)),
        (None, Some(outer)) => Ok(outer),
        (None, None) => Ok(default.to_owned()),
    }
}

#[cfg(test)]
mod tests;
