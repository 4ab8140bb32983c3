//! The `copy` tool as a user runs it, between layouts, the store, the testkit's registry and Debian's.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose material cannot be made has failed"
)]

mod artifact;
mod auth;
mod between;
mod convert;
mod debian;
mod edit;
mod export;
mod faults;
mod inspect;
mod interrupt;
mod login;
mod pairs;
mod referrers;
mod registries;
mod skopeo;
mod sync;
mod template;
mod tool;
mod trust;
mod usage;
mod user;
mod verbs;
