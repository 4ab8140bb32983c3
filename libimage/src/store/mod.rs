//! The local store: a standard OCI layout as the truth, unpacked layers by diffID as a cache of it.
//!
//! ```text
//! oci-layout, index.json, blobs/sha256/*    durable: manifests, configs, compressed layers; names are annotations of index.json
//! layers/<diffid>/{fs/, layer.json}         cache: one directory per layer, whatever its parent
//! tmp/        layers on their way; each is locked by who makes it     trash/   layers on their way out
//! pins/       what stopped containers and builds still need           empty/   the lower directory of an image without layers
//! locks/<diffid>  a layer in the making     gc.lock  held shared by who adds, exclusively by who collects
//! state.json  format version; whether layers may be lost by a power cut
//! ```
//!
//! Locks are taken in the order gc, layer, state, index, and none is held while bytes come from a network, except the shared gc
//! lock and the lock of the layer itself. Readers take none.

mod check;
mod content;
mod error;
mod gc;
mod image;
mod layers;
mod lease;
mod names;
mod state;
mod unpack;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};

pub use check::{Finding, Findings};
pub use content::Upload;
pub use error::StoreError;
pub use gc::{Freed, Removed};
pub use image::{Image, ImageRecord};
pub use layers::StagedLayer;
pub use lease::{Hold, Lease};

use crate::layout::Layout;

/// Which user and group ids the caller can give to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMode {
    /// All that images use: root, or a user namespace with subordinate ids.
    Full,
    /// Only its own: everything in layers belongs to the caller.
    Single,
}

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Which ids can be given to files.
    pub ids: IdMode,
    /// Whether the caller is root on the machine: `trusted.` instead of `user.` overlay attributes, device nodes.
    pub privileged: bool,
}

/// A local store. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    options: StoreOptions,
    layout: Layout,
    layers: Dir,
    tmp: Dir,
    trash: Dir,
    locks: Dir,
    pins: Dir,
}

/// The directory an image without layers is mounted from.
pub(crate) const EMPTY: &str = "empty";

impl Store {
    /// Opens the store at `path`, making it if missing, and clears what dead processes left behind.
    ///
    /// After a power cut or a reset, layers that may not have reached the disk are dropped: [`Store::unpack`] makes them again from the local blobs.
    ///
    /// # Errors
    /// If it cannot be made, or was written by a newer version.
    pub fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io {
                operation,
                path,
                source,
            }
        };
        make_private(path, true).map_err(io("make the directory", path))?;
        let layout = Layout::ensure(path)?;
        let sub = |name: &str| {
            let path = path.join(name);
            make_private(&path, false).map_err(io("make the directory", &path))?;
            Dir::open_ambient_dir(&path, ambient_authority()).map_err(io("open", &path))
        };
        let store = Self(Arc::new(Inner {
            path: std::path::absolute(path).map_err(io("find", path))?,
            options: *options,
            layers: sub("layers")?,
            tmp: sub("tmp")?,
            trash: sub("trash")?,
            locks: sub("locks")?,
            pins: sub("pins")?,
            layout,
        }));
        sub(EMPTY)?;
        store.check_state()?;
        store.clear_remains();
        // Once after each pull, by whoever comes a minute later, when there is little left to write: without it every reboot,
        // however orderly, would look like a power cut. If it fails, the layers are merely unpacked again one day.
        store.settle().ok();
        Ok(store)
    }

    /// Returns where the store is; absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns how the store was opened.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    /// Returns the layout the store is, for reading.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn io(
        &self,
        operation: &'static str,
        below: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> StoreError {
        let path = self.0.path.join(below);
        move |source| StoreError::Io {
            operation,
            path,
            source,
        }
    }
}

/// Makes a directory that other users cannot enter: layers hold set-id programs and world-writable directories.
fn make_private(path: &Path, parents: bool) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if parents && let Some(above) = path.parent() {
        std::fs::create_dir_all(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}
