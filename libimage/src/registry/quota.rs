//! Pulls that a registry counts.

use super::{Registry, RegistryError};
use crate::traffic::Quota;

impl Registry {
    /// Returns how many pulls the registry still allows, as the last answer to anybody in this context said; none if it has not
    /// said.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        self.0.traffic.meter.last()
    }

    /// From now on no manifest is fetched from this host, by anybody in this context, if fewer than `least` pulls would be left
    /// then. What is left is known from the host's last answer; HEAD, with which every copy begins, is such an answer and costs no
    /// pull. A host that does not tell is not restrained.
    pub fn keep_quota(&self, least: u64) {
        self.0.traffic.meter.keep(least);
    }

    /// Asks before a pull whether it may be made.
    pub(super) fn take_pull(&self) -> Result<(), RegistryError> {
        self.0
            .traffic
            .meter
            .take()
            .map_err(|(quota, least)| RegistryError::Quota {
                host: self.0.host.clone(),
                remaining: quota.remaining,
                least,
                window: quota.window,
            })
    }
}
