//! `registries.conf`.

/// What `registries.conf` and its drop-ins say.
///
/// # References
///
/// containers-registries.conf(5)
#[derive(Debug, Clone, Default)]
pub struct Registries {}
