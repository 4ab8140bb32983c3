//! A working container: a base, an upper directory, and a record of what was done.
//!
//! Whoever changes one holds its lock. The root file system is an overlay of the base's unpacked layers and the upper
//! directory, mounted detached (attached nowhere) for the length of one step: nothing can leak onto the host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libcontainer::rootfs::{Overlay, PreparedRoot, Root};
use libcontainer::spec::UserFiles;
use libimage::lock::FileLock;
use libimage::progress::Progress;
use libimage::store::{Image, Lease, Store};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, Timespec, Timestamps};

use crate::error::{Error, ErrorKind, Result, io_kind};
use crate::record::{BaseRecord, Record, lock};

/// What every operation needs beside the container.
#[derive(Clone)]
pub struct Surroundings {
    /// The images.
    pub store: Arc<Store>,
    /// Where the working containers are: on a file system that overlay accepts as upper.
    pub working: PathBuf,
    /// Where the runtime keeps the state of a running step.
    pub state: PathBuf,
    /// The host's `resolv.conf`, for steps with the host's network.
    pub resolv_conf: Option<PathBuf>,
    /// Who is told about unpacking.
    pub progress: Arc<dyn Progress>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("working", &self.working)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Why a working container cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkingError {
    /// The file system failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is none of that name or id.
    #[error("no working container {name:?}")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// Several ids begin like that.
    #[error("{name:?} is the beginning of several containers' ids")]
    Ambiguous {
        /// What was asked for.
        name: String,
    },
    /// The name is taken.
    #[error("the name {name:?} is taken by container {id}")]
    Exists {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// Another command is at work on it.
    #[error("working container {name:?} is in use by another command")]
    InUse {
        /// Its name.
        name: String,
    },
    /// The base image has been removed from the store.
    #[error("the base of {name:?}, {base}, is not in the store")]
    BaseGone {
        /// The container's name.
        name: String,
        /// The base's name, or the digest of its manifest.
        base: String,
        /// What the store said.
        source: libimage::Error,
    },
}

impl WorkingError {
    pub(crate) fn io<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<WorkingError> for Error {
    fn from(error: WorkingError) -> Self {
        let kind = match &error {
            WorkingError::Io { source, .. } => io_kind(source),
            WorkingError::NotFound { .. } => ErrorKind::NotFound,
            WorkingError::Ambiguous { .. } => ErrorKind::Ambiguous,
            WorkingError::Exists { .. } => ErrorKind::Exists,
            WorkingError::InUse { .. } => ErrorKind::InUse,
            WorkingError::BaseGone { source, .. } => ErrorKind::Image(source.kind()),
        };
        let hint = match &error {
            WorkingError::NotFound { .. } => {
                Some("`build containers` lists them, `build from IMAGE` makes one")
            }
            WorkingError::BaseGone { .. } => Some("pull the base again, or remove the container"),
            _ => None,
        };
        let converted = Self::new(kind, error);
        if let Some(hint) = hint {
            converted.with_hint(hint)
        } else {
            converted
        }
    }
}

/// Wraps an error of the image side.
pub(crate) fn image_error(error: impl Into<libimage::Error>) -> Error {
    let error = error.into();
    Error::new(ErrorKind::Image(error.kind()), error)
}

/// Wraps an error of the container side.
pub(crate) fn container_error(error: libcontainer::Error) -> Error {
    use libcontainer::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::UnknownUser => ErrorKind::UnknownUser,
        Kind::ExecNotFound => ErrorKind::ExecNotFound,
        Kind::ExecNotPermitted => ErrorKind::ExecNotPermitted,
        Kind::PermissionDenied => ErrorKind::PermissionDenied,
        Kind::NoSpace => ErrorKind::NoSpace,
        other => ErrorKind::Container(other.clone()),
    };
    let hint = error.hint().map(str::to_owned);
    let converted = Error::new(kind, error);
    if let Some(hint) = hint {
        converted.with_hint(hint)
    } else {
        converted
    }
}

/// A handle to a working container. Holds no lock: each operation takes it for its own length.
#[derive(Clone, Debug)]
pub struct WorkingContainer {
    pub(crate) around: Arc<Surroundings>,
    id: String,
    name: String,
    directory: PathBuf,
}

impl WorkingContainer {
    pub(crate) fn of_record(around: Arc<Surroundings>, record: &Record) -> Self {
        let directory = around.working.join(&record.id);
        Self {
            around,
            id: record.id.clone(),
            name: record.name.clone(),
            directory,
        }
    }

    /// Returns its id: 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads what is known about it.
    ///
    /// # Errors
    /// If it was removed meanwhile, or its record cannot be read.
    pub fn record(&self) -> Result<Record> {
        let gone = || WorkingError::NotFound {
            name: self.name.clone(),
        };
        Ok(Record::read(&self.directory)?.ok_or_else(gone)?)
    }

    /// Returns the directory where [`WorkingContainer::mount`] shows the root file system.
    pub fn mount_point(&self) -> PathBuf {
        self.directory.join("merged")
    }

    /// Tells whether the root file system is mounted there, in the caller's mount namespace.
    pub fn is_mounted(&self) -> bool {
        let found = rustix::fs::statx(
            CWD,
            self.mount_point(),
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        );
        found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }

    /// Waits for the container's lock and reads its record.
    pub(crate) fn hold(&self) -> Result<Held<'_>> {
        self.hold_or(true)
    }

    /// Takes the container's lock, or says that it is in use.
    pub(crate) fn try_hold(&self) -> Result<Held<'_>> {
        self.hold_or(false)
    }

