//! The pure part of a plan: steps and the memory they read.

use std::fmt;
use std::path::PathBuf;

use rustix::thread::CpuSet;

use super::arena::{Arena, Span, Text};
use super::step::{DeviceStep, Flags, FsOption, MountStep, OwnStep, Printed, Slot, Step};
use crate::idmap::IdMaps;
use crate::mount::MapScope;
use crate::namespace::Kind;
use crate::netdevice::NetDevice;
use crate::state::State;
use crate::sys::schedule::MEMORY_NODES;
use crate::sys::seccomp::Instruction;

/// Permissions and owner of a device node, as the host numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MadeNode {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Something that the parent opens for the child before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    /// A clone of a mounted tree.
    Tree(Tree),
    /// A clone of the mount of a device node, which must be this device.
    Device {
        path: PathBuf,
        kind: u32,
        major: u32,
        minor: u32,
        /// How it is made if the host has none of this name.
        made: Option<MadeNode>,
    },
    /// A namespace.
    Namespace {
        path: PathBuf,
        kind: Kind,
        /// It must not be the caller's own, which would be changed.
        foreign: bool,
    },
    /// The caller's procfs.
    Proc,
}

/// A mounted tree to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) path: PathBuf,
    /// With the mounts below it.
    pub(crate) recursive: bool,
    /// A symlink is cloned itself.
    pub(crate) no_follow: bool,
    pub(crate) idmap: Option<TreeMap>,
}

/// How the owners of a tree's files are changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeMap {
    pub(crate) by: MapSource,
    pub(crate) scope: MapScope,
}

/// Where a tree's id map comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapSource {
    /// A user namespace made for it.
    Maps(IdMaps),
    /// A user namespace that exists.
    Namespace(PathBuf),
}

/// The child's OOM score, written by the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OomScore {
    pub(crate) value: i32,
    /// It is no failure if the kernel refuses.
    pub(crate) lenient: bool,
}

/// Where the listener of a filter goes, and what is said with it.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) path: PathBuf,
    pub(crate) metadata: String,
    /// The specification's version that is told, if not the container's.
    pub(crate) version: Option<&'static str>,
    /// Of the container; known when it is made.
    pub(crate) state: Option<State>,
}

/// Everything the child reads: steps, lists and strings. Nothing in it depends on an open descriptor.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) arena: Arena,
    pub(crate) steps: Vec<Step>,
    pub(crate) mounts: Vec<MountStep>,
    pub(crate) options: Vec<FsOption>,
    pub(crate) devices: Vec<DeviceStep>,
    /// What the child opens on the host.
    pub(crate) own: Vec<OwnStep>,
    /// How the parent maps the ids of what the child opens.
    pub(crate) tree_maps: Vec<TreeMap>,
    pub(crate) groups: Vec<u32>,
    /// Names that are looked for in the container's procfs.
    pub(crate) proc_names: Vec<Text>,
    /// Arguments, environment and candidates for the program.
    pub(crate) texts: Vec<Text>,
    pub(crate) arguments: Span,
    pub(crate) environment: Span,
    /// Sets of processors.
    pub(crate) cpus: Vec<CpuSet>,
    /// Sets of memory nodes.
    pub(crate) nodes: Vec<[u64; MEMORY_NODES / 64]>,
    pub(crate) filter: Vec<Instruction>,
    pub(crate) filter_flags: u32,
    /// Who answers for the calls that the filter asks about.
    pub(crate) listener: Option<Listener>,
    /// Flags of `clone3`.
    pub(crate) clone: u32,
    /// Id maps of the new user namespace.
    pub(crate) maps: Option<IdMaps>,
    /// What the parent writes for a child that may no more.
    pub(crate) oom_score: Option<OomScore>,
    /// Offsets of the clocks of a new time namespace, written by the parent.
    pub(crate) clocks: String,
    /// Devices that the parent moves into the container's network namespace.
    pub(crate) net_devices: Vec<NetDevice>,
    /// What the parent opens, and into which slot.
    pub(crate) resources: Vec<(Slot, Resource)>,
    /// How many slots there are.
    pub(crate) slots: u16,
    /// Parts of the specification that will not have an effect here.
    pub(crate) warnings: Vec<String>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self {
            slots: Slot::FIRST_FREE,
            ..Self::default()
        }
    }

    /// A slot that nothing else uses.
    pub(crate) fn free_slot(&mut self) -> Slot {
        let slot = Slot(self.slots);
        self.slots += 1;
        slot
    }
}

fn print_tree(f: &mut fmt::Formatter<'_>, tree: &Tree) -> fmt::Result {
    let what = if tree.recursive { "tree" } else { "mount" };
    write!(f, "parent: clone {what} {}", tree.path.display())?;
    if let Some(map) = &tree.idmap {
        let word = match map.scope {
            MapScope::Mount => "idmap",
            MapScope::Tree => "ridmap",
        };
        write!(f, " {word}")?;
        match &map.by {
            MapSource::Namespace(path) => write!(f, " of {}", path.display())?,
            MapSource::Maps(maps) => {
                maps.uid
                    .iter()
                    .try_for_each(|map| write!(f, " uid {map}"))?;
                maps.gid
                    .iter()
                    .try_for_each(|map| write!(f, " gid {map}"))?;
            }
        }
    }
    writeln!(f)
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, resource) in &self.resources {
            match resource {
                Resource::Tree(tree) => print_tree(f, tree)?,
                Resource::Device {
                    path, major, minor, ..
                } => {
                    writeln!(f, "parent: clone device {} {major}:{minor}", path.display())?;
                }
                Resource::Namespace { path, kind, .. } => {
                    writeln!(f, "parent: open {kind} namespace {}", path.display())?;
                }
                Resource::Proc => writeln!(f, "parent: open /proc")?,
            }
        }
        writeln!(f, "parent: clone {}", Flags(self.clone))?;
        if let Some(maps) = &self.maps {
            for (kind, list) in [("uid", &maps.uid), ("gid", &maps.gid)] {
                for map in list {
                    writeln!(f, "parent: map {kind} {map}")?;
                }
            }
        }
        for NetDevice { host, container } in &self.net_devices {
            writeln!(f, "parent: move network device {host} as {container}")?;
        }
        for line in self.clocks.lines() {
            writeln!(f, "parent: set the clock {line}")?;
        }
        if let Some(score) = self.oom_score {
            writeln!(f, "parent: set the OOM score {}", score.value)?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>6}: {}", index + 1, Printed(self, *step))?;
        }
        Ok(())
    }
}
