//! The repositories of a registry.

use futures_util::TryStreamExt as _;

use crate::{
    context::{Context, Side},
    error::Error,
    registry::{ListOptions, Registry},
};

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
/// See [`crate::ErrorKind`]: among others `Unauthorized`, and `NotFound` or `Unsupported` where the registry has no such list.
pub async fn catalog(
    cx: &Context,
    registry: &str,
    options: &CatalogOptions,
) -> Result<Vec<String>, Error> {
    let registry = Registry::of_host(cx, Side::Source, registry)?;
    let list = ListOptions {
        page: super::tags::page(options.limit, false),
        last: options.last.clone(),
    };
    let mut pages = registry.catalog(&list);
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut names = Vec::new();
    while names.len() < limit
        && let Some(page) = pages.try_next().await?
    {
        names.extend(super::tags::after(page, options.last.as_deref()));
    }
    names.truncate(limit);
    Ok(names)
}
