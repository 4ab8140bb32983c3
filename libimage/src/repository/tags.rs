//! The list of tags, filtered and in parts.

use futures_util::TryStreamExt as _;

use super::{OptionalStore, TagFilter, store_of};
use crate::{
    context::{Context, Side},
    copy,
    error::Error,
    name::ImageRef,
    registry::{ListOptions, Registry},
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
            let names = images.into_iter().filter_map(|image| image.name);
            Ok(selected(names.collect(), options))
        }
        _ => Ok(selected(copy::tags(cx, repository).await?, options)),
    }
}

/// Asks for pages until there are enough.
async fn of_registry(registry: &Registry, options: &TagOptions) -> Result<Vec<String>, Error> {
    let filtered = !(options.include.is_empty() && options.exclude.is_empty());
    let list = ListOptions {
        page: page(options.limit, filtered),
        last: options.last.clone(),
    };
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut pages = registry.tag_pages(&list);
    let mut tags = Vec::new();
    while tags.len() < limit
        && let Some(page) = pages.try_next().await?
    {
        let page = after(page, options.last.as_deref());
        tags.extend(page.into_iter().filter(|tag| options.wants(tag)));
    }
    tags.truncate(limit);
    Ok(tags)
}

/// How many names to ask for at once: no more than are wanted, unless most of them may be filtered out.
pub(super) fn page(limit: Option<usize>, filtered: bool) -> Option<u32> {
    const MOST: usize = 1000;
    let limit = limit.filter(|_| !filtered)?;
    u32::try_from(limit.clamp(1, MOST)).ok()
}

/// Drops what comes before and at `last`: some registries begin anew, whatever they are asked.
pub(super) fn after(mut page: Vec<String>, last: Option<&str>) -> Vec<String> {
    if let Some(at) = page.iter().position(|name| Some(name.as_str()) == last) {
        drop(page.drain(..=at));
    }
    page
}

fn selected(all: Vec<String>, options: &TagOptions) -> Vec<String> {
    let mut tags = match &options.last {
        Some(last) if !all.contains(last) => {
            // A name that is gone meanwhile: what would stand after it.
            all.into_iter().filter(|tag| tag > last).collect()
        }
        last => after(all, last.as_deref()),
    };
    tags.retain(|tag| options.wants(tag));
    tags.truncate(options.limit.unwrap_or(usize::MAX));
    tags
}
