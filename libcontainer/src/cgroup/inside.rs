//! Places below a container's cgroup, for further processes in it.

use super::{Cgroup, Hierarchies};
use crate::error::{Error, ErrorKind, Result};
use crate::procfs;
use std::path::{Component, Path, PathBuf};

/// The words are those that callers of runc know.
const STEP: &str = "failed adding pid of the new process to cgroups: open";

/// Where a container is in a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupPlace {
    /// Where the hierarchy is mounted.
    pub(crate) mount: PathBuf,
    /// The container's directory.
    pub(crate) directory: PathBuf,
    /// The same, as the hierarchy names it.
    pub(crate) path: PathBuf,
    /// What the hierarchy is called: its controllers, or none for the unified one.
    pub(crate) controllers: Vec<String>,
}

impl Cgroup {
    /// The cgroup with directories below its own: each of `wanted` is a path, for all hierarchies, or `CONTROLLER[,CONTROLLER]:PATH` for
    /// those with these controllers. A leading `/` is the container's own directory.
    ///
    /// # Errors
    /// A path that leaves the container's cgroup, a place that does not exist, a controller the container has not joined.
    pub(crate) fn inside(&self, wanted: &[String], host: &Hierarchies) -> Result<Self> {
        let mut found = self.clone();
        for one in wanted {
            match one.split_once(':') {
                None => {
                    let path = below(one)?;
                    for directory in found.v1.iter_mut().chain(&mut found.unified) {
                        *directory = existing(directory.join(&path))?;
                    }
                }
                Some((controllers, path)) => {
                    let path = below(path)?;
                    // Those of one hierarchy are named together where they are mounted together, and may be anywhere.
                    let mut changed: Vec<PathBuf> = Vec::new();
                    for controller in controllers.split(',') {
                        let directory = found.with_mut(controller, host).ok_or_else(|| {
                            let what = format!("unknown controller {controllers}");
                            Error::new(ErrorKind::NotFound, what)
                                .with_hint("the container is in no hierarchy with this controller")
                        })?;
                        if !changed.contains(directory) {
                            *directory = existing(directory.join(&path))?;
                            changed.push(directory.clone());
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// Where the container is in each hierarchy of the host: in its own cgroup, or else where the caller is.
    pub(crate) fn places(&self, host: &Hierarchies) -> Vec<CgroupPlace> {
        let place = |mount: &Path, own: &Path, controllers: Vec<String>| {
            let mut directories = self.v1.iter().chain(&self.unified);
            let directory = directories
                .find(|directory| directory.starts_with(mount))
                .map_or(own, PathBuf::as_path);
            let below = directory.strip_prefix(mount).unwrap_or(Path::new(""));
            CgroupPlace {
                mount: mount.to_owned(),
                path: Path::new("/").join(below),
                directory: directory.to_owned(),
                controllers,
            }
        };
        let v1 = host
            .v1
            .iter()
            .map(|one| place(&one.mount, &one.own, one.controllers.clone()));
        let unified = host
            .unified
            .iter()
            .map(|one| place(&one.mount, &one.own, Vec::new()));
        v1.chain(unified).collect()
    }

    /// The directory in the hierarchy with this controller.
    fn with_mut(&mut self, controller: &str, host: &Hierarchies) -> Option<&mut PathBuf> {
        if let Some(hierarchy) = host.v1_with(controller) {
            let mut directories = self.v1.iter_mut();
            return directories.find(|path| path.starts_with(&hierarchy.mount));
        }
        let known = controller.is_empty() || host.unified_with(controller).is_some();
        self.unified.as_mut().filter(|_| known)
    }
}

impl Hierarchies {
    /// Where a process is in the unified hierarchy, if that is the only one.
    pub(crate) fn unified_place(&self, pid: i32) -> Option<Cgroup> {
        if !self.is_v2() {
            return None;
        }
        let mountinfo = procfs::read_text("/proc/self/mountinfo").ok()?;
        let places = procfs::read_text(format!("/proc/{pid}/cgroup")).ok()?;
        let unified = Self::parse(&mountinfo, &places, "").unified?;
        Some(Cgroup {
            unified: Some(unified.own),
            ..Cgroup::default()
        })
    }
}

/// Names below a directory.
fn below(path: &str) -> Result<PathBuf> {
    let mut names = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir | Component::Prefix(_) => {
                let what = format!("bad sub cgroup path: {path} is not a sub cgroup path");
                return Err(Error::new(ErrorKind::PermissionDenied, what));
            }
        }
    }
    Ok(names)
}

fn existing(directory: PathBuf) -> Result<PathBuf> {
    let list = directory.join("cgroup.procs");
    match std::fs::symlink_metadata(&list) {
        Ok(_) => Ok(directory),
        Err(error) => Err(Error::from_io(error, STEP).with_path(list)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::hierarchy::tests::HYBRID;
    use super::*;

    #[test]
    fn a_container_has_a_place_in_every_hierarchy() {
        let host = Hierarchies::parse(HYBRID, "8:pids:/caller\n4:memory:/caller\n0::/caller\n", "");
        let cgroup = Cgroup {
            v1: vec!["/sys/fs/cgroup/pids/box".into()],
            unified: Some("/sys/fs/cgroup/unified/box".into()),
            ..Cgroup::default()
        };
        let places = cgroup.places(&host);
        assert_eq!(places.len(), 9);
        let path = |name: &str| {
            let mut all = places.iter();
            let found = all.find(|place| place.mount.file_name() == Some(name.as_ref()));
            found.unwrap().path.to_str().unwrap()
        };
        assert_eq!((path("pids"), path("memory")), ("/box", "/caller"));
        assert_eq!((path("unified"), path("blkio")), ("/box", "/"));
    }

    #[test]
    fn places_are_below_the_containers_own() {
        let base = tempfile::tempdir().unwrap();
        let mount = base.path();
        let text = HYBRID.replace("/sys/fs/cgroup", mount.to_str().unwrap());
        let host = Hierarchies::parse(&text, "", "hugetlb");
        let own = |hierarchy: &str| mount.join(hierarchy).join("box");
        for hierarchy in ["unified", "pids", "memory"] {
            for directory in [own(hierarchy), own(hierarchy).join("inner")] {
                std::fs::create_dir_all(&directory).unwrap();
                std::fs::write(directory.join("cgroup.procs"), "").unwrap();
            }
        }
        std::fs::create_dir(mount.join("pids/box-sibling")).unwrap();
        let cgroup = Cgroup {
            v1: vec![own("pids"), own("memory")],
            unified: Some(own("unified")),
            ..Cgroup::default()
        };
        let inside = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|one| (*one).to_owned()).collect();
            cgroup.inside(&wanted, &host)
        };
        assert_eq!(inside(&[]).unwrap(), cgroup);
        assert_eq!(inside(&["/"]).unwrap(), cgroup);
        assert_eq!(
            inside(&["inner"]).unwrap().directories(),
            [own("pids"), own("memory"), own("unified")].map(|one| one.join("inner"))
        );
        let mixed = inside(&["memory:/inner", "hugetlb:inner"]).unwrap();
        assert_eq!(mixed.v1, [own("pids"), own("memory").join("inner")]);
        assert_eq!(mixed.unified, Some(own("unified").join("inner")));
        for (wanted, words) in [
            ("..", ": .. is not a sub cgroup path"),
            ("../box-sibling", "bad sub cgroup path"),
            ("inner/../../box-sibling", "bad sub cgroup path"),
            ("pids:..", "bad sub cgroup path"),
            ("nope", "/nope/cgroup.procs: no such file or directory"),
            ("memory:nope", " adding pid of "),
            ("whaaat:/", "unknown controller whaaat"),
            ("cpu:/", "unknown controller cpu"),
            ("pids,cpu:/", "unknown controller pids,cpu"),
        ] {
            let error = inside(&[wanted]).unwrap_err().to_string();
            assert!(error.contains(words), "{wanted}: {error}");
        }
    }
}
