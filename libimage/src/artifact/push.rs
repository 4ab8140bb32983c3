//! From files to an artifact, alone or attached to an image.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    sync::Arc,
};

use serde_json::{Value, json};

use super::{ArtifactError, FilePart, file::is_media_type};
use crate::{
    context::Context,
    copy::one,
    digest::Digest,
    error::Error,
    manifest::{Descriptor, Manifest},
    media,
    name::ImageRef,
    platform::Platform,
    progress::{BlobKind, Event},
    registry::BlobStream,
    store::Store,
    transport::{
        Sink, Source, local, meter,
        worker::{self, Crew},
    },
    trust,
};

/// The content of the configuration of an artifact that has none.
const EMPTY: &[u8] = b"{}";

/// What an artifact is, and how it is pushed.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// The kind of artifact: a media type.
    pub artifact_type: String,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// For [`attach`]: which image of an index is meant, instead of the index.
    pub platform: Option<Platform>,
    /// How many blobs are under way at once.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

impl PushOptions {
    /// Pushes an artifact of a kind without annotations.
    pub fn new(artifact_type: impl Into<String>) -> Self {
        Self {
            artifact_type: artifact_type.into(),
            annotations: BTreeMap::new(),
            platform: None,
            jobs: 4,
            store: None,
        }
    }
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// What it refers to.
    pub subject: Option<Digest>,
    /// Blobs transferred.
    pub copied: u64,
    /// Blobs that were there.
    pub skipped: u64,
}

/// Pushes files as an artifact with a name of its own.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. Nothing has the name if it fails.
///
/// # Concurrency
///
/// Needs a tokio runtime. Files are read twice, to know their digests first: one that changes in between is an error.
pub async fn push(
    cx: &Context,
    to: &ImageRef,
    files: &[FilePart],
    options: &PushOptions,
) -> Result<Pushed, Error> {
    let (manifest, parts) = prepare(files, options, None).await?;
    let sink = Sink::open_alone(cx, to, options.store.as_ref()).await?;
    let pushed = send(cx, &sink, parts, &manifest, options).await?;
    sink.publish(&manifest).await?;
    sink.finish().await?;
    Ok(pushed)
}

/// Attaches files to an image: the artifact refers to it, and is found from there.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: there is no such image, or its medium has no place for what refers to it.
///
/// # Concurrency
///
/// As [`push`].
pub async fn attach(
    cx: &Context,
    image: &ImageRef,
    files: &[FilePart],
    options: &PushOptions,
) -> Result<Pushed, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    // An archive would be written anew, without the image.
    if source.registry().is_none() && source.layout().is_none() {
        return Err(ArtifactError::NoPlace {
            image: image.to_string(),
        }
        .into());
    }
    let whole = source.verified(cx, None).await?;
    let subject = match &options.platform {
        Some(platform) => one(&source, whole, platform).await?,
        None => whole,
    };
    let entry = json!({
        "mediaType": subject.manifest().media_type(),
        "digest": subject.digest().as_str(),
        "size": subject.manifest().raw().len(),
    });
    let (manifest, parts) = prepare(files, options, Some(entry)).await?;
    let sink = Sink::open_alone(cx, image, options.store.as_ref()).await?;
    let pushed = send(cx, &sink, parts, &manifest, options).await?;
    sink.put_referrer(&manifest).await?;
    Ok(Pushed {
        subject: Some(subject.digest().clone()),
        ..pushed
    })
}

/// A blob of the artifact, and where its bytes are.
#[derive(Debug, Clone)]
struct Part {
    descriptor: Descriptor,
    /// None for the empty configuration.
    file: Option<FilePart>,
}

