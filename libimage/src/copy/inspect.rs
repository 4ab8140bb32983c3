//! What is known about an image without its layers, and which tags a repository has.

use std::sync::Arc;

use serde_json::Value;

use super::select;
use crate::{
    context::{Context, Side},
    digest::Digest,
    error::{Error, ErrorKind},
    layout::Layout,
    limits,
    manifest::{Content, Descriptor},
    media,
    name::ImageRef,
    platform::Platform,
    registry::Registry,
    store::Store,
    transport::{self, Source, TransportError, worker},
    trust::{self, Verified},
};

/// How to inspect.
#[derive(Debug, Clone, Default)]
pub struct InspectOptions {
    /// Which image of an index to describe; without it, this machine's, if there is one.
    pub platform: Option<Platform>,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

/// What is known about an image without fetching its layers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspected {
    /// The digest of [`Inspected::raw`].
    pub digest: Digest,
    /// The media type of [`Inspected::raw`].
    pub media_type: String,
    /// The manifest or index, byte for byte.
    pub raw: Vec<u8>,
    /// The entries of an index; empty for a single image.
    pub entries: Vec<Descriptor>,
    /// The image itself; none if it is an artifact, or the index has nothing for the platform.
    pub image: Option<InspectedImage>,
}

/// One image, inspected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InspectedImage {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The platform its configuration names.
    pub platform: Platform,
    /// The manifest, byte for byte.
    pub raw_manifest: Vec<u8>,
    /// The configuration's descriptor; its digest is the image id.
    pub config: Descriptor,
    /// The configuration, byte for byte (JSON).
    pub raw_config: Vec<u8>,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
}

/// A layer of an image, with what the configuration says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerPart {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed content.
    pub diff_id: Option<Digest>,
    /// The build step that made it; none if the history does not fit the layers.
    pub created_by: Option<String>,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
}

impl InspectedImage {
    /// Returns the layers, base first, each with its diffID and its step of the history. What the configuration does not say is
    /// left out: it may hold anything.
    #[must_use]
    pub fn parts(&self) -> Vec<LayerPart> {
        let config: Value = serde_json::from_slice(&self.raw_config).unwrap_or_default();
        let list = |pointer: &str| {
            let list = config.pointer(pointer).and_then(Value::as_array);
            list.map(Vec::as_slice).unwrap_or_default()
        };
        let diff_ids = list("/rootfs/diff_ids");
        let made_a_layer = |step: &&Value| step["empty_layer"] != Value::Bool(true);
        let mut steps: Vec<&Value> = list("/history").iter().filter(made_a_layer).collect();
        if steps.len() != self.layers.len() {
            steps.clear();
        }
        let text = |value: Option<&Value>| Some(value?.as_str()?.to_owned());
        let parts = self.layers.iter().enumerate().map(|(at, layer)| LayerPart {
            descriptor: layer.clone(),
            diff_id: diff_ids
                .get(at)
                .and_then(|diff_id| diff_id.as_str()?.parse().ok()),
            created_by: text(steps.get(at).and_then(|step| step.get("created_by"))),
            created: text(steps.get(at).and_then(|step| step.get("created"))),
        });
        parts.collect()
    }
}

/// Describes an image: its manifest or index, and the configuration of the image meant. Layers are not touched.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. An index without an image for this machine is no error; one without the platform asked for is.
pub async fn inspect(
    cx: &Context,
    image: &ImageRef,
    options: &InspectOptions,
) -> Result<Inspected, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    let top = source.verified(cx, None).await?;
    let entries = match top.manifest().content() {
        Content::Index { entries } => entries.clone(),
        Content::Image { .. } => Vec::new(),
    };
    let chosen = match (&options.platform, entries.is_empty()) {
        (Some(platform), _) => Some(select::one(&source, top.clone(), platform).await?),
        (None, true) => Some(top.clone()),
        (None, false) => match select::one(&source, top.clone(), &Platform::host()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            other => Some(other?),
        },
    };
    let described = match chosen {
        Some(chosen) => describe(&source, &chosen).await?,
        None => None,
    };
    Ok(Inspected {
        digest: top.digest().clone(),
        media_type: top.manifest().media_type().to_owned(),
        raw: top.manifest().raw().to_vec(),
        entries,
        image: described,
    })
}

async fn describe(source: &Source, image: &Verified) -> Result<Option<InspectedImage>, Error> {
    let Content::Image { config, layers } = image.manifest().content() else {
        return Ok(None);
    };
    if media::kind(&config.media_type) != media::Kind::Config {
        return Ok(None);
    }
    let raw_config = source.read(config, limits::CONFIG_BYTES).await?;
    let platform = serde_json::from_slice(&raw_config);
    let platform = platform.map_err(|error| select::SelectError::Config {
        image: source.image().to_string(),
        source: error,
    })?;
    Ok(Some(InspectedImage {
        digest: image.digest().clone(),
        platform,
        raw_manifest: image.manifest().raw().to_vec(),
        config: config.clone(),
        raw_config,
        layers: layers.clone(),
    }))
}

/// Lists the tags of a repository, or the names in a layout; the reference's own tag does not matter.
///
/// # Errors
///
/// See [`crate::ErrorKind`]; the store has names, not tags of a repository.
pub async fn tags(cx: &Context, repository: &ImageRef) -> Result<Vec<String>, Error> {
    match repository {
        ImageRef::Docker(name) => Ok(Registry::new(cx, Side::Source, name, Vec::new())?
            .tags()
            .await?),
        ImageRef::Oci { path, .. } => {
            let path = path.clone();
            let entries =
                worker::run("read layout", move || Layout::open(&path)?.entries()).await?;
            Ok(entries.into_iter().filter_map(|entry| entry.tag).collect())
        }
        ImageRef::OciArchive { .. } | ImageRef::DockerArchive { .. } => {
            transport::names(cx, repository).await
        }
        _ => Err(TransportError::NoTags {
            image: repository.to_string(),
        }
        .into()),
    }
}
