//! What a user may ask of one container, and the host facts the answer depends on.

use crate::{capability::CapabilitySet, idmap::IdMaps, rlimit::HardLimits};
use oci_spec::runtime::{LinuxResources, LinuxSeccomp, Mount, PosixRlimit};
use std::{collections::BTreeMap, path::PathBuf, str::FromStr};
use thiserror::Error;

/// The network of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// A network namespace of its own with nothing but loopback in it.
    #[default]
    None,
    /// The namespace of the caller.
    Host,
}

/// The system call filter of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SeccompChoice {
    /// [`crate::seccomp::default_profile`] for the capabilities the container gets.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile of the user's, already resolved to the specification's form.
    Profile(Box<LinuxSeccomp>),
}

/// One `-v SOURCE:TARGET[:OPTIONS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// Mount options beside `bind`/`rbind` and `ro`/`rw`, as the specification names them.
    pub options: Vec<String>,
}

/// Why a `-v` word cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeError {
    /// Not two or three parts.
    #[error("volume {0:?} is not SOURCE:TARGET[:OPTIONS]")]
    Shape(String),
}

impl FromStr for Volume {
    type Err = VolumeError;

    fn from_str(word: &str) -> Result<Self, VolumeError> {
        Err(VolumeError::Shape(word.to_owned()))
    }
}

/// What is asked of one container. `RunOptions::default()` asks for nothing beyond the image.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Words after the image: they replace the image's command.
    pub args: Vec<String>,
    /// Replaces the image's entrypoint, and clears its command. `Some(vec![])` clears both.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=VALUE`, later ones win, over the image's.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub workdir: Option<String>,
    /// `name|uid[:group|gid]`.
    pub user: Option<String>,
    /// Groups beside those of the group file: `--group-add`.
    pub group_add: Vec<String>,
    /// Binds from the host.
    pub volumes: Vec<Volume>,
    /// Whether the root is read-only. `/run`, `/tmp` and `/var/tmp` are then memory file systems.
    pub read_only: bool,
    /// Host name; otherwise `container`.
    pub hostname: Option<String>,
    /// Whether the process gets a terminal.
    pub terminal: bool,
    /// Network namespace.
    pub network: Network,
    /// `--cap-add` words.
    pub cap_add: Vec<String>,
    /// `--cap-drop` words.
    pub cap_drop: Vec<String>,
    /// Whether set-uid programs lose their effect.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: SeccompChoice,
    /// Whether nothing is masked, filtered or dropped.
    pub privileged: bool,
    /// Mounts made after all others: generated files such as `/etc/hosts`.
    pub extra_mounts: Vec<Mount>,
    /// Annotations of the specification.
    pub annotations: BTreeMap<String, String>,
    /// Where the container's cgroup is; `None` leaves the choice to the runtime.
    pub cgroup_path: Option<PathBuf>,
    /// Limits; `None` is the default of [`HostFacts`] (2048 processes where limits can be set).
    pub resources: Option<LinuxResources>,
    /// Limits of the process beside the defaults; the same kind here wins.
    pub rlimits: Vec<PosixRlimit>,
    /// Size of `/dev/shm` in bytes; otherwise 64 MiB.
    pub shm_bytes: Option<u64>,
    /// What the host can do.
    pub host: HostFacts,
}

/// What the specification depends on beside the wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Whether we are in a user namespace that is not the machine's.
    pub rootless: bool,
    /// The ids of that namespace; `None` when all exist.
    pub ids: Option<IdMaps>,
    /// Our own bounding set.
    pub bounding: CapabilitySet,
    /// Our own hard limits.
    pub hard_limits: HardLimits,
    /// Whether the container gets a cgroup of its own, so that limits can be set.
    pub cgroup: bool,
    /// Whether the host has only the unified hierarchy.
    pub cgroup_v2: bool,
}

impl Default for HostFacts {
    /// Root of the machine, cgroup v2, everything allowed.
    fn default() -> Self {
        Self {
            rootless: false,
            ids: None,
            bounding: CapabilitySet::ALL,
            hard_limits: HardLimits::default(),
            cgroup: true,
            cgroup_v2: true,
        }
    }
}

impl HostFacts {
    /// Asks the kernel about the calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn detect() -> std::io::Result<Self> {
        unimplemented!()
    }
}

/// The image's user data base; empty where the image has no such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFiles {
    /// `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// `/etc/group`.
    pub group: Vec<u8>,
}
