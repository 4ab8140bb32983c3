//! The repositories of a registry.

use crate::{context::Context, error::Error};

/// Which repositories to list. The default lists all.
#[derive(Debug, Clone, Default)]
pub struct CatalogOptions {
    /// At most so many.
    pub limit: Option<usize>,
    /// Only those after this one, in the order of the registry.
    pub last: Option<String>,
}

/// Lists the repositories of a registry (host, and port if it needs one). Many public registries do not offer the list.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: among others `Unauthorized`, and `Unsupported` where the registry has no such list.
pub async fn catalog(
    _cx: &Context,
    _registry: &str,
    _options: &CatalogOptions,
) -> Result<Vec<String>, Error> {
    unimplemented!()
}
