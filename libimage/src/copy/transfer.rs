//! Does what the plan says: blobs first, then manifests, the named one last.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use super::{Run, Staged, Tally, plan::Plan};
use crate::{
    error::Error,
    manifest::{Content, Descriptor},
    progress::{BlobKind, Event, Progress},
    traffic::Host,
    transport::{
        Put, Sink, Source, meter,
        worker::{self, Crew},
    },
    trust::Verified,
};

/// What became of a blob.
enum Outcome {
    Copied(u64),
    Skipped,
    Mounted,
}

/// Everything a task for one blob needs.
#[derive(Clone)]
struct Transfer {
    source: Source,
    sink: Sink,
    progress: Arc<dyn Progress>,
    crew: Crew,
    /// What is known about the destination.
    place: Arc<Host>,
}

/// Carries a plan out, all but the name.
pub(super) async fn stage(run: &Run<'_>, plan: Plan) -> Result<Staged, Error> {
    let kept = plan.manifests();
    let mut tally = blobs(run, plan.blobs).await?;
    put_children(run, &plan.children).await?;
    tally.manifests = plan.children.len() as u64;
    Ok(Staged {
        digest: plan.top.digest().clone(),
        top: plan.top.manifest().clone(),
        kept,
        changes: Vec::new(),
        tally,
    })
}

/// Writes the manifests below the top one: images in any order, then the indexes that name them, from the bottom up.
async fn put_children(run: &Run<'_>, children: &[Verified]) -> Result<(), Error> {
    let is_index = |child: &&Verified| matches!(child.manifest().content(), Content::Index { .. });
    let (indexes, images): (Vec<_>, Vec<_>) = children.iter().partition(is_index);
    let announced = images.iter().map(|image| Descriptor::of(image.manifest()));
    let jobs = run
        .options
        .jobs
        .min(run.sink.expect(announced.collect()).await?);
    let mut writing: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
    for image in images {
        writing.push(Box::pin(
            run.sink.put_child(image.manifest(), image.digest()),
        ));
    }
    stream::iter(writing)
        .buffer_unordered(jobs.max(1))
        .try_collect::<()>()
        .await?;
    for index in indexes {
        run.sink.put_child(index.manifest(), index.digest()).await?;
    }
    Ok(())
}

/// Brings blobs to the destination, those it lacks, several at once.
pub(super) async fn blobs(
    run: &Run<'_>,
    blobs: Vec<(Descriptor, BlobKind)>,
) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    if run.sink.is_repository_of(&run.source) {
        // Another name in the same repository: the registry has everything, or it would not have the manifest.
        tally.skipped = blobs.len() as u64;
        return Ok(tally);
    }
    if let Some(registry) = run.source.registry() {
        // Its manifest would not be there without them.
        blobs
            .iter()
            .for_each(|(blob, _)| registry.remember(&blob.digest));
    }
    let (crew, muster) = worker::crew();
    let transfer = Transfer {
        source: run.source.clone(),
        sink: run.sink.clone(),
        progress: Arc::clone(run.cx.progress()),
        crew,
        place: run.sink.traffic(run.cx),
    };
    let (blobs, jobs) = in_order(&run.source, blobs, run.options.jobs);
    let announced = blobs.iter().map(|(blob, _)| blob.clone()).collect();
    let jobs = jobs.min(run.sink.expect(announced).await?);
    let work = blobs
        .into_iter()
        .map(|(blob, kind)| transfer.clone().blob(blob, kind));
    let outcomes = worker::several(jobs, work.collect::<Vec<_>>()).await;
    drop(transfer);
    // Whatever a failure undoes is undone when it is returned.
    muster.gone().await;
    outcomes?.iter().for_each(|outcome| tally.count(outcome));
    Ok(tally)
}

/// Puts blobs in the order of their places, one at a time, where the source can only be read that way.
fn in_order(
    source: &Source,
    mut blobs: Vec<(Descriptor, BlobKind)>,
    jobs: usize,
) -> (Vec<(Descriptor, BlobKind)>, usize) {
    let in_places = |(blob, _): &(Descriptor, BlobKind)| source.place(&blob.digest).is_some();
    if !blobs.iter().any(in_places) {
        return (blobs, jobs);
    }
    blobs.sort_by_key(|(blob, _)| source.place(&blob.digest));
    (blobs, 1)
}

impl Transfer {
    async fn blob(self, blob: Descriptor, kind: BlobKind) -> Result<Outcome, Error> {
        let digest = &blob.digest;
        // Copies that run side by side, of tags that share layers, bring each layer once.
        let _claim = self.place.history.claim(digest).await;
        if self.sink.has_blob(&blob).await? {
            self.progress.event(&Event::Skipped {
                digest,
                why: "already there",
            });
            return Ok(Outcome::Skipped);
        }
        let open = || {
            self.progress.event(&Event::Started {
                digest,
                kind,
                total: Some(blob.size),
            });
            meter::metered(self.source.blob(&blob), &blob.digest, &self.progress)
        };
        match self.sink.put_blob(&blob, open, &self.crew).await? {
            Put::Copied => {
                self.progress.event(&Event::Done { digest });
                Ok(Outcome::Copied(blob.size))
            }
            Put::Mounted(from) => {
                self.progress.event(&Event::Mounted {
                    digest,
                    from: &from,
                });
                Ok(Outcome::Mounted)
            }
        }
    }
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Copied(bytes) => {
                self.copied += 1;
                self.bytes += bytes;
            }
            Outcome::Skipped => self.skipped += 1,
            Outcome::Mounted => self.mounted += 1,
        }
    }
}
