//! From a specification and facts to a script: the order of everything. Pure.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxIdMapping, Process, Spec};

use super::arena::Text;
use super::facts::Facts;
use super::process::invalid;
use super::script::{OomScore, Resource, Script, Tree};
use super::step::{Own, OwnStep, Slot, Step};
use super::{attributes, devices, mounts, process, refuse};
use crate::error::{Error, ErrorKind};
use crate::id::ContainerId;
use crate::idmap::{self, IdMap, IdMaps};
use crate::mount::Propagation;
use crate::namespace::{Kind, Namespaces};
use crate::netdevice::{self, NetDevice};
use crate::rootfs::Later;

/// What the caller wants beyond the specification.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) terminal: bool,
    /// The terminal adds no carriage returns.
    pub(crate) plain_newlines: bool,
    /// A listener goes wherever a path is named.
    pub(crate) listener_as_crun: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) parent_death_signal: Option<i32>,
    pub(crate) no_pivot: bool,
    /// Where the host has procfs and sysfs, the innermost first; looked for only with `no_pivot`.
    pub(crate) kernel_mounts: Vec<PathBuf>,
    /// The directories of the container's cgroup, if it certainly gets one.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Added to the specification's.
    pub(crate) environment: Vec<String>,
    /// What relative paths on the host are relative to.
    pub(crate) bundle: Option<PathBuf>,
    /// The root file system's directory, if it is one.
    pub(crate) rootfs: Option<PathBuf>,
    /// The caller may not mount: everything on the host is opened by the child, this root first.
    pub(crate) later: Option<Later>,
}

/// A script in the making.
pub(crate) struct Compiler<'s> {
    pub(crate) script: Script,
    pub(crate) facts: &'s Facts,
    pub(crate) namespaces: Namespaces,
    /// We are or will be in a user namespace that is not the machine's: no device nodes, no foreign sysfs.
    pub(crate) restricted: bool,
    /// Propagation of the root and, unless told otherwise, of bind mounts.
    pub(crate) propagation: u64,
    /// The host shall see what is mounted in mounts that are shared.
    shares: bool,
    /// Directories that are fresh file systems of ours, with the slots that hold them.
    pub(crate) held: Vec<(PathBuf, Slot)>,
    /// The SELinux label of what is in new file systems.
    pub(crate) mount_label: Option<String>,
    bundle: Option<&'s Path>,
    /// The child opens what is on the host.
    pub(crate) later: bool,
    /// The process gets a terminal.
    pub(crate) terminal: bool,
    /// The root file system's directory.
    pub(crate) rootfs: Option<PathBuf>,
    /// The directories of the container's cgroup on version 1 and 2.
    pub(crate) cgroups: Vec<PathBuf>,
}

