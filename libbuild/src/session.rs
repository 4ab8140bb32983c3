//! The facade: a session makes, finds and removes working containers over a store.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use libimage::digest::Digest;
use libimage::lock::FileLock;
use libimage::platform::Platform;
use libimage::progress::{Progress, Silent};
use libimage::store::{Image, Store};

use crate::edit::Settings;
use crate::error::Result;
use crate::op::{Change, FromOp, Op};
use crate::record::{Record, VERSION, check_name, default_name, lock};
use crate::repro::{Clues, Epoch};
use crate::working::{
    Surroundings, WorkingContainer, WorkingError, base_record, create, image_error, image_lowers,
    pin_owner,
};

/// What a session is told; a library finds no directory and reads no environment itself.
#[derive(Clone)]
pub struct SessionOptions {
    /// Where the runtime keeps the state of running steps; best on a memory file system.
    pub state: PathBuf,
    /// The host's `resolv.conf`, for steps with the host's network; `None` gives them an empty one.
    pub resolv_conf: Option<PathBuf>,
    /// Who is told what happens.
    pub progress: Arc<dyn Progress>,
}

impl SessionOptions {
    /// Returns options with the state in `state`, no `resolv.conf`, and nobody told.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            resolv_conf: None,
            progress: Arc::new(Silent),
        }
    }
}

impl std::fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionOptions")
            .field("state", &self.state)
            .field("resolv_conf", &self.resolv_conf)
            .finish_non_exhaustive()
    }
}

/// The base of a new working container.
#[derive(Clone, Debug, Default)]
#[must_use = "it makes nothing until it is given to Session::from"]
pub struct Base {
    image: Option<String>,
    name: Option<String>,
    clues: Clues,
    platform: Option<Platform>,
}

impl Base {
    /// Begins with an image of the store: a name, a digest, or the beginning of an id.
    pub fn image(name: impl Into<String>) -> Self {
        Self {
            image: Some(name.into()),
            ..Self::default()
        }
    }

    /// Begins with nothing: no file, no setting.
    pub fn scratch() -> Self {
        Self::default()
    }

    /// Names the container, instead of after its image.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Tells what is known about the moment the image shall claim to be from; see [`crate::repro`].
    pub fn clues(mut self, clues: Clues) -> Self {
        self.clues = clues;
        self
    }

    /// Sets the platform an empty base is for, instead of the host's. An image brings its own.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }
}

/// A store and the working containers beside it.
#[derive(Clone, Debug)]
pub struct Session {
    around: Arc<Surroundings>,
}

impl Session {
    /// Opens the working containers of a store: they are below `working/` in the store's own directory.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(store: Arc<Store>, options: SessionOptions) -> Result<Self> {
        let working = store.path().join("working");
        fs::create_dir_all(&working).map_err(WorkingError::io("create", &working))?;
        let SessionOptions {
            state,
            resolv_conf,
            progress,
        } = options;
        Ok(Self {
            around: Arc::new(Surroundings {
                store,
                working,
                state,
                resolv_conf,
                progress,
            }),
        })
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<Store> {
        &self.around.store
    }

    /// Makes a working container. The base's layers are unpacked if they were not.
    ///
    /// # Errors
    /// If there is no such image in the store, or the name is taken or cannot be one.
    pub fn from(&self, base: Base) -> Result<WorkingContainer> {
        if let Some(name) = &base.name {
            check_name(name)?;
        }
        let image = base
            .image
            .as_deref()
            .map(|name| self.around.store.find(name).map_err(image_error))
            .transpose()?;
        let (lowers, _lease, _userxattr) = match &image {
            Some(image) => image_lowers(&self.around.store, image, self.around.progress.as_ref())?,
            None => (Vec::new(), None, false),
        };
        let _lock = self.lock()?;
        let name = self.free_name(&base)?;
        let record = new_record(name, &base, image.as_ref())?;
        let topmost = lowers.first().map(PathBuf::as_path);
        create(&self.around, &record, image.as_ref(), topmost)
    }

    /// Finds a working container by name, id, or the beginning of an id that no other has.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::Ambiguous`].
    pub fn find(&self, name: &str) -> Result<WorkingContainer> {
        let records = self.records()?;
        let exact = records
            .iter()
            .find(|record| record.name == name || record.id == name);
        let mut prefixed = records
            .iter()
            .filter(|record| !name.is_empty() && record.id.starts_with(name));
        let found = match (exact, prefixed.next(), prefixed.next()) {
            (Some(record), ..) | (None, Some(record), None) => record,
            (None, Some(_), Some(_)) => {
                return Err(WorkingError::Ambiguous {
                    name: name.to_owned(),
                }
                .into());
            }
            (None, None, _) => {
                return Err(WorkingError::NotFound {
                    name: name.to_owned(),
                }
                .into());
            }
        };
        Ok(WorkingContainer::of_record(self.around.clone(), found))
    }

