//! The default profile.

use super::FilterArch;
use crate::capability::CapabilitySet;
use oci_spec::runtime::LinuxSeccomp;

/// What the default profile depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileFacts {
    /// The architecture of the machine.
    pub arch: FilterArch,
    /// The bounding set of the container.
    pub capabilities: CapabilitySet,
}

/// The profile a container gets unless told otherwise.
pub fn default_profile(facts: &ProfileFacts) -> LinuxSeccomp {
    let _unused = facts;
    unimplemented!()
}