/// Compiles a specification.
pub(crate) fn compile(
    id: &ContainerId,
    spec: &Spec,
    facts: &Facts,
    wishes: &Wishes,
) -> Result<Script, Error> {
    refuse::refuse(spec)?;
    let default = Linux::default();
    let linux = spec.linux().as_ref().unwrap_or(&default);
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| invalid("process", "there is no process to start"))?;
    let namespaces = Namespaces::from_spec(linux.namespaces().as_deref().unwrap_or_default())?;
    let root_propagation = root_propagation(linux)?;
    if wishes.later.is_some() && !namespaces.has(Kind::User) {
        return Err(invalid(
            "linux.namespaces",
            "a caller who may not mount needs a user namespace",
        ));
    }
    let mut compiler = Compiler::new(facts, namespaces, wishes.bundle.as_deref());
    compiler.later = wishes.later.is_some();
    compiler.terminal = wishes.terminal;
    compiler.cgroups.clone_from(&wishes.cgroups);
    if let Some(Propagation {
        flag: libc::MS_PRIVATE | libc::MS_UNBINDABLE,
        ..
    }) = root_propagation
    {
        compiler.propagation = libc::MS_PRIVATE;
    }
    compiler.shares = root_propagation.is_some_and(|root| root.flag == libc::MS_SHARED);
    compiler.filter(linux, wishes.listener_as_crun)?;
    let candidates = process::program(&mut compiler, process, &wishes.environment)?;
    attributes::mount_label(&mut compiler, linux)?;
    compiler.beginning();
    compiler.oom_score(process)?;
    let changed = compiler.changed(spec, linux)?;
    compiler.namespace_steps(linux, changed)?;
    compiler.time(linux)?;
    compiler.session(id, spec, wishes)?;
    compiler.root(spec, linux, process, wishes, root_propagation)?;
    compiler.script.steps.push(Step::Stdio);
    attributes::compile(&mut compiler, process, linux)?;
    process::identity(&mut compiler, spec, process, true)?;
    let late_filter =
        process.no_new_privileges().unwrap_or(false) && !compiler.script.filter.is_empty();
    let steps = &mut compiler.script.steps;
    if let Some(signal) = wishes.parent_death_signal {
        // Becoming the user took it away.
        steps.push(Step::ParentDeathSignal { signal });
    }
    // Whoever gives the listener away is there until the container is ready.
    let listened = compiler.script.listener.is_some();
    let visible = compiler.is_alone_and_unprivileged();
    if late_filter && listened {
        compiler.filter_step();
    }
    let steps = &mut compiler.script.steps;
    steps.extend([
        // From now on the container has a record, and others may join it: they must not reach what the runtime runs from. But without
        // privilege the caller could not either, and neither hooks nor `exec` would get in before the start.
        if visible {
            Step::Dumpable
        } else {
            Step::Undumpable
        },
        Step::FindProgram { candidates },
        Step::UnblockSignals,
        Step::Ready,
        Step::AwaitStart,
    ]);
    if late_filter && !listened {
        steps.push(Step::Filter);
    }
    steps.push(Step::Execute);
    Ok(compiler.script)
}

/// The propagation of the root, if the specification names one.
fn root_propagation(linux: &Linux) -> Result<Option<Propagation>, Error> {
    match linux
        .rootfs_propagation()
        .as_deref()
        .filter(|word| !word.is_empty())
    {
        None => Ok(None),
        Some(word) => Propagation::parse(word).map(Some).ok_or_else(|| {
            invalid(
                "linux.rootfsPropagation",
                "known are shared, slave, private, unbindable, and each with an r in front",
            )
        }),
    }
}

impl<'s> Compiler<'s> {
    /// An empty script.
    pub(crate) fn new(facts: &'s Facts, namespaces: Namespaces, bundle: Option<&'s Path>) -> Self {
        Self {
            script: Script::new(),
            facts,
            restricted: facts.in_user_namespace || namespaces.has(Kind::User),
            namespaces,
            propagation: libc::MS_SLAVE,
            shares: false,
            held: Vec::new(),
            mount_label: None,
            bundle,
            later: false,
            terminal: false,
            rootfs: None,
            cgroups: Vec::new(),
        }
    }
}

