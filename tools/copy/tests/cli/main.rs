//! The `copy` tool as a user runs it, between layouts, the store, the testkit's registry and Debian's.

mod auth;
mod between;
mod debian;
mod faults;
mod inspect;
mod interrupt;
mod tool;
mod usage;
mod user;
