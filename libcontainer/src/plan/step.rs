//! The steps of a plan: what the child does, one after the other.

use std::fmt;

use rustix::thread::CpuSet;

use super::arena::{Span, Text};
use super::script::Script;
use crate::capability::{self, CapabilitySet};
use crate::mount::Links;
use crate::namespace::Kind;
use crate::rlimit;
use crate::sys::mount::MountAttributes;
use crate::sys::schedule::SchedulerAttributes;

/// A descriptor the child works with, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    /// The root file system's mount.
    pub(crate) const ROOT: Self = Self(0);
    /// The directory `/dev` of the container.
    pub(crate) const DEV: Self = Self(1);
    /// The container's devpts.
    pub(crate) const PTS: Self = Self(2);
    /// A procfs that nobody else can reach.
    pub(crate) const PROC: Self = Self(3);
    /// A mount of `/dev/null`, for masks of files.
    pub(crate) const NULL: Self = Self(4);
    /// An empty read-only directory, for masks of directories.
    pub(crate) const EMPTY: Self = Self(5);
    /// The FIFO on which a created container waits.
    pub(crate) const FIFO: Self = Self(6);
    /// Standard input; output and error follow.
    pub(crate) const STDIO: Self = Self(7);
    /// The first process of the container that is entered, as a pidfd.
    pub(crate) const INIT: Self = Self(10);
    /// The container's sysfs.
    pub(crate) const SYS: Self = Self(11);
    /// The first one that a plan gives out.
    pub(crate) const FIRST_FREE: u16 = 12;
}

/// One option of a new file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FsOption {
    pub(crate) key: Text,
    pub(crate) value: Option<Text>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MountSource {
    /// A new file system.
    New {
        fstype: Text,
        source: Option<Text>,
        options: Span,
        attributes: u64,
    },
    /// A tree the parent has cloned.
    Tree {
        slot: Slot,
        path: Text,
        own: MountAttributes,
        whole: MountAttributes,
    },
}

/// One mount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountStep {
    pub(crate) source: MountSource,
    /// In the container.
    pub(crate) target: Text,
    /// A directory made by an earlier mount in which the target lies directly, and its name there.
    pub(crate) beneath: Option<(Slot, Text)>,
    /// All options in one string, where `mount(2)` by name is as good as a mount that is made detached: in a directory of ours.
    pub(crate) plain: Option<Text>,
    /// The target, if it is a directory at the top of the root that must not be a symlink, and nothing has been mounted there before.
    pub(crate) top: Option<Text>,
    /// No part of the target may be a symlink.
    pub(crate) strict: bool,
    /// The target may be inside of a procfs.
    pub(crate) inside_proc: bool,
    /// Propagation to set afterwards, `MS_*`, and whether for the whole tree.
    pub(crate) propagation: Option<(u64, bool)>,
    /// Where the mount's descriptor is kept for later steps.
    pub(crate) keep: Option<Slot>,
    pub(crate) inherits: Inherits,
    pub(crate) links: Links,
}

/// What a new file system takes from the directory that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inherits {
    Nothing,
    /// The directory's mode.
    Mode,
    /// What is in the directory, and its mode and owner.
    Content,
}

/// A place in a file system of the kernel's that we have mounted ourselves, where every name is the kernel's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelPlace {
    pub(crate) slot: Slot,
    pub(crate) name: Text,
    /// Its number among the names that are looked for in the container's procfs.
    pub(crate) listed: Option<u32>,
}

/// One device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceStep {
    /// Relative to `/dev`, or absolute in the container.
    pub(crate) path: Text,
    pub(crate) in_dev: bool,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub(crate) kind: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The host's node, when nodes cannot be made.
    pub(crate) bind: Option<Slot>,
}

/// Something on the host that the child opens, because the parent may not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnStep {
    pub(crate) slot: Slot,
    pub(crate) path: Text,
    pub(crate) kind: Own,
}

/// What is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Own {
    /// A clone of a mounted tree.
    Tree { recursive: bool, no_follow: bool },
    /// The same in the container's root, as the mounts before have made it; the parent maps its ids, if this names a map.
    Inside {
        /// Below the root.
        path: Text,
        recursive: bool,
        no_follow: bool,
        map: Option<u32>,
    },
    /// A clone of the mount of a device node, which must be this device.
    Device { kind: u32, major: u32, minor: u32 },
    /// The root file system.
    Root,
    /// The same with its changes in memory.
    MemoryRoot { size: Option<Text> },
}

