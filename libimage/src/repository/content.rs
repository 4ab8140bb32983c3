//! Single manifests and blobs, as they are.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{DigestOptions, OptionalStore, RepositoryError, store_of};
use crate::{
    context::{Context, Side},
    copy,
    digest::{Digest, DigestError, DigestReader, Hasher},
    error::Error,
    layout::Layout,
    manifest::{Descriptor, Manifest},
    name::{ImageRef, Name},
    registry::{BlobStream, Registry},
    transport::{Sink, Source, local, worker},
    trust,
};

/// What is known of a manifest without fetching it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestHead {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, if the registry says so.
    pub size: Option<u64>,
    /// Its media type, if the registry says so.
    pub media_type: Option<String>,
}

/// A blob, to be read.
pub struct BlobContent {
    /// Its size in bytes.
    pub size: u64,
    /// Its content: verified, the last piece comes only when all of it was right.
    pub content: BlobStream<Error>,
}

impl std::fmt::Debug for BlobContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobContent")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl BlobContent {
    /// Returns the next piece; none at the end, when all of it was right.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.content.next().await
    }
}

/// Fetches a manifest or index, byte for byte; with a platform, that of the platform's image.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn manifest(
    cx: &Context,
    image: &ImageRef,
    options: &DigestOptions,
) -> Result<Manifest, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    let chosen = match &options.platform {
        Some(platform) => {
            let whole = source.verified_to_select(cx, None).await?;
            copy::one(&source, whole, platform).await?
        }
        None => source.verified(cx, None).await?,
    };
    Ok(chosen.manifest().clone())
}

/// Asks for a manifest's digest, size and type: one HEAD, or a GET where the registry does not tell the digest.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn head(
    cx: &Context,
    image: &ImageRef,
    store: OptionalStore,
) -> Result<ManifestHead, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, store.as_ref()).await?;
    if let Some(registry) = source.registry() {
        let head = registry.head_manifest(registry.name().reference()).await?;
        // What this one does not have or say, another mirror may: that is asked for with GET.
        if let Some(head) = head
            && let Some(digest) = head.digest
        {
            return Ok(ManifestHead {
                digest,
                size: head.size,
                media_type: head.media_type,
            });
        }
    }
    let verified = source.verified(cx, None).await?;
    Ok(ManifestHead {
        digest: verified.digest().clone(),
        size: Some(verified.manifest().raw().len() as u64),
        media_type: Some(verified.manifest().media_type().to_owned()),
    })
}

/// Writes a manifest byte for byte under a reference: under its tag, or its digest, which must then be right. Returns the digest
/// it has there.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: among others if something it names is missing.
pub async fn put_manifest(
    cx: &Context,
    image: &ImageRef,
    manifest: &Manifest,
    store: OptionalStore,
) -> Result<Digest, Error> {
    match image {
        ImageRef::Docker(name) => {
            let digest = match name.digest() {
                Some(wanted) => checked(image, wanted, manifest)?,
                None => manifest.digest().clone(),
            };
            let registry = Registry::new(cx, Side::Destination, name, Vec::new())?;
            let reference = name.tag().unwrap_or(digest.as_str());
            registry.put_manifest(manifest, reference).await?;
            Ok(digest)
        }
        ImageRef::Oci { path, tag } => {
            let wanted = tag
                .as_deref()
                .and_then(|tag| tag.trim_start_matches('@').parse().ok());
            let tag = match &wanted {
                Some(wanted) => {
                    checked(image, wanted, manifest)?;
                    None
                }
                None => tag.clone(),
            };
            let (path, manifest) = (path.clone(), manifest.clone());
            let write = move || {
                let layout = Layout::create(&path)?;
                layout.put_manifest(manifest.raw(), manifest.media_type(), tag.as_deref())
            };
            Ok(worker::run("write manifest", write).await?.digest)
        }
        ImageRef::Store(name) => {
            let (store, name) = (Arc::clone(store_of(image, &store)?), name.parse::<Name>()?);
            let manifest = manifest.clone();
            let write = move || store.publish_any(manifest.raw(), manifest.media_type(), &[name]);
            worker::run("write manifest", write).await
        }
        _ => Err(no_parts(image).into()),
    }
}

