//! One image: its configuration, and whether the two documents agree.

use serde_json::Value;

use super::{Problem, ProblemKind, Walk, finding};
use crate::{
    digest::Digest,
    error::Error,
    limits,
    manifest::{Content, Descriptor},
    media::{self, Kind},
    platform::Platform,
    progress::BlobKind,
    trust::Verified,
};

/// Why layers have no diffIDs to compare with.
struct Unusable;

impl Walk<'_> {
    /// Checks a manifest that is no index. `expected` is the platform an index names it for.
    pub(super) async fn image(
        &mut self,
        image: &Verified,
        place: &str,
        expected: Option<Platform>,
    ) -> Result<(), Error> {
        self.found.manifests += 1;
        let Content::Image { config, layers } = image.manifest().content() else {
            return Ok(());
        };
        if media::kind(&config.media_type) != Kind::Config {
            self.add(config, BlobKind::Config, None, format!("config of {place}"));
            for (at, layer) in layers.iter().enumerate() {
                let place = format!("part {} of {place}", at + 1);
                self.add(layer, BlobKind::Other, None, place);
            }
            return Ok(());
        }
        let diff_ids = match self.config(config, place, expected).await? {
            Ok(value) => self.diff_ids(config, &value, layers.len(), place),
            Err(Unusable) => Vec::new(),
        };
        for (at, layer) in layers.iter().enumerate() {
            let place = format!("layer {} of {place}", at + 1);
            self.layer(layer, diff_ids.get(at).cloned().flatten(), place);
        }
        Ok(())
    }

    fn layer(&mut self, layer: &Descriptor, diff_id: Option<Digest>, place: String) {
        match media::kind(&layer.media_type) {
            Kind::ForeignLayer => self.found.foreign += 1,
            Kind::Layer(_) => self.add(layer, BlobKind::Layer, diff_id, place),
            _ => {
                let message = format!("the type {:?} is no layer's", layer.media_type);
                let digest = Some(layer.digest.clone());
                self.problem(Problem::new(
                    ProblemKind::MediaType,
                    place.clone(),
                    digest,
                    message,
                ));
                self.add(layer, BlobKind::Other, None, place);
            }
        }
    }

    /// Reads the configuration.
    async fn config(
        &mut self,
        config: &Descriptor,
        place: &str,
        expected: Option<Platform>,
    ) -> Result<Result<Value, Unusable>, Error> {
        let place = format!("config of {place}");
        self.found.blobs += 1;
        let raw = match self.source.read(config, limits::CONFIG_BYTES).await {
            Ok(raw) => raw,
            Err(error) if finding::is(&error) => {
                self.problem(Problem::of(&error, place, Some(&config.digest)));
                return Ok(Err(Unusable));
            }
            Err(error) => return Err(error),
        };
        self.found.bytes += raw.len() as u64;
        self.length(config, raw.len() as u64, &place);
        let mut wrong = |kind, message| {
            let digest = Some(config.digest.clone());
            self.found
                .problems
                .push(Problem::new(kind, place.clone(), digest, message));
        };
        let value: Value = match serde_json::from_slice(&raw) {
            Ok(value) => value,
            Err(error) => {
                wrong(ProblemKind::Malformed, format!("it is not JSON: {error}"));
                return Ok(Err(Unusable));
            }
        };
        match Platform::deserialize_from(&value) {
            None => wrong(
                ProblemKind::Malformed,
                "it names no operating system or architecture".to_owned(),
            ),
            Some(found) => {
                let differs = expected.filter(|expected| {
                    !expected.is_unknown()
                        && (expected.os != found.os || expected.architecture != found.architecture)
                });
                if let Some(expected) = differs {
                    let message = format!("it is for {found}, the index names it for {expected}");
                    wrong(ProblemKind::Mismatch, message);
                }
            }
        }
        Ok(Ok(value))
    }

    /// Reads the diffIDs, and compares their number, and that of the history, with the layers.
    fn diff_ids(
        &mut self,
        config: &Descriptor,
        value: &Value,
        layers: usize,
        place: &str,
    ) -> Vec<Option<Digest>> {
        let place = format!("config of {place}");
        let digest = Some(config.digest.clone());
        let mut wrong = |kind, message| {
            self.problem(Problem::new(kind, place.clone(), digest.clone(), message));
        };
        let listed = value.pointer("/rootfs/diff_ids").and_then(Value::as_array);
        let Some(listed) = listed else {
            let message = "it lists no diffIDs (rootfs.diff_ids)".to_owned();
            wrong(ProblemKind::Malformed, message);
            return Vec::new();
        };
        if listed.len() != layers {
            let message = format!("it has {} diffIDs for {layers} layers", listed.len());
            wrong(ProblemKind::Mismatch, message);
        }
        let history = value.get("history").and_then(Value::as_array);
        if let Some(history) = history.filter(|history| !history.is_empty()) {
            let empty = |step: &&Value| step.get("empty_layer") != Some(&Value::Bool(true));
            let steps = history.iter().filter(empty).count();
            if steps != layers {
                let message =
                    format!("its history has {steps} steps that made a layer, for {layers} layers");
                wrong(ProblemKind::Mismatch, message);
            }
        }
        let mut diff_ids = Vec::new();
        for text in listed.iter().take(limits::LAYERS) {
            let parsed = text.as_str().and_then(|text| text.parse().ok());
            if parsed.is_none() {
                let shown: String = text.to_string().chars().take(160).collect();
                wrong(ProblemKind::Malformed, format!("{shown} is no diffID"));
            }
            diff_ids.push(parsed);
        }
        diff_ids
    }
}

trait FromConfig: Sized {
    fn deserialize_from(config: &Value) -> Option<Self>;
}

impl FromConfig for Platform {
    /// Reads the platform a configuration names; `None` if it names none.
    fn deserialize_from(config: &Value) -> Option<Self> {
        let text = |key| {
            let text = config.get(key)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Some(Self {
            os: text("os")?,
            architecture: text("architecture")?,
            variant: text("variant"),
            os_version: None,
        })
    }
}
