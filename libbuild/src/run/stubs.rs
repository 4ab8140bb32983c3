//! Keeps mount points out of the image.
//!
//! A runtime makes the directories and files it mounts over (`/proc`, `/dev`, `/etc/hosts`) where the root file system has
//! none. In a build these would become part of the layer. So they are made here, before the step, with their identity
//! remembered; afterwards those still there and still empty are removed, and their parents get back the time they had.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};

use rustix::io::Errno;

use crate::rooted::{Made, Rooted, RootedError, failed, file_type, look};

/// The symlinks that are followed to a mount point that does not exist: as many as the kernel follows.
const LINKS: usize = 40;

/// A place that will be mounted over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The path in the container.
    pub(crate) path: PathBuf,
    /// Whether a directory is mounted there; otherwise a file.
    pub(crate) directory: bool,
}

/// The mount points that were made.
#[derive(Debug, Default)]
pub(crate) struct Stubs {
    /// Outermost first.
    made: Vec<Stub>,
    /// Their directories, by device and inode.
    parents: BTreeMap<(u64, u64), Parent>,
}

#[derive(Debug)]
struct Stub {
    path: PathBuf,
    parent: (u64, u64),
    identity: (u64, u64),
    directory: bool,
}

/// A directory that got stubs: its modification time before the first and after the last of them.
#[derive(Debug)]
struct Parent {
    fd: OwnedFd,
    path: PathBuf,
    before: (i64, i64),
    after: (i64, i64),
}

impl Stubs {
    /// Makes the mount points that are missing.
    pub(crate) fn make(root: &Rooted<'_>, targets: &[Target]) -> Result<Self, RootedError> {
        let mut stubs = Self::default();
        for target in targets {
            if root.stat(&target.path)?.is_some() {
                continue;
            }
            let path = missing_end(root, &target.path)?;
            let directory = if target.directory {
                path.as_path()
            } else {
                above(&path)
            };
            let (_opened, made) = root.make_directories(directory)?;
            for entry in made {
                stubs.note(entry, true)?;
            }
            if !target.directory {
                stubs.note(make_file(root, &path)?, false)?;
            }
        }
        for parent in stubs.parents.values_mut() {
            parent.after = modified(&stat(&parent.fd, &parent.path)?);
        }
        Ok(stubs)
    }

    fn note(&mut self, entry: Made, directory: bool) -> Result<(), RootedError> {
        let Made {
            path,
            parent,
            parent_before,
        } = entry;
        let found = look(&parent, name(&path)).map_err(failed("look at", &path))?;
        let identity = found.map_or((0, 0), |stat| (stat.st_dev, stat.st_ino));
        let key = (parent_before.st_dev, parent_before.st_ino);
        let before = modified(&parent_before);
        let new = || Parent {
            fd: parent,
            path: above(&path).to_owned(),
            before,
            after: before,
        };
        self.parents.entry(key).or_insert_with(new);
        self.made.push(Stub {
            path,
            parent: key,
            identity,
            directory,
        });
        Ok(())
    }

    /// Removes those that are still there and still empty, and gives their directories back the time they had; one that the
    /// step itself changed keeps its new time.
    pub(crate) fn remove(self) -> Result<(), RootedError> {
        let mut times = BTreeMap::new();
        for (key, parent) in &self.parents {
            let now = modified(&stat(&parent.fd, &parent.path)?);
            times.insert(
                *key,
                if now == parent.after {
                    parent.before
                } else {
                    now
                },
            );
        }
        for stub in self.made.iter().rev() {
            if let Some(parent) = self.parents.get(&stub.parent) {
                stub.remove(&parent.fd)?;
            }
        }
        for (key, parent) in &self.parents {
            let (tv_sec, tv_nsec) = times[key];
            let moment = Timespec {
                tv_sec,
                tv_nsec: tv_nsec as _,
            };
            let times = Timestamps {
                last_access: moment,
                last_modification: moment,
            };
            rustix::fs::futimens(&parent.fd, &times)
                .map_err(failed("set the time of", &parent.path))?;
        }
        Ok(())
    }
}

