//! Which images a plan means: lists are fetched, directories read, selections applied.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use super::{
    Age, FailedSource, Reference, Selection, SyncEntry, SyncError, SyncSource, date,
    plan::Origin,
    run::failed_source,
    select::newest_of,
    version::natural_order,
    walk::{self, Found},
};
use crate::{
    context::{Context, Side},
    copy::{self, InspectOptions},
    error::Error,
    name::{ImageRef, Name, NameError},
    progress::Event,
    registry::{ListOptions, Registry},
    transport::worker,
};

/// Images of one run: each takes about a kilobyte of memory.
const IMAGES: usize = 500_000;

/// One image to be synchronised.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) from: ImageRef,
    /// Where it goes, or why that cannot be said.
    pub(super) to: Result<ImageRef, std::sync::Arc<SyncError>>,
    /// Its tag at the source.
    pub(super) tag: Option<String>,
    /// Which entry of the plan it is of.
    pub(super) entry: usize,
}

/// What the plan means.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) jobs: Vec<Job>,
    pub(super) failed: Vec<FailedSource>,
    pub(super) requests: u64,
}

/// Finds out what is meant by all entries, several at once.
pub(super) async fn list(
    entries: &[(Context, SyncEntry)],
    parallel: usize,
) -> Result<Listed, Error> {
    let mut listing = Vec::new();
    for (cx, entry) in entries {
        let lister = Lister {
            cx,
            selection: &entry.selection,
            parallel,
        };
        listing.push(async move { lister.of(&entry.source).await }.boxed());
    }
    let results = together(parallel, listing).await;
    let mut listed = Listed::default();
    for (at, ((found, requests), (_, entry))) in results.into_iter().zip(entries).enumerate() {
        listed.requests += requests;
        match found {
            Ok(images) => listed
                .jobs
                .extend(images.into_iter().map(|(origin, from)| Job {
                    from,
                    to: entry.target.of(&origin, &entry.suffix).map_err(Into::into),
                    tag: match origin.reference {
                        Reference::Tag(tag) => Some(tag),
                        Reference::Digest(_) => None,
                    },
                    entry: at,
                })),
            Err(error) => listed.failed.push(failed_source(&entry.source, &error)),
        }
        if listed.jobs.len() > IMAGES {
            return Err(SyncError::TooMuch {
                what: "the plan".to_owned(),
                limit: IMAGES,
                unit: "images",
            }
            .into());
        }
    }
    listed.jobs = without_collisions(listed.jobs);
    Ok(listed)
}

/// Waits for several futures, so many at once, and returns what they returned in their order. They are boxed, or the compiler does not
/// see that all of it may go to another thread.
pub(super) async fn together<T>(parallel: usize, work: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(work).buffered(parallel.max(1)).collect().await
}

/// Drops what is there twice, and marks what would overwrite something else.
fn without_collisions(jobs: Vec<Job>) -> Vec<Job> {
    let mut taken: HashMap<ImageRef, (ImageRef, usize)> = HashMap::new();
    let mut kept = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        if let Ok(to) = &job.to {
            match taken.get(to) {
                Some((from, _)) if *from == job.from => continue,
                Some((first, _)) => {
                    job.to = Err(SyncError::Collision {
                        first: first.to_string(),
                        second: job.from.to_string(),
                        to: to.to_string(),
                    }
                    .into());
                }
                None => drop(taken.insert(to.clone(), (job.from.clone(), job.entry))),
            }
        }
        kept.push(job);
    }
    kept
}

/// Finds the images of one entry.
struct Lister<'a> {
    cx: &'a Context,
    selection: &'a Selection,
    parallel: usize,
}

