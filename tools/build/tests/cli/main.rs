//! The `build` tool as a user sees it: scripts, exit codes, messages, as root and as ordinary users.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose material cannot be made has failed"
)]

mod actor;
mod attacks;
mod bad;
mod builds;
mod killed;
mod surface;