/// What a user's process is allowed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CapabilityStep {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    ResetSignals,
    ParentDeathSignal {
        signal: i32,
    },
    JoinCgroup,
    /// Runs on these of the script's sets of processors, or on all.
    Affinity {
        cpus: Option<u32>,
    },
    Undumpable,
    /// Changing the user may have taken it away.
    Dumpable,
    JoinNamespace {
        kind: Kind,
        /// Where the caller's rights do not suffice: those in a user namespace that is joined next may.
        early: bool,
        slot: Slot,
        path: Text,
    },
    /// Joins the namespaces of a running process, all at once.
    Enter {
        slot: Slot,
        flags: u32,
    },
    Unshare {
        flags: u32,
    },
    AwaitMaps,
    BecomeRoot,
    EnterPidNamespace,
    TimeNamespace {
        proc: Slot,
    },
    NewSession,
    SessionKeyring {
        name: Text,
    },
    LoopbackUp,
    NetDevices,
    HostName {
        name: Text,
    },
    DomainName {
        name: Text,
    },
    SlaveMounts {
        flag: u64,
    },
    AttachRoot {
        at: Text,
    },
    Hooks,
    Open {
        index: u32,
    },
    Mount {
        index: u32,
    },
    OpenDev,
    Device {
        index: u32,
    },
    DeviceLink {
        target: Text,
        name: Text,
    },
    Terminal {
        rows: u16,
        columns: u16,
        uid: u32,
        plain: bool,
    },
    /// A terminal of the devpts that the container has on `/dev/pts`, whosever it is: that of a container that runs, or of a `/dev` that
    /// was bound. In that nothing is made, but its console is covered.
    PeerTerminal {
        rows: u16,
        columns: u16,
        uid: u32,
        plain: bool,
    },
    OpenProc,
    Sysctl {
        path: Text,
        value: Text,
    },
    OomScore {
        value: Text,
        /// It is no failure if the kernel refuses.
        lenient: bool,
    },
    MakeWorkdir {
        path: Text,
    },
    ReadOnlyMount {
        slot: Slot,
        path: Text,
        /// With what is mounted in it.
        recursive: bool,
    },
    ReadOnlyPath {
        path: Text,
        known: Option<KernelPlace>,
    },
    Mask {
        path: Text,
        known: Option<KernelPlace>,
    },
    ReadOnlyRoot,
    Pivot,
    /// Instead of `pivot_root`; the new root may be attached elsewhere than on top of the old one.
    /// Takes a mount of the host out of the old root.
    Hide {
        path: Text,
    },
    ChangeRoot {
        elsewhere: bool,
    },
    RootPropagation {
        flag: u64,
        recursive: bool,
    },
    Stdio,
    DropDescriptors,
    Scheduler(SchedulerAttributes),
    IoPriority {
        value: u32,
    },
    Personality {
        domain: u32,
    },
    MemoryPolicy {
        mode: u32,
        nodes: Option<u32>,
    },
    AppArmor {
        value: Text,
    },
    Selinux {
        label: Text,
    },
    Limit {
        number: u32,
        soft: u64,
        hard: u64,
    },
    Umask {
        mask: u32,
    },
    Chdir {
        path: Text,
    },
    DropBounding {
        keep: u64,
    },
    Filter,
    NoNewPrivileges,
    Identity {
        uid: u32,
        gid: u32,
        /// The caller's are kept if there are none.
        groups: Option<Span>,
    },
    Capabilities(CapabilityStep),
    Workdir {
        path: Text,
    },
    FindProgram {
        candidates: Span,
    },
    UnblockSignals,
    Ready,
    AwaitStart,
    Execute,
}

