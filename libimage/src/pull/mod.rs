//! Into the store: resolve, verify, fetch, and unpack while it arrives.
//!
//! ```text
//! network -> verify -+-> upload (hash, file)                       the blob, durable
//!                    +-> inflate -> hash the diffID, untar         the layer, a cache
//! ```
//!
//! Each layer has a thread for each of storing, inflating and unpacking, joined by bounded channels; layers are independent and several are under way at
//! once, the largest first. Nothing becomes visible before the whole layer has been verified.

mod error;
mod layer;

use std::sync::Arc;

pub use error::PullError;
use layer::LayerPull;

use crate::{
    config::ShortNameError,
    context::Context,
    copy::one,
    digest::Digest,
    error::{Error, ErrorKind},
    limits,
    manifest::{Content, Descriptor},
    media,
    name::{ImageRef, Name},
    platform::Platform,
    progress::Event,
    store::{Image, Store},
    transport::{Source, local, worker},
    trust::{self, Verified},
};

/// When to ask the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Only if the store has no such image.
    #[default]
    Missing,
    /// Always; blobs that are there are not fetched again.
    Always,
    /// Always, but an image the store has is good enough if the registry cannot be reached.
    Newer,
    /// Never.
    Never,
}

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Which image of an index; without it, this machine's.
    pub platform: Option<Platform>,
    /// Whether layers are unpacked, for running; without it they are only stored.
    pub unpack: bool,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// How many layers are under way at once.
    pub jobs: usize,
    /// The name to record; without it, the reference's own.
    pub name: Option<Name>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            platform: None,
            unpack: true,
            policy: PullPolicy::default(),
            jobs: 4,
            name: None,
        }
    }
}

/// Brings an image into the store and returns it.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. Nothing half-made remains.
///
/// # Concurrency
///
/// Needs a tokio runtime with time and I/O. Dropping the future stops the pull and undoes what is not complete; complete layers and
/// blobs stay for the next attempt, until the store collects them.
///
/// # Privileges
///
/// Unpacking sets owners: it runs inside the user namespace that owns the store's ids.
pub async fn pull(
    cx: &Context,
    image: &ImageRef,
    store: Arc<Store>,
    options: &PullOptions,
) -> Result<Image, Error> {
    let only_local = options.policy == PullPolicy::Never || matches!(image, ImageRef::Store(_));
    let found = match options.policy {
        PullPolicy::Always if !only_local => None,
        _ => find(cx, image, &store, options).await?,
    };
    match found {
        Some(found) if only_local || options.policy == PullPolicy::Missing => {
            unpacked(cx, &store, found, options).await
        }
        None if only_local => Err(PullError::NotInStore {
            image: image.to_string(),
        }
        .into()),
        found => match (fetch(cx, image, &store, options).await, found) {
            (Err(error), Some(found))
                if matches!(
                    error.kind(),
                    ErrorKind::Network { .. } | ErrorKind::RateLimited { .. }
                ) =>
            {
                let message = format!("using the local {image}: {error}");
                cx.progress().event(&Event::Warning { message: &message });
                unpacked(cx, &store, found, options).await
            }
            (result, _) => result,
        },
    }
}

