//! Is everything there and what it should be: hashes every blob, and says what can be done.

use std::{collections::HashSet, io, path::Path};

use super::{Store, StoreError};
use crate::{
    digest::{Digest, VerifyingReader},
    lock::LockMode,
    manifest::{Content, Descriptor},
    media::{self, Kind},
};

/// Something wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, for people.
    pub problem: String,
    /// Whether it is repaired now.
    pub repaired: bool,
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order found; empty is good.
    pub findings: Vec<Finding>,
}

impl Findings {
    /// Tells whether nothing is wrong (any more).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.repaired)
    }

    fn add(&mut self, problem: String, repaired: bool) {
        self.findings.push(Finding { problem, repaired });
    }
}

/// How deep indexes are followed.
const DEPTH: usize = 8;

impl Store {
    /// Looks for missing and corrupt content, reading every blob. With `repair`, corrupt blobs and layers are dropped, so that the next
    /// pull or unpacking makes them anew. Layers that are merely not unpacked are no finding: they are a cache.
    ///
    /// # Errors
    /// If the file system fails; findings are no errors.
    pub fn check(&self, repair: bool) -> Result<Findings, StoreError> {
        let mode = if repair {
            LockMode::Exclusive
        } else {
            LockMode::Shared
        };
        let _lock = self.gc_lock(mode)?;
        let mut checker = Checker {
            store: self,
            repair,
            findings: Findings::default(),
            seen: HashSet::new(),
        };
        for entry in self.0.layout.entries()? {
            let name = entry
                .tag
                .clone()
                .unwrap_or_else(|| entry.digest.to_string());
            let part = Descriptor::new(&entry.media_type, entry.digest.clone(), entry.size);
            checker.blob(&part, &name, DEPTH)?;
        }
        let mut findings = checker.findings;
        self.check_layers(repair, &mut findings)?;
        Ok(findings)
    }

    fn check_layers(&self, repair: bool, findings: &mut Findings) -> Result<(), StoreError> {
        for entry in self.0.layers.entries().map_err(self.io("read", "layers"))? {
            let name = entry.map_err(self.io("read", "layers"))?.file_name();
            let shown = name.to_string_lossy().into_owned();
            let record = format!("sha256:{shown}")
                .parse()
                .or_else(|_| format!("sha512:{shown}").parse())
                .ok();
            let record = record.and_then(|diff_id: Digest| self.layer_record(&diff_id));
            let whole = record.is_some_and(|record| record.diff_id.hex() == shown)
                && self.0.layers.is_dir(Path::new(&name).join("fs"));
            if !whole {
                let repaired = repair && self.drop_layer(&shown)?;
                findings.add(
                    format!("layer {shown} is damaged (it is unpacked again when needed)"),
                    repaired,
                );
            }
        }
        Ok(())
    }
}

/// The walk over everything that is named.
struct Checker<'a> {
    store: &'a Store,
    repair: bool,
    findings: Findings,
    seen: HashSet<Digest>,
}

impl Checker<'_> {
    fn blob(&mut self, part: &Descriptor, name: &str, depth: usize) -> Result<(), StoreError> {
        if !self.seen.insert(part.digest.clone()) || depth == 0 {
            return Ok(());
        }
        if self.store.blob_size(&part.digest)?.is_none() {
            let problem = format!(
                "{name}: blob {} is missing (pull the image again)",
                part.digest
            );
            self.findings.add(problem, false);
            return Ok(());
        }
        let blob = self.store.read_blob(&part.digest)?;
        let mut reader = VerifyingReader::new(blob, part.digest.clone(), part.size);
        if let Err(error) = io::copy(&mut reader, &mut io::sink()) {
            return self.corrupt(part, name, &error);
        }
        if matches!(media::kind(&part.media_type), Kind::Manifest | Kind::Index) {
            self.below(part, name, depth)?;
        }
        Ok(())
    }

    fn corrupt(
        &mut self,
        part: &Descriptor,
        name: &str,
        error: &io::Error,
    ) -> Result<(), StoreError> {
        let mut advice = "pull the image again after a repair";
        if self.repair {
            let hex = part.digest.hex();
            let path = Path::new("blobs/sha256").join(hex);
            let blobs = self.store.0.layout.blobs_dir();
            blobs
                .remove_file(hex)
                .map_err(self.store.io("remove", path))?;
            advice = "dropped, pull the image again";
        }
        let problem = format!("{name}: blob {}: {error} ({advice})", part.digest);
        self.findings.add(problem, false);
        Ok(())
    }

    /// Looks at what a manifest or an index names.
    fn below(&mut self, part: &Descriptor, name: &str, depth: usize) -> Result<(), StoreError> {
        let manifest = match self
            .store
            .read_manifest(&part.digest, Some(&part.media_type))
        {
            Ok(manifest) => manifest,
            Err(error) => {
                self.findings.add(format!("{name}: {error}"), false);
                return Ok(());
            }
        };
        let (parts, sparse) = match manifest.content() {
            Content::Image { config, layers } => (layers.iter().chain([config]).collect(), false),
            Content::Index { entries } => (entries.iter().collect::<Vec<_>>(), true),
        };
        for part in parts {
            // An index may name images that nobody pulled, and no registry has foreign layers.
            let may_be_missing = sparse || part.is_foreign();
            if !(may_be_missing && self.store.blob_size(&part.digest)?.is_none()) {
                self.blob(part, name, depth - 1)?;
            }
        }
        Ok(())
    }
}
