//! Does what the plan says: blobs first, then manifests, the named one last.

use std::sync::Arc;

use super::{CopyReport, plan::Plan};
use crate::{
    error::Error,
    manifest::Descriptor,
    progress::{BlobKind, Event, Progress},
    transport::{
        Put, Sink, Source, meter,
        worker::{self, Crew},
    },
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
}

/// Carries a plan out.
pub(super) async fn transfer(
    progress: &Arc<dyn Progress>,
    source: Source,
    sink: Sink,
    plan: Plan,
    jobs: usize,
) -> Result<CopyReport, Error> {
    let mut report = CopyReport::empty(plan.top.digest().clone());
    let same = sink.is_repository_of(&source);
    let outcomes = if same {
        // Another name in the same repository: the registry has everything, or it would not have the manifest.
        plan.blobs.iter().map(|_| Outcome::Skipped).collect()
    } else {
        let (crew, muster) = worker::crew();
        let transfer = Transfer {
            source: source.clone(),
            sink: sink.clone(),
            progress: Arc::clone(progress),
            crew,
        };
        let work = plan
            .blobs
            .into_iter()
            .map(|(blob, kind)| transfer.clone().blob(blob, kind));
        let outcomes = worker::several(jobs, work.collect::<Vec<_>>()).await;
        drop(transfer);
        // Whatever a failure undoes is undone when it is returned.
        muster.gone().await;
        outcomes?
    };
    outcomes.iter().for_each(|outcome| report.add(outcome));
    for child in &plan.children {
        sink.put_child(child.manifest(), child.digest()).await?;
    }
    sink.publish(plan.top.manifest()).await?;
    report.manifests = plan.children.len() as u64 + 1;
    report.requests = source.requests() + sink.requests();
    Ok(report)
}

impl Transfer {
    async fn blob(self, blob: Descriptor, kind: BlobKind) -> Result<Outcome, Error> {
        let digest = &blob.digest;
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

impl CopyReport {
    fn add(&mut self, outcome: &Outcome) {
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
