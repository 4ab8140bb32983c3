//! Turns a working container into an image of the store.
//!
//! ```text
//! upper directory -> canonical archive -> SHA-256 (diffID)
//!                                      -> compressor -> SHA-256 (digest) and blob, in one pass
//! configuration of the base + edits + history -> configuration blob -> manifest -> names
//! ```
//! Nothing but the upper directory, the record and the options has a say in the bytes: no clock, no host name, no version. Until
//! the manifest is published nothing is visible, and the base's own layers and history are never touched.

use std::io::Write;

use cap_std::fs::Dir;
use libimage::compress::{Compression, encoder};
use libimage::digest::{Algorithm, Digest, DigestWriter};
use libimage::layer::{DiffOptions, DiffStats, LayerError, OverlayXattrs, diff};
use libimage::media;
use libimage::name::Name;
use libimage::store::{Image, Store};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result, io_kind};
use crate::op::Op;
use crate::record::Record;
use crate::repro::{Epoch, MAX_EPOCH, Origin};
use crate::working::{Held, WorkingContainer, WorkingError, image_error};

/// How to make the image.
#[derive(Clone, Debug)]
#[must_use = "it makes nothing until it is given to WorkingContainer::commit"]
pub struct Commit {
    names: Vec<Name>,
    compression: Compression,
    level: Option<i32>,
    epoch: Option<i64>,
}

/// An image that was made.
#[derive(Clone, Debug)]
pub struct Built {
    /// The digest of its configuration.
    pub image_id: Digest,
    /// The digest of its manifest.
    pub manifest_digest: Digest,
    /// The layer that was added; `None` if no file was changed.
    pub layer: Option<BuiltLayer>,
    /// The image, as the store knows it.
    pub image: Image,
}

/// A layer that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltLayer {
    /// The digest of the archive.
    pub diff_id: Digest,
    /// The digest of the compressed archive.
    pub digest: Digest,
    /// Its size in bytes, compressed.
    pub size_bytes: u64,
    /// What is in it.
    pub stats: DiffStats,
}

/// Why no image could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A directory could not be opened, or a blob not written.
    #[error("cannot {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A level the compressor does not have.
    #[error("{compression:?} has no level {level}: {rule}")]
    Level {
        /// The compressor.
        compression: Compression,
        /// The level.
        level: i32,
        /// Which there are.
        rule: &'static str,
    },
    /// The changes cannot be a layer.
    #[error("cannot make a layer of the changes")]
    Layer {
        /// The reason.
        source: LayerError,
    },
    /// The base's manifest or configuration has another shape than the specification gives it.
    #[error("the base's {document} has no list {member:?}")]
    Shape {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// The member.
        member: &'static str,
    },
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        let kind = match &error {
            CommitError::Io { source, .. } => io_kind(source),
            CommitError::Layer { source } => ErrorKind::Image(source.kind()),
            CommitError::Level { .. } => ErrorKind::InvalidInput,
            CommitError::Shape { .. } => ErrorKind::Malformed,
        };
        Self::new(kind, error)
    }
}

impl Default for Commit {
    fn default() -> Self {
        Self::unnamed()
    }
}

impl Commit {
    /// Makes an image without a name, found by its digest.
    pub fn unnamed() -> Self {
        Self {
            names: Vec::new(),
            compression: Compression::Zstd,
            level: None,
            epoch: None,
        }
    }

    /// Makes an image and gives it a name, taking it from the image that has it.
    pub fn named(name: Name) -> Self {
        Self::unnamed().name(name)
    }

    /// Gives the image another name.
    pub fn name(mut self, name: Name) -> Self {
        self.names.push(name);
        self
    }

    /// Packs the layer in another way than zstd, at `level` or the format's default level.
    pub fn compression(mut self, compression: Compression, level: Option<i32>) -> Self {
        (self.compression, self.level) = (compression, level);
        self
    }

    /// Overrides the epoch of the working container, in seconds since 1970. Files that were copied in carry the container's
    /// epoch; an earlier one here makes them older, a later one does not make them younger.
    pub fn epoch(mut self, seconds: i64) -> Self {
        self.epoch = Some(seconds.clamp(0, MAX_EPOCH));
        self
    }
}

