//! What is to be run: a specification and a root file system.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::error::Result;
use crate::rootfs::PreparedRoot;

/// A specification and the root file system it is about.
#[derive(Debug)]
pub struct Bundle {
    spec: Spec,
    directory: Option<PathBuf>,
    warnings: Vec<Warning>,
    root: PreparedRoot,
}

/// Something in a config.json that was understood only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field, as a path in the document.
    pub field: String,
    /// What is wrong with its value.
    pub message: String,
}

impl Bundle {
    /// Opens a bundle directory: `config.json` and the root file system it names.
    ///
    /// # Errors
    /// The file or the root is missing, or the document is no specification.
    pub fn open(_directory: &Path) -> Result<Self> {
        unimplemented!()
    }

    /// Makes a bundle of a specification and a root that is already prepared; `root.path` of the specification is not used.
    #[must_use]
    pub fn from_spec(spec: Spec, root: PreparedRoot) -> Self {
        Self {
            spec,
            directory: None,
            warnings: Vec::new(),
            root,
        }
    }

    /// The specification.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The directory the bundle was opened from.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// What the loader skipped.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The root file system.
    #[must_use]
    pub fn root(&self) -> &PreparedRoot {
        &self.root
    }
}
