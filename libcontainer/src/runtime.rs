//! The facade: create, start, run, kill, delete containers.

use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::bundle::Bundle;
use crate::cgroup::{self, CgroupRequest, Hierarchies, SystemdRequest};
use crate::container::make_fifo;
use crate::criu::{self, RestoreOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::handover::Sinks;
use crate::hooks;
use crate::id::ContainerId;
use crate::init::{Launch, Launched, Start, launch};
use crate::plan::{Facts, Plan};
use crate::process::remove_cgroup;
use crate::procfs;
use crate::record::{Format, Record, keep_config};
use crate::spec::{PASSWD, PASSWD_BYTES, home};
use crate::state::{State, Status, rfc3339};

pub use crate::container::Container;
pub use crate::plan::{CreateOptions, ExecOptions, Stdio};
pub use crate::process::Process;

/// Who makes control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CgroupManager {
    /// This crate, in the mounted hierarchies; a container without limits does without where they may not be changed.
    #[default]
    Auto,
    /// systemd, in scopes named by `linux.cgroupsPath` as `slice:prefix:name`; `user` is the manager of the caller's login session, found by
    /// `XDG_RUNTIME_DIR`, instead of the machine's.
    Systemd {
        /// Whether the user's own manager is asked.
        user: bool,
    },
    /// Nobody: containers stay in the caller's.
    Disabled,
}

/// How to make a [`Runtime`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RuntimeBuilder {
    state_dir: Option<PathBuf>,
    cgroup_manager: CgroupManager,
    cgroup_parent: PathBuf,
    cgroup_accounting: bool,
}

impl RuntimeBuilder {
    /// Where records of containers are kept; made for the first of them if missing. Without it only [`Runtime::run`] works, and keeps no record.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Who makes control groups.
    pub fn cgroup_manager(mut self, manager: CgroupManager) -> Self {
        self.cgroup_manager = manager;
        self
    }

    /// The cgroup under which a container gets its own, `/trimaran` unless told otherwise, when the specification names none.
    pub fn cgroup_parent(mut self, parent: impl Into<PathBuf>) -> Self {
        self.cgroup_parent = parent.into();
        self
    }