/// Looks into the store, for a short name also under the names it may mean.
async fn find(
    cx: &Context,
    image: &ImageRef,
    store: &Arc<Store>,
    options: &PullOptions,
) -> Result<Option<Image>, Error> {
    let mut names = vec![image.clone()];
    if matches!(image, ImageRef::Bare(_)) {
        // What cannot be decided may still be here under its own name.
        names.extend(cx.registries().candidates(image).unwrap_or_default());
    }
    for name in &names {
        if let Some(found) = find_one(name, store, options).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// An image for another platform than the one asked for does not count.
async fn find_one(
    image: &ImageRef,
    store: &Arc<Store>,
    options: &PullOptions,
) -> Result<Option<Image>, Error> {
    let key = match image {
        ImageRef::Docker(name) => name.digest().map_or_else(
            || name.to_string(),
            |digest| name.with_digest(digest).to_string(),
        ),
        ImageRef::Store(name) | ImageRef::Bare(name) => name.clone(),
        _ => return Ok(None),
    };
    let store = Arc::clone(store);
    let found = match worker::run("find image", move || store.find(&key)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let fits = match &options.platform {
        Some(wanted) => serde_json::from_slice::<Platform>(found.raw_config())
            .is_ok_and(|has| wanted.rank(&has).is_some()),
        None => true,
    };
    Ok(fits.then_some(found))
}

/// Unpacks what is not unpacked of an image of the store.
async fn unpacked(
    cx: &Context,
    store: &Arc<Store>,
    image: Image,
    options: &PullOptions,
) -> Result<Image, Error> {
    if !options.unpack
        || image
            .diff_ids()
            .iter()
            .all(|diff_id| store.has_layer(diff_id))
    {
        return Ok(image);
    }
    let (store, progress) = (Arc::clone(store), Arc::clone(cx.progress()));
    worker::run("unpack", move || {
        store.unpack(&image, &*progress).map(|()| image)
    })
    .await
}

/// Fetches an image, whatever the store has under its name.
async fn fetch(
    cx: &Context,
    image: &ImageRef,
    store: &Arc<Store>,
    options: &PullOptions,
) -> Result<Image, Error> {
    let mut meant = meant(cx, image)?;
    let last = meant.pop().unwrap_or_else(|| image.clone());
    for from in meant {
        match fetch_one(cx, &from, store, options).await {
            Err(error) if may_be_elsewhere(error.kind()) => {
                let message = format!("{image} is not {from}: {error}");
                cx.progress().event(&Event::Warning { message: &message });
            }
            result => return result,
        }
    }
    fetch_one(cx, &last, store, options).await
}

/// Returns which images a reference may mean.
fn meant(cx: &Context, image: &ImageRef) -> Result<Vec<ImageRef>, Error> {
    match cx.registries().candidates(image) {
        // An id, or the beginning of one.
        Err(ShortNameError::Name(_)) => Err(PullError::NotInStore {
            image: image.to_string(),
        }
        .into()),
        other => Ok(other?),
    }
}

/// Whether another registry may have an image of that name, when this one does not give it.
fn may_be_elsewhere(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::Unauthorized | ErrorKind::Network { .. }
    )
}

async fn fetch_one(
    cx: &Context,
    from: &ImageRef,
    store: &Arc<Store>,
    options: &PullOptions,
) -> Result<Image, Error> {
    trust::admit(cx.policy(), from)?;
    let source = Source::open(cx, from, Some(store)).await?;
    let whole = source.verified_to_select(cx, None).await?;
    let manifest = match (&options.platform, whole.manifest().content()) {
        (Some(platform), _) => one(&source, whole, platform).await?,
        (None, Content::Index { .. }) => one(&source, whole, &Platform::host()).await?,
        // A single image is what its owner wants to run here; a wrong processor is told by the kernel.
        (None, Content::Image { .. }) => whole,
    };
    // The collector stays away from the first blob to the name.
    let holding = Arc::clone(store);
    let hold = worker::run("hold store", move || holding.hold()).await?;
    let layers = layers(&source, store, &manifest).await?;
    pull_layers(cx, &source, store, layers, options).await?;
    let (store, raw) = (Arc::clone(store), manifest.manifest().raw().to_vec());
    let names = match source.names() {
        // An archive knows better than its file's name.
        of_archive @ [_, ..] if options.name.is_none() => of_archive.to_vec(),
        _ => names(from, options),
    };
    let publish = move || {
        let published = store.publish(&raw, &names);
        drop(hold);
        published
    };
    worker::run("publish image", publish).await
}

/// Returns the names to record: the tag's, and the digest's if the reference has one.
fn names(from: &ImageRef, options: &PullOptions) -> Vec<Name> {
    if let Some(name) = &options.name {
        return vec![name.clone()];
    }
    match from {
        ImageRef::Docker(name) => {
            let by_tag = name.tag().and_then(|tag| name.with_tag(tag).ok());
            by_tag
                .into_iter()
                .chain(name.digest().map(|digest| name.with_digest(digest)))
                .collect()
        }
        ImageRef::Oci { path, tag } | ImageRef::OciArchive { path, tag } => {
            // An archive's name without its `.tar`.
            let directory = match from {
                ImageRef::Oci { .. } => path.file_name(),
                _ => path.file_stem(),
            };
            let directory = directory
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_lowercase();
            let of_directory = format!(
                "localhost/{directory}:{}",
                tag.as_deref().unwrap_or("latest")
            );
            // A layout's tag may itself be a full name.
            let of_tag = tag
                .as_deref()
                .filter(|tag| tag.contains('/'))
                .and_then(|tag| tag.parse().ok());
            of_tag
                .or_else(|| of_directory.parse().ok())
                .into_iter()
                .collect()
        }
        ImageRef::DockerArchive { name, .. } => name.iter().cloned().collect(),
        ImageRef::DockerDaemon(name) if name.parse::<Digest>().is_err() => {
            name.parse().into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Brings the configuration into the store, and pairs each layer's blob with its diffID.
async fn layers(
    source: &Source,
    store: &Arc<Store>,
    image: &Verified,
) -> Result<Vec<(Descriptor, Digest)>, Error> {
    let name = || source.image().to_string();
    let Content::Image { config, layers } = image.manifest().content() else {
        return Err(PullError::NotAnImage {
            image: name(),
            media_type: image.manifest().media_type().to_owned(),
        }
        .into());
    };
    let unusable = layers
        .iter()
        .find(|layer| !media::is_layer(&layer.media_type))
        .map(|layer| &layer.media_type);
    let no_config =
        (media::kind(&config.media_type) != media::Kind::Config).then_some(&config.media_type);
    if let Some(media_type) = no_config.or(unusable) {
        return Err(PullError::NotAnImage {
            image: name(),
            media_type: media_type.clone(),
        }
        .into());
    }
    let raw = config_of(source, store, config).await?;
    let parsed: Config = serde_json::from_slice(&raw).map_err(|source| PullError::Config {
        image: name(),
        source,
    })?;
    if parsed.rootfs.diff_ids.len() != layers.len() {
        let (diff_ids, layers) = (parsed.rootfs.diff_ids.len(), layers.len());
        return Err(PullError::LayerCount {
            image: name(),
            layers,
            diff_ids,
        }
        .into());
    }
    Ok(layers.iter().cloned().zip(parsed.rootfs.diff_ids).collect())
}

/// The part of a configuration that a pull needs.
#[derive(serde::Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(serde::Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

async fn config_of(
    source: &Source,
    store: &Arc<Store>,
    config: &Descriptor,
) -> Result<Vec<u8>, Error> {
    let (local, digest) = (Arc::clone(store), config.digest.clone());
    // A blob that a crash left corrupt is fetched again like one that is missing.
    if let Ok(raw) = worker::run("read blob", move || {
        local.read_small(&digest, limits::CONFIG_BYTES)
    })
    .await
    {
        return Ok(raw);
    }
    let raw = source.read(config, limits::CONFIG_BYTES).await?;
    let (store, config) = (Arc::clone(store), config.clone());
    let write = move || {
        let mut upload = store.upload()?;
        local::write(&mut upload, &raw, store.path())?;
        upload.finish(Some((&config.digest, config.size)))?;
        Ok::<_, Error>(raw)
    };
    worker::run("write blob", write).await
}

/// Fetches and unpacks layers, and waits for every thread: whatever a failure undoes is undone when it is returned.
async fn pull_layers(
    cx: &Context,
    source: &Source,
    store: &Arc<Store>,
    mut layers: Vec<(Descriptor, Digest)>,
    options: &PullOptions,
) -> Result<(), Error> {
    layers.sort_by_key(|(blob, _)| std::cmp::Reverse(blob.size));
    let mut seen = std::collections::BTreeSet::new();
    // Images repeat layers (the empty one); one under way is enough.
    layers.retain(|(blob, _)| seen.insert(blob.digest.clone()));
    let (crew, muster) = worker::crew();
    let pulls = layers.into_iter().map(|(blob, diff_id)| {
        let pull = LayerPull {
            source: source.clone(),
            store: Arc::clone(store),
            progress: Arc::clone(cx.progress()),
            blob,
            diff_id,
            unpack: options.unpack,
            crew: crew.clone(),
        };
        pull.run()
    });
    let result = worker::several(options.jobs, pulls).await;
    drop(crew);
    muster.gone().await;
    result.map(drop)
}
