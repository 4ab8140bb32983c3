//! Runs OCI bundles: namespaces, mounts, seccomp and processes, from a plan that can be printed.
//!
//! Data flows one way: a [`bundle::Bundle`] (specification and root) → [`plan::Plan`] → [`process::Process`] → [`ExitStatus`].
//! Deciding and doing are apart: a plan is made without privileges and without side effects, and displaying it prints what will be
//! done. A child made by `clone3` then interprets it with system calls only (no heap, no locks), which is sound in a program with
//! threads and needs no helper program.
//!
//! ```no_run
//! use libcontainer::bundle::Bundle;
//! use libcontainer::rootfs::{PreparedRoot, Root};
//! use libcontainer::runtime::{CreateOptions, Runtime, Stdio};
//! use libcontainer::spec::{RunOptions, UserFiles, from_image};
//! use libcontainer::{ContainerId, oci_spec};
//!
//! # fn main() -> libcontainer::Result<()> {
//! let options = RunOptions { args: vec!["/bin/true".into()], ..RunOptions::default() };
//! let config = oci_spec::image::ImageConfiguration::default();
//! let spec = from_image(&config, &options, &UserFiles::default())?;
//! let bundle = Bundle::from_spec(spec, PreparedRoot::open(&Root::Path("/srv/rootfs".into()))?);
//! let runtime = Runtime::builder().build()?;
//! let create = CreateOptions { stdio: Stdio::Inherit, ..CreateOptions::default() };
//! let plan = runtime.plan(&ContainerId::parse("example")?, &bundle, create)?;
//! let status = runtime.run(plan)?.wait()?;
//! # let _shell_code = status.shell_code();
//! # Ok(())
//! # }
//! ```
//!
//! Those who just want an isolated process take [`Command`], which is all of this in one call.
//!
//! # What an embedding program can rely on
//! No change to its directory, umask, environment, signals or process attributes; nothing printed; no statics. Handles are `Send`
//! and `Sync`, all descriptors close on exec. Every wait has a descriptor to poll ([`process::Process::pidfd`]). Children that are not
//! ours are not reaped. One function is different on purpose, [`rootless::enter`], and says so.
//!
//! # Kernel
//! | feature | since Linux | without it |
//! |---|---|---|
//! | `clone3` with `CLONE_CLEAR_SIGHAND`, pidfds | 5.5 | needed |
//! | `openat2` | 5.6 | needed |
//! | `close_range` with `CLOSE_RANGE_CLOEXEC` | 5.11 | needed |
//! | `fsopen`, `open_tree`, `move_mount`, `mount_setattr` | 5.12 | needed |
//! | time namespaces | 5.6 | refused |
//! | id-mapped mounts | 5.12, and the file system's own | refused |
//! | overlay in a user namespace | 5.11 | needed for overlays without root |
//! | a root whose changes are dropped ([`rootfs::Root::Memory`]) | 6.15 | a layer attached for a moment, in the mount namespace of a helper process; without root refused before 6.6 |
//! | overlay directories by descriptor (`lowerdir+`) | 6.13 | `mount(2)` in the mount namespace of a helper process |
//! | exit status of a process that is not our child | 6.15 | `wait` says that it is not known |
//! | `CLONE_INTO_CGROUP` | 5.7 | needed for control groups version 2 |
//!
//! # Limitations
//! - The child runs from the embedding program's own image. A program that runs as root and lets processes join containers, or
//!   containers join pid namespaces, calls [`seal::ensure`] first thing in `main`, so that nobody in them can write it (CVE-2019-5736).
//! - Not done, and refused when asked for: Intel RDT.
//! - Without a cgroup namespace a mount of type `cgroup` stays empty, and a warning says so.

#[cfg(feature = "async")]
mod asynchronous;
pub mod bundle;
pub mod capability;
pub mod cgroup;
pub mod command;
mod console;
mod container;
pub mod criu;
#[cfg(feature = "engine")]
pub mod engine;
pub mod error;
mod exec;
pub mod exit;
pub mod features;
pub mod foreground;
#[cfg(feature = "_fuzzing")]
pub mod fuzzing;
mod handover;
mod hooks;
pub mod id;
pub mod idmap;
pub mod init;
pub mod mount;
pub mod namespace;
mod netdevice;
pub mod plan;
pub mod process;
pub mod procfs;
pub mod record;
pub mod rlimit;
pub mod rootfs;
pub mod rootless;
pub mod runtime;
pub mod seal;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sys;

pub use oci_spec;

pub use command::Command;
pub use error::{Error, ErrorKind, Result};
pub use exit::{ExitStatus, Signal};
pub use id::ContainerId;

/// What the page above promises of handles: checked when the crate is compiled.
const _: () = {
    const fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<runtime::Runtime>();
    crosses_threads::<runtime::Container>();
    crosses_threads::<runtime::Process>();
    crosses_threads::<bundle::Bundle>();
    crosses_threads::<plan::Plan>();
    crosses_threads::<rootfs::PreparedRoot>();
    crosses_threads::<cgroup::OomWatch>();
    crosses_threads::<Command>();
    crosses_threads::<command::Child>();
    crosses_threads::<Error>();
};
