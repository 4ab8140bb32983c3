//! The list of tags, filtered and in parts.

use super::{OptionalStore, TagFilter, store_of};
use crate::{
    context::{Context, Side},
    copy,
    error::Error,
    name::ImageRef,
    registry::Registry,
    transport::worker,
    trust,
};

/// Which tags to list. The default lists all.
#[derive(Debug, Clone, Default)]
pub struct TagOptions {
    /// At most so many.
    pub limit: Option<usize>,
    /// Only those after this one, in the order of the repository (registries sort bytewise).
    pub last: Option<String>,
    /// Only those that match one of these; without any, all.
    pub include: Vec<TagFilter>,
    /// Not those that match one of these.
    pub exclude: Vec<TagFilter>,
    /// The store that `store:` means: its names are listed.
    pub store: OptionalStore,
}

impl TagOptions {
    fn wants(&self, tag: &str) -> bool {
        let included =
            self.include.is_empty() || self.include.iter().any(|filter| filter.matches(tag));
        included && !self.exclude.iter().any(|filter| filter.matches(tag))
    }
}

/// Lists the tags of a repository in its order; of a layout, an archive or the store, the names in it. The reference's own tag
/// does not matter.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: among others `NotFound` for a repository that does not exist.
pub async fn tags(
    cx: &Context,
    repository: &ImageRef,
    options: &TagOptions,
) -> Result<Vec<String>, Error> {
    trust::admit(cx.policy(), repository)?;
    match repository {
        ImageRef::Docker(name) => {
            let registry = Registry::new(cx, Side::Source, name, Vec::new())?;
            of_registry(&registry, options).await
        }
        ImageRef::Store(_) => {
            let store = std::sync::Arc::clone(store_of(repository, &options.store)?);
            let images = worker::run("list images", move || store.images()).await?;
            Ok(selected(
                images.into_iter().filter_map(|image| image.name),
                options,
            ))
        }
        _ => Ok(selected(
            copy::tags(cx, repository).await?.into_iter(),
            options,
        )),
    }
}

async fn of_registry(registry: &Registry, options: &TagOptions) -> Result<Vec<String>, Error> {
    Ok(selected(registry.tags().await?.into_iter(), options))
}

fn selected(all: impl Iterator<Item = String>, options: &TagOptions) -> Vec<String> {
    let mut all = all.collect::<Vec<_>>();
    if let Some(last) = &options.last {
        match all.iter().position(|tag| tag == last) {
            Some(at) => drop(all.drain(..=at)),
            // A tag that is gone meanwhile: what would stand after it.
            None => all.retain(|tag| tag > last),
        }
    }
    all.retain(|tag| options.wants(tag));
    all.truncate(options.limit.unwrap_or(usize::MAX));
    all
}