    /// Whether containers join the controllers that count what they use although nothing is limited. Off unless told otherwise:
    /// on version 1 each costs time at every start.
    pub fn cgroup_accounting(mut self, accounting: bool) -> Self {
        self.cgroup_accounting = accounting;
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// None so far.
    pub fn build(self) -> Result<Runtime> {
        Ok(Runtime { settings: self })
    }
}

/// Starts containers and finds them again. Holds no process-wide state; share it between threads freely.
#[derive(Debug, Clone)]
pub struct Runtime {
    settings: RuntimeBuilder,
}

impl Runtime {
    /// Begins to describe a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            state_dir: None,
            cgroup_manager: CgroupManager::Auto,
            cgroup_parent: PathBuf::from("/trimaran"),
            cgroup_accounting: false,
        }
    }

    /// What containers can be given: what is compiled in, whatever the host lacks of it. [`crate::features::features`] says the same
    /// without a runtime.
    #[must_use]
    pub fn features(&self) -> oci_spec::runtime::Features {
        crate::features::features()
    }

    /// Decides everything that will be done to start `bundle` as container `id`; does none of it.
    ///
    /// # Errors
    /// The specification is invalid or asks for what is not supported.
    pub fn plan(&self, id: &ContainerId, bundle: &Bundle, options: CreateOptions) -> Result<Plan> {
        let spec = bundle.spec();
        let mounts_cgroups = spec
            .mounts()
            .iter()
            .flatten()
            .any(|mount| matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2")));
        let without = self.settings.cgroup_manager == CgroupManager::Disabled;
        let mountinfo = if mounts_cgroups || !without {
            procfs::read_text("/proc/self/mountinfo")
                .map_err(|error| Error::from_io(error, "read the mounts").with_path("/proc"))?
        } else {
            String::new()
        };
        let mut facts = Facts::gather_with(mounts_cgroups.then_some(&mountinfo))?;
        let linux = spec.linux().as_ref();
        let mount_label = linux.and_then(|linux| linux.mount_label().as_deref());
        facts.look_for_labels(spec.process().as_ref(), mount_label);
        facts.home =
            bundle.spec().process().as_ref().and_then(|process| {
                home(process, || bundle.root().read_file(PASSWD, PASSWD_BYTES))
            });
        let cgroup = if without {
            cgroup::Plan::default()
        } else {
            self.cgroup(id, bundle, &facts, &mountinfo)?
        };
        if mounts_cgroups && (facts.unprivileged || facts.in_user_namespace) {
            facts.cgroup_places = cgroup.likely_places();
        }
        Plan::compile(id, bundle, &facts, cgroup, options)
    }

    fn cgroup(
        &self,
        id: &ContainerId,
        bundle: &Bundle,
        facts: &Facts,
        mountinfo: &str,
    ) -> Result<cgroup::Plan> {
        let linux = bundle.spec().linux().as_ref();
        let path = linux
            .and_then(|linux| linux.cgroups_path().as_deref())
            .unwrap_or(Path::new(""));
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let request = CgroupRequest {
            path,
            default_path: &self.settings.cgroup_parent.join(id.as_str()),
            resources,
            rootless: facts.in_user_namespace || facts.unprivileged,
            accounted: self.settings.cgroup_accounting,
        };
        let host = Hierarchies::detect_in(mountinfo)
            .map_err(|error| Error::from_io(error, "read the control groups").with_path("/proc"))?;
        let CgroupManager::Systemd { user } = self.settings.cgroup_manager else {
            return cgroup::plan(&request, &host).map_err(Into::into);
        };
        let runtime_dir = user.then(user_directory).transpose()?;
        let none = HashMap::new();
        let annotations = bundle.spec().annotations().as_ref().unwrap_or(&none);
        let systemd = SystemdRequest {
            id: id.as_str(),
            runtime_dir: runtime_dir.as_deref(),
            annotations,
        };
        cgroup::plan_systemd(&request, &host, &systemd).map_err(Into::into)
    }

    /// Creates a container whose first process waits for [`Container::start`].
    ///
    /// # Errors
    /// A step of the plan failed; everything done before it is undone.
    pub fn create(&self, plan: Plan) -> Result<Container> {
        self.with_directory(&plan.id.clone(), |directory| {
            create_in(directory, plan, false)
        })
    }

    /// Creates a container that is started through the handle that this gives, and by nobody else; if the handle is dropped before, the
    /// container ends. Cheaper than [`Self::create`]: nothing has to lie in the file system for others to start it.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_attended(&self, plan: Plan) -> Result<Container> {
        self.with_directory(&plan.id.clone(), |directory| {
            create_in(directory, plan, true)
        })
    }

    /// Makes a container again from the images of a checkpoint, by CRIU: its processes go on where they were. The plan is that of the same
    /// container, perhaps under another id; of its options those count that say where the streams, the terminal and the process id go.
    ///
    /// # Privileges
    /// Root of the machine.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without CRIU or root, [`ErrorKind::Criu`] if CRIU fails: then the path is its log and the hint the last
    /// errors in it. Everything is undone.
    pub fn restore(&self, plan: Plan, images: &Path, options: RestoreOptions) -> Result<Container> {
        self.with_directory(&plan.id.clone(), |directory| {
            restore_in(directory, plan, images, options)
        })
    }

    /// Makes the directory of a container, which goes again if `fill` fails.
    fn with_directory(
        &self,
        id: &ContainerId,
        fill: impl FnOnce(&Path) -> Result<Container>,
    ) -> Result<Container> {
        let directory = self.directory(id)?;
        let mut made = make(&directory, false);
        if let Err(error) = &made
            && error.kind() == std::io::ErrorKind::NotFound
        {
            self.make_state_dir()?;
            made = make(&directory, false);
        }
        made.map_err(|error| {
            let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
            let error = Error::from_io(error, "make the container's record").with_path(&directory);
            if exists {
                error.with_kind(ErrorKind::Exists)
            } else {
                error
            }
        })?;
        let made = fill(&directory);
        if made.is_err() {
            // The first error is the one to report; what stays behind is deleted with force.
            std::fs::remove_dir_all(&directory).ok();
        }
        made
    }

    /// Starts a container at once and keeps no record of it; the caller waits for the [`Process`].
    ///
    /// # Errors
    /// A step of the plan failed; everything done before it is undone.
    pub fn run(&self, mut plan: Plan) -> Result<Process> {
        if hooks::asked(&plan.spec) {
            // They need a record of the container, and its start as an event of its own.
            return Err(Error::new(
                ErrorKind::Unsupported {
                    feature: "hooks without a record".into(),
                },
                "run the container",
            )
            .with_hint("create and start it instead"));
        }
        let sinks = Sinks::of_create(&mut plan.options);
        let record = plan.script.listener.is_some().then(|| new_record(&plan));
        if let (Some(listener), Some(record)) = (&mut plan.script.listener, record) {
            listener.state = Some(State::of(&record, Status::Creating));
        }
        let launched = launch(
            plan,
            Launch {
                start: Start::AtOnce,
                hooks: &mut |_, _| Ok(()),
            },
        )?;
        sinks
            .give(launched)
            .map(|(process, cgroup)| process.with_cgroup(cgroup))
    }

    /// Finds a container.
    ///
    /// # Errors
    /// There is none with this id, or its record cannot be read.
    pub fn load(&self, id: &ContainerId) -> Result<Container> {
        let directory = self.directory(id)?;
        if !directory.is_dir() {
            return Err(Error::new(ErrorKind::NotFound, format!("container {id}")));
        }
        Ok(Container::new(id.clone(), directory, None))
    }

    /// All containers, by id.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn list(&self) -> Result<Vec<Container>> {
        let state_dir = self.state_dir()?;
        let failed =
            |error: std::io::Error| Error::from_io(error, "list containers").with_path(state_dir);
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(state_dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            // What has another name than ours could have is not ours.
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| ContainerId::parse(name).ok());
            if let Some(id) = id.filter(|_| entry.path().is_dir()) {
                found.push(Container::new(id, entry.path(), None));
            }
        }
        found.sort_by(|one, other| one.id().cmp(other.id()));
        Ok(found)
    }

    /// Makes the state directory if it is missing: [`Self::create`] does it by itself.
    ///
    /// # Errors
    /// It cannot be made, or the runtime was built without one.
    pub fn make_state_dir(&self) -> Result<()> {
        let directory = self.state_dir()?;
        make(directory, true)
            .map_err(|error| Error::from_io(error, "make the state directory").with_path(directory))
    }

    fn state_dir(&self) -> Result<&Path> {
        self.settings.state_dir.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported {
                    feature: "containers with a record".into(),
                },
                "open the state directory",
            )
            .with_hint("the runtime was built without a state directory")
        })
    }

    fn directory(&self, id: &ContainerId) -> Result<PathBuf> {
        Ok(self.state_dir()?.join(id.as_str()))
    }
}

