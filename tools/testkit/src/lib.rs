//! Test material that anyone can make: no account, no outside network, no recorded blobs.
//!
//! | module | what it makes |
//! |---|---|
//! | [`skip()`] | a test that cannot run says so, and is counted |
//! | [`user`] | commands run as an unprivileged user with or without subordinate ids |
//! | [`process`] | commands with a clean environment and a time limit |
//! | [`image`] | deterministic images: trees, layers, manifests, indexes, layouts on disk |
//! | [`tar`] | archives that lie |
//! | [`registry`] | an in-process registry whose faults are scripted |
//! | [`debian`] | Debian's `docker-registry` on a free loopback port |
//! | [`house`] | the check that modules import only downward |
//!
//! # Limitations
//! For tests only: functions panic where a library would return an error, because a test that cannot prepare its material has
//! failed. The crate depends on none of the crates it tests.

pub mod debian;
pub mod house;
pub mod image;
pub mod process;
pub mod registry;
mod skip;
pub mod tar;
pub mod user;

pub use debian::DebianRegistry;
pub use image::{Content, Image, ImageMaker, Index, Layout, Packing, Tree};
pub use process::{Outcome, command, copy_program, run, write_script};
pub use registry::{Auth, Fault, Quota, Registry, Rule};
pub use skip::skip;
pub use user::{User, is_root};
