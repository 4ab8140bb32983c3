//! Which layers a power cut may have taken: layers are never synchronised on the way in, so this is remembered instead.
//!
//! `state.json` says in which boot layers were last added, and whether the disk has been synchronised since. If it has not and
//! the boot is another one now, the layers of that generation are dropped; their blobs were synchronised, so they can be unpacked again.

use std::{fs, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::{
    durable,
    lock::{FileLock, LockMode},
};

const STATE: &str = "state.json";

/// The format this version writes.
const VERSION: u64 = 1;

/// How long after the last layer the kernel has written everything by itself (30 s until pages are old, 5 s between rounds), with a margin.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    version: u64,
    /// Counts the synchronisations; layers carry the number of the one they wait for.
    pub(super) generation: u64,
    boot_id: String,
    /// Layers of this generation may be on their way to the disk.
    dirty: bool,
}

impl Store {
    /// Reads the state, and drops what a power cut may have damaged.
    pub(super) fn check_state(&self) -> Result<(), StoreError> {
        let boot = boot_id();
        let stale = |state: &State| state.dirty && state.boot_id != boot;
        match self.read_state()? {
            None => {
                return self.write_state(&State {
                    version: VERSION,
                    generation: 1,
                    boot_id: boot,
                    dirty: false,
                });
            }
            Some(state) if !stale(&state) => return Ok(()),
            Some(_) => {}
        }
        // Whoever else found this too waits here, and finds it done.
        let _gc = self.gc_lock(LockMode::Exclusive)?;
        let _lock = self.state_lock()?;
        let Some(state) = self.read_state()?.filter(stale) else {
            return Ok(());
        };
        self.drop_layers(|record| {
            record.is_none_or(|record| record.generation >= state.generation)
        })?;
        self.write_state(&State {
            generation: state.generation + 1,
            boot_id: boot,
            dirty: false,
            ..state
        })
    }

    /// Announces a new layer; hold the lock until the layer has its name.
    pub(super) fn announce_layer(&self) -> Result<(FileLock, u64), StoreError> {
        let lock = self.state_lock()?;
        let boot = boot_id();
        let state = self.read_state()?.unwrap_or(State {
            version: VERSION,
            generation: 1,
            boot_id: boot.clone(),
            dirty: false,
        });
        let generation = state.generation;
        if !state.dirty || state.boot_id != boot {
            // On the disk before the layer is: a power cut must not find an unannounced one.
            self.write_state(&State {
                dirty: true,
                boot_id: boot,
                ..state
            })?;
        }
        Ok((lock, generation))
    }

    /// Writes unpacked layers to the disk, if they have had a minute to get there by themselves; then a power cut costs nothing.
    ///
    /// Opening the store does this; a program that keeps one open for long may do it now and then.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn settle(&self) -> Result<(), StoreError> {
        let Some(state) = self.read_state()? else {
            return Ok(());
        };
        let age = fs::metadata(self.0.path.join(STATE))
            .and_then(|metadata| metadata.modified())
            .map(|time| time.elapsed().unwrap_or_default());
        if state.dirty && age.map_err(self.io("find", STATE))? >= SETTLED_AFTER {
            self.sync()
        } else {
            Ok(())
        }
    }

    /// Writes unpacked layers to the disk now.
    ///
    /// # Errors
    /// If the file system fails.
    #[doc(alias = "syncfs")]
    pub fn sync(&self) -> Result<(), StoreError> {
        let _lock = self.state_lock()?;
        let Some(state) = self
            .read_state()?
            .filter(|state| state.dirty && state.boot_id == boot_id())
        else {
            return Ok(());
        };
        let directory = fs::File::open(&self.0.path).map_err(self.io("open", ""))?;
        rustix::fs::syncfs(directory).map_err(|errno| self.io("synchronise", "")(errno.into()))?;
        self.write_state(&State {
            generation: state.generation + 1,
            dirty: false,
            ..state
        })
    }

    fn state_lock(&self) -> Result<FileLock, StoreError> {
        FileLock::acquire(&self.0.locks, "state", LockMode::Exclusive)
            .map_err(self.io("lock", "locks/state"))
    }

    fn read_state(&self) -> Result<Option<State>, StoreError> {
        let bytes = match self.0.layout.dir().read(STATE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("read", STATE)(error)),
        };
        let state: State = serde_json::from_slice(&bytes)
            .map_err(|error| self.io("understand", STATE)(error.into()))?;
        if state.version > VERSION {
            return Err(StoreError::Newer {
                path: self.0.path.clone(),
                found: state.version,
                known: VERSION,
            });
        }
        Ok(Some(state))
    }

    fn write_state(&self, state: &State) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(state).expect("numbers and a text become JSON");
        durable::write_atomic(self.0.layout.dir(), STATE, &bytes).map_err(self.io("replace", STATE))
    }
}

/// Returns what changes with every boot; empty where it cannot be read, and then every boot looks the same.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