impl WorkingContainer {
    /// Makes an image of the base, the changed files and the configuration, and publishes it in the store.
    ///
    /// The container stays as it is and can be changed and committed again.
    ///
    /// # Errors
    /// If the changes cannot be a layer, the base has left the store, or the system refuses.
    ///
    /// # Durability
    /// After it returns, the image survives a power cut. A process that is killed before leaves the store as it was.
    pub fn commit(&self, commit: Commit) -> Result<Built> {
        check_level(&commit)?;
        let held = self.hold()?;
        let store = &self.around.store;
        let epoch = match commit.epoch {
            Some(seconds) => Epoch {
                seconds,
                origin: Origin::Flag,
            },
            None => held.record.epoch,
        };
        // No collection between the first blob and the manifest that names it.
        let _hold = store.hold().map_err(image_error)?;
        let base = held.base_image()?;
        let layer = pack(&held, store, &commit, epoch)?;
        let config = configuration(&held.record, layer.as_ref(), epoch)?;
        let (image_id, config_size) = upload(store, &config)?;
        let config = json!({ "digest": image_id.as_str(), "mediaType": media::OCI_CONFIG, "size": config_size });
        let manifest = manifest(
            &held.record,
            base.as_ref(),
            config,
            layer.as_ref(),
            commit.compression,
            epoch,
        )?;
        let image = store
            .publish(&manifest, &commit.names)
            .map_err(image_error)?;
        Ok(Built {
            image_id,
            manifest_digest: image.manifest_digest().clone(),
            layer,
            image,
        })
    }
}

fn check_level(commit: &Commit) -> Result<(), CommitError> {
    let (range, rule) = match commit.compression {
        Compression::Zstd => (1..=22, "1 to 22"),
        Compression::Gzip => (1..=9, "1 to 9"),
        Compression::None => (0..=0, "nothing is compressed"),
    };
    match commit.level {
        Some(level) if !range.contains(&level) => Err(CommitError::Level {
            compression: commit.compression,
            level,
            rule,
        }),
        _ => Ok(()),
    }
}

/// Writes the upper directory as a blob, in one pass; `None` if it holds no change.
fn pack(
    held: &Held<'_>,
    store: &Store,
    commit: &Commit,
    epoch: Epoch,
) -> Result<Option<BuiltLayer>> {
    let open = |path: &std::path::Path| {
        Dir::open_ambient_dir(path, cap_std::ambient_authority())
            .map_err(WorkingError::io("open", path))
    };
    let (lowers, _lease, userxattr) = held.lowers()?;
    let upper = open(&held.upper())?;
    let lowers = lowers
        .iter()
        .map(|path| open(path))
        .collect::<Result<Vec<_>, _>>()?;
    let options = DiffOptions {
        epoch: Some(epoch.seconds),
        overlay_xattrs: if userxattr {
            OverlayXattrs::User
        } else {
            OverlayXattrs::Trusted
        },
    };
    let upload = store.upload().map_err(image_error)?;
    let packed = encoder(upload, commit.compression, commit.level).map_err(image_error)?;
    let mut archive = DigestWriter::new(packed, Algorithm::Sha256);
    let stats = diff(&upper, &lowers, &options, &mut archive)
        .map_err(|source| CommitError::Layer { source })?;
    if stats.is_empty() {
        return Ok(None);
    }
    let (packed, diff_id, _archive_bytes) = archive.into_parts();
    let upload = packed.finish().map_err(|source| CommitError::Io {
        operation: "compress the layer",
        source,
    })?;
    let (digest, size_bytes) = upload.finish(None).map_err(image_error)?;
    Ok(Some(BuiltLayer {
        diff_id,
        digest,
        size_bytes,
        stats,
    }))
}

fn upload(store: &Store, bytes: &[u8]) -> Result<(Digest, u64)> {
    let mut upload = store.upload().map_err(image_error)?;
    upload.write_all(bytes).map_err(|source| CommitError::Io {
        operation: "write the configuration",
        source,
    })?;
    upload.finish(None).map_err(image_error)
}