impl Compiler<'_> {
    /// Whether the caller has no more rights over the process than its owner has, and nobody can be in the namespaces before the
    /// caller lets somebody in.
    fn is_alone_and_unprivileged(&self) -> bool {
        self.facts.unprivileged
            && self.namespaces.creates(Kind::User)
            && self.namespaces.joined().is_empty()
    }

    /// Adds a string.
    pub(crate) fn text(&mut self, field: &str, text: &[u8]) -> Result<Text, Error> {
        self.script
            .arena
            .add(text)
            .map_err(|_| invalid(field, "it holds a zero byte"))
    }

    /// Has a resource opened: by the parent before it makes the child, or else by the child, at this point of the plan.
    pub(crate) fn open(&mut self, field: &str, resource: Resource) -> Result<Slot, Error> {
        let slot = self.script.free_slot();
        self.open_into(field, slot, resource)?;
        Ok(slot)
    }

    fn open_into(&mut self, field: &str, slot: Slot, resource: Resource) -> Result<(), Error> {
        let (path, kind) = match &resource {
            // Its own process has no right to map ids of the host's file systems.
            Resource::Tree(tree) if self.later && tree.idmap.is_some() => {
                let feature = "id-mapped mounts for a caller who may not mount".to_owned();
                return Err(
                    Error::new(ErrorKind::Unsupported { feature }, "specification")
                        .with_path(&tree.path),
                );
            }
            Resource::Tree(tree) => match self.in_root(&tree.path) {
                Some(inside) => {
                    let kind = self.own_inside(field, tree, &inside)?;
                    (&tree.path, kind)
                }
                None if self.later || self.in_order(tree) => {
                    let (recursive, no_follow) = (tree.recursive, tree.no_follow);
                    let kind = Own::Tree {
                        recursive,
                        no_follow,
                    };
                    (&tree.path, kind)
                }
                None => {
                    self.script.resources.push((slot, resource));
                    return Ok(());
                }
            },
            &Resource::Device {
                ref path,
                kind,
                major,
                minor,
                made: _,
            } if self.later => (path, Own::Device { kind, major, minor }),
            _ => {
                self.script.resources.push((slot, resource));
                return Ok(());
            }
        };
        let path = self.text(field, path.as_os_str().as_bytes())?;
        self.open_own(OwnStep { slot, path, kind });
        Ok(())
    }

    /// The path in the container of what is named by a path on the host, if it lies in the directory of the root file system.
    ///
    /// The specification does not say what such a source of a mount means, or such a destination. runc has them where the mounts
    /// before have put something, and takes the directory's own part off a destination, and configurations depend on both.
    pub(crate) fn in_root(&self, path: &Path) -> Option<PathBuf> {
        let root = self.rootfs.as_ref()?;
        let inside = path.strip_prefix(root).ok()?;
        Some(Path::new("/").join(inside))
    }

    /// A source in the root file system, where only the child sees what the mounts before have made.
    fn own_inside(&mut self, field: &str, tree: &Tree, inside: &Path) -> Result<Own, Error> {
        let map = tree.idmap.clone().map(|map| {
            let index = self.script.tree_maps.len() as u32;
            self.script.tree_maps.push(map);
            index
        });
        Ok(Own::Inside {
            path: self.text(field, inside.as_os_str().as_bytes())?,
            recursive: tree.recursive,
            no_follow: tree.no_follow,
            map,
        })
    }

    /// Whether the child can open a source as well as we. Then it does when its turn comes: since Linux 6.8 mounts are listed in the order
    /// in which they were made, and who reads the list expects that of the specification.
    fn in_order(&self, tree: &Tree) -> bool {
        // In its mount namespace nothing reaches the host's any more.
        tree.idmap.is_none()
            && !self.restricted
            && !self.shares
            && self.namespaces.creates(Kind::Mount)
    }

    fn open_own(&mut self, own: OwnStep) {
        let index = self.script.own.len() as u32;
        self.script.own.push(own);
        self.script.steps.push(Step::Open { index });
    }

    /// Has the child clone a directory of the host that is made after the plan.
    pub(crate) fn open_in_child(&mut self, path: Text) -> Slot {
        let slot = self.script.free_slot();
        let kind = Own::Tree {
            recursive: false,
            no_follow: true,
        };
        self.open_own(OwnStep { slot, path, kind });
        slot
    }

    fn own_root(&mut self, later: &Later) -> Result<(), Error> {
        let path = self.text("root.path", later.directory.as_os_str().as_bytes())?;
        let kind = match later.memory {
            None => Own::Root,
            Some(size) => Own::MemoryRoot {
                size: size
                    .map(|bytes| self.text("root.path", bytes.to_string().as_bytes()))
                    .transpose()?,
            },
        };
        let slot = Slot::ROOT;
        self.open_own(OwnStep { slot, path, kind });
        Ok(())
    }

    /// A path on the host, which may be relative to the bundle.
    pub(crate) fn host_path(&self, path: &Path) -> PathBuf {
        match self.bundle {
            Some(bundle) if path.is_relative() => bundle.join(path),
            _ => path.to_owned(),
        }
    }

    /// Whether a group id written as text exists in the container.
    pub(crate) fn maps_gid(&self, text: Option<&str>) -> bool {
        let Some(gid) = text.and_then(|text| text.parse().ok()) else {
            return true;
        };
        match (&self.script.maps, &self.facts.ids) {
            (Some(maps), _) => idmap::is_mapped(&maps.gid, gid),
            (None, Some(ids)) => idmap::is_mapped(&ids.gid, gid),
            (None, None) => true,
        }
    }

    /// What has to be so before anything else is done.
    fn beginning(&mut self) {
        let steps = &mut self.script.steps;
        steps.push(Step::ResetSignals);
        // Modes of files are as they are written.
        steps.push(Step::Umask { mask: 0 });
        steps.push(Step::JoinCgroup);
        steps.push(Step::Affinity { cpus: None });
    }

    /// The OOM score, where the child has lost the right to lower it once it has a procfs of its own.
    fn oom_score(&mut self, process: &Process) -> Result<(), Error> {
        let Some(value) = process.oom_score_adj() else {
            return Ok(());
        };
        if self.namespaces.creates(Kind::User) {
            let lenient = self.facts.in_user_namespace;
            self.script.oom_score = Some(OomScore { value, lenient });
        } else if self.namespaces.joins(Kind::User).is_some() {
            self.script.resources.push((Slot::PROC, Resource::Proc));
            process::oom_score(self, value)?;
        }
        Ok(())
    }

    /// The time namespace: its clocks can be set only while it is empty.
    fn time(&mut self, linux: &Linux) -> Result<(), Error> {
        let offsets = linux.time_offsets().iter().flatten();
        let mut lines: Vec<String> = Vec::new();
        for (clock, offset) in offsets {
            let field = format!("linux.timeOffsets.{clock}");
            if !matches!(clock.as_str(), "monotonic" | "boottime") {
                return Err(invalid(&field, "known clocks are monotonic and boottime"));
            }
            let (seconds, nanoseconds) = (offset.secs(), offset.nanosecs());
            let nanoseconds = nanoseconds.unwrap_or(0);
            if nanoseconds >= 1_000_000_000 {
                return Err(invalid(&field, "a second has 1000000000 nanoseconds"));
            }
            lines.push(format!("{clock} {} {nanoseconds}\n", seconds.unwrap_or(0)));
        }
        lines.sort();
        if !self.namespaces.creates(Kind::Time) {
            return if lines.is_empty() {
                Ok(())
            } else {
                Err(invalid(
                    "linux.timeOffsets",
                    "offsets need a new time namespace",
                ))
            };
        }
        self.script.clocks = lines.concat();
        let proc = self.open("proc", Resource::Proc)?;
        self.script.steps.push(Step::TimeNamespace { proc });
        Ok(())
    }

    /// The kinds of namespaces in which something is changed: none of them may be the caller's.
    fn changed(&self, spec: &Spec, linux: &Linux) -> Result<u32, Error> {
        let mut changed = Kind::Mount.flag();
        let mut keys: Vec<_> = linux.sysctl().iter().flat_map(|map| map.keys()).collect();
        // The map has no order; the first error has.
        keys.sort();
        for key in keys {
            changed |= refuse::sysctl_path(key, &self.namespaces)?.0.flag();
        }
        let named = |name: &Option<String>| name.as_deref().is_some_and(|name| !name.is_empty());
        if named(spec.hostname()) || named(spec.domainname()) {
            changed |= Kind::Uts.flag();
        }
        Ok(changed)
    }

    /// Namespaces, in the order in which the kernel gives the rights for the next.
    fn namespace_steps(&mut self, linux: &Linux, changed: u32) -> Result<(), Error> {
        let (user, cgroup, pid) = (Kind::User.flag(), Kind::Cgroup.flag(), Kind::Pid.flag());
        // The time namespace has a step of its own.
        let created = self.namespaces.created() & !Kind::Time.flag();
        let joined = self.namespaces.joined().to_vec();
        let (new_user, joins_user) = (
            self.namespaces.creates(Kind::User),
            self.namespaces.joins(Kind::User).is_some(),
        );
        // The cgroup namespace is rooted where the process is when it is made, so it is made after the process has moved.
        // A namespace belongs to the user namespace of its maker. So with a new one the maps come first, then root of it makes the
        // rest; only the pid namespace is made along with it, which saves a fork. With a joined one, or with namespaces that belong
        // to the host, nothing can be made before they are joined.
        let at_clone = match (new_user, joins_user, joined.is_empty()) {
            (true, _, true) => created & (user | pid),
            (true, _, false) | (_, true, _) => 0,
            (false, false, _) => created & !cgroup,
        };
        self.script.clone = at_clone;
        if !joined.is_empty() && !new_user {
            self.script.steps.push(Step::Undumpable);
        }
        let mut joins = Vec::new();
        for (kind, path) in joined {
            let path = self.host_path(&path);
            let text = self.text("linux.namespaces", path.as_os_str().as_bytes())?;
            let foreign = changed & kind.flag() != 0;
            let slot = self.open(
                "linux.namespaces",
                Resource::Namespace {
                    path,
                    kind,
                    foreign,
                },
            )?;
            joins.push(Step::JoinNamespace {
                kind,
                early: false,
                slot,
                path: text,
            });
        }
        if joins_user {
            // Some may belong to the user namespace, whose root joins them; others to the host, and then only the caller may. Tried twice.
            let others = joins.get(1..).unwrap_or_default().iter().copied();
            let early = others.map(|step| match step {
                Step::JoinNamespace {
                    kind, slot, path, ..
                } => Step::JoinNamespace {
                    kind,
                    early: true,
                    slot,
                    path,
                },
                other => other,
            });
            self.script.steps.extend(early);
        }
        self.script.steps.extend(joins);
        let mut rest = created & !at_clone;
        if new_user {
            self.script.maps = Some(user_namespace_maps(linux)?);
            if rest & user != 0 {
                self.script.steps.push(Step::Unshare { flags: user });
                rest &= !user;
            }
            self.script.steps.push(Step::AwaitMaps);
        }
        if new_user || joins_user {
            self.script.steps.push(Step::BecomeRoot);
        }
        if rest != 0 {
            self.script.steps.push(Step::Unshare { flags: rest });
        }
        if rest & pid != 0 || self.namespaces.joins(Kind::Pid).is_some() {
            self.script.steps.push(Step::EnterPidNamespace);
        }
        Ok(())
    }

    /// What belongs to the namespaces but the mounts.
    fn session(&mut self, id: &ContainerId, spec: &Spec, wishes: &Wishes) -> Result<(), Error> {
        self.script.steps.push(Step::NewSession);
        if !wishes.no_new_keyring {
            let name = self.text("id", format!("_ses.{id}").as_bytes())?;
            self.script.steps.push(Step::SessionKeyring { name });
        }
        if self.namespaces.creates(Kind::Network) {
            self.script.steps.push(Step::LoopbackUp);
        }
        self.net_devices(spec.linux().as_ref())?;
        let names = [
            ("hostname", spec.hostname(), true),
            ("domainname", spec.domainname(), false),
        ];
        for (field, name, host) in names {
            let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            if !self.namespaces.has(Kind::Uts) {
                return Err(invalid(
                    field,
                    "setting it needs a uts namespace, or it would change the host's",
                ));
            }
            let name = self.text(field, name.as_bytes())?;
            self.script.steps.push(if host {
                Step::HostName { name }
            } else {
                Step::DomainName { name }
            });
        }
        Ok(())
    }

    /// Devices of the host that become the container's.
    fn net_devices(&mut self, linux: Option<&Linux>) -> Result<(), Error> {
        let asked = linux.and_then(|linux| linux.net_devices().as_ref());
        let mut devices = Vec::new();
        for (host, device) in asked.into_iter().flatten() {
            let container = device.name().as_deref().filter(|name| !name.is_empty());
            let (host, container) = (host.clone(), container.unwrap_or(host).to_owned());
            if !netdevice::is_name(&host) || !netdevice::is_name(&container) {
                let field = format!("linux.netDevices.{host}");
                return Err(invalid(&field, "this is no name of a network device"));
            }
            devices.push(NetDevice { host, container });
        }
        if devices.is_empty() {
            return Ok(());
        }
        if !self.namespaces.has(Kind::Network) {
            return Err(invalid(
                "linux.netDevices",
                "moving a device needs a network namespace of the container's own",
            ));
        }
        // The specification's map has no order; a plan has.
        devices.sort_by(|one, other| one.host.cmp(&other.host));
        self.script.net_devices = devices;
        self.script.steps.push(Step::NetDevices);
        Ok(())
    }

    /// The root file system and everything in it.
    fn root(
        &mut self,
        spec: &Spec,
        linux: &Linux,
        process: &Process,
        wishes: &Wishes,
        propagation: Option<Propagation>,
    ) -> Result<(), Error> {
        self.rootfs = wishes.rootfs.clone().filter(|root| root != Path::new("/"));
        // Hooks that run before the change of roots look for the root file system in its directory.
        let visible = asks_for_hooks(spec);
        let rootfs = wishes.rootfs.as_deref().filter(|_| visible);
        let at = rootfs.unwrap_or(Path::new("/"));
        let at = self.text("root.path", at.as_os_str().as_bytes())?;
        let flag = self.propagation;
        self.script.steps.push(Step::SlaveMounts { flag });
        if let Some(later) = &wishes.later {
            self.own_root(later)?;
        }
        self.script.steps.push(Step::AttachRoot { at });
        let mounted = mounts::compile(self, spec.mounts().as_deref().unwrap_or_default())?;
        devices::compile(
            self,
            linux.devices().as_deref().unwrap_or_default(),
            &mounted,
        )?;
        if wishes.terminal {
            if !mounted.pts && !mounted.dev_is_foreign {
                return Err(invalid(
                    "process.terminal",
                    "a terminal needs a mount of type devpts on /dev/pts",
                ));
            }
            let (rows, columns, uid) = process::terminal(process);
            let plain = wishes.plain_newlines;
            self.script.steps.push(if mounted.dev_is_foreign {
                Step::PeerTerminal {
                    rows,
                    columns,
                    uid,
                    plain,
                }
            } else {
                Step::Terminal {
                    rows,
                    columns,
                    uid,
                    plain,
                }
            });
        }
        let path = self.text(
            "process.cwd",
            process::workdir(process)?.as_os_str().as_bytes(),
        )?;
        self.script.steps.push(Step::MakeWorkdir { path });
        devices::finish(self, &mounted)?;
        self.kernel_settings(linux, process, mounted.proc)?;
        for path in linux.readonly_paths().as_deref().unwrap_or_default() {
            let field = "linux.readonlyPaths";
            let known = self.kernel_place(field, path)?;
            let path = self.text(field, path.as_bytes())?;
            self.script.steps.push(Step::ReadOnlyPath { path, known });
        }
        let masked = linux.masked_paths().as_deref().unwrap_or_default();
        if !masked.is_empty() && !devices::has_null(self, linux, &mounted) {
            let null = Resource::Device {
                path: "/dev/null".into(),
                kind: libc::S_IFCHR,
                major: 1,
                minor: 3,
                made: None,
            };
            self.open_into("linux.maskedPaths", Slot::NULL, null)?;
        }
        for path in masked {
            let field = "linux.maskedPaths";
            let known = self.kernel_place(field, path)?;
            let path = self.text(field, path.as_bytes())?;
            self.script.steps.push(Step::Mask { path, known });
        }
        if spec
            .root()
            .as_ref()
            .is_some_and(|root| root.readonly().unwrap_or(false))
        {
            self.script.steps.push(Step::ReadOnlyRoot);
        }
        if asks_for_hooks(spec) {
            self.script.steps.push(Step::Hooks);
        }
        // Left beneath, the host's would allow fresh ones in a user namespace, with nothing masked.
        for path in wishes.kernel_mounts.iter().filter(|_| wishes.no_pivot) {
            let path = self.text("root.path", path.as_os_str().as_bytes())?;
            self.script.steps.push(Step::Hide { path });
        }
        self.script.steps.push(if wishes.no_pivot {
            let elsewhere = visible && wishes.rootfs.is_some();
            Step::ChangeRoot { elsewhere }
        } else {
            Step::Pivot
        });
        if let Some(Propagation { flag, recursive }) = propagation {
            self.script
                .steps
                .push(Step::RootPropagation { flag, recursive });
        }
        Ok(())
    }

    /// What is written into a procfs.
    fn kernel_settings(
        &mut self,
        linux: &Linux,
        process: &Process,
        has_proc: bool,
    ) -> Result<(), Error> {
        let mut sysctls: Vec<_> = linux.sysctl().iter().flatten().collect();
        // The specification's map has no order; a plan has.
        sysctls.sort();
        let score = process
            .oom_score_adj()
            .filter(|_| !self.namespaces.has(Kind::User));
        let written = !sysctls.is_empty() || score.is_some() || attributes::has_label(process);
        if !has_proc && written {
            self.script.steps.push(Step::OpenProc);
        }
        for (key, value) in sysctls {
            let (_, path) = refuse::sysctl_path(key, &self.namespaces)?;
            let path = self.text("linux.sysctl", path.as_bytes())?;
            let value = self.text("linux.sysctl", value.as_bytes())?;
            self.script.steps.push(Step::Sysctl { path, value });
        }
        match score {
            Some(score) => process::oom_score(self, score),
            None => Ok(()),
        }
    }
}

