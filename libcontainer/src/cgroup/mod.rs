//! Control groups: what the host has, what a container needs written where, and doing it.
//!
//! [`Hierarchies::parse`] and [`plan`] are pure; [`Plan::apply`] makes the directories and writes; a [`Cgroup`] is what is left to
//! join, kill and delete, and fits into a record on disk.

use crate::error::Error;
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Where the host's hierarchies are mounted, and where in each of them the caller is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {}

impl Hierarchies {
    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`, handed in as text.
    pub fn parse(mountinfo: &str, own: &str) -> Self {
        let _unused = (mountinfo, own);
        unimplemented!()
    }

    /// Reads the files of the calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn detect() -> std::io::Result<Self> {
        unimplemented!()
    }

    /// Whether a cgroup may be made.
    pub fn may_create(&self) -> bool {
        unimplemented!()
    }

    /// Whether the unified hierarchy is the only one.
    pub fn is_v2(&self) -> bool {
        unimplemented!()
    }
}

/// What is asked of [`plan`].
#[derive(Clone, Copy, Debug)]
pub struct CgroupRequest<'a> {
    /// `linux.cgroupsPath`, or empty for `default_path`.
    pub path: &'a Path,
    /// Where the cgroup is when `path` is empty: `/trimaran/<id>`, or `/<id>` for the OCI face.
    pub default_path: &'a Path,
    /// Limits.
    pub resources: Option<&'a LinuxResources>,
    /// Whether we are in a user namespace: then a cgroup that may not be made is done without, if no limit was asked for.
    pub rootless: bool,
}

/// What will be made and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {}

/// Decides what to make and write. Pure.
///
/// # Errors
/// A path with `..`, a limit no hierarchy of the host can set.
pub fn plan(request: &CgroupRequest<'_>, host: &Hierarchies) -> Result<Plan, Error> {
    let _unused = (request, host);
    unimplemented!()
}

impl Plan {
    /// Makes the directories and writes the limits. What was made is removed again if a step fails.
    ///
    /// # Errors
    /// The kernel refuses a directory or a value; the message names the file and the value.
    pub fn apply(&self) -> Result<Cgroup, Error> {
        unimplemented!()
    }
}

/// The cgroup of one container: its directory in each hierarchy in use (none at all for a rootless container without limits).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Absolute directories on the host, one a hierarchy.
    pub directories: Vec<PathBuf>,
    /// The one of the unified hierarchy, if that is in use.
    pub unified: Option<PathBuf>,
}

/// How the container's first process gets in.
#[derive(Debug, Default)]
pub struct Attach {
    /// v1: the `tasks` files. The single-threaded child writes `0` to each of them: a pid written to `cgroup.procs` by another
    /// process waits for an RCU grace period of some ten milliseconds.
    pub tasks: Vec<OwnedFd>,
    /// v2: the directory, for `CLONE_INTO_CGROUP`.
    pub directory: Option<OwnedFd>,
}

impl Cgroup {
    /// Opens what the child needs to get in.
    ///
    /// # Errors
    /// A directory vanished.
    pub fn attach(&self) -> Result<Attach, Error> {
        unimplemented!()
    }

    /// The processes in the cgroup, as the caller's pid namespace numbers them.
    ///
    /// # Errors
    /// A file that cannot be read; a cgroup that is gone holds nobody.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        unimplemented!()
    }

    /// Sends SIGKILL to every process of the cgroup and those below it, and leaves none behind that was forked meanwhile.
    ///
    /// # Errors
    /// A process that may not be signalled.
    pub fn kill_all(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Removes the directories. They must be empty of processes, but may hold cgroups that the payload made.
    ///
    /// # Errors
    /// Still busy after a second.
    pub fn delete(&self) -> Result<(), Error> {
        unimplemented!()
    }
}
