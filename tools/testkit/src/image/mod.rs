//! Images made from nothing but this crate and, for a runnable one, Debian's `busybox-static`.
//!
//! A [`Tree`] becomes a layer's tar, a [`Packing`] compresses it, an [`ImageMaker`] adds a config and a manifest, an [`Index`]
//! joins several, and a [`Layout`] or [`crate::Registry`] holds the result. Equal input makes equal bytes.
//!
//! ```
//! use trimaran_testkit::{Content, ImageMaker, Layout, Packing, Tree};
//! let image = ImageMaker::new()
//!     .layer(&Tree::new().dir("etc", 0o755).file("etc/motd", 0o644, "hello"), Packing::Gzip)
//!     .layer(&Tree::new().whiteout("etc/motd"), Packing::Zstd)
//!     .cmd(&["/bin/sh"])
//!     .make();
//! let dir = tempfile::tempdir().unwrap();
//! Layout::create(dir.path()).add("latest", &image);
//! assert!(image.digest().starts_with("sha256:"));
//! ```

mod archive;
mod artifact;
mod busybox;
mod index;
mod layout;
mod maker;
mod packing;
mod tree;

pub use artifact::Artifact;
pub use index::Index;
pub use layout::Layout;
pub use maker::{Format, Image, ImageMaker, Layer, noise};
pub use packing::Packing;
pub use tree::{Entry, Kind, Tree};

use sha2::{Digest, Sha256, Sha512};

/// Bytes with their digest and media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Media type, as a descriptor names it.
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits, or `sha512:` and 128.
    pub digest: String,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Makes a blob and computes its digest.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Blob {
        Blob {
            media_type: media_type.to_owned(),
            digest: sha256(&bytes),
            bytes,
        }
    }

    /// Makes a blob that is known by its sha512 digest.
    pub fn sha512(media_type: &str, bytes: Vec<u8>) -> Blob {
        Blob {
            media_type: media_type.to_owned(),
            digest: sha512(&bytes),
            bytes,
        }
    }

    /// Returns the descriptor that points to the blob.
    pub fn descriptor(&self) -> serde_json::Value {
        serde_json::json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// What can be put into a layout or a registry: an [`Image`] or an [`Index`].
pub trait Content {
    /// Returns the manifest or index a tag points to.
    fn root(&self) -> &Blob;
    /// Returns the manifests an index points to; none for an image.
    fn manifests(&self) -> Vec<&Blob>;
    /// Returns configs and layers, each once.
    fn blobs(&self) -> Vec<&Blob>;
    /// Returns the digest a tag points to.
    fn digest(&self) -> &str {
        &self.root().digest
    }
}

/// Returns `sha256:` and the hexadecimal digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal("sha256:", &Sha256::digest(bytes))
}

/// Returns `sha512:` and the hexadecimal digest of `bytes`.
pub fn sha512(bytes: &[u8]) -> String {
    hexadecimal("sha512:", &Sha512::digest(bytes))
}

/// Returns the digest of `bytes` by the algorithm of another digest.
pub fn digest_like(other: &str, bytes: &[u8]) -> String {
    if other.starts_with("sha512:") {
        sha512(bytes)
    } else {
        sha256(bytes)
    }
}

fn hexadecimal(prefix: &str, hash: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::from(prefix);
    for byte in hash {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
    }
    text
}
