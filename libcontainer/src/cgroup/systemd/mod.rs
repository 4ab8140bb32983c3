//! Cgroups that systemd makes: a transient scope for each container.
//!
//! systemd wants a process in a scope from the beginning, and ours comes later: a helper that does nothing holds the place until the
//! container's first process has been made in it. What systemd has no property for, and what it might forget, is written into the
//! files as without it; the properties keep it from writing other values over them.
//!
//! The D-Bus client is as small as it can be: one connection a call, its own few messages, no properties read.

mod bus;
#[cfg(test)]
mod tests;
mod unit;
mod wire;

use super::{Cgroup, CgroupError, CgroupRequest, Hierarchies, Plan, plan};
use crate::procfs;
use crate::sys::clone::{CloneOptions, clone3, exit_group};
use bus::{Address, Manager, addresses, first_text, transient};
use oci_spec::runtime::LinuxResources;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};
use unit::Unit;
use wire::{Value, Writer};

/// What is asked of systemd beyond the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemdRequest<'a> {
    /// The container's id.
    pub(crate) id: &'a str,
    /// `XDG_RUNTIME_DIR` of a user whose own manager is asked; `None` is the machine's.
    pub(crate) runtime_dir: Option<&'a Path>,
    /// `org.systemd.property.*` are properties.
    pub(crate) annotations: &'a HashMap<String, String>,
}

/// The unit of a container, as its record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemdUnit {
    /// Name of the unit.
    pub name: String,
    /// `XDG_RUNTIME_DIR` of the user whose manager has it; `None` is the machine's.
    #[serde(default)]
    pub runtime_dir: Option<PathBuf>,
}

/// A unit that will be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    unit: Unit,
    addresses: Vec<Address>,
    kept: SystemdUnit,
}

/// Decides what systemd and we make and write. Pure.
///
/// # Errors
/// A path that is not `slice:prefix:name`, or what [`plan`] returns.
pub(crate) fn plan_systemd(
    request: &CgroupRequest<'_>,
    host: &Hierarchies,
    systemd: &SystemdRequest<'_>,
) -> Result<Plan, CgroupError> {
    let text = request.path.to_str().unwrap_or("\0");
    let mut unit = Unit::parse(text, systemd.id, systemd.runtime_dir.is_some())?;
    let nothing = LinuxResources::default();
    let mut resources = request.resources.unwrap_or(&nothing).clone();
    if request.rootless {
        resources.set_devices(None);
    }
    let v1 = !host.is_v2();
    unit.describe(systemd.id, &resources, systemd.annotations, v1)?;
    let request = CgroupRequest {
        path: Path::new(&unit.path),
        ..*request
    };
    let mut plan = plan(&request, host)?;
    plan.systemd = Some(Start {
        addresses: addresses(systemd.runtime_dir),
        kept: SystemdUnit {
            name: unit.name.clone(),
            runtime_dir: systemd.runtime_dir.map(Path::to_owned),
        },
        unit,
    });
    Ok(plan)
}

/// A unit that has been started, and who holds its place.
#[derive(Debug)]
pub(crate) struct Held {
    /// Below the root of each hierarchy.
    pub(super) path: PathBuf,
    pub(super) unit: SystemdUnit,
    _helper: Option<Helper>,
}

