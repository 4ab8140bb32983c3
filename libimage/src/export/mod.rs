//! An image's root file system as one archive, without unpacking it.
//!
//! The layers are read from the top down, one after the other, and what is visible of each is written as it passes: see
//! [`crate::layer::flatten`] for the rules. No file is made and no privilege is needed; memory holds the paths of the image.

mod error;

use std::{io::Write, sync::Arc};

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

pub use error::ExportError;

use crate::{
    compress::{self, Ahead},
    context::Context,
    copy,
    digest::Digest,
    error::Error,
    layer::{FlattenStats, LayerError, flatten},
    manifest::{Content, Descriptor},
    media,
    name::ImageRef,
    platform::Platform,
    progress::{BlobKind, Event, Progress},
    registry::BlobStream,
    store::Store,
    transport::{
        Source,
        local::{self, Message},
        meter,
        pieces::PieceReader,
        worker,
    },
    trust::{self, Verified},
};

/// How to export.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Which image of an index; without it, this machine's.
    pub platform: Option<Platform>,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// Members of the archive.
    pub entries: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Members of the layers that are not visible.
    pub hidden: u64,
}

/// What the thread that flattens wants: a layer, counted from the lowest, sent there.
type Wanted = (usize, mpsc::Sender<Message>);

/// Writes an image's root file system as an archive: what `run` would see as `/`.
///
/// # Errors
///
/// See [`crate::ErrorKind`]: `Unsupported` for what is no image, `Malformed` for layers that are no archives. What was written
/// before a failure is incomplete and, being streamed, not yet verified.
///
/// # Concurrency
///
/// `out` is written to on a thread of its own; dropping the future ends it at the next piece.
pub async fn export(
    cx: &Context,
    image: &ImageRef,
    out: impl Write + Send + 'static,
    options: &ExportOptions,
) -> Result<ExportReport, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    let top = source.verified_to_select(cx, None).await?;
    let chosen = match (&options.platform, top.manifest().content()) {
        (Some(platform), _) => copy::one(&source, top, platform).await?,
        (None, Content::Index { .. }) => copy::one(&source, top, &Platform::host()).await?,
        (None, Content::Image { .. }) => top,
    };
    let layers = layers(&chosen)?;
    let count = layers.len();
    let (ask, wanted) = mpsc::channel::<Wanted>(1);
    let flattening = worker::run("flatten", move || {
        let mut open = |number| open_layer(&ask, number);
        Ok::<_, Error>(flatten(count, &mut open, out)?)
    });
    let feeding = feed_all(&source, &layers, wanted, cx.progress());
    let (fed, flattened) = tokio::join!(feeding, flattening);
    // A source that fails leaves the thread with half a layer: the source's error is the reason.
    fed?;
    Ok(report(&chosen, flattened?))
}

fn report(image: &Verified, stats: FlattenStats) -> ExportReport {
    ExportReport {
        digest: image.digest().clone(),
        entries: stats.entries,
        bytes: stats.archive_bytes,
        hidden: stats.hidden,
    }
}

/// Returns the layers of what is an image that can be unpacked.
fn layers(image: &Verified) -> Result<Vec<Descriptor>, ExportError> {
    let not = |media_type: &str| ExportError::NotAnImage {
        image: image.image().to_string(),
        media_type: media_type.to_owned(),
    };
    let Content::Image { config, layers } = image.manifest().content() else {
        return Err(not(image.manifest().media_type()));
    };
    if media::kind(&config.media_type) != media::Kind::Config {
        return Err(not(&config.media_type));
    }
    let other = layers
        .iter()
        .find(|layer| !media::is_layer(&layer.media_type));
    match other {
        None => Ok(layers.clone()),
        Some(layer) => Err(ExportError::Layer {
            image: image.image().to_string(),
            digest: layer.digest.clone(),
            media_type: layer.media_type.clone(),
        }),
    }
}

/// Asks for a layer, and returns it uncompressed.
fn open_layer(ask: &mpsc::Sender<Wanted>, number: usize) -> Result<Ahead, LayerError> {
    let (sender, receiver) = mpsc::channel(local::WAITING);
    let gone = |_| LayerError::Read {
        source: local::given_up().into(),
    };
    ask.blocking_send((number, sender)).map_err(gone)?;
    let (reader, _) = PieceReader::new(receiver);
    let read = |source| LayerError::Read { source };
    compress::decode_ahead(reader).map_err(|error| read(error.into()))
}

/// Sends the layers that are asked for, one after the other.
async fn feed_all(
    source: &Source,
    layers: &[Descriptor],
    mut wanted: mpsc::Receiver<Wanted>,
    progress: &Arc<dyn Progress>,
) -> Result<(), Error> {
    while let Some((number, sender)) = wanted.recv().await {
        let layer = &layers[number];
        let (digest, kind, total) = (&layer.digest, BlobKind::Layer, Some(layer.size));
        progress.event(&Event::Started {
            digest,
            kind,
            total,
        });
        let content = meter::metered(source.blob(layer), digest, progress);
        feed(content, &sender).await?;
        progress.event(&Event::Done { digest });
    }
    Ok(())
}

async fn feed(mut content: BlobStream<Error>, sender: &mpsc::Sender<Message>) -> Result<(), Error> {
    while let Some(piece) = content.next().await {
        // A thread that is gone has failed, and says why itself.
        if sender.send(Message::Piece(piece?)).await.is_err() {
            return Ok(());
        }
    }
    drop(sender.send(Message::End).await);
    Ok(())
}
