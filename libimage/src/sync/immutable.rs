//! Which images need not be asked for, because the destination has one of their name that must not change.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;

use super::{
    Pattern,
    list::{Job, together},
};
use crate::{
    context::{Context, Side},
    error::{Error, ErrorKind},
    layout::Layout,
    name::ImageRef,
    registry::{Registry, RegistryError},
    transport::worker,
};

/// From how many tags of a repository on its list is fetched: one request a page, and registries have pages of a hundred or more. For
/// fewer the tags are asked for one by one, as the list may be long.
const LIST_FROM: usize = 4;

/// Finds the jobs (by their place) whose destination is there and must not change. What cannot be found out is not immutable: the copy
/// will meet the same failure, and report it.
pub(super) async fn immutable(
    cx: &Context,
    jobs: &[Job],
    patterns: &[Pattern],
    parallel: usize,
) -> (BTreeSet<usize>, u64) {
    let mut places: BTreeMap<String, Vec<(usize, &ImageRef)>> = BTreeMap::new();
    for (at, job) in jobs.iter().enumerate() {
        let fixed = job
            .tag
            .as_ref()
            .is_some_and(|tag| patterns.iter().any(|pattern| pattern.matches(tag)));
        if let (true, Ok(to)) = (fixed, &job.to) {
            places.entry(place(to)).or_default().push((at, to));
        }
    }
    let asking = places
        .into_values()
        .map(|wanted| present(cx, wanted).boxed());
    let (mut found, mut requests) = (BTreeSet::new(), 0);
    for (there, sent) in together(parallel, asking.collect()).await {
        found.extend(there);
        requests += sent;
    }
    (found, requests)
}

/// What is asked together: a repository, a layout, or all directories.
fn place(image: &ImageRef) -> String {
    match image {
        ImageRef::Docker(name) => format!("docker://{}", name.without_reference()),
        ImageRef::Oci { path, .. } => format!("oci:{}", path.display()),
        other => other.transport().to_owned(),
    }
}

/// Returns which of these images of one place are there, and how many requests it took.
async fn present(cx: &Context, wanted: Vec<(usize, &ImageRef)>) -> (Vec<usize>, u64) {
    let owned: Vec<(usize, ImageRef)> = wanted
        .into_iter()
        .map(|(at, image)| (at, image.clone()))
        .collect();
    let Some(ImageRef::Docker(name)) = owned.first().map(|(_, image)| image) else {
        let look = move || Ok::<_, Error>(local(&owned));
        return (
            worker::run("look for images", look)
                .await
                .unwrap_or_default(),
            0,
        );
    };
    let Ok(registry) = Registry::new(cx, Side::Destination, name, Vec::new()) else {
        return (Vec::new(), 0);
    };
    let there = in_registry(&registry, &owned).await;
    (there, registry.requests())
}

async fn in_registry(registry: &Registry, wanted: &[(usize, ImageRef)]) -> Vec<usize> {
    let mut names = Vec::new();
    for (at, image) in wanted {
        if let ImageRef::Docker(name) = image {
            names.push((*at, name));
        }
    }
    if wanted.len() >= LIST_FROM {
        match registry.tags().await {
            Ok(tags) => {
                let tags: BTreeSet<String> = tags.into_iter().collect();
                return names
                    .into_iter()
                    .filter(|(_, name)| name.tag().is_some_and(|tag| tags.contains(tag)))
                    .map(|(at, _)| at)
                    .collect();
            }
            // A repository that does not exist yet has no tags.
            Err(RegistryError::NotFound { .. }) => return Vec::new(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            // Some registries do not let everybody list who may read: then one by one.
            Err(_) => {}
        }
    }
    let mut asking = Vec::new();
    for (at, name) in names {
        let there = registry.with_name(name);
        let head = async move {
            let head = there.head_manifest(there.name().reference()).await;
            matches!(head, Ok(Some(_))).then_some(at)
        };
        asking.push(head.boxed());
    }
    let there = together(LIST_FROM, asking).await;
    there.into_iter().flatten().collect()
}

fn local(wanted: &[(usize, ImageRef)]) -> Vec<usize> {
    let mut layouts: BTreeMap<&std::path::Path, BTreeSet<String>> = BTreeMap::new();
    let mut there = Vec::new();
    for (at, image) in wanted {
        let found = match image {
            ImageRef::Dir { path } => path.join("manifest.json").is_file(),
            ImageRef::Oci {
                path,
                tag: Some(tag),
            } => layouts
                .entry(path)
                .or_insert_with(|| tags_of(path))
                .contains(tag),
            _ => false,
        };
        if found {
            there.push(*at);
        }
    }
    there
}

fn tags_of(path: &std::path::Path) -> BTreeSet<String> {
    let entries = Layout::open(path).and_then(|layout| layout.entries());
    let entries = entries.unwrap_or_default().into_iter();
    entries.filter_map(|entry| entry.tag).collect()
}
