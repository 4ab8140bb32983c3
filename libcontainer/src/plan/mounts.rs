//! The mounts of the specification as steps. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount;

use super::arena::Span;
use super::compile::{Compiler, id_maps};
use super::facts::HostHierarchy;
use super::process::invalid;
use super::script::{MapSource, Resource, Tree, TreeMap};
use super::step::{FsOption, Inherits, MountSource, MountStep, Slot, Step};
use crate::error::{Error, ErrorKind};
use crate::idmap::IdMaps;
use crate::mount::{Links, MapScope, MountOptions, Propagation, SUPERBLOCK};
use crate::namespace::Kind;
use crate::sys::mount::MountAttributes;

/// Files of procfs that may be mounted over: programs such as lxcfs replace them to tell a container its limits.
const REPLACEABLE: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/crypto/fips_enabled",
];

const RDONLY: u64 = 0x1;

/// File systems without a device behind them.
const KERNEL: [&str; 8] = [
    "tmpfs", "ramfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2",
];

/// What the mounts leave behind for the steps after them.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    /// `/dev` is the host's: nothing is made in it.
    pub(crate) dev_is_foreign: bool,
    /// `/dev` is a new file system, held in [`Slot::DEV`].
    pub(crate) dev: bool,
    /// `/dev` shall be read-only once it is filled.
    pub(crate) dev_read_only: bool,
    /// A devpts is held in [`Slot::PTS`].
    pub(crate) pts: bool,
    /// A procfs is held in [`Slot::PROC`].
    pub(crate) proc: bool,
}

/// Adds the steps for all mounts, in the order of the specification.
pub(crate) fn compile(compiler: &mut Compiler<'_>, mounts: &[Mount]) -> Result<Mounted, Error> {
    let mut mounted = Mounted::default();
    for (number, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{number}]");
        let target = normalize(mount.destination());
        let target = compiler.in_root(&target).unwrap_or(target);
        let words = mount.options().as_deref().unwrap_or_default();
        let kind = mount.typ().as_deref().filter(|kind| !kind.is_empty());
        let options = MountOptions::parse(kind, words)
            .map_err(|error| error.into_error(format!("{field}.options")))?;
        for word in &options.without_effect {
            compiler.script.warnings.push(format!(
                "{field}.options: {word} has no effect on a bind mount"
            ));
        }
        let one = One {
            field,
            target,
            options,
            source: mount.source().as_deref(),
            map: asked_map(&format!("mounts[{number}]"), mount)?,
        };
        if !one.options.bind && one.map.is_some() {
            return Err(one.invalid("only bind mounts can be id-mapped"));
        }
        match kind {
            _ if one.options.bind => bind(compiler, &one, &mut mounted)?,
            Some("none") | None => {
                return Err(one.invalid("a mount needs a type, or the option bind"));
            }
            Some("cgroup" | "cgroup2") => cgroup(compiler, &one)?,
            Some("sysfs") if compiler.restricted && !compiler.namespaces.has(Kind::Network) => {
                // The kernel lets only the owner of the network namespace mount a sysfs, which shows its devices.
                add_tree(compiler, &one, "/sys".into(), true, RDONLY)?;
            }
            Some("proc") if compiler.restricted && !compiler.namespaces.has(Kind::Pid) => {
                add_tree(compiler, &one, "/proc".into(), true, 0)?;
            }
            Some(kind) => new(compiler, &one, kind, &mut mounted)?,
        }
    }
    Ok(mounted)
}

/// One mount, read.
struct One<'s> {
    field: String,
    target: PathBuf,
    options: MountOptions,
    source: Option<&'s Path>,
    /// The id map that the mount itself brings.
    map: Option<IdMaps>,
}

impl One<'_> {
    fn invalid(&self, hint: &'static str) -> Error {
        Error::new(
            ErrorKind::InvalidSpec {
                field: self.field.clone(),
            },
            "specification",
        )
        .with_path(&self.target)
        .with_hint(hint)
    }
}

/// The id map that a mount brings.
fn asked_map(field: &str, mount: &Mount) -> Result<Option<IdMaps>, Error> {
    let maps = id_maps(mount.uid_mappings(), mount.gid_mappings());
    if maps == IdMaps::default() {
        return Ok(None);
    }
    maps.validate().map_err(|error| {
        let field = format!("{field}.uidMappings");
        invalid(&field, "the id maps cannot be used").with_source(error)
    })?;
    Ok(Some(maps))
}