impl Step {
    /// A few words: what is being done.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ResetSignals => "reset signals",
            Self::ParentDeathSignal { .. } => "set the parent death signal",
            Self::JoinCgroup => "join the cgroup",
            Self::Affinity { .. } => "set the processors to run on",
            Self::TimeNamespace { .. } => "make a time namespace",
            Self::Scheduler(_) => "set the scheduler",
            Self::IoPriority { .. } => "set the I/O priority",
            Self::Personality { .. } => "set the personality",
            Self::MemoryPolicy { .. } => "set the memory policy",
            Self::AppArmor { .. } => "set the AppArmor profile",
            Self::Selinux { .. } => "set the SELinux label",
            Self::Undumpable => "become undumpable",
            Self::Dumpable => "become dumpable",
            Self::JoinNamespace { .. } => "join namespace",
            Self::Enter { .. } => "enter the container's namespaces",
            Self::Unshare { .. } => "make namespaces",
            Self::AwaitMaps => "wait for the id maps",
            Self::BecomeRoot => "become root of the user namespace",
            Self::EnterPidNamespace => "enter the pid namespace",
            Self::NewSession => "start a session",
            Self::SessionKeyring { .. } => "make a session keyring",
            Self::LoopbackUp => "bring up loopback",
            Self::NetDevices => "wait for network devices",
            Self::HostName { .. } => "set the host name",
            Self::DomainName { .. } => "set the domain name",
            Self::SlaveMounts { .. } => "separate mounts from the host",
            Self::AttachRoot { .. } => "attach the root file system",
            Self::Hooks => "wait for hooks",
            Self::Open { .. } => "open on the host",
            Self::Mount { .. } => "mount",
            Self::OpenDev => "open /dev",
            Self::Device { .. } => "make device",
            Self::DeviceLink { .. } => "make link",
            Self::Terminal { .. } | Self::PeerTerminal { .. } => "make the terminal",
            Self::OpenProc => "open a private procfs",
            Self::Sysctl { .. } => "set sysctl",
            Self::OomScore { .. } => "set the OOM score",
            Self::MakeWorkdir { .. } => "make the working directory",
            Self::ReadOnlyMount { .. } => "make mount read-only",
            Self::ReadOnlyPath { .. } => "make read-only",
            Self::Mask { .. } => "mask",
            Self::ReadOnlyRoot => "make the root read-only",
            Self::Pivot => "pivot to the new root",
            Self::Hide { .. } => "hide a mount of the host",
            Self::ChangeRoot { .. } => "change to the new root",
            Self::RootPropagation { .. } => "set the root's propagation",
            Self::Stdio => "set up standard streams",
            Self::DropDescriptors => "close what is the host's",
            Self::Limit { .. } => "set resource limit",
            Self::Umask { .. } => "set the umask",
            Self::Chdir { .. } | Self::Workdir { .. } => "enter the working directory",
            Self::DropBounding { .. } => "drop from the bounding set",
            Self::Filter => "load the system call filter",
            Self::NoNewPrivileges => "set no_new_privs",
            Self::Identity { .. } => "become the user",
            Self::Capabilities(_) => "set capabilities",
            Self::FindProgram { .. } => "find the program",
            Self::UnblockSignals => "unblock signals",
            Self::Ready => "report that the container is ready",
            Self::AwaitStart => "wait for start",
            Self::Execute => "execute",
        }
    }

    /// The path the step works on, if it has one.
    pub(crate) fn path(self, script: &Script) -> Option<Text> {
        match self {
            Self::JoinNamespace { path, .. }
            | Self::Sysctl { path, .. }
            | Self::MakeWorkdir { path }
            | Self::ReadOnlyPath { path, .. }
            | Self::ReadOnlyMount { path, .. }
            | Self::Mask { path, .. }
            | Self::Hide { path }
            | Self::AttachRoot { at: path }
            | Self::Chdir { path }
            | Self::Workdir { path } => Some(path),
            Self::DeviceLink { name, .. } => Some(name),
            Self::Mount { index } => script.mounts.get(index as usize).map(|mount| mount.target),
            Self::Open { index } => script.own.get(index as usize).map(|own| own.path),
            Self::Device { index } => script.devices.get(index as usize).map(|device| device.path),
            Self::FindProgram { .. } | Self::Execute => {
                script.arguments.of(&script.texts).first().copied()
            }
            _ => None,
        }
    }
}

