//! Reads an image again, all of it, and tells everything that is wrong with it.
//!
//! An index leads to manifests, a manifest to its configuration and layers. Of every document digest, length, type and shape are
//! checked; of a layer also that it unpacks to the diffID the configuration states, and that it is an archive. Documents are
//! compared with each other: numbers of layers, diffIDs and history, platforms of index and configuration.

mod finding;
mod image;
mod layer;

use std::{collections::HashSet, sync::Arc};

use futures_util::{StreamExt as _, stream};

use crate::{
    context::Context,
    copy,
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor},
    media::{self, Kind},
    name::ImageRef,
    platform::Platform,
    progress::BlobKind,
    store::Store,
    transport::{Source, worker},
    trust::{self, Verified},
};

pub use finding::{Problem, ProblemKind};

/// Indexes inside each other: nobody publishes more than two.
const DEPTH: usize = 4;

/// How to validate.
#[derive(Debug, Clone)]
pub struct ValidateOptions {
    /// Which platforms of an index: none is all of them.
    pub platforms: Vec<Platform>,
    /// Only ask whether the blobs are there, with the right size; manifests and configurations are read in any case.
    pub fast: bool,
    /// How many blobs are read at once.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self {
            platforms: Vec::new(),
            fast: false,
            jobs: 4,
            store: None,
        }
    }
}

/// What a validation found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Validation {
    /// The digest of the image or index; none if it could not even be read.
    pub digest: Option<Digest>,
    /// Manifests and indexes read.
    pub manifests: u64,
    /// Configurations and layers read, or asked for.
    pub blobs: u64,
    /// Bytes of the blobs read.
    pub bytes: u64,
    /// Layers that live elsewhere by agreement (Windows), and were not looked at.
    pub foreign: u64,
    /// HTTP requests sent.
    pub requests: u64,
    /// What is wrong, in the order of the image; empty if nothing is.
    pub problems: Vec<Problem>,
}

impl Validation {
    /// Tells whether nothing is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Validates an image: every manifest, configuration and layer is read again.
///
/// Memory stays flat whatever the size of the image: a layer under way needs 2 MiB of pieces and the decoder's window (128 MiB at
/// most for zstd).
///
/// # Errors
///
/// There is no such image, it cannot be reached, or the policy forbids it: what is wrong with it is no error but a [`Problem`].
pub async fn validate(
    cx: &Context,
    image: &ImageRef,
    options: &ValidateOptions,
) -> Result<Validation, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    let mut walk = Walk {
        source: &source,
        options,
        found: Validation::default(),
        seen: HashSet::new(),
        work: Vec::new(),
    };
    match source.verified(cx, None).await {
        Ok(top) => walk.top(top).await?,
        Err(error) if finding::is_of_top(&error) => {
            walk.problem(Problem::of(&error, image.to_string(), None));
        }
        Err(error) => return Err(error),
    }
    let Walk {
        mut found, work, ..
    } = walk;
    let tasks = work
        .into_iter()
        .map(|job| layer::check(source.clone(), job, options.fast, Arc::clone(cx.progress())));
    let mut checked = worker::several(options.jobs, tasks.collect::<Vec<_>>()).await?;
    checked.sort_by_key(|checked| checked.number);
    for checked in checked {
        found.blobs += 1;
        found.bytes += checked.bytes;
        found.problems.extend(checked.problems);
    }
    found.requests = source.requests();
    Ok(found)
}

/// A blob to be checked.
#[derive(Debug, Clone)]
struct Job {
    number: usize,
    blob: Descriptor,
    kind: BlobKind,
    /// What it has to unpack to, if it is a layer of an image.
    diff_id: Option<Digest>,
    place: String,
}

/// From the top down, everything small: what is left to do afterwards is in `work`.
struct Walk<'a> {
    source: &'a Source,
    options: &'a ValidateOptions,
    found: Validation,
    /// Blobs that are to be checked already, with what they are expected to be.
    seen: HashSet<(Digest, u64, Option<Digest>)>,
    work: Vec<Job>,
}

