//! The `build` tool as a user sees it: scripts, exit codes, messages, as root and as ordinary users.

mod actor;
mod bad;
mod builds;
mod killed;
mod surface;
