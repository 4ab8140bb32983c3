//! Deleting: a tag alone where that is possible, a manifest only if nobody else means it.

use std::{path::Path, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{OptionalStore, RepositoryError, store_of};
use crate::{
    context::{Context, Side},
    digest::Digest,
    error::{Error, ErrorKind},
    layout::{Entry, Layout},
    name::{ImageRef, Name},
    registry::Registry,
    store::Store,
    transport::worker,
};

/// What is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeleteMode {
    /// What the reference says: a tag alone, or the manifest if it names a digest.
    #[default]
    AsNamed,
    /// The manifest, also if a tag names it.
    Manifest,
}

/// How to delete.
#[derive(Debug, Clone)]
pub struct DeleteOptions {
    /// What is to be deleted.
    pub mode: DeleteMode,
    /// Delete a manifest that other tags point to (they go too), and the manifest where a tag cannot be deleted alone.
    pub force: bool,
    /// In a layout: remove the blobs that nothing needs any more. Nobody else may write to it meanwhile.
    pub collect: bool,
    /// How many tags are asked at once for what they point to.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: OptionalStore,
}

impl Default for DeleteOptions {
    fn default() -> Self {
        Self {
            mode: DeleteMode::AsNamed,
            force: false,
            collect: false,
            jobs: 8,
            store: None,
        }
    }
}

/// What was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Tags that are gone.
    pub tags: Vec<String>,
    /// The manifest that is gone; none if only a tag was deleted.
    pub manifest: Option<Digest>,
    /// Blobs removed (layouts and the store; registries collect by themselves).
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Deletes a tag or a manifest.
///
/// A tag is deleted alone: its manifest, and other tags of it, stay. A manifest (a reference with a digest, or
/// [`DeleteMode::Manifest`]) is deleted only if no other tag of the repository points to it, unless forced: the tags are listed and
/// asked with HEAD, several at once. An index that names the manifest is not noticed. In a layout and in the store, the last
/// name takes the manifest with it.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: `NotFound` if it is not there, `Conflict` if other tags point to the manifest, `Unsupported` if the
/// registry cannot delete a tag alone: then nothing was deleted.
pub async fn delete(
    cx: &Context,
    image: &ImageRef,
    options: &DeleteOptions,
) -> Result<Deleted, Error> {
    match image {
        ImageRef::Docker(name) => {
            let registry = Registry::new(cx, Side::Destination, name, Vec::new())?;
            let deletion = Deletion {
                registry,
                name,
                options,
            };
            deletion.perform().await
        }
        ImageRef::Oci { path, tag } => {
            let (path, tag, options) = (path.clone(), tag.clone(), options.clone());
            let edit = move || in_layout(&path, tag.as_deref(), &options);
            worker::run("delete image", edit).await
        }
        ImageRef::Store(name) => {
            let store = Arc::clone(store_of(image, &options.store)?);
            let (name, options) = (name.clone(), options.clone());
            worker::run("delete image", move || in_store(&store, &name, &options)).await
        }
        _ => Err(RepositoryError::Unsupported {
            image: image.to_string(),
            what: "nothing can be deleted there; it is a file of its own",
        }
        .into()),
    }
}

/// A deletion in a registry.
struct Deletion<'a> {
    registry: Registry,
    name: &'a Name,
    options: &'a DeleteOptions,
}