/// The bytes of the configuration: the base's with our edits, the new layer, and our history behind the base's.
fn configuration(
    record: &Record,
    layer: Option<&BuiltLayer>,
    epoch: Epoch,
) -> Result<Vec<u8>, CommitError> {
    let mut config = record.settings.config.clone();
    config["created"] = json!(epoch.rfc3339());
    let shape = |member| CommitError::Shape {
        document: "configuration",
        member,
    };
    if let Some(layer) = layer {
        let diff_ids = config["rootfs"]["diff_ids"]
            .as_array_mut()
            .ok_or_else(|| shape("rootfs.diff_ids"))?;
        diff_ids.push(json!(layer.diff_id.as_str()));
    }
    if config["history"].is_null() {
        config["history"] = json!([]);
    }
    let past = config["history"]
        .as_array_mut()
        .ok_or_else(|| shape("history"))?;
    past.extend(history(record, layer.is_some(), epoch));
    Ok(canonical(&config))
}

/// Our entries of the history: one a step, in order. All changed files are in one layer, which is noted at the last step that
/// may have changed files; the specification wants as many entries with a layer as there are layers.
fn history(record: &Record, layer: bool, epoch: Epoch) -> Vec<Value> {
    let mut steps: Vec<(bool, String)> = record
        .steps
        .iter()
        .filter_map(|op| Some((op.touches_files(), op.history()?)))
        .collect();
    let comment = record.comment.is_some() || record.created_by.is_some();
    if (layer && !steps.iter().any(|(files, _)| *files)) || (comment && steps.is_empty()) {
        steps.push((true, Op::Edit.history().unwrap_or_default()));
    }
    let main = steps
        .iter()
        .rposition(|(files, _)| *files)
        .unwrap_or(steps.len().saturating_sub(1));
    let author = record.settings.config["author"].as_str();
    let entry = |(at, (_, text)): (usize, (bool, String))| {
        let mut entry = json!({ "created": epoch.rfc3339(), "created_by": text });
        if at == main {
            if let Some(text) = &record.created_by {
                entry["created_by"] = json!(text);
            }
            if let Some(comment) = &record.comment {
                entry["comment"] = json!(comment);
            }
        }
        if let Some(author) = author {
            entry["author"] = json!(author);
        }
        if !(layer && at == main) {
            entry["empty_layer"] = json!(true);
        }
        entry
    };
    steps.into_iter().enumerate().map(entry).collect()
}

/// The bytes of the manifest: the base's layers as they are, then ours.
fn manifest(
    record: &Record,
    base: Option<&Image>,
    config: Value,
    layer: Option<&BuiltLayer>,
    compression: Compression,
    epoch: Epoch,
) -> Result<Vec<u8>, CommitError> {
    let mut layers = match base {
        Some(image) => base_layers(image.raw_manifest())?,
        None => Vec::new(),
    };
    layers.extend(layer.map(|layer| {
        json!({
            "digest": layer.digest.as_str(),
            "mediaType": media::layer_type(compression),
            "size": layer.size_bytes,
        })
    }));
    let mut annotations = Map::new();
    annotations.insert(
        "org.opencontainers.image.created".to_owned(),
        json!(epoch.rfc3339()),
    );
    if let Some(base) = &record.base {
        annotations.insert(
            "org.opencontainers.image.base.digest".to_owned(),
            json!(base.manifest.as_str()),
        );
        if let Some(name) = &base.name {
            annotations.insert("org.opencontainers.image.base.name".to_owned(), json!(name));
        }
    }
    annotations.extend(
        record
            .settings
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), json!(value))),
    );
    Ok(canonical(&json!({
        "annotations": annotations,
        "config": config,
        "layers": layers,
        "mediaType": media::OCI_MANIFEST,
        "schemaVersion": 2,
    })))
}

/// The descriptors of the base's layers. Docker's media types become OCI's: the blobs are the same, the manifest is a new one.
fn base_layers(raw_manifest: &[u8]) -> Result<Vec<Value>, CommitError> {
    let shape = || CommitError::Shape {
        document: "manifest",
        member: "layers",
    };
    let manifest: Value = serde_json::from_slice(raw_manifest).map_err(|_| shape())?;
    let mut layers = manifest["layers"].as_array().ok_or_else(shape)?.clone();
    for layer in &mut layers {
        let media_type = layer["mediaType"].as_str().ok_or_else(shape)?.to_owned();
        if let Some(compression) = media::layer_compression(&media_type) {
            layer["mediaType"] = json!(media::layer_type(compression));
        } else if media_type.starts_with("application/vnd.docker.image.rootfs.foreign.") {
            layer["mediaType"] =
                json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
        }
    }
    Ok(layers)
}

