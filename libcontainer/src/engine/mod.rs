//! What a tool needs above the plain runtime: a directory and perhaps a name for each container, and nothing left behind.
//!
//! ```text
//! containers/<id>/{lock, record.json, upper/, work/, files/}   the lock is held as long as the container's owner lives
//! names/<name> -> <id>                                         a symlink: making it is atomic, so it is the lock on the name
//! ```
//!
//! A container belongs to the process that began it. When that process dies without tidying up (SIGKILL, power cut) its lock is free,
//! and whoever comes next ([`Engine::sweep`], or a claim on the same name) ends what still runs and removes the rest. Nothing is
//! inferred from process ids alone: they are checked against start time and boot.
//!
//! # Durability
//! Nothing here is synced to disk: it only describes processes, and those do not survive a power cut either.

mod directory;
mod leftover;
mod name;
mod record;
mod root;

pub use directory::ContainerDir;
pub use name::ContainerName;
pub use root::user_files;

use crate::{
    error::{Error, ErrorKind, Result},
    id::ContainerId,
};
use directory::{Claim, Owner, owner};
use rustix::rand::{GetRandomFlags, getrandom};
use std::path::{Path, PathBuf};

/// Where an engine keeps its containers.
#[derive(Debug, Clone)]
pub struct Engine {
    containers: PathBuf,
    names: PathBuf,
}

/// How often a fresh id is tried: 256 random bits do not meet twice, only a sweeper may come between.
const ATTEMPTS: usize = 16;

impl Engine {
    /// Opens the engine whose containers and names are kept below `root`; makes the directories if missing.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let engine = Self {
            containers: root.join("containers"),
            names: root.join("names"),
        };
        for directory in [&engine.containers, &engine.names] {
            directory::make(directory, 0o700, true)?;
        }
        Ok(engine)
    }

    /// Begins a container: a fresh id, a directory that is locked until the result is dropped, and the name.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if a living container has the name.
    pub fn begin(&self, name: Option<&ContainerName>) -> Result<ContainerDir> {
        for _ in 0..ATTEMPTS {
            let id = fresh_id()?;
            let Some(claim) = Claim::fresh(&self.containers.join(id.as_str()))? else {
                continue;
            };
            let mut directory = ContainerDir::new(id, claim, self.clone())?;
            if let Some(name) = name {
                directory.take_name(name)?;
            }
            return Ok(directory);
        }
        Err(Error::new(ErrorKind::Exists, "begin a container").with_path(&self.containers))
    }

    /// The containers that live: those whose owner holds the lock.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn living(&self) -> Result<Vec<ContainerId>> {
        let mut ids = self.ids()?;
        ids.retain(|id| matches!(owner(&self.path_of(id)), Ok(Owner::Lives)));
        Ok(ids)
    }

    /// Ends and removes what dead owners left behind, and returns the ids. What cannot be removed is left for the next time.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn sweep(&self) -> Result<Vec<ContainerId>> {
        let mut swept = self.ids()?;
        swept.retain(|id| self.reclaim(id).unwrap_or(false));
        name::prune(self)?;
        Ok(swept)
    }

    /// Removes one container if its owner is dead; returns whether it is gone.
    fn reclaim(&self, id: &ContainerId) -> Result<bool> {
        let path = self.path_of(id);
        match owner(&path)? {
            Owner::Dead(claim) => leftover::remove(&path, claim).map(|()| true),
            Owner::Gone => Ok(true),
            Owner::Lives => Ok(false),
        }
    }

    fn ids(&self) -> Result<Vec<ContainerId>> {
        let failed = |error| Error::from_io(error, "list containers").with_path(&self.containers);
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.containers).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // What is not an id is not ours.
            if let Some(Ok(id)) = name.to_str().map(ContainerId::parse) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    fn path_of(&self, id: &ContainerId) -> PathBuf {
        self.containers.join(id.as_str())
    }
}

/// 256 random bits in hexadecimal, as every tool of the field makes them.
fn fresh_id() -> Result<ContainerId> {
    let mut bytes = [0_u8; 32];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|errno| Error::from_errno(errno.raw_os_error(), "make a container id"))?;
    debug_assert_eq!(filled, bytes.len(), "up to 256 bytes come at once");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ContainerId::parse(&hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> (tempfile::TempDir, Engine) {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path()).unwrap();
        (dir, engine)
    }

    fn entries(path: &Path) -> usize {
        std::fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn a_container_leaves_nothing_when_it_is_dropped() {
        let (dir, engine) = engine();
        let name: ContainerName = "web".parse().unwrap();
        let container = engine.begin(Some(&name)).unwrap();
        assert_eq!(engine.living().unwrap(), [container.id().clone()]);
        std::fs::write(container.upper().join("file"), "x").unwrap();
        assert_eq!(engine.sweep().unwrap(), []);
        drop(container);
        assert_eq!(entries(&dir.path().join("containers")), 0);
        assert_eq!(std::fs::read_link(dir.path().join("names/web")).ok(), None);
    }

    #[test]
    fn a_name_belongs_to_one_living_container() {
        let (_dir, engine) = engine();
        let name: ContainerName = "web".parse().unwrap();
        let first = engine.begin(Some(&name)).unwrap();
        let error = engine.begin(Some(&name)).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Exists);
        assert!(error.to_string().contains(first.id().as_str()), "{error}");
        assert_eq!(
            engine.living().unwrap().len(),
            1,
            "the loser leaves nothing"
        );
        drop(first);
        engine.begin(Some(&name)).unwrap().remove().unwrap();
    }

    #[test]
    fn what_a_dead_owner_left_is_swept_and_its_name_is_free() {
        let (dir, engine) = engine();
        let name: ContainerName = "web".parse().unwrap();
        let id = engine.begin(Some(&name)).unwrap().abandon();
        assert_eq!(engine.living().unwrap(), []);
        let second = engine.begin(Some(&name)).unwrap();
        assert!(!dir.path().join("containers").join(id.as_str()).exists());
        let other = engine.begin(None).unwrap().abandon();
        assert_eq!(engine.sweep().unwrap(), [other]);
        assert_eq!(engine.living().unwrap(), [second.id().clone()]);
    }

    #[test]
    fn many_at_once_want_one_name_and_one_gets_it() {
        for _ in 0..50 {
            many_want_one_name();
        }
    }

    fn many_want_one_name() {
        let (dir, engine) = engine();
        let name: ContainerName = "web".parse().unwrap();
        engine.begin(Some(&name)).unwrap().abandon();
        let (winners, losers): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| engine.begin(Some(&name))))
                .collect();
            tries
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .partition(Result::is_ok)
        });
        assert_eq!((winners.len(), losers.len()), (1, 7), "{losers:?}");
        drop(winners);
        assert_eq!(entries(&dir.path().join("containers")), 0);
    }
}