/// Prints one step of a script.
pub(crate) struct Printed<'s>(pub(crate) &'s Script, pub(crate) Step);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(script, step) = *self;
        let text = |text: Text| script.arena.get(text).to_string_lossy();
        f.write_str(step.name())?;
        match step {
            Step::ParentDeathSignal { signal } => write!(f, " {signal}"),
            Step::JoinNamespace {
                kind, path, early, ..
            } => {
                let early = if early { " if the caller may" } else { "" };
                write!(f, " {kind} {}{early}", text(path))
            }
            Step::Unshare { flags } | Step::Enter { flags, .. } => write!(f, " {}", Flags(flags)),
            Step::SessionKeyring { name } | Step::HostName { name } | Step::DomainName { name } => {
                write!(f, " {:?}", text(name))
            }
            Step::SlaveMounts { flag } => write!(f, " {}", propagation(flag, true)),
            Step::RootPropagation { flag, recursive } => {
                write!(f, " {}", propagation(flag, recursive))
            }
            Step::Open { index } => match script.own.get(index as usize) {
                Some(own) => print_own(f, script, own),
                None => Ok(()),
            },
            Step::Mount { index } => match script.mounts.get(index as usize) {
                Some(mount) => print_mount(f, script, mount),
                None => Ok(()),
            },
            Step::Device { index } => match script.devices.get(index as usize) {
                Some(device) => print_device(f, script, device),
                None => Ok(()),
            },
            Step::DeviceLink { target, name } => {
                write!(f, " /dev/{} -> {}", text(name), text(target))
            }
            Step::Terminal {
                rows,
                columns,
                uid,
                plain,
            }
            | Step::PeerTerminal {
                rows,
                columns,
                uid,
                plain,
            } => {
                let plain = if plain { ", plain newlines" } else { "" };
                write!(f, " {columns}x{rows} of uid {uid}{plain}")
            }
            Step::Sysctl { path, value } => write!(f, " {} = {:?}", text(path), text(value)),
            Step::OomScore { value, .. } => write!(f, " {}", text(value)),
            Step::Affinity { cpus } => match cpus.and_then(|index| script.cpus.get(index as usize))
            {
                Some(set) => (0..CpuSet::MAX_CPU)
                    .filter(|number| set.is_set(*number))
                    .try_for_each(|number| write!(f, " {number}")),
                None => f.write_str(" all"),
            },
            Step::Scheduler(wanted) => write!(
                f,
                " policy {} nice {} priority {} flags {:#x}",
                wanted.policy, wanted.nice, wanted.priority, wanted.flags
            ),
            Step::IoPriority { value } => write!(f, " class {} level {}", value >> 13, value & 7),
            Step::Personality { domain } => write!(f, " {domain:#x}"),
            Step::MemoryPolicy { mode, .. } => write!(f, " {mode:#x}"),
            Step::AppArmor { value: label } | Step::Selinux { label } => {
                write!(f, " {:?}", text(label))
            }
            Step::MakeWorkdir { path }
            | Step::ReadOnlyPath { path, .. }
            | Step::ReadOnlyMount { path, .. }
            | Step::Mask { path, .. }
            | Step::AttachRoot { at: path }
            | Step::Chdir { path }
            | Step::Workdir { path } => write!(f, " {}", text(path)),
            Step::Limit { number, soft, hard } => {
                write!(
                    f,
                    " {} to {}/{}",
                    limit_name(number),
                    Amount(soft),
                    Amount(hard)
                )
            }
            Step::Umask { mask } => write!(f, " {mask:04o}"),
            Step::DropBounding { keep } => write!(f, " all but {}", set(keep)),
            Step::Filter => write!(f, " of {} instructions", script.filter.len()),
            Step::Identity { uid, gid, groups } => match groups {
                Some(groups) => {
                    write!(f, " {uid}:{gid}, groups {:?}", groups.of(&script.groups))
                }
                None => write!(f, " {uid}:{gid}, groups kept"),
            },
            Step::Capabilities(sets) => {
                let [effective, permitted] = [sets.effective, sets.permitted].map(set);
                let [inheritable, ambient] = [sets.inheritable, sets.ambient].map(set);
                write!(
                    f,
                    " effective {effective} permitted {permitted} inheritable {inheritable} ambient {ambient}"
                )
            }
            Step::FindProgram { candidates } => candidates
                .of(&script.texts)
                .iter()
                .try_for_each(|path| write!(f, " {}", text(*path))),
            Step::Execute => script
                .arguments
                .of(&script.texts)
                .iter()
                .try_for_each(|word| write!(f, " {:?}", text(*word))),
            _ => Ok(()),
        }
    }
}