fn checked(
    image: &ImageRef,
    wanted: &Digest,
    manifest: &Manifest,
) -> Result<Digest, RepositoryError> {
    let mut hasher = Hasher::new(wanted.algorithm());
    hasher.update(manifest.raw());
    let found = hasher.finish();
    if found == *wanted {
        return Ok(found);
    }
    Err(RepositoryError::OtherDigest {
        image: image.to_string(),
        wanted: wanted.clone(),
        found,
    })
}

fn no_parts(image: &ImageRef) -> RepositoryError {
    RepositoryError::Unsupported {
        image: image.to_string(),
        what: "single manifests and blobs can be put into registries, layouts (oci:) and the store only",
    }
}

/// Asks for the size of a blob in bytes; `None` if the repository does not have it.
///
/// # Errors
///
/// See [`crate::ErrorKind`].
pub async fn blob_size(
    cx: &Context,
    repository: &ImageRef,
    digest: &Digest,
    store: OptionalStore,
) -> Result<Option<u64>, Error> {
    trust::admit(cx.policy(), repository)?;
    let source = Source::open(cx, repository, store.as_ref()).await?;
    source.blob_size(digest).await
}

/// Opens a blob.
///
/// # Errors
///
/// See [`crate::ErrorKind`]; `NotFound` if the repository does not have it.
pub async fn blob(
    cx: &Context,
    repository: &ImageRef,
    digest: &Digest,
    store: OptionalStore,
) -> Result<BlobContent, Error> {
    trust::admit(cx.policy(), repository)?;
    let source = Source::open(cx, repository, store.as_ref()).await?;
    let size = source.blob_size(digest).await?;
    let size = size.ok_or_else(|| RepositoryError::NotFound {
        place: repository.to_string(),
        what: format!("blob {digest}"),
    })?;
    let content = source.blob(&Descriptor::new("", digest.clone(), size));
    Ok(BlobContent { size, content })
}

/// Writes a blob that `content` reads, and returns its digest and size in bytes. What was read is not read again: nothing is
/// retried. With an expected digest, any other content is an error.
///
/// # Errors
///
/// See [`crate::ErrorKind`]; nothing is visible then.
pub async fn put_blob(
    cx: &Context,
    repository: &ImageRef,
    content: impl Read + Send + 'static,
    expected: Option<&Digest>,
    store: OptionalStore,
) -> Result<(Digest, u64), Error> {
    if !matches!(
        repository,
        ImageRef::Docker(_) | ImageRef::Oci { .. } | ImageRef::Store(_)
    ) {
        return Err(no_parts(repository).into());
    }
    let sink = Sink::open_alone(cx, repository, store.as_ref()).await?;
    let (crew, muster) = worker::crew();
    let content: Mutex<Option<Box<dyn Read + Send>>> = Mutex::new(Some(match expected {
        None => Box::new(content),
        Some(expected) => Box::new(Expecting {
            reader: DigestReader::new(content, expected.algorithm()).into(),
            expected: expected.clone(),
        }),
    }));
    let open = || match content
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    {
        Some(content) => local::stream_unverified(content),
        None => {
            let again = io::Error::other("the content cannot be read a second time");
            Box::pin(stream::once(async { Err(local::of_io(again)) })) as BlobStream<Error>
        }
    };
    let written = sink.put_unsized(open, &crew).await;
    drop(crew);
    muster.gone().await;
    written
}

/// Ends with an error if the content is another than expected: before whoever reads it can complete anything.
struct Expecting<R: Read> {
    reader: Option<DigestReader<R>>,
    expected: Digest,
}

impl<R: Read> Read for Expecting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.reader else {
            return Ok(0);
        };
        let count = reader.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let found = self.reader.take().map(|reader| reader.finish().0);
        match found {
            Some(found) if found != self.expected => Err(DigestError::Mismatch {
                expected: self.expected.clone(),
                found,
            }
            .into()),
            _ => Ok(0),
        }
    }
}