impl Deletion<'_> {
    async fn perform(&self) -> Result<Deleted, Error> {
        match (self.options.mode, self.name.digest(), self.name.tag()) {
            (DeleteMode::AsNamed, None, Some(tag)) => self.tag(tag).await,
            (_, Some(digest), _) => self.manifest(digest).await,
            (_, None, tag) => {
                let tag = tag.unwrap_or(self.name.reference());
                let digest = self.digest_of(tag).await?;
                let digest = digest.ok_or_else(|| self.missing(tag))?;
                self.manifest(&digest).await
            }
        }
    }

    async fn tag(&self, tag: &str) -> Result<Deleted, Error> {
        let refused = match self.registry.delete_manifest(tag).await {
            Ok(()) => {
                return Ok(Deleted {
                    tags: vec![tag.to_owned()],
                    ..Deleted::default()
                });
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => error,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A registry that knows no tags here says the same as one where the tag is gone.
                match self.digest_of(tag).await? {
                    Some(_) => error,
                    None => return Err(self.missing(tag).into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        let digest = self.digest_of(tag).await?;
        let digest = digest.ok_or_else(|| self.missing(tag))?;
        if self.options.force {
            return self.manifest(&digest).await;
        }
        Err(RepositoryError::NoTagDeletion {
            image: self.name.to_string(),
            source: Box::new(refused),
        }
        .into())
    }

    async fn manifest(&self, digest: &Digest) -> Result<Deleted, Error> {
        if !self.options.force {
            let tags = self.others(digest).await?;
            if !tags.is_empty() {
                return Err(RepositoryError::Shared {
                    repository: self.name.without_reference(),
                    digest: digest.clone(),
                    tags,
                }
                .into());
            }
        }
        self.registry.delete_manifest(digest.as_str()).await?;
        Ok(Deleted {
            tags: self.name.tag().into_iter().map(str::to_owned).collect(),
            manifest: Some(digest.clone()),
            ..Deleted::default()
        })
    }

    /// Returns the other tags that point to a manifest.
    async fn others(&self, digest: &Digest) -> Result<Vec<String>, Error> {
        let tags = match self.registry.tags().await {
            // A repository without tags is none to some registries.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let others = tags
            .into_iter()
            .filter(|tag| Some(tag.as_str()) != self.name.tag());
        let asking = others.map(|tag| async move {
            let found = self.digest_of(&tag).await?;
            Ok::<_, Error>((found.as_ref() == Some(digest)).then_some(tag))
        });
        let found: Vec<Option<String>> = stream::iter(asking)
            .buffered(self.options.jobs.max(1))
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn digest_of(&self, tag: &str) -> Result<Option<Digest>, Error> {
        match self.registry.head_manifest(tag).await? {
            None => Ok(None),
            Some(head) => match head.digest {
                Some(digest) => Ok(Some(digest)),
                None => Ok(Some(Digest::of(
                    &self.registry.get_manifest(tag).await?.raw,
                ))),
            },
        }
    }

    fn missing(&self, tag: &str) -> RepositoryError {
        RepositoryError::NotFound {
            place: self.name.without_reference(),
            what: format!("tag {tag}"),
        }
    }
}

fn in_layout(
    path: &Path,
    reference: Option<&str>,
    options: &DeleteOptions,
) -> Result<Deleted, Error> {
    let layout = Layout::open(path)?;
    let entry = layout.resolve(reference)?;
    let tag = entry.tag.as_deref().filter(|tag| Some(*tag) == reference);
    let mut deleted = match (options.mode, tag) {
        (DeleteMode::AsNamed, Some(tag)) => untag(&layout, &entry, tag)?,
        _ => remove(&layout, &entry, tag, reference, options.force)?,
    };
    if options.collect {
        let collected = layout.collect()?;
        (deleted.blobs, deleted.bytes) = (collected.blobs, collected.bytes);
    }
    Ok(deleted)
}

/// Removes the entry of a tag.
fn untag(layout: &Layout, entry: &Entry, tag: &str) -> Result<Deleted, Error> {
    let last = layout.edit_index(|index| {
        index.remove_tag(tag);
        let mut entries = index.entries().into_iter();
        Ok(!entries.any(|known| known.digest == entry.digest))
    })?;
    Ok(Deleted {
        tags: vec![tag.to_owned()],
        manifest: last.then(|| entry.digest.clone()),
        ..Deleted::default()
    })
}

/// Removes all entries of a manifest, if it has no other tags than the one it was named by.
fn remove(
    layout: &Layout,
    entry: &Entry,
    tag: Option<&str>,
    reference: Option<&str>,
    force: bool,
) -> Result<Deleted, Error> {
    let place = || format!("oci:{}", layout.path().display());
    let same = |known: &Entry| known.digest == entry.digest;
    let tags = layout.edit_index(|index| {
        let entries = index.entries().into_iter().filter(same);
        let tags: Vec<String> = entries.filter_map(|known| known.tag).collect();
        let own = tag.or(match (&tags[..], reference) {
            // The only image of a layout, named by nothing: its only tag is no other one.
            ([only], None) => Some(only.as_str()),
            _ => None,
        });
        let is_other = |tag: &&String| Some(tag.as_str()) != own;
        let others: Vec<String> = tags.iter().filter(is_other).cloned().collect();
        if !others.is_empty() && !force {
            return Ok(Err(RepositoryError::Shared {
                repository: place(),
                digest: entry.digest.clone(),
                tags: others,
            }));
        }
        if !index.remove(same) {
            return Ok(Err(RepositoryError::Unsupported {
                image: format!("{}:@{}", place(), entry.digest),
                what: "it is a part of an index, and goes with that",
            }));
        }
        Ok(Ok(tags))
    })??;
    Ok(Deleted {
        tags,
        manifest: Some(entry.digest.clone()),
        ..Deleted::default()
    })
}

fn in_store(store: &Store, name: &str, options: &DeleteOptions) -> Result<Deleted, Error> {
    let entry = store.find_entry(name)?;
    let removed = match (&entry.tag, options.mode) {
        // A name alone goes alone, also with force: that is for manifests.
        (Some(name), DeleteMode::AsNamed) => store.remove(name, false)?,
        _ => store.remove(entry.digest.as_str(), options.force)?,
    };
    Ok(Deleted {
        tags: removed.untagged,
        manifest: removed.deleted,
        blobs: removed.freed.blobs,
        bytes: removed.freed.bytes,
    })
}