fn print_own(f: &mut fmt::Formatter<'_>, script: &Script, own: &OwnStep) -> fmt::Result {
    match own.kind {
        Own::Tree {
            recursive: true, ..
        } => f.write_str(" tree")?,
        Own::Tree {
            recursive: false, ..
        } => f.write_str(" mount")?,
        Own::Inside { map, .. } => f.write_str(match map {
            None => " in the root",
            Some(_) => " in the root with other ids",
        })?,
        Own::Device { major, minor, .. } => write!(f, " device {major}:{minor}")?,
        Own::Root => f.write_str(" root")?,
        Own::MemoryRoot { .. } => f.write_str(" root below a layer in memory")?,
    }
    write!(f, " {}", script.arena.get(own.path).to_string_lossy())
}

fn print_mount(f: &mut fmt::Formatter<'_>, script: &Script, mount: &MountStep) -> fmt::Result {
    let text = |text: Text| script.arena.get(text).to_string_lossy();
    match mount.source {
        MountSource::New {
            fstype,
            options,
            attributes,
            ..
        } => {
            write!(f, " {} on {}", text(fstype), text(mount.target))?;
            for option in options.of(&script.options) {
                write!(f, " {}", text(option.key))?;
                if let Some(value) = option.value {
                    write!(f, "={}", text(value))?;
                }
            }
            write!(f, "{}", Attributes(attributes))?;
            if mount.inherits == Inherits::Content {
                f.write_str(" with what is there")?;
            }
        }
        MountSource::Tree {
            path, own, whole, ..
        } => {
            write!(
                f,
                " {} on {}{}",
                text(path),
                text(mount.target),
                Attributes(own.set)
            )?;
            if whole.set != 0 {
                write!(f, " whole tree:{}", Attributes(whole.set))?;
            }
        }
    }
    match mount.propagation {
        Some((flag, recursive)) => write!(f, " {}", propagation(flag, recursive)),
        None => Ok(()),
    }
}

fn print_device(f: &mut fmt::Formatter<'_>, script: &Script, device: &DeviceStep) -> fmt::Result {
    let path = script.arena.get(device.path).to_string_lossy();
    let prefix = if device.in_dev { "/dev/" } else { "" };
    let letter = match device.kind {
        libc::S_IFBLK => 'b',
        libc::S_IFIFO => 'p',
        _ => 'c',
    };
    write!(
        f,
        " {prefix}{path} {letter} {}:{} {:04o}",
        device.major, device.minor, device.mode
    )?;
    if device.bind.is_some() {
        f.write_str(" bound from the host")
    } else {
        write!(f, " {}:{}", device.uid, device.gid)
    }
}

/// The name of a resource limit.
fn limit_name(number: u32) -> String {
    let kind = rlimit::kind(number);
    kind.map_or_else(|| number.to_string(), |kind| kind.to_string())
}

struct Amount(u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == rlimit::INFINITY {
            f.write_str("unlimited")
        } else {
            self.0.fmt(f)
        }
    }
}

/// Capabilities as the kernel's names without their prefix, or `none`.
fn set(bits: u64) -> String {
    let names: Vec<_> = CapabilitySet::from_bits(bits)
        .iter()
        .map(|one| capability::name(one).trim_start_matches("CAP_"))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(",").to_lowercase()
    }
}

/// The word for a propagation flag.
fn propagation(flag: u64, recursive: bool) -> String {
    let word = match flag {
        libc::MS_SHARED => "shared",
        libc::MS_SLAVE => "slave",
        libc::MS_UNBINDABLE => "unbindable",
        _ => "private",
    };
    if recursive {
        format!("r{word}")
    } else {
        word.to_owned()
    }
}

/// Names of namespaces for their flags.
pub(crate) struct Flags(pub(crate) u32);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in Kind::ALL.iter().filter(|kind| self.0 & kind.flag() != 0) {
            write!(f, "{separator}{kind}")?;
            separator = " ";
        }
        Ok(())
    }
}

struct Attributes(u64);

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, word) in [
            (0x1, "ro"),
            (0x2, "nosuid"),
            (0x4, "nodev"),
            (0x8, "noexec"),
            (0x10, "noatime"),
            (0x20, "strictatime"),
            (0x80, "nodiratime"),
            (0x20_0000, "nosymfollow"),
        ] {
            if self.0 & bit != 0 {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}