impl Lister<'_> {
    /// Returns the images, and how many requests it took.
    async fn of(&self, source: &SyncSource) -> (Result<Vec<Found>, Error>, u64) {
        match source {
            SyncSource::Repository(name) => self.repository(name).await,
            SyncSource::Registry { host, repositories } => {
                let wanted = |path: &str| {
                    repositories.is_empty()
                        || repositories.iter().any(|pattern| pattern.matches(path))
                };
                self.registry(host, wanted).await
            }
            SyncSource::Dirs(path) => (self.local(path, walk::dirs).await, 0),
            SyncSource::Layouts(path) => (self.local(path, walk::layouts).await, 0),
        }
    }

    async fn registry(
        &self,
        host: &str,
        wanted: impl Fn(&str) -> bool + Send,
    ) -> (Result<Vec<Found>, Error>, u64) {
        let registry = match Registry::of_host(self.cx, Side::Source, host) {
            Ok(registry) => registry,
            Err(error) => return (Err(error.into()), 0),
        };
        let repositories: Result<Vec<String>, _> =
            registry.catalog(&ListOptions::default()).try_concat().await;
        let mut requests = registry.requests();
        let repositories = match repositories {
            Ok(repositories) => repositories,
            Err(error) => return (Err(error.into()), requests),
        };
        let mut names: Vec<Name> = Vec::new();
        for path in repositories.iter().filter(|path| wanted(path)) {
            names.extend(self.sane(format!("{host}/{path}").parse(), &host));
        }
        let listing = names.iter().map(|name| self.repository(name).boxed());
        let mut images = Vec::new();
        for (found, more) in together(self.parallel, listing.collect()).await {
            requests += more;
            match found {
                Ok(found) => images.extend(found),
                Err(error) => return (Err(error), requests),
            }
        }
        (Ok(images), requests)
    }

    async fn repository(&self, name: &Name) -> (Result<Vec<Found>, Error>, u64) {
        let mut references = self.selection.named();
        let mut requests = 0;
        if self.selection.needs_list() {
            let registry = match Registry::new(self.cx, Side::Source, name, Vec::new()) {
                Ok(registry) => registry,
                Err(error) => return (Err(error.into()), 0),
            };
            let tags = registry.tags().await;
            requests = registry.requests();
            let chosen = match tags {
                Ok(mut tags) => {
                    tags.retain(|tag| self.sane(name.with_tag(tag), name).is_some());
                    self.chosen(&tags, |tag| at(name, tag)).await
                }
                Err(error) => Err(error.into()),
            };
            match chosen {
                Ok(chosen) => references.extend(chosen),
                Err(error) => return (Err(error), requests),
            }
        }
        let images = references.into_iter().map(|reference| {
            let from = match &reference {
                Reference::Tag(tag) => at(name, tag)?,
                Reference::Digest(digest) => ImageRef::Docker(name.with_digest(digest)),
            };
            let path = name.without_reference();
            Ok((Origin { path, reference }, from))
        });
        (images.collect(), requests)
    }

    /// Takes a name from a list, or warns that it is none: others of the list are no worse for it.
    fn sane(&self, name: Result<Name, NameError>, list: &dyn std::fmt::Display) -> Option<Name> {
        let error = match name {
            Ok(name) => return Some(name),
            Err(error) => error,
        };
        let message = format!("left out of the list of {list}: {error}");
        self.cx
            .progress()
            .event(&Event::Warning { message: &message });
        None
    }

    /// Chooses from a list of tags; `image` says where each of them is.
    async fn chosen(
        &self,
        tags: &[String],
        image: impl Fn(&str) -> Result<ImageRef, Error> + Send,
    ) -> Result<Vec<Reference>, Error> {
        let by_date = self
            .selection
            .newest
            .filter(|newest| newest.age == Age::Created);
        let Some(newest) = by_date else {
            let named: BTreeSet<Reference> = self.selection.named().into_iter().collect();
            let mut meant = self.selection.apply(tags);
            meant.retain(|reference| !named.contains(reference));
            return Ok(meant);
        };
        let mut asking = Vec::new();
        for tag in self.selection.candidates(tags) {
            let image = image(&tag)?;
            let date = async move { Ok::<_, Error>((created(self.cx, &image).await?, tag)) };
            asking.push(date.boxed());
        }
        let dated = together(self.parallel, asking).await.into_iter();
        let dated = dated.collect::<Result<Vec<_>, _>>()?;
        let newest = newest_of(dated, newest.count, |(one, left), (two, right)| {
            one.cmp(two).then_with(|| natural_order(left, right))
        });
        Ok(newest
            .into_iter()
            .map(|(_, tag)| Reference::Tag(tag))
            .collect())
    }

    /// Finds images in a directory; each repository in it is selected from by itself.
    async fn local(
        &self,
        path: &Path,
        walk: fn(&Path) -> Result<Vec<Found>, Error>,
    ) -> Result<Vec<Found>, Error> {
        let path = path.to_owned();
        let found = worker::run("find images", move || walk(&path)).await?;
        if *self.selection == Selection::default() {
            return Ok(found);
        }
        let mut repositories: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for (origin, image) in found {
            let images = repositories.entry(origin.path.clone()).or_default();
            images.push((origin, image));
        }
        let mut kept = Vec::new();
        for images in repositories.into_values() {
            let there: HashMap<&Reference, &ImageRef> = images
                .iter()
                .map(|(origin, image)| (&origin.reference, image))
                .collect();
            let tags: Vec<String> = images
                .iter()
                .filter_map(|(origin, _)| match &origin.reference {
                    Reference::Tag(tag) => Some(tag.clone()),
                    Reference::Digest(_) => None,
                })
                .collect();
            let mut meant: BTreeSet<Reference> = self.selection.named().into_iter().collect();
            if self.selection.needs_list() {
                let image = |tag: &str| {
                    let image = there.get(&Reference::Tag(tag.to_owned()));
                    Ok((*image.expect("the tag was found there")).clone())
                };
                meant.extend(self.chosen(&tags, image).await?);
            }
            kept.extend(
                images
                    .iter()
                    .filter(|(origin, _)| meant.contains(&origin.reference))
                    .cloned(),
            );
        }
        Ok(kept)
    }
}

fn at(name: &Name, tag: &str) -> Result<ImageRef, Error> {
    Ok(ImageRef::Docker(name.with_tag(tag)?))
}

/// Asks an image when it was made; an index is as old as its image for this machine, or else its first.
async fn created(cx: &Context, image: &ImageRef) -> Result<(i64, u32), Error> {
    let mut options = InspectOptions::default();
    let mut inspected = copy::inspect(cx, image, &options).await?;
    if inspected.image.is_none() {
        let first = inspected
            .entries
            .iter()
            .find_map(|entry| entry.platform.clone());
        options.platform = first;
        if options.platform.is_some() {
            inspected = copy::inspect(cx, image, &options).await?;
        }
    }
    let date = inspected
        .image
        .and_then(|image| date::created(&image.raw_config));
    Ok(date.ok_or_else(|| SyncError::NoDate {
        image: image.to_string(),
    })?)
}