    fn hold_or(&self, wait: bool) -> Result<Held<'_>> {
        // Without a look first, the error of a container that is gone would be about its lock.
        self.record()?;
        let in_use = || WorkingError::InUse {
            name: self.name.clone(),
        };
        let lock = lock(&self.directory, "lock", wait)?.ok_or_else(in_use)?;
        Ok(Held {
            container: self,
            _lock: lock,
            record: self.record()?,
        })
    }
}

/// A working container whose lock is held.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    container: &'a WorkingContainer,
    _lock: FileLock,
    /// Its record, to be changed and saved.
    pub(crate) record: Record,
}

/// The root file system of a container, mounted but attached nowhere.
#[derive(Debug)]
pub(crate) struct OpenRoot {
    /// The mount.
    pub(crate) mount: PreparedRoot,
    /// Keeps the base's layers while it is used.
    pub(crate) lease: Option<Lease>,
}

impl Held<'_> {
    /// The upper directory.
    pub(crate) fn upper(&self) -> PathBuf {
        self.container.directory.join("upper")
    }

    /// Tells whether nothing is in the container yet: an empty base, and no file made.
    pub(crate) fn is_pristine(&self) -> Result<bool> {
        let upper = self.upper();
        let mut entries = fs::read_dir(&upper).map_err(WorkingError::io("list", &upper))?;
        Ok(self.record.base.is_none() && !self.container.is_mounted() && entries.next().is_none())
    }

    /// The host's `resolv.conf`, if the caller told where it is.
    pub(crate) fn resolv_conf(&self) -> Option<&Path> {
        self.container.around.resolv_conf.as_deref()
    }

    /// A directory of the container's for generated files.
    pub(crate) fn file_directory(&self) -> PathBuf {
        self.container.directory.join("etc")
    }

    /// Writes the record.
    pub(crate) fn save(&self) -> Result<()> {
        Ok(self.record.write(&self.container.directory)?)
    }

    /// Finds the base in the store; `None` for an empty one.
    pub(crate) fn base_image(&self) -> Result<Option<Image>> {
        let Some(base) = &self.record.base else {
            return Ok(None);
        };
        let gone = |error: libimage::store::StoreError| WorkingError::BaseGone {
            name: self.record.name.clone(),
            base: base
                .name
                .clone()
                .unwrap_or_else(|| base.manifest.to_string()),
            source: error.into(),
        };
        Ok(Some(
            self.container
                .around
                .store
                .image(&base.manifest)
                .map_err(gone)?,
        ))
    }

    /// The directories below the upper one, topmost first, unpacked if they were not.
    pub(crate) fn lowers(&self) -> Result<(Vec<PathBuf>, Option<Lease>, bool)> {
        let around = &self.container.around;
        match self.base_image()? {
            Some(image) => image_lowers(&around.store, &image, around.progress.as_ref()),
            None => {
                // Overlay wants at least one lower directory.
                let empty = self.container.directory.join("empty");
                fs::create_dir_all(&empty).map_err(WorkingError::io("create", &empty))?;
                Ok((vec![empty], None, !around.store.options().privileged))
            }
        }
    }

    /// Mounts the root file system, or takes hold of the mount that `mount` made: the same upper directory must not be
    /// mounted twice.
    pub(crate) fn open_root(&self) -> Result<OpenRoot> {
        let (root, lease) = if self.container.is_mounted() {
            (Root::Path(self.container.mount_point()), None)
        } else {
            let (lowers, lease, userxattr) = self.lowers()?;
            let overlay = Overlay {
                lowers,
                upper: Some(self.upper()),
                work: Some(self.container.directory.join("work")),
                userxattr,
                volatile: true,
            };
            // A volatile overlay refuses to be mounted again after it was not unmounted in order (a power cut): the
            // mark says that files may be lost. Here it comes from a step that was killed, whose files are all there.
            let mark = self.container.directory.join("work/work/incompat");
            if let Err(error) = fs::remove_dir_all(&mark)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(WorkingError::io("remove", &mark)(error).into());
            }
            (Root::Overlay(overlay), lease)
        };
        let mount = PreparedRoot::open(&root).map_err(container_error)?;
        Ok(OpenRoot { mount, lease })
    }
}

