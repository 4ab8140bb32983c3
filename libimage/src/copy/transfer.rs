//! Does what the plan says: blobs first, then manifests, the named one last.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{CopyReport, plan::Plan};
use crate::{
    error::Error,
    manifest::Descriptor,
    progress::{BlobKind, Event, Progress},
    transport::{Put, Sink, Source},
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
    let transfer = Transfer {
        source,
        sink,
        progress: Arc::clone(progress),
    };
    if same {
        // Another name in the same repository: the registry has everything, or it would not have the manifest.
        report.skipped = plan.blobs.len() as u64;
    } else {
        transfer.blobs(plan.blobs, jobs, &mut report).await?;
    }
    for child in &plan.children {
        transfer
            .sink
            .put_child(child.manifest(), child.digest())
            .await?;
    }
    transfer.sink.publish(plan.top.manifest()).await?;
    report.manifests = plan.children.len() as u64 + 1;
    report.requests = transfer.source.requests() + transfer.sink.requests();
    Ok(report)
}

impl Transfer {
    /// Copies blobs, `jobs` at once, each as a task: hashing then uses as many threads as the runtime has. The first failure
    /// stops the others; so does dropping this future.
    async fn blobs(
        &self,
        blobs: Vec<(Descriptor, BlobKind)>,
        jobs: usize,
        report: &mut CopyReport,
    ) -> Result<(), Error> {
        let mut waiting = blobs.into_iter();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < jobs.max(1)
                && let Some((blob, kind)) = waiting.next()
            {
                tasks.spawn(self.clone().blob(blob, kind));
            }
            match tasks.join_next().await {
                None => return Ok(()),
                Some(Ok(outcome)) => report.add(&outcome?),
                Some(Err(failed)) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return Err(crate::transport::local::given_up()),
                },
            }
        }
    }

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
            crate::transport::meter::metered(self.source.blob(&blob), &blob.digest, &self.progress)
        };
        match self.sink.put_blob(&blob, open).await? {
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