/// Makes a directory that is nobody else's.
fn make(directory: &Path, recursive: bool) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(recursive).mode(0o700).create(directory)
}

/// Where a user's own systemd listens.
fn user_directory() -> Result<PathBuf> {
    let directory = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    directory.filter(|path| path.is_absolute()).ok_or_else(|| {
        let feature = "the systemd cgroup manager without a login session".to_owned();
        Error::new(ErrorKind::Unsupported { feature }, "ask systemd")
            .with_hint("XDG_RUNTIME_DIR is not set")
    })
}

fn create_in(directory: &Path, mut plan: Plan, attended: bool) -> Result<Container> {
    let start = if attended {
        Start::BySocket
    } else {
        Start::ByFifo(make_fifo(directory)?)
    };
    if let Some(config) = &plan.config {
        keep_config(directory, config)?;
    }
    let mut record = new_record(&plan);
    let sinks = Sinks::of_create(&mut plan.options);
    if let Some(listener) = &mut plan.script.listener {
        listener.state = Some(State::of(&record, Status::Creating));
    }
    let mut hooked = false;
    let mut on_hooks = |pid: i32, pidfd: std::os::fd::BorrowedFd<'_>| {
        hooked = true;
        record.pid = pid;
        hooks::create(&record, pidfd)
    };
    let launched = launch(
        plan,
        Launch {
            start,
            hooks: &mut on_hooks,
        },
    );
    let launched = match launched {
        Ok(launched) => launched,
        Err(error) => {
            // What hooks have made, hooks may have to clear away.
            if hooked {
                hooks::poststop(&record, &mut drop);
            }
            return Err(error);
        }
    };
    recorded(directory, record, launched, sinks, hooked)
}

