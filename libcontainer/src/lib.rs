//! Runs OCI bundles: namespaces, mounts, seccomp and processes, from a plan that can be printed.
//!
//! Data flows one way: `Bundle` (specification and root) → [`plan::Plan`] → `Process` → [`ExitStatus`].

pub mod bundle;
pub mod capability;
pub mod cgroup;
mod console;
mod container;
#[cfg(feature = "engine")]
pub mod engine;
pub mod error;
pub mod exit;
pub mod foreground;
mod hooks;
pub mod id;
pub mod idmap;
pub mod init;
pub mod mount;
pub mod namespace;
pub mod plan;
pub mod process;
pub mod procfs;
pub mod record;
pub mod rlimit;
pub mod rootfs;
pub mod rootless;
pub mod runtime;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sys;

pub use oci_spec;

pub use error::{Error, ErrorKind, Result};
pub use exit::{ExitStatus, Signal};
pub use id::ContainerId;