/// JSON without white space and with the members of every object sorted by name, whatever order the map type has.
fn canonical(value: &Value) -> Vec<u8> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut names: Vec<_> = members.iter().collect();
                names.sort_by(|a, b| a.0.cmp(b.0));
                Value::Object(
                    names
                        .into_iter()
                        .map(|(name, value)| (name.clone(), sorted(value)))
                        .collect(),
                )
            }
            Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    serde_json::to_vec(&sorted(value)).expect("a JSON value is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::Settings;
    use crate::op::{Change, CopyOp, FromOp, RunOp};
    use crate::record::VERSION;

    fn record(steps: Vec<Op>) -> Record {
        Record {
            version: VERSION,
            id: "ab".repeat(32),
            name: "x".into(),
            created: 5,
            base: None,
            epoch: Epoch {
                seconds: 60,
                origin: Origin::Flag,
            },
            settings: Settings::scratch("linux", "amd64", None),
            steps,
            created_by: None,
            comment: None,
        }
    }

    fn run(word: &str) -> Op {
        Op::Run(RunOp {
            args: vec![word.into()],
            ..RunOp::default()
        })
    }

    fn shown(record: &Record, layer: bool) -> Vec<(String, bool)> {
        let entries = history(record, layer, record.epoch);
        let text = |entry: &Value| entry["created_by"].as_str().unwrap().to_owned();
        entries
            .iter()
            .map(|entry| (text(entry), entry["empty_layer"] == json!(true)))
            .collect()
    }

    #[test]
    fn exactly_one_entry_has_the_layer() {
        let user = Op::Config(Change::User("me".into()));
        let copy = Op::Copy(CopyOp {
            sources: vec!["a".into()],
            destination: "/".into(),
            ..CopyOp::default()
        });
        let steps = vec![Op::From(FromOp::default()), run("a"), copy, user.clone()];
        let expected = [("RUN a", true), ("COPY a /", false), ("USER me", true)];
        let owned = |list: &[(&str, bool)]| -> Vec<_> {
            list.iter().map(|(t, e)| ((*t).to_owned(), *e)).collect()
        };
        assert_eq!(shown(&record(steps.clone()), true), owned(&expected));
        let none = [("RUN a", true), ("COPY a /", true), ("USER me", true)];
        assert_eq!(shown(&record(steps), false), owned(&none));
        assert_eq!(
            shown(&record(vec![user]), true),
            owned(&[("USER me", true), ("EDIT /", false)])
        );
        assert_eq!(shown(&record(vec![]), false), owned(&[]));
        let mut told = record(vec![run("a"), run("b")]);
        told.created_by = Some("me".into());
        told.comment = Some("why".into());
        let entries = history(&told, true, told.epoch);
        assert_eq!(
            (&entries[1]["created_by"], &entries[1]["comment"]),
            (&json!("me"), &json!("why"))
        );
        assert_eq!(entries[0]["created_by"], json!("RUN a"));
    }

    #[test]
    fn the_base_keeps_its_history_and_unknown_members() {
        let mut record = record(vec![run("a")]);
        record.settings.config["history"] =
            json!([{ "created": "2001-01-01T00:00:00Z", "created_by": "base" }]);
        record.settings.config["mystery"] = json!({ "b": 1, "a": [2] });
        let bytes = configuration(&record, None, record.epoch).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"architecture":"amd64","config":{},"created":"1970-01-01T00:01:00Z","history":["#,
                r#"{"created":"2001-01-01T00:00:00Z","created_by":"base"},"#,
                r#"{"created":"1970-01-01T00:01:00Z","created_by":"RUN a","empty_layer":true}],"#,
                r#""mystery":{"a":[2],"b":1},"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}"#
            )
        );
    }

    #[test]
    fn docker_layers_get_oci_types_and_keep_the_rest() {
        let raw = br#"{"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":1,"digest":"d"},
            {"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","size":2,"digest":"e","annotations":{"k":"v"}}]}"#;
        let layers = base_layers(raw).unwrap();
        assert_eq!(layers[0]["mediaType"], media::OCI_LAYER_GZIP);
        assert_eq!(layers[1]["annotations"]["k"], "v");
        assert!(base_layers(b"{}").is_err());
    }
}
