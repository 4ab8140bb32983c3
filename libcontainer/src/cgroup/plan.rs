//! Which directories are made for a container, and what is written into them.

use super::{
    Cgroup, CgroupError, Hierarchies, Missing, Write,
    devices::Rules,
    limits::{self, CONTROLLERS},
    program::program,
    systemd::{Held, Start},
    v1, v2,
};
use crate::sys::bpf;
use oci_spec::runtime::LinuxResources;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    fmt, io,
    os::fd::AsFd,
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

/// A directory above may be removed by the end of another container just before it is used: so often it is made again.
const ATTEMPTS: usize = 64;

/// Controllers that count what is used.
const COUNTING: [&str; 4] = ["memory", "cpu", "pids", "io"];

/// What is asked of [`plan`].
#[derive(Clone, Copy, Debug)]
pub struct CgroupRequest<'a> {
    /// `linux.cgroupsPath`, or empty for `default_path`. An absolute one counts from the root of each hierarchy, a relative one from
    /// the caller's own cgroup.
    pub path: &'a Path,
    /// Where the cgroup is when `path` is empty: `/trimaran/<id>`, or `/<id>` for the OCI face.
    pub default_path: &'a Path,
    /// Limits.
    pub resources: Option<&'a LinuxResources>,
    /// Whether we are in a user namespace: then the default place is below the caller's own cgroup, and there are no device rules.
    pub rootless: bool,
    /// Whether the container joins every hierarchy although nothing is limited there: engines read its statistics, change its limits
    /// and stop it later, and look for it in each of them. One of version 1 costs some 50 µs. And without device rules all but the
    /// default devices are denied.
    pub accounted: bool,
}

/// What will be made and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    groups: Vec<Group>,
    /// Whether the container may run without.
    optional: bool,
    /// Whether the directories above are ours, and go with the last container.
    own_parents: bool,
    /// What will not be done as asked.
    warnings: Vec<String>,
    /// What systemd starts before.
    pub(super) systemd: Option<Start>,
}

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    version: Version,
    /// An existing directory of the hierarchy.
    base: PathBuf,
    /// Names below it.
    path: PathBuf,
    writes: Vec<Write>,
    /// What becomes a program: version 2 has no files for it.
    devices: Option<Rules>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    /// With its controllers.
    One(Vec<String>),
    /// With those that must be handed down to the directory.
    Two(Vec<String>),
}

/// Decides what to make and write. Pure.
///
/// Where nothing may be made, no place was named and no limit asked for, the container does without a cgroup: an ordinary user, or root
/// in a container that sees its cgroups read-only, can still run one.
///
/// # Errors
/// A path with `..`, a limit no hierarchy of the host can set.
pub fn plan(request: &CgroupRequest<'_>, host: &Hierarchies) -> Result<Plan, CgroupError> {
    let place = Place::of(request)?;
    let nothing = LinuxResources::default();
    let resources = request.resources.unwrap_or(&nothing);
    let mut collected = Collected {
        host,
        place: &place,
        groups: Vec::new(),
    };
    // The unified hierarchy, or else the freezer, keeps the processes together.
    if host.unified.is_some() {
        collected.unified(Vec::new(), None);
    } else if let Some(freezer) = host.v1_with("freezer") {
        collected.one(freezer, Vec::new());
    }
    for controller in CONTROLLERS {
        collected.controller(controller, resources)?;
    }
    if request.accounted {
        collected.join_all();
    }
    // Nobody can make a device node in a user namespace, nor without privilege outside of one, and nobody may set the rules.
    if !request.rootless {
        collected.devices(resources, request.accounted)?;
    }
    let raw = v2::raw(resources)?;
    if !raw.is_empty() {
        if host.unified.is_none() {
            return Err(CgroupError::NoController {
                controller: "cgroup v2",
                field: "unified",
            });
        }
        for write in raw {
            let controller = write.file.split('.').next().map(str::to_owned);
            let name = controller.as_deref().unwrap_or_default();
            if host.v1_with(name).is_some() {
                return Err(CgroupError::Resource {
                    field: "unified",
                    reason: format!(
                        "asks for {}, and {name} is managed by cgroup v1 here: invalid configuration",
                        write.file
                    ),
                });
            }
            collected.unified(vec![write], controller.filter(|name| name != "cgroup"));
        }
    }
    let limited = collected
        .groups
        .iter()
        .any(|group| !group.writes.is_empty() || group.devices.is_some());
    Ok(Plan {
        groups: collected.groups,
        optional: !limited && request.path.as_os_str().is_empty(),
        warnings: limits::warnings(resources, host),
        systemd: None,
        own_parents: request.path.as_os_str().is_empty(),
    })
}

