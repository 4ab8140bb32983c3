//! What is to be run: a specification and a root file system.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::Spec;
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::namespace::{Kind, Namespaces};
use crate::rootfs::{PreparedRoot, Root};
use crate::spec;

pub use crate::spec::Warning;

/// Largest config.json that is read: Kubernetes' are some ten kilobytes, and nobody writes a megabyte by hand.
const CONFIG_BYTES: u64 = 16 << 20;

/// Room for most of them, so that they are read in one go.
const USUAL_BYTES: usize = 32 << 10;

/// A specification and the root file system it is about.
#[derive(Debug)]
pub struct Bundle {
    spec: Spec,
    directory: Option<PathBuf>,
    rootfs: Option<PathBuf>,
    warnings: Vec<Warning>,
    root: Arc<PreparedRoot>,
    /// config.json as it was read.
    config: Option<Arc<[u8]>>,
}

impl Bundle {
    /// Opens a bundle directory: `config.json` and the root file system it names.
    ///
    /// # Errors
    /// The file or the root is missing, or the document is no specification.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::open_with(directory, Path::new("config.json"))
    }

    /// Opens a bundle directory with another document than its `config.json`; a relative path is looked for in the directory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(directory: &Path, config: &Path) -> Result<Self> {
        Self::open_changed(directory, config, |_| {})
    }

    /// As [`Self::open_with`], with a specification that is changed before the root is opened, which depends on its user namespace.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_changed(
        directory: &Path,
        config: &Path,
        change: impl FnOnce(&mut Spec),
    ) -> Result<Self> {
        let (place, directory) = open_directory(directory)?;
        let path = directory.join(config);
        let raw = read_config(&place, config, &path)?;
        let config = path;
        let (mut spec, warnings) = spec::load(&raw).map_err(|error| {
            Error::new(
                ErrorKind::InvalidSpec {
                    field: "config.json".into(),
                },
                "read the specification",
            )
            .with_path(&config)
            .with_source(error)
        })?;
        change(&mut spec);
        let path = spec
            .root()
            .as_ref()
            .map(|root| root.path().clone())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidSpec {
                        field: "root".into(),
                    },
                    "read the specification",
                )
                .with_path(&config)
            })?;
        let rootfs = directory.join(path);
        let root = Arc::new(prepare(&spec, Root::Path(rootfs.clone()))?);
        Ok(Self {
            spec,
            directory: Some(directory),
            rootfs: Some(rootfs),
            warnings,
            root,
            config: Some(raw.into()),
        })
    }

    /// Makes a bundle of a specification and a root that is already prepared; `root.path` of the specification is not used.
    #[must_use]
    pub fn from_spec(spec: Spec, root: PreparedRoot) -> Self {
        Self {
            spec,
            directory: None,
            rootfs: None,
            warnings: Vec::new(),
            root: Arc::new(root),
            config: None,
        }
    }

    /// The specification.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The specification, to change it before anything is planned. The document that is kept stays as it was read.
    pub fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// The directory the bundle was opened from.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The directory of the root file system, if it is one.
    #[must_use]
    pub fn rootfs(&self) -> Option<&Path> {
        self.rootfs.as_deref()
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

    pub(crate) fn shared_root(&self) -> Arc<PreparedRoot> {
        Arc::clone(&self.root)
    }

    pub(crate) fn shared_config(&self) -> Option<Arc<[u8]>> {
        self.config.clone()
    }
}

/// Mounts the root, or leaves that to a container in a user namespace in which it may.
fn prepare(spec: &Spec, root: Root) -> Result<PreparedRoot> {
    match PreparedRoot::open(&root) {
        Err(error) if error.errno() == Some(libc::EPERM) && has_user_namespace(spec) => {
            PreparedRoot::postponed(&root)
        }
        other => other,
    }
}

fn has_user_namespace(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let listed = linux.and_then(|linux| linux.namespaces().as_deref());
    Namespaces::from_spec(listed.unwrap_or_default())
        .is_ok_and(|namespaces| namespaces.has(Kind::User))
}

/// Opens a directory as a place, and gives its name without symlinks: whatever happens to those later, it stays this one.
fn open_directory(path: &Path) -> Result<(OwnedFd, PathBuf)> {
    let failed =
        |errno: Errno| Error::from_errno(errno.raw_os_error(), "open the bundle").with_path(path);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let link = format!("/proc/self/fd/{}", place.as_raw_fd());
    let name = rustix::fs::readlink(link, Vec::new()).map_err(failed)?;
    let name = PathBuf::from(OsString::from_vec(name.into_bytes()));
    // Outside of our root it has no name.
    match name.is_absolute() {
        true => Ok((place, name)),
        false => Err(failed(Errno::NOENT)),
    }
}

/// Reads a document, which may be a pipe. `path` is where it is found, for people.
fn read_config(directory: &OwnedFd, name: &Path, path: &Path) -> Result<Vec<u8>> {
    let io = |error| Error::from_io(error, "read the specification").with_path(path);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(directory, name, flags, Mode::empty());
    let file = File::from(opened.map_err(|errno| io(errno.into()))?);
    let mut raw = Vec::with_capacity(USUAL_BYTES);
    // Only files know places; what one read of a file does not fill was all of it.
    let place = spare_capacity(&mut raw);
    match rustix::io::pread(&file, place, 0) {
        Ok(_) if raw.len() < USUAL_BYTES => {}
        read => {
            if read.is_err() {
                raw.clear();
            }
            (&file).seek(SeekFrom::Start(raw.len() as u64)).ok();
            file.take(CONFIG_BYTES + 1)
                .read_to_end(&mut raw)
                .map_err(io)?;
        }
    }
    if raw.len() as u64 > CONFIG_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidSpec {
                field: "config.json".into(),
            },
            "read the specification",
        )
        .with_path(path)
        .with_hint("it is larger than 16 MiB"));
    }
    Ok(raw)
}