/// How the owners of a bind mount's files are to be changed: as it says itself, else as in the container's user namespace.
fn tree_map(compiler: &Compiler<'_>, one: &One<'_>) -> Result<Option<TreeMap>, Error> {
    let scope = match (one.options.idmap, &one.map) {
        (Some(scope), _) => scope,
        (None, Some(_)) => MapScope::Mount,
        (None, None) => return Ok(None),
    };
    let by = match (&one.map, compiler.namespaces.joins(Kind::User)) {
        (Some(maps), _) => MapSource::Maps(maps.clone()),
        (None, Some(path)) => MapSource::Namespace(compiler.host_path(path)),
        (None, None) => match &compiler.script.maps {
            Some(maps) => MapSource::Maps(maps.clone()),
            None => {
                return Err(one.invalid(
                    "an id-mapped mount needs uidMappings and gidMappings, or a user namespace that has them",
                ));
            }
        },
    };
    Ok(Some(TreeMap { by, scope }))
}

fn bind(compiler: &mut Compiler<'_>, one: &One<'_>, mounted: &mut Mounted) -> Result<(), Error> {
    let source = one.source.filter(|source| !source.as_os_str().is_empty());
    let source = source.ok_or_else(|| one.invalid("a bind mount needs a source"))?;
    if one.target == Path::new("/dev") {
        (mounted.dev_is_foreign, mounted.dev) = (true, false);
    }
    if one.target == Path::new("/proc") {
        mounted.proc = false;
    }
    let path = compiler.host_path(source);
    add_tree(compiler, one, path, one.options.recursive, 0)
}

fn add_tree(
    compiler: &mut Compiler<'_>,
    one: &One<'_>,
    path: PathBuf,
    recursive: bool,
    whole_set: u64,
) -> Result<(), Error> {
    let text = compiler.text(&one.field, path.as_os_str().as_bytes())?;
    let mut own = one.options.attributes;
    let mut whole = one.options.recursive_attributes;
    whole.set |= whole_set;
    // The clone is still in the peer group of the host's mount: unless told otherwise it follows the root's propagation, so that
    // nothing mounted in the container shows up on the host.
    let (first, last) = propagation(
        &one.options.propagation,
        Propagation {
            flag: compiler.propagation,
            recursive: true,
        },
    );
    if first.recursive {
        whole.propagation = first.flag
    } else {
        own.propagation = first.flag
    }
    let links = one.options.links;
    let tree = Tree {
        path,
        recursive,
        no_follow: links.keep_source || links.copy,
        idmap: tree_map(compiler, one)?,
    };
    if compiler.later && tree.idmap.is_some() {
        return Err(one.invalid("an id-mapped mount needs a caller who may mount"));
    }
    let slot = compiler.open(&one.field, Resource::Tree(tree))?;
    add(
        compiler,
        one,
        MountSource::Tree {
            slot,
            path: text,
            own,
            whole,
        },
        last,
        None,
    )
}

/// Which propagation is set before the mount is attached, and which one after it.
fn propagation(asked: &[Propagation], default: Propagation) -> (Propagation, Option<(u64, bool)>) {
    match asked {
        [] => (default, None),
        [only] => (*only, None),
        [first, .., last] => (*first, Some((last.flag, last.recursive))),
    }
}