impl Stub {
    fn remove(&self, parent: &OwnedFd) -> Result<(), RootedError> {
        let name = name(&self.path);
        let Some(stat) = look(parent, name).map_err(failed("look at", &self.path))? else {
            return Ok(());
        };
        let expected = if self.directory {
            FileType::Directory
        } else {
            FileType::RegularFile
        };
        let same = (stat.st_dev, stat.st_ino) == self.identity && file_type(&stat) == expected;
        if !same || (!self.directory && stat.st_size != 0) {
            return Ok(());
        }
        let flags = if self.directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(parent, name, flags) {
            // The step put something into it: now it belongs to the image.
            Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("remove the mount point", &self.path)(errno)),
        }
    }
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

fn stat(directory: &OwnedFd, path: &Path) -> Result<Stat, RootedError> {
    rustix::fs::fstat(directory).map_err(failed("look at", path))
}

fn modified(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec as i64)
}

/// Follows symlinks to nothing until the name that can be made.
fn missing_end(root: &Rooted<'_>, path: &Path) -> Result<PathBuf, RootedError> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Some((parent, name)) = root.parent(&path)? else {
            return Ok(path);
        };
        match rustix::fs::readlinkat(&parent, &name, Vec::new()) {
            Ok(link) => {
                let link: &std::ffi::OsStr =
                    std::os::unix::ffi::OsStrExt::from_bytes(link.to_bytes());
                path = path.parent().unwrap_or(Path::new("/")).join(link);
            }
            Err(_) => return Ok(path),
        }
    }
    Err(RootedError::Dangling { path })
}

fn make_file(root: &Rooted<'_>, path: &Path) -> Result<Made, RootedError> {
    let missing = || failed("open the directory of", path)(rustix::io::Errno::NOENT);
    let (parent, name): (OwnedFd, PathBuf) = root.parent(path)?.ok_or_else(missing)?;
    let parent_before = rustix::fs::fstat(&parent).map_err(failed("look at", path))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, &name, flags, Mode::from(0o644)).map_err(failed("create", path))?;
    Ok(Made {
        path: path.to_owned(),
        parent,
        parent_before,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::time::{Duration, SystemTime};

    fn target(path: &str, directory: bool) -> Target {
        Target {
            path: path.into(),
            directory,
        }
    }

    #[test]
    fn nothing_is_left_of_untouched_mount_points() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        std::os::unix::fs::symlink("../run/resolve/stub.conf", etc.join("resolv.conf")).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        for directory in [&etc, root.path()] {
            fs::File::open(directory)
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        let fd = fs::File::open(root.path()).unwrap();
        let targets = [
            target("/proc", true),
            target("/dev", true),
            target("/dev/shm", true),
            target("/etc/resolv.conf", false),
            target("/etc/hosts", false),
            target("/etc", true),
        ];
        let stubs = Stubs::make(&Rooted::new(fd.as_fd()), &targets).unwrap();
        for made in ["proc", "dev/shm", "run/resolve/stub.conf", "etc/hosts"] {
            assert!(root.path().join(made).exists(), "{made}");
        }
        stubs.remove().unwrap();
        let left: Vec<_> = fs::read_dir(root.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["etc"]);
        assert_eq!(fs::read_dir(&etc).unwrap().count(), 1, "the symlink");
        for directory in [&etc, root.path()] {
            assert_eq!(
                fs::metadata(directory).unwrap().modified().unwrap(),
                old,
                "{}",
                directory.display()
            );
        }
    }

    #[test]
    fn what_the_step_filled_or_replaced_stays() {
        let root = tempfile::tempdir().unwrap();
        let fd = fs::File::open(root.path()).unwrap();
        let targets = [
            target("/a", true),
            target("/b", false),
            target("/c/d", true),
            target("/e", true),
        ];
        let stubs = Stubs::make(&Rooted::new(fd.as_fd()), &targets).unwrap();
        fs::write(root.path().join("a/kept"), "").unwrap();
        fs::write(root.path().join("b"), "content").unwrap();
        fs::remove_dir(root.path().join("e")).unwrap();
        fs::write(root.path().join("e"), "").unwrap();
        stubs.remove().unwrap();
        for (name, stays) in [("a/kept", true), ("b", true), ("c", false), ("e", true)] {
            assert_eq!(root.path().join(name).exists(), stays, "{name}");
        }
    }
}