/// Where the directories are made.
struct Place {
    /// Below the caller's own cgroup instead of the root.
    own: bool,
    path: PathBuf,
}

impl Place {
    fn of(request: &CgroupRequest<'_>) -> Result<Self, CgroupError> {
        let given = !request.path.as_os_str().is_empty();
        let path = if given {
            request.path
        } else {
            request.default_path
        };
        let mut names = PathBuf::new();
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) if !name.to_string_lossy().contains('\n') => {
                    names.push(name)
                }
                _ => return Err(CgroupError::Path(path.to_owned())),
            }
        }
        if names.as_os_str().is_empty() {
            return Err(CgroupError::Path(path.to_owned()));
        }
        let own = if given {
            path.is_relative()
        } else {
            request.rootless
        };
        Ok(Self { own, path: names })
    }
}

struct Collected<'a> {
    host: &'a Hierarchies,
    place: &'a Place,
    groups: Vec<Group>,
}

impl Collected<'_> {
    fn controller(
        &mut self,
        controller: limits::Controller,
        resources: &LinuxResources,
    ) -> Result<(), CgroupError> {
        if let Some(hierarchy) = self.host.v1_with(controller.v1) {
            let writes = v1::writes(controller, resources)?;
            if !writes.is_empty() {
                self.one(hierarchy, writes);
            }
            return Ok(());
        }
        let writes = v2::writes(controller, resources)?;
        // What v2 has no file for may still be a limit on v1.
        if writes.is_empty() && v1::writes(controller, resources)?.is_empty() {
            return Ok(());
        }
        if self.host.unified_with(controller.v2).is_some() {
            if !writes.is_empty() {
                self.unified(writes, Some(controller.v2.to_owned()));
            }
            return Ok(());
        }
        Err(CgroupError::NoController {
            controller: controller.v1,
            field: controller.field,
        })
    }

    /// Joins every hierarchy without asking anything of it. On version 2, where the directory is in one hierarchy anyway, controllers
    /// cost nothing, and what is in the container may use them.
    fn join_all(&mut self) {
        for hierarchy in &self.host.v1 {
            self.one(hierarchy, Vec::new());
        }
        // Handing a controller down takes a privilege that a user's own cgroup may lack: only what root does is done unasked.
        let Some(unified) = self.host.unified.as_ref().filter(|_| !self.place.own) else {
            return;
        };
        for name in unified.controllers() {
            if self.host.is_v2() || COUNTING.contains(&name.as_str()) {
                self.unified(Vec::new(), Some(name.clone()));
            }
        }
    }

    fn devices(&mut self, resources: &LinuxResources, denied: bool) -> Result<(), CgroupError> {
        let Some(rules) = Rules::of(resources, denied)? else {
            return Ok(());
        };
        if let Some(hierarchy) = self.host.v1_with("devices") {
            self.one(hierarchy, rules.v1()?);
            return Ok(());
        }
        self.unified(Vec::new(), None);
        let unified = self.groups.iter_mut().find(|group| match group.version {
            Version::One(_) => false,
            Version::Two(_) => true,
        });
        let Some(unified) = unified else {
            return Err(CgroupError::NoController {
                controller: "devices",
                field: "devices",
            });
        };
        unified.devices = Some(rules);
        Ok(())
    }

    fn one(&mut self, hierarchy: &super::hierarchy::Hierarchy, writes: Vec<Write>) {
        let base = if self.place.own {
            &hierarchy.own
        } else {
            &hierarchy.mount
        };
        self.add(
            Version::One(hierarchy.controllers.clone()),
            base.clone(),
            writes,
        );
    }

    fn unified(&mut self, writes: Vec<Write>, controller: Option<String>) {
        let Some(unified) = &self.host.unified else {
            return;
        };
        let base = if self.place.own {
            &unified.own
        } else {
            &unified.mount
        };
        self.add(
            Version::Two(controller.into_iter().collect()),
            base.clone(),
            writes,
        );
    }

    fn add(&mut self, version: Version, base: PathBuf, writes: Vec<Write>) {
        let Some(known) = self.groups.iter_mut().find(|group| group.base == base) else {
            self.groups.push(Group {
                version,
                base,
                path: self.place.path.clone(),
                writes,
                devices: None,
            });
            return;
        };
        known.writes.extend(writes);
        if let (Version::Two(needed), Version::Two(more)) = (&mut known.version, version) {
            needed.extend(
                more.into_iter()
                    .filter(|one| !needed.contains(one))
                    .collect::<Vec<_>>(),
            );
        }
    }
}

