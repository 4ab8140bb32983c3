//! Cgroups and user namespaces of this machine, for real.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cgroups;
mod devices;
mod userns;
