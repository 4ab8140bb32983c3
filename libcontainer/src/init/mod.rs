//! Performing a plan: the parent opens what the child needs, makes it, answers it; the child interprets the steps.
//!
//! ```text
//! parent: open resources, make the cgroup ── clone3 ── answer reports ───────────── ready, or the program runs
//! child:                                        └───── interpret steps ── report ── (wait for the FIFO) ── execve
//! ```
//! Both talk over one socket pair in fixed structures. The child's end is closed by `execve`: that is how the parent learns that the
//! program runs.

mod beside;
mod child;
mod enter;
mod explain;
mod idmapped;
mod listener;
mod maps;
mod parent;
mod report;
mod resources;
mod service;

pub(crate) use enter::{Entry, enter};
pub(crate) use parent::{GO, Launch, Launched, Place, Start, launch, launch_inside};
pub(crate) use resources::streams;
pub(crate) use service::{Service, bring_up_loopback, make_mount_point, serve};
