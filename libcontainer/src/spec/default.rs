//! What a container gets unless told otherwise: mounts, masked paths, namespaces, limits, variables. Our policy, as data.

use super::{HostFacts, Network, RunOptions};
use crate::rlimit;
use oci_spec::runtime::{
    LinuxDeviceCgroup, LinuxDeviceType, LinuxNamespace, LinuxNamespaceType, LinuxPids,
    LinuxPidsBuilder, LinuxResources, Mount, PosixRlimit, PosixRlimitType,
};
use std::path::PathBuf;

/// Processes of a container where nothing else is said: podman's number.
const PIDS: i64 = 2048;
/// Size of `/dev/shm`: 64 MiB, as everywhere in the field.
const SHM_BYTES: u64 = 64 << 20;
/// Open files: programs that close every possible descriptor take minutes with a limit of a milliard, which some hosts have.
const OPEN_FILES: u64 = 1 << 20;
/// File mode bits a new file does not get.
pub(super) const UMASK: u32 = 0o022;
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Tells programs that they are in a container, and whose: systemd's convention.
pub(super) const CONTAINER: &str = "container=trimaran";
pub(super) const TERM: &str = "TERM=xterm";
pub(super) const HOSTNAME: &str = "container";

/// Kernel files that tell about the host, or about other containers.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Kernel files that change the host.
const READ_ONLY: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Writable places of a read-only container, and their modes.
const SCRATCH: [(&str, &str); 3] = [
    ("/run", "mode=755"),
    ("/tmp", "mode=1777"),
    ("/var/tmp", "mode=1777"),
];

fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(kind)))
        .set_options(Some(
            options.iter().map(|option| (*option).to_owned()).collect(),
        ));
    mount
}

/// The kernel's file systems, in the order they are mounted.
pub(super) fn kernel_mounts(options: &RunOptions) -> Vec<Mount> {
    let host = &options.host;
    let writable = if options.privileged && !host.rootless {
        "rw"
    } else {
        "ro"
    };
    let mut pts = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    // The group that terminals belong to. Without sub-ids it does not exist, and the mount would fail.
    if host.has_gid(5) {
        pts.push("gid=5");
    }
    let shm = format!("size={}", options.shm_bytes.unwrap_or(SHM_BYTES));
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", &pts),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if shares_host_sysfs(options) {
        // The kernel lets only the owner of the network namespace mount a sysfs: the host's is shown instead.
        let mut sys = mount(
            "/sys",
            "bind",
            &[
                "rbind", "rprivate", "nosuid", "noexec", "nodev", "ro", "rro",
            ],
        );
        sys.set_source(Some(PathBuf::from("/sys")));
        mounts.push(sys);
    } else {
        mounts.push(mount(
            "/sys",
            "sysfs",
            &["nosuid", "noexec", "nodev", writable],
        ));
        if host.cgroup_v2 || !host.rootless {
            mounts.push(mount(
                "/sys/fs/cgroup",
                "cgroup",
                &[
                    "rprivate", "nosuid", "noexec", "nodev", "relatime", writable,
                ],
            ));
        }
    }
    mounts
}

fn shares_host_sysfs(options: &RunOptions) -> bool {
    options.host.rootless && options.network == Network::Host
}

/// Memory file systems for a read-only container.
pub(super) fn scratch_mounts() -> Vec<Mount> {
    SCRATCH
        .iter()
        .map(|(path, mode)| mount(path, "tmpfs", &["rprivate", "nosuid", "nodev", mode]))
        .collect()
}

pub(super) fn masked_paths(options: &RunOptions) -> Vec<String> {
    let mut paths: Vec<String> = MASKED.iter().map(|path| (*path).to_owned()).collect();
    paths.extend(options.host.thermal_throttle.iter().cloned());
    if shares_host_sysfs(options) {
        // The host's control groups (CVE-2023-25809).
        paths.push("/sys/fs/cgroup".to_owned());
    }
    paths
}

pub(super) fn read_only_paths() -> Vec<String> {
    READ_ONLY.iter().map(|path| (*path).to_owned()).collect()
}

/// The namespaces of the container. No user namespace: ours, if we are in one, serves.
pub(super) fn namespaces(options: &RunOptions) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType as Type;
    let mut kinds = vec![Type::Pid, Type::Ipc, Type::Uts, Type::Mount];
    if options.network == Network::None {
        kinds.push(Type::Network);
    }
    // On v1 a private view needs a mount of each hierarchy; there the mount shows the container's part anyway.
    if options.host.cgroup_v2 {
        kinds.push(Type::Cgroup);
    }
    kinds
        .into_iter()
        .map(|kind| {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(kind);
            namespace
        })
        .collect()
}

/// Open files and processes: as many as we may have ourselves.
pub(super) fn rlimits(options: &RunOptions) -> Vec<PosixRlimit> {
    let host = &options.host.hard_limits;
    let files = host.get(PosixRlimitType::RlimitNofile).min(OPEN_FILES);
    let processes = host.get(PosixRlimitType::RlimitNproc);
    let defaults = [
        rlimit::limit_of(PosixRlimitType::RlimitNofile, files, files),
        rlimit::limit_of(PosixRlimitType::RlimitNproc, processes, processes),
    ];
    let asked = &options.rlimits;
    let missing = defaults
        .iter()
        .filter(|limit| !asked.iter().any(|other| other.typ() == limit.typ()));
    rlimit::clamp(
        &asked.iter().chain(missing).copied().collect::<Vec<_>>(),
        host,
    )
}

/// The limits of the container's cgroup; `None` where nothing is asked for and nothing can be set.
pub(super) fn resources(options: &RunOptions) -> Option<LinuxResources> {
    let host = &options.host;
    let mut resources = options.resources.clone();
    if host.cgroup {
        let resources = resources.get_or_insert_default();
        if resources.pids().is_none() {
            resources.set_pids(Some(pids(PIDS)));
        }
        // In a user namespace the rules cannot be set, nor device nodes be made.
        if resources.devices().is_none() && !options.privileged && !host.rootless {
            resources.set_devices(Some(device_rules()));
        }
    }
    resources
}

fn pids(limit: i64) -> LinuxPids {
    LinuxPidsBuilder::default()
        .limit(limit)
        .build()
        .expect("the only field is set")
}

/// Nothing but making nodes, and using the ones every container has.
pub(crate) fn device_rules() -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{A, B, C};
    let rule = |allow: bool,
                kind: LinuxDeviceType,
                major: Option<i64>,
                minor: Option<i64>,
                access: &str| {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow)
            .set_typ(Some(kind))
            .set_major(major)
            .set_minor(minor)
            .set_access(Some(access.to_owned()));
        rule
    };
    let mut rules = vec![
        rule(false, A, None, None, "rwm"),
        rule(true, C, None, None, "m"),
        rule(true, B, None, None, "m"),
    ];
    let nodes = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
    rules.extend(nodes.map(|(major, minor)| rule(true, C, Some(major), Some(minor), "rwm")));
    // Terminals.
    rules.push(rule(true, C, Some(136), None, "rwm"));
    rules
}

/// Whether every group id may open an ICMP socket, so that `ping` works without CAP_NET_RAW: in a network namespace of its own only.
pub(super) fn ping_group_range(host: &HostFacts) -> Option<(String, String)> {
    host.has_gid(0)
        .then(|| ("net.ipv4.ping_group_range".to_owned(), "0 0".to_owned()))
}
