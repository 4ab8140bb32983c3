//! Other tags for a manifest that is there already.

use std::path::Path;

use super::{OptionalStore, RepositoryError, store_of};
use crate::{
    context::{Context, Side},
    digest::Digest,
    error::Error,
    layout::Layout,
    manifest::Manifest,
    name::{ImageRef, Name},
    registry::Registry,
    store::Store,
    transport::worker,
};

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tagged {
    /// The tag, or the name in the store.
    pub tag: String,
    /// The manifest it points to now.
    pub digest: Digest,
    /// Whether it pointed elsewhere, or was not there.
    pub changed: bool,
}

/// Gives an image more tags in its repository, without moving its content: one GET of its manifest, one HEAD and at most one PUT
/// a tag. In a layout and in the store the index is edited; in the store, a whole name may be given in place of a tag.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. Tags are set in the order given; those before a failure stay.
pub async fn tag(
    cx: &Context,
    image: &ImageRef,
    tags: &[String],
    store: OptionalStore,
) -> Result<Vec<Tagged>, Error> {
    match image {
        ImageRef::Docker(name) => in_registry(cx, name, tags).await,
        ImageRef::Oci { path, tag } => {
            let (path, tag, tags) = (path.clone(), tag.clone(), tags.to_vec());
            let edit = move || in_layout(&path, tag.as_deref(), &tags);
            worker::run("tag image", edit).await
        }
        ImageRef::Store(name) => {
            let store = std::sync::Arc::clone(store_of(image, &store)?);
            let (name, tags) = (name.clone(), tags.to_vec());
            worker::run("tag image", move || in_store(&store, &name, &tags)).await
        }
        _ => Err(RepositoryError::Unsupported {
            image: image.to_string(),
            what: "only registries, layouts (oci:) and the store can be given tags; copy the image there",
        }
        .into()),
    }
}

async fn in_registry(cx: &Context, name: &Name, tags: &[String]) -> Result<Vec<Tagged>, Error> {
    for tag in tags {
        name.with_tag(tag)?;
    }
    let registry = Registry::new(cx, Side::Destination, name, Vec::new())?;
    let answer = registry.get_manifest(name.reference()).await?;
    let manifest = Manifest::parse(answer.raw, answer.media_type.as_deref())?;
    let mut tagged = Vec::new();
    for tag in tags {
        let head = registry.head_manifest(tag).await?;
        let there = head.and_then(|head| head.digest);
        let changed = there.as_ref() != Some(manifest.digest());
        if changed {
            registry.put_manifest(&manifest, tag).await?;
        }
        tagged.push(Tagged {
            tag: tag.clone(),
            digest: manifest.digest().clone(),
            changed,
        });
    }
    Ok(tagged)
}

fn in_layout(path: &Path, reference: Option<&str>, tags: &[String]) -> Result<Vec<Tagged>, Error> {
    let layout = Layout::open(path)?;
    let entry = layout.resolve(reference)?;
    let mut tagged = Vec::new();
    for tag in tags {
        check_layout_tag(path, tag)?;
        let changed = layout.edit_index(|index| {
            let same = |known: &crate::layout::Entry| {
                known.tag.as_deref() == Some(tag) && known.digest == entry.digest
            };
            if index.entries().iter().any(same) {
                return Ok(false);
            }
            index.remove_tag(tag);
            index.add(&entry, Some(tag)).map(|()| true)
        })?;
        tagged.push(Tagged {
            tag: tag.clone(),
            digest: entry.digest.clone(),
            changed,
        });
    }
    Ok(tagged)
}

/// The image specification allows more in a layout than in a registry, but a tag that reads as a digest could never be found.
fn check_layout_tag(path: &Path, tag: &str) -> Result<(), RepositoryError> {
    let is_digest = tag.trim_start_matches('@').parse::<Digest>().is_ok();
    if tag.is_empty() || is_digest || tag.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(RepositoryError::Reference {
            image: format!("oci:{}:{tag}", path.display()),
            problem: "has no valid tag",
        });
    }
    Ok(())
}

fn in_store(store: &Store, name: &str, tags: &[String]) -> Result<Vec<Tagged>, Error> {
    let entry = store.find_entry(name)?;
    let own: Option<Name> = entry.tag.as_deref().and_then(|tag| tag.parse().ok());
    let mut names = Vec::new();
    for tag in tags {
        names.push(match &own {
            Some(own) if !tag.contains(['/', ':', '@']) => own.with_tag(tag)?,
            None if !tag.contains(['/', ':']) => {
                return Err(RepositoryError::Reference {
                    image: format!("store:{name}"),
                    problem: "has no name to add a tag to: give a whole name",
                }
                .into());
            }
            _ => tag.parse()?,
        });
    }
    let mut tagged = Vec::new();
    for name in names {
        let known = store.layout().entries()?;
        let changed = !known.iter().any(|known| {
            known.tag.as_deref() == Some(&name.to_string()) && known.digest == entry.digest
        });
        if changed {
            store.tag_entry(&entry, &name)?;
        }
        tagged.push(Tagged {
            tag: name.to_string(),
            digest: entry.digest.clone(),
            changed,
        });
    }
    Ok(tagged)
}
