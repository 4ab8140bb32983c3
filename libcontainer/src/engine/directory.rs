//! The directory of one container: locked while its owner lives, gone afterwards.

use super::{Engine, leftover, name, name::ContainerName, record};
use crate::{
    error::{Error, Result},
    id::ContainerId,
    plan::Plan,
    runtime::Process,
};
use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The file whose lock tells whether the owner lives.
pub(super) const LOCK: &str = "lock";

/// A held lock on a container's directory: shared by its owner, exclusive by whoever removes what a dead owner left.
#[derive(Debug)]
pub(super) struct Claim {
    lock: File,
}

/// Whether a container's owner lives.
#[derive(Debug)]
pub(super) enum Owner {
    /// It holds its lock.
    Lives,
    /// Its lock was free; it is ours now.
    Dead(Claim),
    /// There is no such container any more.
    Gone,
}

impl Claim {
    /// Makes the directory and locks it as its owner; `None` if it exists already, or a sweeper was faster than our lock.
    pub(super) fn fresh(path: &Path) -> Result<Option<Self>> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => {
                return Err(Error::from_io(error, "make the container's directory").with_path(path));
            }
        }
        let Some(lock) = open(path, true)? else {
            return Ok(None);
        };
        let locked = is_locked(lock.try_lock_shared(), path)?;
        Ok((locked && names_something(&lock)).then_some(Self { lock }))
    }
}

impl Drop for Claim {
    /// Unlocks by name: closing alone would leave the lock to a child that was forked this instant and still holds a copy.
    fn drop(&mut self) {
        // It fails only for what is no lock, and the close that follows unlocks too.
        self.lock.unlock().ok();
    }
}

/// Finds out whether a container's owner lives. Waits while somebody else removes what a dead one left.
pub(super) fn owner(path: &Path) -> Result<Owner> {
    let Some(lock) = open(path, false)? else {
        // Its owner died between two system calls, making or removing it: then it is empty.
        std::fs::remove_dir(path).ok();
        return Ok(Owner::Gone);
    };
    if is_locked(lock.try_lock(), path)? {
        return Ok(if names_something(&lock) {
            Owner::Dead(Claim { lock })
        } else {
            Owner::Gone
        });
    }
    lock.lock_shared()
        .map_err(|error| Error::from_io(error, "lock the container").with_path(path))?;
    // Held like any other, for the sake of unlocking it by name.
    let claim = Claim { lock };
    Ok(if names_something(&claim.lock) {
        Owner::Lives
    } else {
        Owner::Gone
    })
}

fn open(path: &Path, create: bool) -> Result<Option<File>> {
    let file = path.join(LOCK);
    match File::options()
        .create(create)
        .truncate(false)
        .write(true)
        .open(&file)
    {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::from_io(error, "open the container's lock").with_path(file)),
    }
}

fn is_locked(tried: std::result::Result<(), TryLockError>, path: &Path) -> Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => {
            Err(Error::from_io(error, "lock the container").with_path(path))
        }
    }
}

/// Whether the locked file still is the directory's: whoever held the lock before may have removed it.
fn names_something(lock: &File) -> bool {
    lock.metadata().is_ok_and(|meta| meta.nlink() > 0)
}

/// A container that is being prepared or runs. Dropping it ends what runs and removes everything.
#[derive(Debug)]
#[must_use = "the container is ended and removed when this is dropped"]
pub struct ContainerDir {
    id: ContainerId,
    name: Option<ContainerName>,
    path: PathBuf,
    engine: Engine,
    /// `None` once it is removed.
    claim: Option<Claim>,
}

impl ContainerDir {
    pub(super) fn new(id: ContainerId, claim: Claim, engine: Engine) -> Result<Self> {
        let path = engine.path_of(&id);
        let this = Self {
            id,
            name: None,
            path,
            engine,
            claim: Some(claim),
        };
        for (directory, mode) in [("upper", 0o755), ("work", 0o700), ("files", 0o755)] {
            make(&this.path.join(directory), mode, false)?;
        }
        Ok(this)
    }

    pub(super) fn take_name(&mut self, name: &ContainerName) -> Result<()> {
        name::take(&self.engine, name, &self.id)?;
        self.name = Some(name.clone());
        Ok(())
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The container's name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&ContainerName> {
        self.name.as_ref()
    }

    /// Where the container's changes go: an overlay's upper directory, empty.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// The overlay's work directory.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// For files that are made for this container and mounted into it.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    /// Notes what the plan will make outside of this directory, before it does: whoever comes after a dead owner finds it.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn note_plan(&self, plan: &Plan) -> Result<()> {
        record::update(&self.path, |record| {
            record.cgroups = plan.cgroup.directories();
        })
    }

    /// Notes the running process, so that whoever comes after a dead owner can end it.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn note_process(&self, process: &Process) -> Result<()> {
        let process = record::Identity::of(process.pid());
        record::update(&self.path, |record| record.process = process)
    }

    /// Ends what runs and removes everything.
    ///
    /// # Errors
    /// Something cannot be removed; the next [`Engine::sweep`] tries again.
    pub fn remove(mut self) -> Result<()> {
        self.remove_now()
    }

    fn remove_now(&mut self) -> Result<()> {
        let Some(claim) = self.claim.take() else {
            return Ok(());
        };
        let named = match self.name.take() {
            Some(name) => name::release(&self.engine, &name, &self.id),
            None => Ok(()),
        };
        leftover::remove(&self.path, claim)?;
        named
    }

    /// Lets go of the lock as death would.
    #[cfg(test)]
    pub(super) fn abandon(mut self) -> ContainerId {
        self.claim = None;
        self.id.clone()
    }
}

impl Drop for ContainerDir {
    fn drop(&mut self) {
        // What is left is found by the next sweep.
        self.remove_now().ok();
    }
}

/// Makes a directory with exactly this mode, whatever the umask; with `parents`, those above it too (those keep the umask).
pub(super) fn make(path: &Path, mode: u32, parents: bool) -> Result<()> {
    let failed = |error| Error::from_io(error, "make the directory").with_path(path);
    if parents && path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .mode(mode)
        .recursive(parents)
        .create(path)
        .map_err(failed)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions).map_err(failed)
}