impl Walk<'_> {
    async fn top(&mut self, top: Verified) -> Result<(), Error> {
        self.found.digest = Some(top.digest().clone());
        let name = top.image().to_string();
        if self.options.platforms.is_empty() {
            return self.levels(top, name).await;
        }
        self.found.manifests +=
            u64::from(matches!(top.manifest().content(), Content::Index { .. }));
        for platform in &self.options.platforms {
            match copy::one(self.source, top.clone(), platform).await {
                Ok(image) => {
                    self.image(&image, &format!("{name} ({platform})"), None)
                        .await?
                }
                Err(error) if finding::is(&error) && !finding::is_selection(&error) => {
                    let place = format!("{name} ({platform})");
                    self.problem(Problem::of(&error, place, None));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes through indexes level by level.
    async fn levels(&mut self, top: Verified, name: String) -> Result<(), Error> {
        let mut level = vec![(top, name, None)];
        let mut known: HashSet<Digest> = HashSet::new();
        for _ in 0..=DEPTH {
            let mut next = Vec::new();
            for (manifest, place, entry) in level {
                let Content::Index { entries } = manifest.manifest().content() else {
                    self.image(&manifest, &place, entry).await?;
                    continue;
                };
                self.found.manifests += 1;
                let new: Vec<Descriptor> = entries
                    .iter()
                    .filter(|entry| known.insert(entry.digest.clone()))
                    .cloned()
                    .collect();
                next.extend(self.children(&manifest, &new, &place).await?);
            }
            level = next;
            if level.is_empty() {
                return Ok(());
            }
        }
        let (_, place, _) = &level[0];
        let message = format!("more than {DEPTH} indexes inside each other");
        self.problem(Problem::new(
            ProblemKind::Limit,
            place.clone(),
            None,
            message,
        ));
        Ok(())
    }

    /// Fetches the manifests an index names.
    async fn children(
        &mut self,
        index: &Verified,
        entries: &[Descriptor],
        place: &str,
    ) -> Result<Vec<(Verified, String, Option<Platform>)>, Error> {
        let mut manifests = Vec::new();
        for entry in entries {
            match media::kind(&entry.media_type) {
                Kind::Manifest | Kind::Index | Kind::Schema1 => manifests.push(entry),
                // A type that says nothing is that of a manifest; an index may also name anything else.
                _ if entry.media_type.is_empty() => manifests.push(entry),
                _ => self.add(entry, BlobKind::Other, None, format!("entry of {place}")),
            }
        }
        let source = self.source;
        let fetching = manifests
            .into_iter()
            .map(|entry| async move { (entry, source.child(entry).await) });
        let fetched: Vec<_> = stream::iter(fetching)
            .buffered(self.options.jobs.max(1))
            .collect()
            .await;
        let mut children = Vec::new();
        for (entry, raw) in fetched {
            let platform = entry.platform.as_ref().map(Platform::to_string);
            let inside = format!("{} of {place}", platform.as_deref().unwrap_or("manifest"));
            let child = match raw {
                Ok(raw) => {
                    self.length(entry, raw.len() as u64, &inside);
                    index.child(entry, raw).map_err(Error::from)
                }
                Err(error) => Err(error),
            };
            match child {
                Ok(child) => children.push((child, inside, entry.platform.clone())),
                Err(error) if finding::is(&error) => {
                    self.problem(Problem::of(&error, inside, Some(&entry.digest)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(children)
    }

    /// Compares a length with the one a descriptor says.
    fn length(&mut self, blob: &Descriptor, found: u64, place: &str) {
        if found != blob.size {
            let message = format!("it has {found} bytes, its descriptor says {}", blob.size);
            let digest = Some(blob.digest.clone());
            self.problem(Problem::new(
                ProblemKind::Size,
                place.to_owned(),
                digest,
                message,
            ));
        }
    }

    /// Notes a blob to be checked; the same one is checked once.
    fn add(&mut self, blob: &Descriptor, kind: BlobKind, diff_id: Option<Digest>, place: String) {
        let key = (blob.digest.clone(), blob.size, diff_id.clone());
        if self.seen.insert(key) {
            self.work.push(Job {
                number: self.work.len(),
                blob: blob.clone(),
                kind,
                diff_id,
                place,
            });
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.found.problems.push(problem);
    }
}