fn new(
    compiler: &mut Compiler<'_>,
    one: &One<'_>,
    kind: &str,
    mounted: &mut Mounted,
) -> Result<(), Error> {
    let mut attributes = one.options.new_mount_attributes();
    let keep = match (one.target.to_str(), kind) {
        (Some("/dev"), _) => {
            (mounted.dev, mounted.dev_is_foreign) = (true, false);
            // It has to be filled first.
            mounted.dev_read_only = attributes & RDONLY != 0;
            attributes &= !RDONLY;
            Some(Slot::DEV)
        }
        (Some("/dev/pts"), "devpts") => {
            mounted.pts = true;
            compiler.terminal.then_some(Slot::PTS)
        }
        (Some("/sys"), "sysfs") => Some(Slot::SYS),
        (Some("/proc"), "proc") => {
            mounted.proc = true;
            Some(Slot::PROC)
        }
        _ => None,
    };
    let mut data: Vec<_> = one
        .options
        .data
        .iter()
        .filter(|(key, value)| {
            kind != "devpts" || key != "gid" || compiler.maps_gid(value.as_deref())
        })
        // These count changes of their files always, or have none to count.
        .filter(|(key, _)| key != "iversion" || !KERNEL.contains(&kind))
        .cloned()
        .collect();
    if let Some(label) = compiler.mount_label.clone() {
        // The others have labels of their own.
        if !matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2") {
            data.push(("context".to_owned(), Some(label)));
        }
    }
    let options = fs_options(compiler, &one.field, &data)?;
    let fstype = compiler.text(&one.field, kind.as_bytes())?;
    let source = match one.source {
        Some(source) => Some(compiler.text(&one.field, source.as_os_str().as_bytes())?),
        None => None,
    };
    let last = one
        .options
        .propagation
        .last()
        .map(|last| (last.flag, last.recursive));
    add(
        compiler,
        one,
        MountSource::New {
            fstype,
            source,
            options,
            attributes,
        },
        last,
        keep,
    )
}

fn fs_options(
    compiler: &mut Compiler<'_>,
    field: &str,
    data: &[(String, Option<String>)],
) -> Result<Span, Error> {
    let first = compiler.script.options.len() as u32;
    for (key, value) in data {
        let key = compiler.text(field, key.as_bytes())?;
        let value = match value {
            Some(value) => Some(compiler.text(field, value.as_bytes())?),
            None => None,
        };
        compiler.script.options.push(FsOption { key, value });
    }
    Ok(Span {
        first,
        count: data.len() as u32,
    })
}

fn add(
    compiler: &mut Compiler<'_>,
    one: &One<'_>,
    source: MountSource,
    propagation: Option<(u64, bool)>,
    keep: Option<Slot>,
) -> Result<(), Error> {
    let kernel = match source {
        MountSource::New { fstype, .. } => {
            matches!(
                compiler.script.arena.get(fstype).to_bytes(),
                b"proc" | b"sysfs"
            )
        }
        // What stands in for them.
        MountSource::Tree { .. } => matches!(one.target.to_str(), Some("/proc" | "/sys")),
    };
    let beneath = match beneath(compiler, &one.target) {
        Some((slot, name)) => Some((slot, compiler.text(&one.field, name.as_bytes())?)),
        None => None,
    };
    let inherits = inherits(compiler, one, &source);
    let by_name = beneath.is_some_and(|(slot, _)| slot != Slot::PROC)
        && (propagation, keep, inherits) == (None, None, Inherits::Nothing)
        && one.options.links == Links::default();
    let plain = match plain(compiler, &source).filter(|_| by_name) {
        Some(text) => Some(compiler.text(&one.field, text.as_bytes())?),
        None => None,
    };
    // What was below is hidden now.
    compiler
        .held
        .retain(|(path, _)| !path.starts_with(&one.target));
    if let Some(slot) = keep {
        compiler.held.push((one.target.clone(), slot));
    }
    // The image's /dev must not send the devices elsewhere either.
    let strict = kernel || (keep == Some(Slot::DEV) && one.target == Path::new("/dev"));
    let is_new = matches!(source, MountSource::New { .. });
    let top = match top(compiler, &one.target).filter(|_| strict && is_new) {
        Some(name) => Some(compiler.text(&one.field, name.as_bytes())?),
        None => None,
    };
    let step = MountStep {
        source,
        beneath,
        plain,
        top,
        target: compiler.text(&one.field, one.target.as_os_str().as_bytes())?,
        strict,
        inside_proc: one
            .target
            .to_str()
            .is_some_and(|target| REPLACEABLE.contains(&target)),
        propagation,
        keep,
        inherits,
        links: one.options.links,
    };
    let index = compiler.script.mounts.len() as u32;
    compiler.script.mounts.push(step);
    compiler.script.steps.push(Step::Mount { index });
    Ok(())
}

