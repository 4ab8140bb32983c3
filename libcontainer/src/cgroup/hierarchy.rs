//! Which hierarchies the host has, and where the calling process is in them.

use crate::procfs;
use std::{
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// One v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// `cpu`, `cpuacct` …; `name=systemd` for one without controllers.
    pub(super) controllers: Vec<String>,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The caller's own directory.
    pub(super) own: PathBuf,
}

/// The v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unified {
    pub(super) mount: PathBuf,
    pub(super) own: PathBuf,
    /// Those that no v1 hierarchy holds, when they have been asked for.
    controllers: OnceLock<Vec<String>>,
}

impl Unified {
    pub(super) fn controllers(&self) -> &[String] {
        self.controllers.get_or_init(|| {
            let path = self.mount.join("cgroup.controllers");
            // Without a file there is no controller, and that is an answer.
            words(&procfs::read_record(path).unwrap_or_default())
        })
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers().iter().any(|one| one == controller)
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Where the host's hierarchies are mounted, and where in each of them the caller is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    pub(super) v1: Vec<Hierarchy>,
    pub(super) unified: Option<Unified>,
}

impl Hierarchies {
    /// Reads three texts: `/proc/self/mountinfo`, `/proc/self/cgroup`, and `cgroup.controllers` of the unified hierarchy's root
    /// (empty if there is none). Pure.
    ///
    /// Of a hierarchy that is mounted several times the first place counts.
    pub fn parse(mountinfo: &str, own: &str, controllers: &str) -> Self {
        let mut found = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            match mount.kind {
                "cgroup2" if found.unified.is_none() => {
                    let own = own_path(own, |id, names| id == "0" && names.is_empty());
                    found.unified = Some(Unified {
                        own: mount.directory(own),
                        mount: mount.point,
                        controllers: words(controllers).into(),
                    });
                }
                "cgroup" => {
                    let controllers = mount.controllers();
                    if found
                        .v1
                        .iter()
                        .any(|known| known.controllers == controllers)
                    {
                        continue;
                    }
                    let own = own_path(own, |_, names| {
                        !names.is_empty()
                            && names
                                .split(',')
                                .all(|name| controllers.iter().any(|one| one == name))
                    });
                    found.v1.push(Hierarchy {
                        own: mount.directory(own),
                        mount: mount.point,
                        controllers,
                    });
                }
                _ => {}
            }
        }
        found
    }

    /// Reads the files of the calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn detect() -> io::Result<Self> {
        Self::detect_in(&procfs::read_text("/proc/self/mountinfo")?)
    }

    /// Reads the other files of the calling process, whose mountinfo is known.
    pub(crate) fn detect_in(mountinfo: &str) -> io::Result<Self> {
        let own = procfs::read_record("/proc/self/cgroup")?;
        let mut found = Self::parse(mountinfo, &own, "");
        if let Some(unified) = &mut found.unified {
            unified.controllers = OnceLock::new();
        }
        Ok(found)
    }

    /// Whether the unified hierarchy is the only one.
    pub fn is_v2(&self) -> bool {
        self.unified.is_some() && self.v1.is_empty()
    }

    /// Whether a cgroup can be made in which the number of processes can be limited.
    ///
    /// For uid 0 of the machine that is the root of the hierarchy; for anybody else their own cgroup, and there only if its
    /// controllers are handed down already: the kernel does not allow that to be changed while processes are in it.
    pub fn may_create(&self) -> bool {
        let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        match (self.v1_with("pids"), &self.unified) {
            (Some(pids), _) => writable(&pids.mount),
            (None, Some(unified)) if unified.has("pids") => {
                let handed_down = || {
                    crate::procfs::read_record(unified.own.join("cgroup.subtree_control"))
                        .is_ok_and(|text| text.split_ascii_whitespace().any(|one| one == "pids"))
                };
                writable(&unified.mount) || (writable(&unified.own) && handed_down())
            }
            _ => false,
        }
    }

    pub(super) fn v1_with(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|one| one == controller))
    }

    pub(super) fn unified_with(&self, controller: &str) -> Option<&Unified> {
        self.unified
            .as_ref()
            .filter(|unified| unified.has(controller))
    }
}

