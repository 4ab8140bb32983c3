//! An image as directories to mount: data only, nothing is mounted here.

use std::path::PathBuf;

use crate::store::{EMPTY, Image, Lease, Store, StoreError};

/// The lower directories of an image.
#[derive(Debug)]
pub struct View {
    /// The layers' directories, topmost first, as overlay's `lowerdir` wants them; absolute, at least one.
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
pub fn root(store: &Store, image: &Image) -> Result<View, StoreError> {
    let lease = store.lease(image)?;
    let mut lowers = Vec::new();
    for diff_id in image.diff_ids().iter().rev() {
        let record = store
            .layer_record(diff_id)
            .ok_or_else(|| StoreError::NotUnpacked {
                diff_id: diff_id.clone(),
            })?;
        let path = store.path().join("layers").join(diff_id.hex()).join("fs");
        // Overlay refuses a directory twice; of two equal layers the lower one shows nothing the upper one does not.
        if !lowers.contains(&path) {
            lowers.push(path);
        }
        // Overlay has no mark for a layer that hides everything below it.
        if record.stats.root_opaque {
            break;
        }
    }
    if lowers.is_empty() {
        lowers.push(store.path().join(EMPTY));
    }
    Ok(View {
        lowers,
        lease,
        userxattr: !store.options().privileged,
    })
}
