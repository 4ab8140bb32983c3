//! Blobs that nothing names: marked from index.json, swept.

use std::collections::HashSet;

use cap_std::fs::Dir;

use super::{INDEX_DEPTH, Layout, LayoutError, index};
use crate::{
    digest::Digest,
    limits,
    manifest::{Content, Manifest},
};

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The directories of blobs, one an algorithm.
const ALGORITHMS: [&str; 2] = ["sha256", "sha512"];

impl Layout {
    /// Removes the blobs that no entry of index.json needs. What an index or manifest names is needed, whatever it is.
    ///
    /// # Concurrency
    /// Nobody may write to the layout meanwhile: a blob is there before the index names it, and would be removed.
    ///
    /// # Errors
    /// If the file system fails, or something that is named cannot be read: then nothing is removed.
    pub fn collect(&self) -> Result<Collected, LayoutError> {
        let _lock = index::lock_directory(self.dir()).map_err(self.index_error("lock"))?;
        let mut needed = HashSet::new();
        for entry in self.entries()? {
            self.mark(&entry.digest, &mut needed, INDEX_DEPTH)?;
        }
        let mut collected = Collected::default();
        for algorithm in ALGORITHMS {
            let directory = match self.dir().open_dir(format!("blobs/{algorithm}")) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(self.index_error("look for blobs beside"))?,
            };
            self.sweep(&directory, algorithm, &needed, &mut collected)?;
        }
        Ok(collected)
    }

    /// Marks a blob, and if it is a manifest, all it names. What is missing marks itself only.
    fn mark(
        &self,
        digest: &Digest,
        needed: &mut HashSet<Digest>,
        depth: usize,
    ) -> Result<(), LayoutError> {
        if !needed.insert(digest.clone()) {
            return Ok(());
        }
        match self.blob_size(digest)? {
            Some(size) if size <= limits::MANIFEST_BYTES && depth > 0 => {}
            _ => return Ok(()),
        }
        let raw = self.read_blob(digest, limits::MANIFEST_BYTES)?;
        let Ok(manifest) = Manifest::parse(raw, None) else {
            return Ok(());
        };
        match manifest.content() {
            Content::Image { config, layers } => {
                let parts = layers.iter().chain([config]);
                needed.extend(parts.map(|part| part.digest.clone()));
            }
            Content::Index { entries } => {
                for entry in entries {
                    self.mark(&entry.digest, needed, depth - 1)?;
                }
            }
        }
        Ok(())
    }

    fn sweep(
        &self,
        directory: &Dir,
        algorithm: &str,
        needed: &HashSet<Digest>,
        collected: &mut Collected,
    ) -> Result<(), LayoutError> {
        let failed = || self.index_error("remove blobs beside");
        for entry in directory.entries().map_err(failed())? {
            let entry = entry.map_err(failed())?;
            // What has no digest's name is nobody's blob, and not ours to remove.
            let digest = entry
                .file_name()
                .to_str()
                .and_then(|hex| format!("{algorithm}:{hex}").parse::<Digest>().ok());
            let Some(digest) = digest.filter(|digest| !needed.contains(digest)) else {
                continue;
            };
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            directory.remove_file(digest.hex()).map_err(failed())?;
            collected.blobs += 1;
            collected.bytes += bytes;
        }
        Ok(())
    }
}
