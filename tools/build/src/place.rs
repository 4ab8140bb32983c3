//! Where a verb works: the store, the working containers beside it, and who is told what happens.

use crate::namespace::{Namespace, ready};
use crate::told;
use libbuild::{Session, SessionOptions, WorkingContainer};
use libimage::store::{IdMode, Store, StoreOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trimaran_cli::progress::Drawing;
use trimaran_cli::{Directories, Failure};

/// What every verb on working containers has at hand.
#[derive(Debug)]
pub(crate) struct Place {
    /// The working containers.
    pub session: Session,
    /// The images.
    pub store: Arc<Store>,
    /// Who draws progress.
    pub drawing: Arc<Drawing>,
    /// Who we are.
    pub namespace: Namespace,
}

impl Place {
    /// Finds the directories, enters a user namespace if need be, and opens the store.
    ///
    /// # Errors
    /// If any of that fails.
    pub(crate) fn open(root: Option<&Path>, quiet: bool) -> Result<Self, Failure> {
        // Inside the namespace everybody is uid 0, so the directories are chosen before.
        let directories = Directories::find(root)?;
        let namespace = ready()?;
        let options = StoreOptions {
            ids: if namespace.full_ids {
                IdMode::Full
            } else {
                IdMode::Single
            },
            privileged: namespace.privileged,
        };
        let store = Arc::new(Store::open(&directories.root, &options)?);
        let drawing = Drawing::stderr(quiet);
        let mut about = SessionOptions::new(directories.run.join("build"));
        about.resolv_conf = Some(PathBuf::from("/etc/resolv.conf"));
        about.progress = drawing.clone();
        let session = Session::open(store.clone(), about).map_err(told::build)?;
        Ok(Self {
            session,
            store,
            drawing,
            namespace,
        })
    }

    /// Finds a working container.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn container(&self, name: &str) -> Result<WorkingContainer, Failure> {
        self.session.find(name).map_err(told::build)
    }
}