fn restore_in(
    directory: &Path,
    mut plan: Plan,
    images: &Path,
    options: RestoreOptions,
) -> Result<Container> {
    if let Some(config) = &plan.config {
        keep_config(directory, config)?;
    }
    let mut record = new_record(&plan);
    let sinks = Sinks::of_create(&mut plan.options);
    let mut hooked = false;
    let restored = criu::restore(criu::Returning {
        record: &mut record,
        hooked: &mut hooked,
        directory,
        root: &plan.root,
        cgroup: std::mem::take(&mut plan.cgroup),
        stdio: std::mem::take(&mut plan.options.stdio),
        images,
        options,
    });
    match restored {
        Ok(launched) => recorded(directory, record, launched, sinks, hooked),
        Err(error) => {
            if hooked {
                hooks::poststop(&record, &mut drop);
            }
            Err(error)
        }
    }
}

/// Writes the record of a container whose processes exist, and hands them out.
fn recorded(
    directory: &Path,
    mut record: Record,
    mut launched: Launched,
    sinks: Sinks,
    hooked: bool,
) -> Result<Container> {
    let starter = launched.starter.take();
    record.pid = launched.pid;
    record.cgroup = launched.cgroup.clone();
    let finished = procfs::start_time(launched.pid).and_then(|start| {
        record.start_time = start.unwrap_or_default();
        record.write(directory)
    });
    match finished.and_then(|()| sinks.give(launched)) {
        Ok((process, _)) => Ok(Container::created(
            directory.to_owned(),
            process,
            record,
            starter,
        )),
        Err(error) => {
            // The process has no record, so nobody else could end it.
            if let Ok(Some(process)) = Process::find(record.pid, record.start_time) {
                process.kill(crate::Signal::KILL).ok();
            }
            remove_cgroup(&record.cgroup).ok();
            if hooked {
                hooks::poststop(&record, &mut drop);
            }
            Err(error)
        }
    }
}

fn new_record(plan: &Plan) -> Record {
    let annotations = plan.spec.annotations().clone().unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    Record {
        format: Format::default(),
        id: plan.id.to_string(),
        pid: 0,
        start_time: 0,
        bundle: plan.bundle.clone().unwrap_or_default(),
        rootfs: plan.rootfs.clone().unwrap_or_default(),
        created: rfc3339(std::time::SystemTime::now()).unwrap_or_default(),
        owner: if uid == 0 {
            "root".to_owned()
        } else {
            uid.to_string()
        },
        oci_version: plan.spec.version().clone(),
        annotations,
        cgroup: crate::cgroup::Cgroup::default(),
        own_pid_namespace: plan.has_own_pid_namespace(),
        spec: plan.spec.clone(),
    }
}
