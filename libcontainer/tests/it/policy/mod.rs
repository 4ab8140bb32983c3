//! Cgroups and user namespaces of this machine, for real.

mod cgroups;
mod userns;
