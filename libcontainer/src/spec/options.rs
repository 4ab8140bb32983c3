//! What a user may ask of one container, and the host facts the answer depends on.

use super::Volume;
use crate::{
    capability::CapabilitySet,
    idmap::{self, IdMaps},
    rlimit::HardLimits,
    seccomp::FilterArch,
};
use oci_spec::runtime::{LinuxResources, LinuxSeccomp, Mount, PosixRlimit};
use std::{collections::BTreeMap, path::PathBuf};

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
    /// Limits. Where nothing is said about processes and limits can be set, there may be 2048 of them.
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
    /// Whether `setgroups(2)` is allowed: a user without sub-ids has given it up.
    pub setgroups: bool,
    /// The architecture, if system call filters are supported on it.
    pub arch: Option<FilterArch>,
    /// Directories below `/sys` to be masked beside the fixed ones.
    pub thermal_throttle: Vec<String>,
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
            setgroups: true,
            arch: FilterArch::native(),
            thermal_throttle: Vec::new(),
        }
    }
}

impl HostFacts {
    /// Asks the kernel about the calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn detect() -> std::io::Result<Self> {
        let rootless = crate::rootless::facts()?;
        let map = |path: &str| std::fs::read_to_string(path).map(|text| idmap::parse_map(&text));
        let ids = match rootless.initial_user_namespace {
            true => None,
            false => Some(IdMaps {
                uid: map("/proc/self/uid_map")?,
                gid: map("/proc/self/gid_map")?,
            }),
        };
        // Kernels before 3.19 have no such file, and allow it.
        let setgroups = std::fs::read_to_string("/proc/self/setgroups")
            .map_or(true, |text| text.trim() != "deny");
        let hierarchies = crate::cgroup::Hierarchies::detect()?;
        Ok(Self {
            rootless: !rootless.initial_user_namespace,
            ids,
            setgroups,
            bounding: CapabilitySet::bounding(),
            hard_limits: HardLimits::of_caller(),
            cgroup: hierarchies.may_create(),
            cgroup_v2: hierarchies.is_v2(),
            arch: FilterArch::native(),
            thermal_throttle: thermal_throttle(),
        })
    }

    /// Whether a user id exists in our user namespace.
    pub fn has_uid(&self, uid: u32) -> bool {
        self.ids
            .as_ref()
            .is_none_or(|ids| idmap::is_mapped(&ids.uid, uid))
    }

    /// Whether a group id exists in our user namespace.
    pub fn has_gid(&self, gid: u32) -> bool {
        self.ids
            .as_ref()
            .is_none_or(|ids| idmap::is_mapped(&ids.gid, gid))
    }
}

/// The directories that let a container watch how busy its neighbours keep the processors; there is one a processor.
fn thermal_throttle() -> Vec<String> {
    const MOST: usize = 4096;
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu") else {
        return Vec::new();
    };
    let mut paths: Vec<String> = entries
        .take(MOST)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            name.strip_prefix("cpu")
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .map(|name| format!("/sys/devices/system/cpu/{name}/thermal_throttle"))
        .filter(|path| std::path::Path::new(path).exists())
        .collect();
    paths.sort_unstable();
    paths
}

/// The image's user data base; empty where the image has no such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFiles {
    /// `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// `/etc/group`.
    pub group: Vec<u8>,
}