/// The name of a directory at the top of the root, on which and on whose root nothing has been mounted yet: what the image has there is
/// no procfs, in which a mount would hide what the kernel says.
fn top<'t>(compiler: &Compiler<'_>, target: &'t Path) -> Option<&'t str> {
    let name = target.to_str()?.strip_prefix('/')?;
    let is_one = !name.is_empty() && name != ".." && !name.contains('/');
    let text = |target| compiler.script.arena.get(target).to_bytes();
    let mut before = compiler
        .script
        .mounts
        .iter()
        .map(|mount| text(mount.target));
    let is_first = before.all(|before| before != b"/" && before != target.as_os_str().as_bytes());
    (is_one && is_first).then_some(name)
}

/// All options of a new file system in one string, if they mean the same to `mount(2)`: it takes commas apart, has flags for what every
/// file system knows, and would make the file system read-only for others too.
fn plain(compiler: &Compiler<'_>, source: &MountSource) -> Option<String> {
    /// The kernel takes a page of them.
    const LONGEST: usize = 4000;
    let &MountSource::New {
        fstype,
        options,
        attributes,
        ..
    } = source
    else {
        return None;
    };
    let text = |text| compiler.script.arena.get(text).to_str().ok();
    if attributes & RDONLY != 0 || !KERNEL.contains(&text(fstype)?) {
        return None;
    }
    let mut whole = String::new();
    for option in options.of(&compiler.script.options) {
        let (key, value) = (text(option.key)?, option.value.map(text));
        let word = match value {
            Some(value) => format!("{key}={}", value?),
            None if SUPERBLOCK.contains(&key) => return None,
            None => key.to_owned(),
        };
        if word.contains(',') {
            return None;
        }
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(&word);
    }
    (whole.len() < LONGEST).then_some(whole)
}

/// What a mount takes from the directory below: a tmpfs that names no mode has that of the directory, as engines expect.
fn inherits(compiler: &Compiler<'_>, one: &One<'_>, source: &MountSource) -> Inherits {
    let is_tmpfs = matches!(source, MountSource::New { fstype, .. } if compiler.script.arena.get(*fstype).to_bytes() == b"tmpfs");
    match (is_tmpfs, one.options.copy_up) {
        (false, _) => Inherits::Nothing,
        (true, true) => Inherits::Content,
        (true, false) if one.options.data.iter().any(|(key, _)| key == "mode") => Inherits::Nothing,
        (true, false) => Inherits::Mode,
    }
}

/// The fresh file system in which `target` lies directly, and its name there.
fn beneath(compiler: &Compiler<'_>, target: &Path) -> Option<(Slot, OsString)> {
    let (parent, name) = (target.parent()?, target.file_name()?);
    let (_, slot) = compiler.held.iter().find(|(path, _)| path == parent)?;
    // Nothing can be made there.
    if *slot == Slot::SYS {
        return None;
    }
    Some((*slot, name.to_owned()))
}

/// The container's view of the control groups.
///
/// With a cgroup namespace the kernel shows the container's own part. Without one it is mounted from a namespace that is left again.
/// From inside a user namespace there is no way back: the directories are bound in which the container is, as runc does. If it has none
/// of its own, its caller's are seen.
fn cgroup(compiler: &mut Compiler<'_>, one: &One<'_>) -> Result<(), Error> {
    let hierarchies = compiler.facts.cgroups.clone();
    let own = compiler.namespaces.has(Kind::Cgroup);
    if !own && !compiler.restricted {
        return lent_namespace(compiler, |compiler| {
            cgroup_mounts(compiler, one, &hierarchies, true)
        });
    }
    cgroup_mounts(compiler, one, &hierarchies, own)
}

