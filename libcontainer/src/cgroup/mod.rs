//! Control groups: what the host has, what a container needs written where, and doing it.
//!
//! Three steps: [`Hierarchies`] says what is mounted (v1, v2, or hybrid), [`plan`] decides which directories are made and what is
//! written into them (pure; `Display` is for `--explain`), [`Plan::apply`] does it. A [`Cgroup`] is what is left to join, kill and
//! delete, and fits into a record on disk.
//!
//! Only what is needed is touched: on v1 every hierarchy costs 50 µs a container. On a hybrid host the unified hierarchy keeps
//! track of the processes (`cgroup.kill`, `cgroup.events`), and v1 hierarchies hold the limits; on a pure v1 host the freezer does.
//!
//! Device rules are a list in files on v1 and a BPF program of our own on v2.
//!
//! Where systemd owns the hierarchies, it starts a scope for the container first, and the same is written below that.

mod devices;
mod error;
mod freeze;
mod group;
mod hierarchy;
mod inside;
mod limits;
mod oom;
mod plan;
mod program;
mod stats;
mod systemd;
mod update;
mod v1;
mod v2;

pub use error::CgroupError;
pub(crate) use freeze::leave_frozen;
pub use group::{Attach, Cgroup};
pub use hierarchy::Hierarchies;
pub(crate) use inside::CgroupPlace;
pub use oom::OomWatch;
pub use plan::{CgroupRequest, Plan, plan};
pub use stats::{Amount, CpuStats, IoStats, MemoryStats, PidsStats, Stats};
pub use systemd::SystemdUnit;
pub(crate) use systemd::{SystemdRequest, plan_systemd};
pub(crate) use update::merged;

/// One value to be written into one file of a cgroup's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    /// Name of the file.
    file: String,
    value: String,
    missing: Missing,
}

/// What is done where the kernel does not have the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Missing {
    /// The limit cannot be set.
    Fails,
    /// What is asked for holds anyway.
    Skipped,
    /// The same is said in another file.
    Instead(Box<Write>),
}

impl Write {
    fn new(file: impl Into<String>, value: impl ToString) -> Self {
        Self {
            file: file.into(),
            value: value.to_string(),
            missing: Missing::Fails,
        }
    }

    fn or_skipped(mut self) -> Self {
        self.missing = Missing::Skipped;
        self
    }

    fn or(mut self, other: Self) -> Self {
        self.missing = Missing::Instead(Box::new(other));
        self
    }
}
