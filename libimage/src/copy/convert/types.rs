//! Which media type of one family means the same in the other.

use super::Format;
use crate::media::{self, Compression, Kind};

const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";

/// The family of a type. What belongs to neither (an artifact's) is taken for OCI's, which allows any type.
pub(super) fn family(media_type: &str) -> Format {
    if media_type.starts_with("application/vnd.docker.") {
        Format::V2s2
    } else {
        Format::Oci
    }
}

pub(super) fn manifest(format: Format) -> &'static str {
    match format {
        Format::Oci => media::OCI_MANIFEST,
        Format::V2s2 => media::DOCKER_MANIFEST,
    }
}

pub(super) fn index(format: Format) -> &'static str {
    match format {
        Format::Oci => media::OCI_INDEX,
        Format::V2s2 => media::DOCKER_LIST,
    }
}

pub(super) fn config(format: Format) -> &'static str {
    match format {
        Format::Oci => media::OCI_CONFIG,
        Format::V2s2 => media::DOCKER_CONFIG,
    }
}

/// The type of a layer with this compression; `None` where the family has none.
pub(super) fn layer(format: Format, compression: Compression) -> Option<&'static str> {
    match (format, compression) {
        (Format::Oci, _) => Some(media::layer_type(compression)),
        (Format::V2s2, Compression::None) => Some(media::DOCKER_LAYER),
        (Format::V2s2, Compression::Gzip) => Some(media::DOCKER_LAYER_GZIP),
        // BuildKit has a word for it that no registry or engine of Docker's knows.
        (Format::V2s2, Compression::Zstd) => None,
    }
}

/// Translates a layer's type; `None` where the other family has no such layer.
pub(super) fn translate(media_type: &str, format: Format) -> Option<String> {
    if family(media_type) == format {
        return Some(media_type.to_owned());
    }
    match media::kind(media_type) {
        Kind::Layer(compression) => layer(format, compression).map(str::to_owned),
        Kind::ForeignLayer => foreign(media_type, format),
        _ => None,
    }
}

fn foreign(media_type: &str, format: Format) -> Option<String> {
    let (from, to, separators) = match format {
        Format::Oci => (DOCKER_FOREIGN, OCI_FOREIGN, (".", "+")),
        Format::V2s2 => (OCI_FOREIGN, DOCKER_FOREIGN, ("+", ".")),
    };
    match media_type.strip_prefix(from)?.strip_prefix(separators.0) {
        None => Some(to.to_owned()),
        Some("gzip") => Some(format!("{to}{}gzip", separators.1)),
        Some("zstd") if format == Format::Oci => Some(format!("{to}+zstd")),
        Some(_) => None,
    }
}

/// Beginnings of annotations that describe a layer's bytes as they were compressed: parts of it by offset.
const OF_BYTES: [&str; 4] = [
    "io.github.containers.zstd-chunked.",
    "io.containers.estargz.",
    "containerd.io/snapshot/stargz/",
    "containerd.io/snapshot/nydus-",
];

/// Tells whether an annotation of a layer holds only for the bytes it was made for.
pub(super) fn describes_bytes(key: &str) -> bool {
    OF_BYTES.iter().any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_type_has_its_counterpart() {
        // OCI's, and Docker's.
        let pairs = [
            (media::OCI_LAYER, media::DOCKER_LAYER),
            (media::OCI_LAYER_GZIP, media::DOCKER_LAYER_GZIP),
            (OCI_FOREIGN, DOCKER_FOREIGN),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            ),
        ];
        for (oci, docker) in pairs {
            assert_eq!(translate(oci, Format::V2s2).as_deref(), Some(docker));
            assert_eq!(translate(docker, Format::Oci).as_deref(), Some(oci));
            assert_eq!(translate(oci, Format::Oci).as_deref(), Some(oci));
            assert_eq!(translate(docker, Format::V2s2).as_deref(), Some(docker));
        }
        assert_eq!(
            translate(media::DOCKER_LAYER_ZSTD, Format::Oci).as_deref(),
            Some(media::OCI_LAYER_ZSTD)
        );
        for only_oci in [
            media::OCI_LAYER_ZSTD,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/vnd.in-toto+json",
        ] {
            assert_eq!(translate(only_oci, Format::V2s2), None, "{only_oci}");
        }
    }
}