/// Does `mounts` in a cgroup namespace of the container's own, and returns to the caller's.
fn lent_namespace(
    compiler: &mut Compiler<'_>,
    mounts: impl FnOnce(&mut Compiler<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (kind, path) = (Kind::Cgroup, PathBuf::from("/proc/self/ns/cgroup"));
    let text = compiler.text("linux.namespaces", path.as_os_str().as_bytes())?;
    let ours = Resource::Namespace {
        path,
        kind,
        foreign: false,
    };
    let slot = compiler.open("linux.namespaces", ours)?;
    let flags = kind.flag();
    compiler.script.steps.push(Step::Unshare { flags });
    mounts(compiler)?;
    compiler.script.steps.push(Step::JoinNamespace {
        kind,
        early: false,
        slot,
        path: text,
    });
    Ok(())
}

fn cgroup_mounts(
    compiler: &mut Compiler<'_>,
    one: &One<'_>,
    hierarchies: &[HostHierarchy],
    own: bool,
) -> Result<(), Error> {
    if let ([only], true) = (hierarchies, own)
        && only.unified
    {
        let attributes = one.options.new_mount_attributes();
        return cgroup_part(
            compiler,
            one,
            "cgroup2",
            Part {
                target: &one.target,
                data: &[],
                attributes,
                keep: None,
            },
        );
    }
    // Filled before it is read-only. Programs that manage cgroups themselves (as systemd does) were given one that is not.
    let read_only = one.options.new_mount_attributes() & RDONLY != 0;
    let slot = compiler.script.free_slot();
    let directory: Vec<_> = [("mode", "755"), ("size", "64k")]
        .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        .into();
    let attributes = one.options.new_mount_attributes() & !RDONLY;
    cgroup_part(
        compiler,
        one,
        "tmpfs",
        Part {
            target: &one.target,
            data: &directory,
            attributes,
            keep: Some(slot),
        },
    )?;
    if !own {
        bound_cgroups(compiler, one)?;
    }
    for hierarchy in hierarchies.iter().filter(|_| own) {
        let target = one.target.join(&hierarchy.name);
        let (kind, data) = if hierarchy.unified {
            ("cgroup2", &[][..])
        } else {
            ("cgroup", &hierarchy.options[..])
        };
        // All of them are made read-only together.
        let attributes = one.options.new_mount_attributes() & !RDONLY;
        cgroup_part(
            compiler,
            one,
            kind,
            Part {
                target: &target,
                data,
                attributes,
                keep: None,
            },
        )?;
    }
    if !read_only {
        return Ok(());
    }
    let path = compiler.text(&one.field, one.target.as_os_str().as_bytes())?;
    compiler.script.steps.push(Step::ReadOnlyMount {
        slot,
        path,
        recursive: true,
    });
    Ok(())
}

/// The container's own directories, as the host has them.
fn bound_cgroups(compiler: &mut Compiler<'_>, one: &One<'_>) -> Result<(), Error> {
    for directory in compiler.cgroups.clone() {
        let below = directory.strip_prefix("/sys/fs/cgroup");
        let Some(name) = below.ok().and_then(|path| path.components().next()) else {
            continue;
        };
        let target = one.target.join(name);
        let part = One {
            field: one.field.clone(),
            target,
            options: MountOptions {
                attributes: one.options.attributes,
                ..MountOptions::default()
            },
            source: None,
            map: None,
        };
        let path = compiler.text(&one.field, directory.as_os_str().as_bytes())?;
        let slot = compiler.open_in_child(path);
        let source = MountSource::Tree {
            slot,
            path,
            own: part.options.attributes,
            whole: MountAttributes {
                propagation: compiler.propagation,
                ..MountAttributes::default()
            },
        };
        add(compiler, &part, source, None, None)?;
    }
    Ok(())
}

struct Part<'p> {
    target: &'p Path,
    data: &'p [(String, Option<String>)],
    attributes: u64,
    keep: Option<Slot>,
}

fn cgroup_part(
    compiler: &mut Compiler<'_>,
    one: &One<'_>,
    kind: &str,
    part: Part<'_>,
) -> Result<(), Error> {
    let options = fs_options(compiler, &one.field, part.data)?;
    let fstype = compiler.text(&one.field, kind.as_bytes())?;
    let source = MountSource::New {
        fstype,
        source: None,
        options,
        attributes: part.attributes,
    };
    let one = One {
        field: one.field.clone(),
        target: part.target.to_owned(),
        options: MountOptions {
            data: part.data.to_vec(),
            ..MountOptions::default()
        },
        source: None,
        map: None,
    };
    add(compiler, &one, source, None, part.keep)
}

/// An absolute path without `.` and empty parts; `..` is resolved in the container, by the kernel.
pub(crate) fn normalize(path: &Path) -> PathBuf {
    let mut whole = PathBuf::from("/");
    whole.extend(
        path.components()
            .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir)),
    );
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_absolute() {
        for (path, wanted) in [
            ("/a//b/./c/", "/a/b/c"),
            ("a", "/a"),
            ("", "/"),
            ("/../x", "/../x"),
        ] {
            assert_eq!(normalize(Path::new(path)), Path::new(wanted));
        }
    }
}