/// Hashes the files and makes the manifest.
async fn prepare(
    files: &[FilePart],
    options: &PushOptions,
    subject: Option<Value>,
) -> Result<(Manifest, Vec<Part>), Error> {
    if !is_media_type(&options.artifact_type) {
        let input = options.artifact_type.clone();
        return Err(ArtifactError::MediaType { input }.into());
    }
    let mut titles = BTreeSet::new();
    for title in files.iter().filter_map(|file| file.title.as_deref()) {
        if !titles.insert(title) {
            let title = title.to_owned();
            return Err(ArtifactError::Twice { title }.into());
        }
    }
    let hashing = files.iter().cloned().map(|file| {
        worker::run("hash file", move || {
            let descriptor = file.describe()?;
            let file = Some(file);
            Ok::<_, ArtifactError>(Part { descriptor, file })
        })
    });
    let mut parts: Vec<Part> = Vec::new();
    for hashing in hashing {
        parts.push(hashing.await?);
    }
    let empty = Descriptor::new(media::OCI_EMPTY, Digest::of(EMPTY), EMPTY.len() as u64);
    let layers: Vec<Value> = match &parts[..] {
        // A manifest needs a layer; the specification proposes this one.
        [] => vec![empty_entry(&empty)],
        parts => parts.iter().map(|part| entry(&part.descriptor)).collect(),
    };
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": options.artifact_type,
        "config": empty_entry(&empty),
        "layers": layers,
    });
    if let Some(subject) = subject {
        document["subject"] = subject;
    }
    if !options.annotations.is_empty() {
        document["annotations"] = json!(options.annotations);
    }
    parts.push(Part {
        descriptor: empty,
        file: None,
    });
    let manifest = Manifest::parse(document.to_string().into_bytes(), None)
        .map_err(ArtifactError::Manifest)?;
    Ok((manifest, parts))
}

fn entry(descriptor: &Descriptor) -> Value {
    let mut entry = json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.as_str(),
        "size": descriptor.size,
    });
    if !descriptor.annotations.is_empty() {
        entry["annotations"] = json!(descriptor.annotations);
    }
    entry
}

/// The empty configuration carries its two bytes along, so that nobody has to fetch it.
fn empty_entry(empty: &Descriptor) -> Value {
    let mut entry = entry(empty);
    entry["data"] = json!("e30=");
    entry
}

/// Sends the blobs, those the destination lacks.
async fn send(
    cx: &Context,
    sink: &Sink,
    parts: Vec<Part>,
    manifest: &Manifest,
    options: &PushOptions,
) -> Result<Pushed, Error> {
    let mut seen = BTreeSet::new();
    let (crew, muster) = worker::crew();
    let work: Vec<_> = parts
        .into_iter()
        .filter(|part| seen.insert(part.descriptor.digest.clone()))
        .map(|part| part.send(sink.clone(), cx.clone(), crew.clone()))
        .collect();
    let sent = worker::several(options.jobs, work).await;
    drop(crew);
    muster.gone().await;
    let sent = sent?;
    let copied = sent.iter().filter(|copied| **copied).count() as u64;
    Ok(Pushed {
        digest: manifest.digest().clone(),
        subject: None,
        copied,
        skipped: sent.len() as u64 - copied,
    })
}

impl Part {
    /// Sends the blob; `false` if it was there.
    async fn send(self, sink: Sink, cx: Context, crew: Crew) -> Result<bool, Error> {
        let digest = &self.descriptor.digest;
        let (progress, place) = (cx.progress(), sink.traffic(&cx));
        // All artifacts share the empty configuration: those that are pushed side by side send it once.
        let _claim = place.history.claim(digest).await;
        if sink.has_blob(&self.descriptor).await? {
            progress.event(&Event::Skipped {
                digest,
                why: "already there",
            });
            return Ok(false);
        }
        let open = || {
            progress.event(&Event::Started {
                digest,
                kind: BlobKind::Other,
                total: Some(self.descriptor.size),
            });
            meter::metered(self.open(), digest, progress)
        };
        sink.put_blob(&self.descriptor, open, &crew).await?;
        progress.event(&Event::Done { digest });
        Ok(true)
    }

    fn open(&self) -> BlobStream<Error> {
        match self.file.clone() {
            Some(file) => local::stream_file(move || file.open(), &self.descriptor),
            None => local::stream_unverified(Cursor::new(EMPTY)),
        }
    }
}