impl Start {
    /// Starts the unit and waits until it has.
    pub(super) fn start(&self) -> Result<Held, CgroupError> {
        let name = &self.unit.name;
        let mut manager = Manager::connect(&self.addresses)?;
        let mut properties = self.unit.properties.clone();
        let helper = match name.ends_with(".slice") {
            true => None,
            false => {
                let helper = Helper::new().map_err(|source| CgroupError::Unit {
                    unit: name.clone(),
                    source,
                })?;
                let pid = helper.pid.cast_unsigned();
                properties.push(("PIDs".to_owned(), Value::U32s(vec![pid])));
                Some(helper)
            }
        };
        let mut start = || {
            let body = transient(name, &properties);
            manager.call(name, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        };
        let answer = match start() {
            // One that failed keeps its name until somebody has taken notice.
            Err(CgroupError::Unit { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                forget(&mut manager, name)?;
                let body = transient(name, &properties);
                manager.call(name, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)?
            }
            other => other?,
        };
        let job = first_text(&answer).unwrap_or_default();
        manager.finished(name, &job)?;
        let path = match &helper {
            Some(helper) => helper.place().map_err(|source| CgroupError::Unit {
                unit: name.clone(),
                source,
            })?,
            None => PathBuf::from(&self.unit.path),
        };
        Ok(Held {
            path: path.strip_prefix("/").unwrap_or(&path).to_owned(),
            unit: self.kept.clone(),
            _helper: helper,
        })
    }

    /// What is shown of it: the unit, and its properties' names.
    pub(super) fn describe(&self) -> String {
        let names: Vec<&str> = self
            .unit
            .properties
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        format!("start unit {} with {}", self.unit.name, names.join(" "))
    }
}

impl SystemdUnit {
    fn manager(&self) -> Result<Manager, CgroupError> {
        Manager::connect(&addresses(self.runtime_dir.as_deref()))
    }

    /// Moves a process of the caller's into the unit, also where the caller itself may not: a user's manager asks the machine's.
    ///
    /// # Errors
    /// There is no such unit, or systemd refuses.
    pub(crate) fn attach(&self, pid: i32) -> Result<(), CgroupError> {
        let mut body = Writer::default();
        body.text(&self.name);
        // Not into one below its own.
        body.text("");
        body.array(4, |pids| pids.u32(pid.cast_unsigned()));
        self.manager()?
            .call(&self.name, "AttachProcessesToUnit", "ssau", body)
            .map(drop)
    }

    /// Stops the unit, whose processes have ended. One that is gone already is as good.
    pub(super) fn stop(&self) -> Result<(), CgroupError> {
        let mut manager = self.manager()?;
        let mut body = Writer::default();
        body.text(&self.name);
        body.text("replace");
        match manager.call(&self.name, "StopUnit", "ss", body) {
            Ok(answer) => manager.finished(&self.name, &first_text(&answer).unwrap_or_default())?,
            Err(error) if error.is_unknown_unit() => {}
            Err(error) => return Err(error),
        }
        forget(&mut manager, &self.name)
    }

    /// Tells the limits as they are now.
    pub(super) fn update(&self, resources: &LinuxResources, v1: bool) -> Result<(), CgroupError> {
        let properties = unit::limits(resources, v1)?;
        if properties.is_empty() {
            return Ok(());
        }
        let mut body = Writer::default();
        body.text(&self.name);
        // For this boot only.
        body.u32(1);
        body.properties(&properties);
        self.manager()?
            .call(&self.name, "SetUnitProperties", "sba(sv)", body)
            .map(drop)
    }
}

/// Takes notice of a unit's failure, so that its name is free.
fn forget(manager: &mut Manager, name: &str) -> Result<(), CgroupError> {
    let mut body = Writer::default();
    body.text(name);
    match manager.call(name, "ResetFailedUnit", "s", body) {
        Err(error) if !error.is_unknown_unit() => Err(error),
        _ => Ok(()),
    }
}

/// A process that waits to be killed.
#[derive(Debug)]
struct Helper {
    pid: i32,
    pidfd: OwnedFd,
}

impl Helper {
    fn new() -> io::Result<Self> {
        let cloned = clone3(&CloneOptions::default(), &mut || -> Infallible {
            // Nothing here but system calls. It goes with the thread that made it.
            if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
                exit_group(1)
            }
            loop {
                rustix::event::pause();
            }
        })?;
        let pidfd = cloned.pidfd.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            pid: cloned.pid,
            pidfd,
        })
    }

    /// Where systemd has put it: on v1 in the hierarchy that is systemd's own.
    fn place(&self) -> io::Result<PathBuf> {
        let text = procfs::read_text(format!("/proc/{}/cgroup", self.pid))?;
        let named = |name: &str| text.lines().find_map(|line| line.split_once(name));
        let (_, path) = named(":name=systemd:")
            .or_else(|| named("0::"))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(path.into())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It cannot end otherwise, and it is our child.
        pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
        rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED).ok();
    }
}

impl Cgroup {
    /// Ends what systemd keeps of it. Without an answer nothing is lost: a scope goes with its last process.
    pub(super) fn stop_unit(&self) {
        if let Some(unit) = &self.systemd {
            unit.stop().ok();
        }
    }
}
