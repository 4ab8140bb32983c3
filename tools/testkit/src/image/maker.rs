//! How do layers and settings become a config and a manifest?

use super::{Blob, Content, Packing, Tree, sha256};
use serde_json::{Value, json};

/// Which family of media types an image uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OCI image specification 1.
    Oci,
    /// Docker image manifest version 2, schema 2.
    DockerV2s2,
}

/// A layer of a made image.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The compressed blob.
    pub blob: Blob,
    /// Digest of the uncompressed tar, as the config states it.
    pub diff_id: String,
}

/// A made image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Blob,
    /// The config.
    pub config: Blob,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// The platform object of an index entry for this image.
    pub platform: Value,
}

impl Content for Image {
    fn root(&self) -> &Blob {
        &self.manifest
    }

    fn manifests(&self) -> Vec<&Blob> {
        Vec::new()
    }

    fn blobs(&self) -> Vec<&Blob> {
        std::iter::once(&self.config)
            .chain(self.layers.iter().map(|layer| &layer.blob))
            .collect()
    }
}

/// Collects what an image is made of.
#[derive(Clone, Debug)]
pub struct ImageMaker {
    format: Format,
    platform: Value,
    settings: Value,
    created: String,
    layers: Vec<Layer>,
    annotations: Option<Value>,
}

impl Default for ImageMaker {
    fn default() -> ImageMaker {
        ImageMaker::new()
    }
}

impl ImageMaker {
    /// Starts an OCI image for this machine's architecture, without layers and settings.
    pub fn new() -> ImageMaker {
        ImageMaker {
            format: Format::Oci,
            platform: json!({"architecture": host_architecture(), "os": "linux"}),
            settings: json!({}),
            created: "2025-01-01T00:00:00Z".to_owned(),
            layers: Vec::new(),
            annotations: None,
        }
    }