/// Whether a hook runs while the container is being created.
fn asks_for_hooks(spec: &Spec) -> bool {
    let Some(hooks) = spec.hooks() else {
        return false;
    };
    let lists = [
        hooks.prestart(),
        hooks.create_runtime(),
        hooks.create_container(),
    ];
    lists
        .iter()
        .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

/// The id maps of a new user namespace.
fn user_namespace_maps(linux: &Linux) -> Result<IdMaps, Error> {
    let maps = id_maps(linux.uid_mappings(), linux.gid_mappings());
    if maps.uid.is_empty() || maps.gid.is_empty() {
        return Err(invalid(
            "linux.uidMappings",
            "a new user namespace needs uidMappings and gidMappings",
        ));
    }
    maps.validate().map_err(|error| {
        invalid("linux.uidMappings", "the id maps cannot be used").with_source(error)
    })?;
    Ok(maps)
}

/// The specification's id maps as ours.
pub(crate) fn id_maps(
    uid: &Option<Vec<LinuxIdMapping>>,
    gid: &Option<Vec<LinuxIdMapping>>,
) -> IdMaps {
    let read = |list: &Option<Vec<LinuxIdMapping>>| -> Vec<IdMap> {
        list.iter().flatten().map(IdMap::from).collect()
    };
    let (uid, gid) = (read(uid), read(gid));
    IdMaps { uid, gid }
}
