//! How does an image become an OCI image layout on disk?

use super::{Blob, Content};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// An OCI image layout directory.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// Creates a layout with an empty index in `path`, which may exist.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn create(path: &Path) -> Layout {
        let layout = Layout {
            path: path.to_owned(),
        };
        std::fs::create_dir_all(path.join("blobs/sha256")).expect("the layout can be created");
        write(
            &path.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        );
        if !path.join("index.json").exists() {
            layout.write_index(&json!({"schemaVersion": 2, "manifests": []}));
        }
        layout
    }

    /// Opens the layout in `path`, such as one a tool under test has written.
    pub fn open(path: &Path) -> Layout {
        Layout {
            path: path.to_owned(),
        }
    }

    /// Adds an image or index under a tag, with all it points to.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn add(&self, tag: &str, content: &dyn Content) -> &Layout {
        content
            .blobs()
            .into_iter()
            .chain(content.manifests())
            .for_each(|blob| self.add_blob(blob));
        self.add_blob(content.root());
        let mut descriptor = content.root().descriptor();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let mut index = self.index();
        let entries = index["manifests"]
            .as_array_mut()
            .expect("an index has manifests");
        entries.retain(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] != tag);
        entries.push(descriptor);
        self.write_index(&index);
        self
    }

    /// Adds one blob under its digest (also where that is a lie).
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn add_blob(&self, blob: &Blob) {
        write(&self.blob_path(&blob.digest), &blob.bytes);
    }

    /// Returns where a digest's content lies.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    /// Reads a blob; `None` where it is missing.
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        std::fs::read(self.blob_path(digest)).ok()
    }

    /// Returns the digests of all blobs, sorted.
    ///
    /// # Panics
    /// When the directory cannot be read.
    pub fn digests(&self) -> Vec<String> {
        let mut all: Vec<String> = std::fs::read_dir(self.path.join("blobs/sha256"))
            .expect("a layout has blobs")
            .map(|entry| {
                format!(
                    "sha256:{}",
                    entry.expect("readable").file_name().to_string_lossy()
                )
            })
            .collect();
        all.sort();
        all
    }

    /// Returns `index.json`.
    ///
    /// # Panics
    /// When it is not there or not JSON.
    pub fn index(&self) -> Value {
        let text = std::fs::read(self.path.join("index.json")).expect("a layout has an index");
        serde_json::from_slice(&text).expect("index.json is JSON")
    }

    /// Returns the digest a tag points to.
    pub fn tag(&self, tag: &str) -> Option<String> {
        let index = self.index();
        let entry = index["manifests"]
            .as_array()?
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag)?;
        Some(entry["digest"].as_str()?.to_owned())
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_index(&self, index: &Value) {
        write(&self.path.join("index.json"), &super::maker::render(index));
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
