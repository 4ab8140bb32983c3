//! Real builds, as root: real overlays, real namespaces, a real store. (As an ordinary user they run through the `build` tool,
//! since entering a user namespace needs a process of its own.)

#![expect(
    clippy::unwrap_used,
    reason = "a test whose material cannot be made has failed"
)]

mod commit;
mod containers;
mod copy;
mod lab;
mod steps;