/// The largest `/etc/passwd` or `/etc/group` that is read.
const USER_FILE_BYTES: usize = 4 << 20;

/// Reads the container's own user data base.
pub(crate) fn user_files(root: &PreparedRoot) -> Result<UserFiles> {
    let read = |path| {
        root.read_file(path, USER_FILE_BYTES)
            .map(Option::unwrap_or_default)
            .map_err(container_error)
    };
    Ok(UserFiles {
        passwd: read("/etc/passwd")?,
        group: read("/etc/group")?,
    })
}

/// The unpacked layers of an image, topmost first.
pub(crate) fn image_lowers(
    store: &Store,
    image: &Image,
    progress: &dyn Progress,
) -> Result<(Vec<PathBuf>, Option<Lease>, bool)> {
    if !image
        .diff_ids()
        .iter()
        .all(|diff_id| store.has_layer(diff_id))
    {
        store.unpack(image, progress).map_err(image_error)?;
    }
    let view = libimage::view::root(store, image).map_err(image_error)?;
    Ok((view.lowers, Some(view.lease), view.userxattr))
}

/// The name under which a container keeps its base in the store.
pub(crate) fn pin_owner(id: &str) -> String {
    format!("build-{id}")
}

/// Makes the directories of a new container, pins its base, and writes its record last, so that a killed command leaves no container.
pub(crate) fn create(
    around: &Arc<Surroundings>,
    record: &Record,
    base: Option<&Image>,
    topmost: Option<&Path>,
) -> Result<WorkingContainer> {
    let container = WorkingContainer::of_record(around.clone(), record);
    let directory = &container.directory;
    for part in ["", "upper", "work", "merged"] {
        let part = directory.join(part);
        fs::create_dir(&part).map_err(WorkingError::io("create", &part))?;
    }
    // The upper directory is the root directory of the merged tree: it must look like the base's.
    let upper = directory.join("upper");
    imitate(topmost, &upper).map_err(WorkingError::io("set the owner and mode of", &upper))?;
    if let Some(image) = base {
        around
            .store
            .pin(&pin_owner(&record.id), image)
            .map_err(image_error)?;
    }
    record.write(directory)?;
    Ok(container)
}

pub(crate) fn imitate(model: Option<&Path>, directory: &Path) -> std::io::Result<()> {
    let (uid, gid, mode, seconds) = match model {
        Some(model) => {
            let about = fs::metadata(model)?;
            (
                about.uid(),
                about.gid(),
                about.mode() & 0o7777,
                about.mtime(),
            )
        }
        None => (0, 0, 0o755, 0),
    };
    std::os::unix::fs::chown(directory, Some(uid), Some(gid))?;
    fs::set_permissions(
        directory,
        std::os::unix::fs::PermissionsExt::from_mode(mode),
    )?;
    rustix::fs::utimensat(CWD, directory, &timestamps(seconds), AtFlags::empty())?;
    Ok(())
}

/// Access and modification time set to whole seconds.
pub(crate) fn timestamps(seconds: i64) -> Timestamps {
    let moment = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: moment,
        last_modification: moment,
    }
}

/// Makes the record's part about a base.
pub(crate) fn base_record(image: &Image) -> BaseRecord {
    BaseRecord {
        name: image.name().map(str::to_owned),
        manifest: image.manifest_digest().clone(),
        image_id: image.id().clone(),
        layers: image.diff_ids().to_vec(),
    }
}
