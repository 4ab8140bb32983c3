//! Checkpoints: the processes of a container as files, and back, by CRIU (Checkpoint/Restore In Userspace), a program of others.
//!
//! ```text
//! container -> request (what is outside of it is declared so) -> criu swrk -> image files
//! image files + bundle -> cgroup, root attached in a mount namespace of CRIU's own -> criu swrk -> the container's processes
//! ```
//! CRIU is found in `PATH` and works as our child, `criu swrk`, which speaks Protocol Buffers over a socket: a request, notifications that
//! are answered, a response. Nothing of it is linked.
//!
//! # Limitations
//! For root of the machine only. What CRIU cannot save it says in its log: processes that trace others, files on mounts that the container
//! does not have, devices. A network namespace of the container's own comes back empty but for loopback: who filled it fills it again, by
//! hooks.
//!
//! # References
//! criu(8), CRIU's "RPC" page.

mod dump;
mod mounts;
mod options;
mod outside;
mod program;
mod request;
mod restore;
mod talk;
mod wire;

pub(crate) use dump::checkpoint;
pub use options::{CheckpointOptions, PageServer, RestoreOptions};
pub use program::find;
pub use request::CgroupsMode;
pub(crate) use restore::{Returning, restore};
