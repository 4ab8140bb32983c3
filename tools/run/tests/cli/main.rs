//! The `run` tool as its users see it: the program is started, and its streams, exit code and traces are looked at.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

mod attacks;
mod checkpoint;
mod contract;
mod counts;
mod engines;
mod errors;
mod flags;
mod images;
mod leftovers;
mod oci;
mod rootless;
mod runc;
mod signals;

mod suites;
mod support;
mod terminal;
mod tool;
mod users;
