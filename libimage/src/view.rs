//! An image as directories to mount: data only, nothing is mounted here.

use std::path::PathBuf;

use crate::store::{Image, Lease, Store, StoreError};

/// The lower directories of an image.
#[derive(Debug)]
pub struct View {
    /// The layers' directories, topmost first, as overlay's `lowerdir` wants them.
    pub lowers: Vec<PathBuf>,
    /// Keeps the layers from being removed while the view is used.
    pub lease: Lease,
    /// Whether overlay must be mounted with `userxattr`.
    pub userxattr: bool,
}

/// Returns the lower directories of an image whose layers are unpacked.
///
/// # Errors
/// If a layer is not unpacked: see [`Store::unpack`].
pub fn root(_store: &Store, _image: &Image) -> Result<View, StoreError> {
    unimplemented!()
}
