//! Where is the local store, when one end of the verb is in it?

use clap::Args;
use libimage::name::ImageRef;
use libimage::store::{IdMode, Store, StoreOptions};
use std::path::PathBuf;
use std::sync::Arc;
use trimaran_cli::{Directories, Failure};

/// The flag that says where the store is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Local {
    /// Directory of the store that `store:` means (also TRIMARAN_ROOT)
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

impl Local {
    /// Opens the store if one of the references is in it; a copy between registries needs no directory.
    ///
    /// # Errors
    /// If there is no place for it or it cannot be opened.
    pub(crate) fn open(&self, references: &[&ImageRef]) -> Result<Option<Arc<Store>>, Failure> {
        if !references
            .iter()
            .any(|reference| matches!(reference, ImageRef::Store(_)))
        {
            return Ok(None);
        }
        let root = Directories::find(self.root.as_deref())?.root;
        // Blobs and manifests only: nothing is unpacked here, so no other user's id is needed.
        let options = StoreOptions {
            ids: IdMode::Single,
            privileged: false,
        };
        Ok(Some(Arc::new(Store::open(&root, &options)?)))
    }
}
