//! The `run` tool as its users see it: the program is started, and its streams, exit code and traces are looked at.

mod errors;
mod flags;
mod images;
mod leftovers;
mod oci;
mod rootless;
mod signals;
mod support;
mod terminal;
mod tool;
