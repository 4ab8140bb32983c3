//! Which media types we know, and what they mean. Docker's are accepted and kept byte for byte.

/// How a blob's bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, uncompressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The empty JSON object of artifacts.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, uncompressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, zstd (a convention of BuildKit).
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// The annotation that names a manifest in an OCI layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation by which an attestation in an index names the image it is about (a convention of BuildKit).
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// The manifest types to offer in an `Accept` header, in the order of preference.
pub const ACCEPTED_MANIFESTS: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// What a media type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An image manifest.
    Manifest,
    /// A list of manifests.
    Index,
    /// An image configuration.
    Config,
    /// A file system layer, with the compression its type promises.
    Layer(Compression),
    /// A layer that may not be distributed (Windows base layers).
    ForeignLayer,
    /// Docker's schema 1, refused everywhere.
    Schema1,
    /// Anything else: artifacts, signatures.
    Other,
}

/// Returns what a media type stands for; parameters after `;` are ignored.
#[must_use]
pub fn kind(media_type: &str) -> Kind {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match essence {
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
        OCI_INDEX | DOCKER_LIST => Kind::Index,
        OCI_CONFIG | DOCKER_CONFIG => Kind::Config,
        OCI_LAYER | DOCKER_LAYER => Kind::Layer(Compression::None),
        OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => Kind::Layer(Compression::Gzip),
        OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD => Kind::Layer(Compression::Zstd),
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Kind::Schema1,
        _ if essence.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || essence.starts_with("application/vnd.docker.image.rootfs.foreign.") =>
        {
            Kind::ForeignLayer
        }
        _ => Kind::Other,
    }
}

/// Tells whether the type is that of a layer that can be unpacked.
#[must_use]
pub fn is_layer(media_type: &str) -> bool {
    matches!(kind(media_type), Kind::Layer(_))
}

/// Returns the compression a layer's type promises; `None` if it is no layer's.
#[must_use]
pub fn layer_compression(media_type: &str) -> Option<Compression> {
    match kind(media_type) {
        Kind::Layer(compression) => Some(compression),
        _ => None,
    }
}

/// Returns the OCI type of a layer with this compression.
#[must_use]
pub fn layer_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => OCI_LAYER,
        Compression::Gzip => OCI_LAYER_GZIP,
        Compression::Zstd => OCI_LAYER_ZSTD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_recognised() {
        let table = [
            (OCI_MANIFEST, Kind::Manifest),
            (
                "application/vnd.oci.image.index.v1+json; charset=utf-8",
                Kind::Index,
            ),
            (DOCKER_LIST, Kind::Index),
            (DOCKER_LAYER_GZIP, Kind::Layer(Compression::Gzip)),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Kind::ForeignLayer,
            ),
            (
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                Kind::Schema1,
            ),
            ("text/plain", Kind::Other),
        ];
        for (text, expected) in table {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