    /// Lists the working containers, oldest first.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn list(&self) -> Result<Vec<WorkingContainer>> {
        Ok(self
            .records()?
            .iter()
            .map(|record| WorkingContainer::of_record(self.around.clone(), record))
            .collect())
    }

    /// Reads what is known about all working containers, oldest first.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn records(&self) -> Result<Vec<Record>> {
        Ok(Record::list(&self.around.working)?)
    }

    /// Returns the manifests and layers that working containers need. Each also holds a pin in the store, so a collection keeps them
    /// without being told.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn live(&self) -> Result<Vec<Digest>> {
        let bases = self.records()?.into_iter().filter_map(|record| record.base);
        Ok(bases
            .flat_map(|base| [base.layers, vec![base.manifest]].concat())
            .collect())
    }

    /// Removes a working container with all that was done in it, unmounting it if need be.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InUse`] if another command is at work on it.
    pub fn remove(&self, container: &WorkingContainer) -> Result<()> {
        let _held = container.try_hold()?;
        container.umount_held()?;
        let directory = self.around.working.join(container.id());
        // Without its record there is no container any more: `sweep` removes whatever a kill leaves of it.
        let record = directory.join("record.json");
        fs::remove_file(&record).map_err(WorkingError::io("remove", &record))?;
        self.remove_rest(container.id())
    }

    /// Removes what killed commands left behind: directories without a record.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn sweep(&self) -> Result<()> {
        let _lock = self.lock()?;
        let working = &self.around.working;
        for entry in fs::read_dir(working).map_err(WorkingError::io("list", working))? {
            let entry = entry.map_err(WorkingError::io("list", working))?;
            let path = entry.path();
            if !path.is_dir() || path.join("record.json").exists() {
                continue;
            }
            // Whoever holds the lock is removing it right now.
            if lock(&path, "lock", false)?.is_some() {
                self.remove_rest(&entry.file_name().to_string_lossy())?;
            }
        }
        Ok(())
    }

    /// Removes the files of a container without a record, and lets go of its base.
    fn remove_rest(&self, id: &str) -> Result<()> {
        self.around
            .store
            .unpin(&pin_owner(id))
            .map_err(image_error)?;
        let directory = self.around.working.join(id);
        Ok(fs::remove_dir_all(&directory).map_err(WorkingError::io("remove", &directory))?)
    }

    /// Names are given and directories made under one lock.
    fn lock(&self) -> Result<FileLock> {
        let in_use = || WorkingError::InUse {
            name: "names.lock".to_owned(),
        };
        Ok(lock(&self.around.working, "names.lock", true)?.ok_or_else(in_use)?)
    }

    fn free_name(&self, base: &Base) -> Result<String> {
        let records = self.records()?;
        let holder = |name: &str| records.iter().find(|record| record.name == name);
        match &base.name {
            Some(name) => match holder(name) {
                Some(record) => Err(WorkingError::Exists {
                    name: name.clone(),
                    id: record.id.clone(),
                }
                .into()),
                None => Ok(name.clone()),
            },
            None => Ok(default_name(base.image.as_deref(), |name| {
                holder(name).is_some()
            })),
        }
    }
}

fn new_record(name: String, base: &Base, image: Option<&Image>) -> Result<Record> {
    let settings = match image {
        Some(image) => Settings::of_base(image.raw_config())?,
        None => {
            let platform = base.platform.clone().unwrap_or_else(plain_host);
            Settings::scratch(
                &platform.os,
                &platform.architecture,
                platform.variant.as_deref(),
            )
        }
    };
    let epoch = Epoch::decide(base.clues, settings.config["created"].as_str());
    let manifest = image.map(|image| image.manifest_digest().as_str().to_owned());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs() as i64);
    Ok(Record {
        version: VERSION,
        id: random_id()?,
        name,
        created: now,
        base: image.map(base_record),
        epoch,
        settings,
        steps: vec![Op::From(FromOp { manifest })],
        created_by: None,
        comment: None,
    })
}

/// The host's platform, without the level of its instruction set: that of the machine that builds says nothing about the image.
/// Only 32-bit arm images are told apart by it.
fn plain_host() -> Platform {
    let host = Platform::host();
    let variant = host.variant.filter(|_| host.architecture == "arm");
    Platform { variant, ..host }
}

/// 64 hexadecimal digits nobody has seen before.
fn random_id() -> Result<String> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 32];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(WorkingError::io("read", path))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl WorkingContainer {
    /// Changes the configuration of the image to be: all of `changes` or, if one is refused, none.
    ///
    /// A new entry point removes the default arguments that came with the base, since they were meant for the base's entry
    /// point; those set in this container stay.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] if a value breaks the rule of its field.
    pub fn config(&self, changes: impl IntoIterator<Item = Change>) -> Result<()> {
        let mut held = self.hold()?;
        for change in changes {
            let ours = |op: &Op| matches!(op, Op::Config(Change::Cmd(_)));
            if matches!(change, Change::Entrypoint(_)) && !held.record.steps.iter().any(ours) {
                held.record.settings.apply(&Change::Cmd(Vec::new()))?;
            }
            held.record.settings.apply(&change)?;
            held.record.steps.push(Op::Config(change));
        }
        held.save()
    }

    /// Sets the text and the comment of the layer's entry in the history.
    ///
    /// # Errors
    /// If the record cannot be replaced.
    pub fn describe(&self, created_by: Option<String>, comment: Option<String>) -> Result<()> {
        let mut held = self.hold()?;
        held.record.created_by = created_by.or(held.record.created_by);
        held.record.comment = comment.or(held.record.comment);
        held.save()
    }

    /// Gives the container another name.
    ///
    /// # Errors
    /// If the name is taken or cannot be one.
    pub fn rename(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let session = Session {
            around: self.around.clone(),
        };
        let _lock = session.lock()?;
        session.free_name(&Base::scratch().name(name))?;
        let mut held = self.hold()?;
        name.clone_into(&mut held.record.name);
        held.save()
    }
}