/// A line of mountinfo.
struct Mount<'a> {
    /// Which directory of the hierarchy is the root of the mount.
    root: String,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescape(left.next()?), unescape(left.next()?));
        let mut right = right.split(' ');
        let kind = right.next()?;
        right.next()?;
        Some(Self {
            root,
            point: point.into(),
            kind,
            options: right.next()?,
        })
    }

    /// The words of the options that name what is in the hierarchy.
    fn controllers(&self) -> Vec<String> {
        const OTHERS: [&str; 7] = [
            "rw",
            "ro",
            "xattr",
            "clone_children",
            "cpuset_v2_mode",
            "noprefix",
            "favordynmods",
        ];
        let words = self
            .options
            .split(',')
            .filter(|word| !OTHERS.contains(word) && !word.starts_with("release_agent="));
        words.map(str::to_owned).collect()
    }

    /// Where a cgroup of the hierarchy can be seen. In a container the mount shows a part only, and the path is that of the whole.
    fn directory(&self, path: &str) -> PathBuf {
        let inside = Path::new(path)
            .strip_prefix(&self.root)
            .or_else(|_| Path::new(path).strip_prefix("/"));
        match inside {
            Ok(inside) if !climbs(inside) && inside.as_os_str() != "" => self.point.join(inside),
            // The root itself, or outside of what this cgroup namespace shows.
            _ => self.point.clone(),
        }
    }
}

fn climbs(path: &Path) -> bool {
    path.components()
        .any(|part| part == std::path::Component::ParentDir)
}

fn own_path(text: &str, is: impl Fn(&str, &str) -> bool) -> &str {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .find(|(id, names, _)| is(id, names))
        .map_or("/", |(_, _, path)| path)
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code =
            octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime shared:9 - cgroup cgroup rw,cpuset\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices\n\
        37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n\
        38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio\n\
        39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n\
        42 31 0:36 / /mnt/pids rw,relatime - cgroup cgroup rw,pids\n";
    pub(in super::super) const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn hybrid_v1_and_v2_are_told_apart() {
        let own = "9:cpu,cpuacct:/a\n8:pids:/b/c\n7:name=systemd:/d\n0::/e\n";
        let hybrid = Hierarchies::parse(HYBRID, own, "hugetlb\n");
        assert_eq!(hybrid.v1.len(), 8);
        assert!(!hybrid.is_v2());
        let at = |controller| {
            hybrid
                .v1_with(controller)
                .map(|one| one.own.to_string_lossy().into_owned())
        };
        assert_eq!(
            at("cpuacct").as_deref(),
            Some("/sys/fs/cgroup/cpu,cpuacct/a")
        );
        assert_eq!(at("pids").as_deref(), Some("/sys/fs/cgroup/pids/b/c"));
        assert_eq!(
            at("name=systemd").as_deref(),
            Some("/sys/fs/cgroup/systemd/d")
        );
        assert_eq!(at("memory").as_deref(), Some("/sys/fs/cgroup/memory"));
        assert_eq!(at("hugetlb"), None);
        let unified = hybrid.unified_with("hugetlb").unwrap();
        assert_eq!(
            (unified.mount.as_path(), unified.own.as_path()),
            (
                Path::new("/sys/fs/cgroup/unified"),
                Path::new("/sys/fs/cgroup/unified/e")
            )
        );

        let v2 = Hierarchies::parse(V2, "0::/user.slice/x\n", "cpu io memory pids");
        assert!(v2.is_v2());
        assert_eq!(
            v2.unified_with("io").unwrap().own,
            Path::new("/sys/fs/cgroup/user.slice/x")
        );
        let v1: String = HYBRID
            .lines()
            .filter(|line| !line.contains("cgroup2"))
            .map(|line| format!("{line}\n"))
            .collect();
        let v1 = Hierarchies::parse(&v1, own, "");
        assert!(v1.unified.is_none() && !v1.is_v2());
        assert_eq!(Hierarchies::parse("", "", ""), Hierarchies::default());
        assert!(!Hierarchies::default().may_create());
    }

    #[test]
    fn a_container_sees_a_part() {
        // Without a cgroup namespace: paths of the whole, a mount of a part.
        let part = "30 23 0:26 /docker/x /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        let found = Hierarchies::parse(part, "3:pids:/docker/x/y\n", "");
        assert_eq!(found.v1[0].own, Path::new("/sys/fs/cgroup/pids/y"));
        // A process outside of the namespace's root.
        let found = Hierarchies::parse(V2, "0::/../z\n", "");
        assert_eq!(found.unified.unwrap().own, Path::new("/sys/fs/cgroup"));
        let odd = "30 23 0:26 / /mnt/a\\040b\\134c rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            Hierarchies::parse(odd, "", "").unified.unwrap().mount,
            Path::new("/mnt/a b\\c")
        );
        for broken in [
            "30",
            "30 23 0:26 / - cgroup2",
            "30 23 0:26 / /x - cgroup2 cgroup2",
            "\\04",
        ] {
            assert_eq!(
                Hierarchies::parse(broken, "x:y\n0", ""),
                Hierarchies::default(),
                "{broken}"
            );
        }
        assert_eq!(unescape("\\04"), "\\04");
    }
}