impl Plan {
    /// The directories that will be made, one a hierarchy.
    pub fn directories(&self) -> Vec<PathBuf> {
        let directory = |group: &Group| group.base.join(&group.path);
        self.groups.iter().map(directory).collect()
    }

    /// Where the container will be in each hierarchy, as far as its caller's rights tell; with none for it that is where the caller is.
    pub(crate) fn likely_places(&self) -> Vec<PathBuf> {
        let may_make = |group: &Group| {
            let whole = group.base.join(&group.path);
            let mut above = whole.ancestors();
            // What is there and cannot be written to ends the search as well.
            let existing = above.find(|path| path.exists());
            existing
                .is_some_and(|path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok())
        };
        if self.optional {
            let all = self.groups.iter().all(may_make);
            let place = |group: &Group| {
                if all {
                    group.base.join(&group.path)
                } else {
                    group.base.clone()
                }
            };
            return self.groups.iter().map(place).collect();
        }
        let made = self.groups.iter().filter(|group| may_make(group));
        made.map(|group| group.base.join(&group.path)).collect()
    }

    /// Makes the directories and writes the limits. What was made is removed again if a step fails.
    ///
    /// # Errors
    /// The kernel refuses a directory or a value; the message names the file and the value. A directory that holds processes
    /// already.
    pub fn apply(&self) -> Result<Cgroup, CgroupError> {
        self.apply_held().map(|(made, _)| made)
    }

    /// As [`Self::apply`]; what systemd made is there as long as a process is in it, which is the caller's or what is returned.
    pub(crate) fn apply_held(&self) -> Result<(Cgroup, Option<Held>), CgroupError> {
        let Some(start) = &self.systemd else {
            return self.make_all(Cgroup::default(), None);
        };
        let held = start.start()?;
        let mut plan = self.clone();
        for group in &mut plan.groups {
            group.path.clone_from(&held.path);
        }
        let made = Cgroup {
            systemd: Some(held.unit.clone()),
            ..Cgroup::default()
        };
        plan.make_all(made, Some(held))
    }

    fn make_all(
        &self,
        mut made: Cgroup,
        held: Option<Held>,
    ) -> Result<(Cgroup, Option<Held>), CgroupError> {
        // Where nothing is asked for, a place that the caller may not have is done without.
        let mut lacking = None;
        let made_all = self.groups.iter().try_for_each(|group| {
            let made = self.make(group, &mut made);
            match made {
                Err(error) if error.is_permission() && self.may_lack(group) => {
                    lacking.get_or_insert(error);
                    Ok(())
                }
                other => other,
            }
        });
        // A place that was named has to be had somewhere.
        let made_all = made_all.and(match lacking {
            Some(error) if made.is_none() => Err(error),
            _ => Ok(()),
        });
        match made_all {
            Ok(()) => Ok((made, held)),
            Err(error) => {
                // systemd would ask it to end, which it might not hear, and wait.
                drop(held);
                // The first failure is the one to be told.
                drop(made.delete());
                if self.optional && self.systemd.is_none() && error.is_permission() {
                    Ok((Cgroup::default(), None))
                } else {
                    Err(error)
                }
            }
        }
    }

