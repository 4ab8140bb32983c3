//! Which mounts of a container are not CRIU's business: what lies on the host, and is bound there again. Decisions are pure.
//!
//! CRIU saves mounts whose file system it can make again (`proc`, `tmpfs` with its files …) and binds within the container. A mount that
//! shows something of the host has to be declared, under a name; who restores it says which path of the host belongs to the name.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};

use crate::cgroup::{Cgroup, CgroupPlace, Hierarchies};
use crate::error::{Error, Result};
use crate::init::make_mount_point;
use crate::mount::MountOptions;
use crate::namespace::{Kind, Namespaces};
use crate::plan::{device_paths, normalize};
use crate::procfs;

/// What masked files are called, and what they become.
const NULL: &str = "/dev/null";

/// A line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) id: u64,
    point: PathBuf,
    kind: String,
}

/// A mount of the container, and either its name (when it is saved) or the path of the host (when it comes back).
pub(super) type External = (PathBuf, PathBuf);

/// Reads the mounts of a process.
pub(super) fn mounts_of(process: &str) -> Result<Vec<Mounted>> {
    let path = format!("/proc/{process}/mountinfo");
    let text = procfs::read_text(&path)
        .map_err(|error| Error::from_io(error, "read the mounts").with_path(path))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Mounted> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        Some(Mounted {
            id: left.next()?.parse().ok()?,
            point: unescape(left.nth(3)?),
            kind: right.split(' ').next()?.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = rest.clone().take(3).collect::<Vec<_>>();
        let code = std::str::from_utf8(&digits)
            .ok()
            .filter(|digits| byte == b'\\' && digits.len() == 3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if code.is_some() {
            rest.nth(2);
        }
        bytes.push(code.unwrap_or(byte));
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// A mount of the specification, as far as it matters here.
struct Wanted {
    destination: PathBuf,
    /// Of a bind mount.
    source: Option<PathBuf>,
    recursive: bool,
    cgroups: bool,
}

fn wanted(spec: &Spec) -> Vec<Wanted> {
    let mounts = spec.mounts().iter().flatten();
    let one = |mount: &oci_spec::runtime::Mount| {
        let kind = mount.typ().as_deref().filter(|kind| !kind.is_empty());
        let words = mount.options().as_deref().unwrap_or_default();
        // The specification was planned with, so the options are known.
        let options = MountOptions::parse(kind, words).unwrap_or_default();
        Wanted {
            destination: normalize(mount.destination()),
            source: mount.source().clone().filter(|_| options.bind),
            recursive: options.recursive,
            cgroups: !options.bind && matches!(kind, Some("cgroup" | "cgroup2")),
        }
    };
    mounts.map(one).collect()
}

fn has_cgroup_namespace(spec: &Spec) -> bool {
    let listed = spec.linux().as_ref();
    let listed = listed.and_then(|linux| linux.namespaces().as_deref());
    Namespaces::from_spec(listed.unwrap_or_default()).is_ok_and(|all| all.has(Kind::Cgroup))
}

fn devices(spec: &Spec) -> Vec<PathBuf> {
    let listed = spec.linux().as_ref();
    device_paths(
        listed
            .and_then(|linux| linux.devices().as_deref())
            .unwrap_or_default(),
    )
}

fn masked(spec: &Spec) -> &[String] {
    let linux = spec.linux().as_ref();
    linux
        .and_then(|linux| linux.masked_paths().as_deref())
        .unwrap_or_default()
}

/// What a path of the container leads to, if a mount begins there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    mount: u64,
    directory: bool,
}

/// Looks into the root of a process, as its own paths lead.
pub(super) fn look(root: BorrowedFd<'_>, path: &Path) -> Option<Place> {
    let opened = open_in(root, path)?;
    let mask = StatxFlags::MNT_ID | StatxFlags::TYPE;
    let found = rustix::fs::statx(&opened, c"", AtFlags::EMPTY_PATH, mask).ok()?;
    let begins = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    let kind = rustix::fs::FileType::from_raw_mode(found.stx_mode.into());
    begins.then_some(Place {
        mount: found.stx_mnt_id,
        directory: kind.is_dir(),
    })
}

fn open_in(root: BorrowedFd<'_>, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).ok()
}

/// The mounts that are declared when the container is saved, with their names.
pub(super) fn declared(
    spec: &Spec,
    mounts: &[Mounted],
    look: &dyn Fn(&Path) -> Option<Place>,
) -> Vec<External> {
    let find = |path: &Path| {
        let place = look(path)?;
        let mount = mounts.iter().find(|mount| mount.id == place.mount)?;
        Some((mount.point.clone(), place))
    };
    let mut found: Vec<External> = Vec::new();
    for path in masked(spec) {
        // Directories are covered by a file system in memory, which CRIU can make.
        if let Some((
            point,
            Place {
                directory: false, ..
            },
        )) = find(Path::new(path))
        {
            found.push((point, NULL.into()));
        }
    }
    let owners: Vec<(PathBuf, bool)> = wanted(spec)
        .into_iter()
        .map(|one| {
            let point = find(&one.destination).map(|(point, _)| point);
            (point.unwrap_or(one.destination), one.source.is_some())
        })
        .collect();
    let (own_view, devices) = (has_cgroup_namespace(spec), devices(spec));
    for mount in mounts {
        let point = &mount.point;
        if point == Path::new("/") || found.iter().any(|(known, _)| known == point) {
            continue;
        }
        // What came along with a bind of a whole tree is below it.
        let bound = owners
            .iter()
            .filter(|(above, _)| point.starts_with(above))
            .max_by_key(|(above, _)| above.components().count())
            .is_some_and(|(_, bound)| *bound);
        let foreign = !own_view && matches!(mount.kind.as_str(), "cgroup" | "cgroup2");
        if bound || foreign || devices.contains(point) {
            found.push((point.clone(), point.clone()));
        }
    }
    found
}

/// Makes the mount points that are missing in a root file system, and gives where the mounts of the specification really are.
///
/// What is below another mount is left alone: CRIU makes it again, or it was made on the host when the container was.
pub(super) fn make_points(
    spec: &Spec,
    root: BorrowedFd<'_>,
    bundle: &Path,
) -> Result<Vec<PathBuf>> {
    let all = wanted(spec);
    let mut points = Vec::new();
    for one in &all {
        let mut others = all.iter().map(|other| other.destination.as_path());
        let below = others.any(|other| {
            other != one.destination
                && other != Path::new("/")
                && one.destination.starts_with(other)
        });
        if below {
            points.push(one.destination.clone());
            continue;
        }
        let directory = match &one.source {
            Some(source) => bundle.join(source).is_dir(),
            None => true,
        };
        let path = CString::new(one.destination.as_os_str().as_bytes());
        let path = path.map_err(|error| {
            let error = std::io::Error::from(error);
            Error::from_io(error, "make a mount point").with_path(&one.destination)
        })?;
        let place = make_mount_point(root, &path, directory)?;
        // Symlinks in the image are followed when the container is made, and its mounts are known by where they led.
        let link = format!("/proc/self/fd/{}", place.as_fd().as_raw_fd());
        let real = std::fs::read_link(link).ok();
        points.push(
            real.filter(|path| path.is_absolute())
                .unwrap_or_else(|| one.destination.clone()),
        );
    }
    Ok(points)
}

/// What is bound when the container comes back, with the paths of the host.
pub(super) fn bound(
    spec: &Spec,
    points: &[PathBuf],
    bundle: &Path,
    host: &[Mounted],
    cgroups: &[CgroupPlace],
) -> Vec<External> {
    let mut found: Vec<External> = Vec::new();
    for (one, point) in wanted(spec).iter().zip(points) {
        if let Some(source) = &one.source {
            let source = bundle.join(source);
            let real = source.canonicalize().unwrap_or_else(|_| source.clone());
            let below = host
                .iter()
                .filter(|mount| one.recursive && mount.point != real);
            found.extend(below.filter_map(|mount| {
                let rest = mount.point.strip_prefix(&real).ok()?;
                Some((point.join(rest), mount.point.clone()))
            }));
            found.push((point.clone(), source));
        } else if one.cgroups && !has_cgroup_namespace(spec) {
            let several = cgroups.len() > 1;
            found.extend(cgroups.iter().map(|place| {
                let name = place.mount.file_name().unwrap_or_default();
                let below = if several {
                    point.join(name)
                } else {
                    point.clone()
                };
                (below, place.directory.clone())
            }));
        }
    }
    if !masked(spec).is_empty() {
        found.push((NULL.into(), NULL.into()));
    }
    for device in devices(spec) {
        if !found.iter().any(|(name, _)| *name == device) {
            found.push((device.clone(), device));
        }
    }
    found
}

/// Where a container's cgroups are.
pub(super) fn cgroup_places(cgroup: &Cgroup) -> Result<Vec<CgroupPlace>> {
    let host = Hierarchies::detect()
        .map_err(|error| Error::from_io(error, "read the control groups").with_path("/proc"))?;
    Ok(cgroup.places(&host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MOUNTS: &str = "\
        50 1 0:30 /srv/root / rw - ext4 /dev/vda rw\n\
        51 50 0:31 / /proc rw - proc proc rw\n\
        52 50 0:32 / /dev rw - tmpfs tmpfs rw\n\
        53 52 0:33 / /dev/pts rw - devpts devpts rw\n\
        54 50 0:30 /data/a /real/data rw - ext4 /dev/vda rw\n\
        55 54 0:40 / /real/data/sub\\040dir rw - ext4 /dev/vdb rw\n\
        56 54 0:41 / /real/data/tmp rw - tmpfs tmpfs rw\n\
        57 51 0:32 /null /proc/kcore rw - tmpfs tmpfs rw\n\
        58 51 0:42 / /proc/acpi ro - tmpfs tmpfs ro\n\
        59 50 0:43 /box /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n\
        60 52 0:6 /null /dev/null rw - devtmpfs dev rw\n\
        61 52 0:33 /0 /dev/console rw - devpts devpts rw\n";

    fn spec(cgroup_namespace: bool) -> Spec {
        let mut namespaces = vec![json!({"type": "mount"})];
        if cgroup_namespace {
            namespaces.push(json!({"type": "cgroup"}));
        }
        serde_json::from_value(json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/data", "type": "bind", "source": "/data/a", "options": ["rbind"]},
                {"destination": "/data/tmp", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
            ],
            "linux": {
                "namespaces": namespaces,
                "maskedPaths": ["/proc/kcore", "/proc/acpi", "/proc/missing"],
            },
        }))
        .unwrap()
    }

    fn look(path: &Path) -> Option<Place> {
        let (mount, directory) = match path.to_str()? {
            "/proc" => (51, true),
            "/dev" => (52, true),
            "/data" => (54, true),
            "/data/tmp" => (56, true),
            "/proc/kcore" => (57, false),
            "/proc/acpi" => (58, true),
            _ => return None,
        };
        Some(Place { mount, directory })
    }

    fn texts(list: &[External]) -> Vec<(&str, &str)> {
        list.iter()
            .map(|(one, other)| (one.to_str().unwrap(), other.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn what_shows_the_host_is_declared() {
        let mounts = parse(MOUNTS);
        assert_eq!(mounts.len(), 12);
        let found = declared(&spec(false), &mounts, &look);
        let mut wanted = vec![
            ("/proc/kcore", "/dev/null"),
            ("/real/data", "/real/data"),
            ("/real/data/sub dir", "/real/data/sub dir"),
            ("/sys/fs/cgroup", "/sys/fs/cgroup"),
            ("/dev/null", "/dev/null"),
        ];
        assert_eq!(texts(&found), wanted);
        // In a cgroup namespace of its own the container's view is its own.
        wanted.remove(3);
        let found = declared(&spec(true), &mounts, &look);
        assert_eq!(texts(&found), wanted);
    }

    #[test]
    fn what_was_declared_has_a_path_of_the_host() {
        let host = parse(
            "20 1 0:30 / / rw - ext4 /dev/vda rw\n21 20 0:40 / /data/a/sub rw - ext4 /dev/vdb rw\n",
        );
        let points: Vec<PathBuf> = ["/proc", "/dev", "/real/data", "/data/tmp", "/sys/fs/cgroup"]
            .map(PathBuf::from)
            .into();
        let place = |mount: &str| CgroupPlace {
            mount: mount.into(),
            directory: Path::new(mount).join("box"),
            path: "/box".into(),
            controllers: Vec::new(),
        };
        let unified = [place("/sys/fs/cgroup")];
        let found = bound(&spec(false), &points, Path::new("/bundle"), &host, &unified);
        let found = texts(&found);
        for one in [
            ("/real/data", "/data/a"),
            ("/real/data/sub", "/data/a/sub"),
            ("/sys/fs/cgroup", "/sys/fs/cgroup/box"),
            ("/dev/null", "/dev/null"),
            ("/dev/zero", "/dev/zero"),
        ] {
            let times = found.iter().filter(|other| **other == one).count();
            assert_eq!(times, 1, "{one:?} in {found:?}");
        }
        let hybrid = [
            place("/sys/fs/cgroup/pids"),
            place("/sys/fs/cgroup/unified"),
        ];
        let found = bound(&spec(false), &points, Path::new("/bundle"), &host, &hybrid);
        assert!(texts(&found).contains(&("/sys/fs/cgroup/pids", "/sys/fs/cgroup/pids/box")));
        let found = bound(&spec(true), &points, Path::new("/bundle"), &host, &hybrid);
        assert!(
            !texts(&found)
                .iter()
                .any(|(name, _)| name.contains("cgroup"))
        );
    }

    #[test]
    fn mount_points_are_made_inside_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("rootfs");
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::os::unix::fs::symlink("/real/data", root.join("data")).unwrap();
        std::os::unix::fs::symlink("../../..", root.join("sys")).unwrap();
        let opened = std::fs::File::open(&root).unwrap();
        let points = make_points(&spec(false), opened.as_fd(), directory.path()).unwrap();
        assert!(root.join("real/data").exists() && root.join("fs/cgroup").is_dir());
        assert!(points[2].ends_with("real/data"), "{points:?}");
        assert_eq!(points[3], Path::new("/data/tmp"));
        assert!(!directory.path().join("fs").exists());
    }
}