    /// Starts an image that can be run: `busybox` with all its applets, `/etc/passwd`, `/etc/group`, `/tmp`, and `sh` as its
    /// command. `None` where `/bin/busybox` is missing or not static.
    pub fn busybox() -> Option<ImageMaker> {
        let maker = ImageMaker::new().layer(&Tree::busybox()?, Packing::Gzip);
        Some(
            maker
                .env(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
                .cmd(&["sh"]),
        )
    }

    /// Starts an image of three small layers (gzip, multi-member gzip, zstd) with a whiteout and an opaque directory: enough for
    /// everything but running it.
    pub fn sample() -> ImageMaker {
        let base = Tree::new()
            .dir("etc", 0o755)
            .file("etc/motd", 0o644, "welcome\n")
            .file("etc/gone", 0o600, "soon gone\n")
            .dir("var", 0o755)
            .dir("var/cache", 0o755)
            .file("var/cache/old", 0o644, noise(20_000));
        let second = Tree::new().dir("etc", 0o755).whiteout("etc/gone").file(
            "etc/new",
            0o644,
            noise(90_000),
        );
        let third = Tree::new()
            .dir("var/cache", 0o755)
            .opaque("var/cache")
            .file("var/cache/new", 0o644, noise(7_000));
        ImageMaker::new()
            .layer(&base, Packing::Gzip)
            .layer(&second, Packing::GzipMembers(3))
            .layer(&third, Packing::Zstd)
            .env(&["PATH=/usr/bin:/bin", "GREETING=hello"])
            .cmd(&["/bin/sh"])
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(self, tree: &Tree, packing: Packing) -> ImageMaker {
        self.tar_layer(&tree.tar(), packing)
    }

    /// Adds a layer from an archive's bytes, which may lie.
    #[must_use]
    pub fn tar_layer(self, tar: &[u8], packing: Packing) -> ImageMaker {
        let blob = Blob::new(packing.media_type(), packing.pack(tar));
        self.raw_layer(Layer {
            blob,
            diff_id: sha256(tar),
        })
    }

    /// Adds a layer whose blob, media type and diffID the caller chose, truthfully or not.
    #[must_use]
    pub fn raw_layer(mut self, layer: Layer) -> ImageMaker {
        self.layers.push(layer);
        self
    }

    /// Sets the platform.
    #[must_use]
    pub fn platform(mut self, os: &str, architecture: &str, variant: Option<&str>) -> ImageMaker {
        self.platform = json!({"architecture": architecture, "os": os});
        if let Some(variant) = variant {
            self.platform["variant"] = json!(variant);
        }
        self
    }

    /// Uses Docker's media types instead of OCI's.
    #[must_use]
    pub fn docker(mut self) -> ImageMaker {
        self.format = Format::DockerV2s2;
        self
    }

    /// Sets a field of the config's `config` object, such as `Healthcheck`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: Value) -> ImageMaker {
        self.settings[name] = value;
        self
    }

    /// Sets the environment (`NAME=value`).
    #[must_use]
    pub fn env(self, env: &[&str]) -> ImageMaker {
        self.setting("Env", json!(env))
    }

    /// Sets the entrypoint.
    #[must_use]
    pub fn entrypoint(self, arguments: &[&str]) -> ImageMaker {
        self.setting("Entrypoint", json!(arguments))
    }

    /// Sets the command.
    #[must_use]
    pub fn cmd(self, arguments: &[&str]) -> ImageMaker {
        self.setting("Cmd", json!(arguments))
    }

    /// Sets the user.
    #[must_use]
    pub fn user(self, user: &str) -> ImageMaker {
        self.setting("User", json!(user))
    }

    /// Sets the working directory.
    #[must_use]
    pub fn workdir(self, path: &str) -> ImageMaker {
        self.setting("WorkingDir", json!(path))
    }

    /// Sets the manifest's annotations.
    #[must_use]
    pub fn annotations(mut self, annotations: Value) -> ImageMaker {
        self.annotations = Some(annotations);
        self
    }

    /// Sets the time of creation (RFC 3339).
    #[must_use]
    pub fn created(mut self, time: &str) -> ImageMaker {
        self.created = time.to_owned();
        self
    }

    /// Makes config and manifest.
    pub fn make(&self) -> Image {
        let config = Blob::new(
            self.media("application/vnd.oci.image.config.v1+json"),
            render(&self.config()),
        );
        let layers: Vec<Layer> = self
            .layers
            .iter()
            .map(|layer| {
                let media = self.media(&layer.blob.media_type);
                Layer {
                    blob: Blob {
                        media_type: media.to_owned(),
                        ..layer.blob.clone()
                    },
                    ..layer.clone()
                }
            })
            .collect();
        let media = self.media("application/vnd.oci.image.manifest.v1+json");
        let mut raw = json!({
            "schemaVersion": 2,
            "mediaType": media,
            "config": config.descriptor(),
            "layers": layers.iter().map(|layer| layer.blob.descriptor()).collect::<Vec<_>>(),
        });
        if let Some(annotations) = &self.annotations {
            raw["annotations"] = annotations.clone();
        }
        Image {
            manifest: Blob::new(media, render(&raw)),
            config,
            layers,
            platform: self.platform.clone(),
        }
    }

    fn config(&self) -> Value {
        let mut config = self.platform.clone();
        config["created"] = json!(self.created);
        config["config"] = self.settings.clone();
        let diff_ids: Vec<&str> = self
            .layers
            .iter()
            .map(|layer| layer.diff_id.as_str())
            .collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let step = |number| json!({"created": self.created, "created_by": format!("testkit: layer {number}")});
        config["history"] = (1..=self.layers.len()).map(step).collect();
        config
    }

    fn media<'a>(&self, oci: &'a str) -> &'a str {
        if self.format == Format::Oci {
            return oci;
        }
        match oci {
            "application/vnd.oci.image.manifest.v1+json" => {
                "application/vnd.docker.distribution.manifest.v2+json"
            }
            "application/vnd.oci.image.config.v1+json" => {
                "application/vnd.docker.container.image.v1+json"
            }
            "application/vnd.oci.image.layer.v1.tar" => {
                "application/vnd.docker.image.rootfs.diff.tar"
            }
            "application/vnd.oci.image.layer.v1.tar+gzip" => {
                "application/vnd.docker.image.rootfs.diff.tar.gzip"
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" => {
                "application/vnd.docker.image.rootfs.diff.tar.zstd"
            }
            other => other,
        }
    }
}

/// Renders JSON as registries hold it: indented, so that a tool which parses and writes again is found out.
pub(super) fn render(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("a JSON value can be written");
    text.push(b'\n');
    text
}

/// Bytes that do not compress, the same in every run.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(size)
    .collect()
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::ImageMaker;
    use crate::image::Content;

    #[test]
    fn equal_input_makes_equal_bytes() {
        assert_eq!(
            ImageMaker::sample().make().manifest,
            ImageMaker::sample().make().manifest
        );
        assert_ne!(
            ImageMaker::sample().make().digest(),
            ImageMaker::sample().docker().make().digest()
        );
    }
}