    fn may_lack(&self, group: &Group) -> bool {
        !self.optional
            && self.systemd.is_none()
            && group.writes.is_empty()
            && group.devices.is_none()
    }

    fn make(&self, group: &Group, made: &mut Cgroup) -> Result<(), CgroupError> {
        let directory = group.base.join(&group.path);
        let parents = group.make_directories(self.systemd.is_some())?;
        match group.version {
            Version::One(_) => made.v1.push(directory.clone()),
            Version::Two(_) => made.unified = Some(directory.clone()),
        }
        if self.own_parents {
            made.parents.extend(parents);
        }
        write_all(&group.writes, &directory)?;
        match &group.devices {
            Some(rules) => attach_rules(rules, &directory),
            None => Ok(()),
        }
    }

    /// What will not be done as asked.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Makes the kernel ask our program about devices, in the place of what it has asked before.
pub(super) fn attach_rules(rules: &Rules, directory: &Path) -> Result<(), CgroupError> {
    let failed = |errno: Errno| CgroupError::Devices {
        path: directory.to_owned(),
        source: errno.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroup = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    let program = bpf::load_device_program(&program(rules)).map_err(failed)?;
    bpf::attach_device_program(cgroup.as_fd(), program.as_fd()).map_err(failed)
}

impl Group {
    /// Makes every directory down to the container's; returns those above it, the lowest first.
    fn make_directories(&self, held: bool) -> Result<Vec<PathBuf>, CgroupError> {
        let mut attempt = 0;
        loop {
            match self.try_directories(held) {
                Err(
                    CgroupError::Make { source, .. }
                    | CgroupError::Write { source, .. }
                    | CgroupError::Open { source, .. },
                ) if source.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    fn try_directories(&self, held: bool) -> Result<Vec<PathBuf>, CgroupError> {
        let mut at = self.base.clone();
        let mut parents = Vec::new();
        let mut names = self.path.components().peekable();
        while let Some(name) = names.next() {
            if let Version::Two(controllers) = &self.version {
                match hand_down(&at, controllers) {
                    // systemd has handed down what the caller may have; a limit that needs more finds no file.
                    Err(CgroupError::Write { source, .. } | CgroupError::Open { source, .. })
                        if held
                            && matches!(
                                source.kind(),
                                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                            ) => {}
                    other => other?,
                }
            }
            let above = at.clone();
            at.push(name);
            let is_new = make(&at)?;
            if matches!(&self.version, Version::One(controllers) if controllers.iter().any(|one| one == "cpuset"))
            {
                inherit_cpuset(&above, &at, is_new)?;
            }
            if names.peek().is_some() {
                parents.insert(0, at.clone());
            } else if !is_new && !held {
                self.check_ours(&at)?;
                // A crashed container of the same name may have left it; anything alive in it is not ours.
                check_unused(&at)?;
            }
        }
        Ok(parents)
    }

    /// Whether the caller may put somebody into a directory that was there: another user's container may have the same name.
    fn check_ours(&self, directory: &Path) -> Result<(), CgroupError> {
        let path = directory.join(match self.version {
            Version::One(_) => "tasks",
            Version::Two(_) => "cgroup.procs",
        });
        match rustix::fs::access(&path, rustix::fs::Access::WRITE_OK) {
            Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => Err(CgroupError::Open {
                path,
                source: errno.into(),
            }),
            _ => Ok(()),
        }
    }
}

/// Makes one directory; returns whether it is new.
pub(super) fn make(path: &Path) -> Result<bool, CgroupError> {
    match rustix::fs::mkdir(path, rustix::fs::Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(CgroupError::Make {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

/// Lets the directories below `path` use controllers. What is allowed already is not written again: the write takes a lock that
/// every fork of the machine takes too.
pub(super) fn hand_down(path: &Path, controllers: &[String]) -> Result<(), CgroupError> {
    if controllers.is_empty() {
        return Ok(());
    }
    let file = path.join("cgroup.subtree_control");
    let open = |source| CgroupError::Open {
        path: file.clone(),
        source,
    };
    let allowed = crate::procfs::read_record(&file).map_err(open)?;
    let missing: Vec<String> = controllers
        .iter()
        .filter(|one| !allowed.split_ascii_whitespace().any(|other| other == *one))
        .map(|one| format!("+{one}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Write::new("cgroup.subtree_control", missing.join(" ")).perform(path)
}

/// A new directory of v1's cpuset has no processors and no memory, and then nothing can be put into it.
pub(super) fn inherit_cpuset(above: &Path, below: &Path, is_new: bool) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let read = |directory: &Path| {
            let path = directory.join(file);
            crate::procfs::read_record(&path).map_err(|source| CgroupError::Open { path, source })
        };
        if is_new || read(below)?.trim().is_empty() {
            Write::new(file, read(above)?.trim()).perform(below)?;
        }
    }
    Ok(())
}

/// How long those who were killed a moment ago may take to leave: the container before, of the same name, died with its owner.
const LEAVING: Duration = Duration::from_secs(3);

fn check_unused(path: &Path) -> Result<(), CgroupError> {
    let frozen = |file: &str, word: &str| {
        std::fs::read_to_string(path.join(file)).is_ok_and(|text| text.trim() == word)
    };
    let list = path.join("cgroup.procs");
    let deadline = Instant::now() + LEAVING;
    loop {
        let processes = std::fs::read_to_string(&list).map_err(|source| CgroupError::Open {
            path: list.clone(),
            source,
        })?;
        if processes.trim().is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(CgroupError::InUse(path.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if frozen("cgroup.freeze", "1") || frozen("freezer.state", "FROZEN") {
        return Err(CgroupError::Frozen(path.to_owned()));
    }
    Ok(())
}

/// Performs them in order. A file that is written several times in a row (rules for devices) is opened once.
fn write_all(writes: &[Write], directory: &Path) -> Result<(), CgroupError> {
    let same = |one: &Write, other: &Write| {
        let plain = |write: &Write| matches!(write.missing, Missing::Fails);
        one.file == other.file && plain(one) && plain(other)
    };
    for run in writes.chunk_by(same) {
        let [first, rest @ ..] = run else { continue };
        if rest.is_empty() {
            first.perform(directory)?;
            continue;
        }
        let path = directory.join(&first.file);
        let opened = std::fs::OpenOptions::new().write(true).open(&path);
        let failed = |value: &str, source| CgroupError::Write {
            path: path.clone(),
            value: value.to_owned(),
            source,
        };
        let file = opened.map_err(|source| failed(&first.value, source))?;
        for write in run {
            // Each at the beginning: it is a value of its own, not the continuation of the last.
            file.write_all_at(write.value.as_bytes(), 0)
                .map_err(|source| failed(&write.value, source))?;
        }
    }
    Ok(())
}

impl Write {
    pub(super) fn perform(&self, directory: &Path) -> Result<(), CgroupError> {
        let path = directory.join(&self.file);
        // One write(2) without truncation, as cgroup files want it.
        let opened = std::fs::OpenOptions::new().write(true).open(&path);
        match (&self.missing, opened) {
            (Missing::Skipped, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            (Missing::Instead(other), Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                other.perform(directory)
            }
            (_, opened) => opened
                .and_then(|mut file| io::Write::write_all(&mut file, self.value.as_bytes()))
                .map_err(|source| CgroupError::Write {
                    path,
                    value: self.value.clone(),
                    source,
                }),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.file, self.value)?;
        match &self.missing {
            Missing::Fails => Ok(()),
            Missing::Skipped => f.write_str(" (if there)"),
            Missing::Instead(other) => write!(f, ", or {other}"),
        }
    }
}

impl fmt::Display for Plan {
    /// One line a directory and a value, in the order they are made.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(start) = &self.systemd {
            writeln!(f, "systemd: {}", start.describe())?;
        }
        for group in &self.groups {
            writeln!(
                f,
                "mkdir {}{}",
                group.base.join(&group.path).display(),
                if self.optional { " (if allowed)" } else { "" }
            )?;
            if let Version::Two(controllers) = &group.version
                && !controllers.is_empty()
            {
                writeln!(f, "  hand down {}", controllers.join(" "))?;
            }
            for write in &group.writes {
                writeln!(f, "  write {write}")?;
            }
            if let Some(rules) = &group.devices {
                writeln!(f, "  attach a program: {rules}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
