//! Carries a plan out: several images at once, each by a copy of its own.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    time::Instant,
};

use tokio::task::JoinSet;

use super::{
    FailedSource, Outcome, SyncAccess, SyncEntry, SyncError, SyncOptions, SyncPlan, SyncReport,
    SyncSource, SyncedImage,
    immutable::immutable,
    list::{self, Job},
    preview,
};
use crate::{
    config::Certificates,
    context::{Context, Side},
    copy::{self, CopyOptions},
    error::Error,
    name::ImageRef,
    progress::Event,
    transport::worker,
};

pub(super) async fn run(
    cx: &Context,
    plan: &SyncPlan,
    options: &SyncOptions,
) -> Result<SyncReport, Error> {
    let began = Instant::now();
    let entries = with_contexts(cx, plan);
    let listed = list::list(&entries, options.parallel).await?;
    for failed in &listed.failed {
        let message = format!("{}: {}", failed.source, failed.message);
        cx.progress().event(&Event::Warning { message: &message });
    }
    let (fixed, requests) =
        immutable(cx, &listed.jobs, &options.immutable_tags, options.parallel).await;
    let stopped = !listed.failed.is_empty() && !options.keep_going;
    let tag_lists = options.copy.tag_lists.clone().unwrap_or_default();
    let work = listed.jobs.into_iter().map(|job| {
        let (context, entry) = &entries[job.entry];
        let mut copy = options.copy.clone();
        copy.tag_lists = Some(tag_lists.clone());
        if !entry.platforms.is_empty() {
            copy.platforms.clone_from(&entry.platforms);
        }
        (context.clone(), job, copy)
    });
    let crew = Crew {
        options,
        fixed,
        stopped,
    };
    let images = crew.work(work.collect()).await;
    Ok(SyncReport {
        images,
        failed_sources: listed.failed,
        listing_requests: listed.requests + requests,
        elapsed: began.elapsed(),
    })
}

/// Gives each entry the surroundings its source asks for. Entries that ask for the same share them, and so connections and tokens.
fn with_contexts(cx: &Context, plan: &SyncPlan) -> Vec<(Context, SyncEntry)> {
    let mut made = vec![(SyncAccess::default(), cx.clone())];
    let mut entries = Vec::new();
    for entry in &plan.entries {
        let known = made.iter().find(|(access, _)| *access == entry.access);
        let context = match known {
            Some((_, context)) => context.clone(),
            None => {
                let context = context_for(cx, &entry.access);
                made.push((entry.access.clone(), context.clone()));
                context
            }
        };
        entries.push((context, entry.clone()));
    }
    entries
}

fn context_for(cx: &Context, access: &SyncAccess) -> Context {
    let mut builder = cx.to_builder();
    if let Some(credentials) = &access.credentials {
        builder = builder.credentials(Side::Source, credentials.clone());
    }
    if let Some(verify) = access.tls_verify {
        builder = builder.tls_verify(Side::Source, verify);
    }
    if let Some(directory) = &access.cert_dir {
        let certificates = Certificates {
            named: Some(directory.clone()),
            ..cx.certificates(Side::Source).clone()
        };
        builder = builder.certificates(Side::Source, certificates);
    }
    builder.build()
}

type Work = (Context, Job, CopyOptions);

struct Crew<'a> {
    options: &'a SyncOptions,
    /// The jobs that need not be done.
    fixed: BTreeSet<usize>,
    /// Whether something has failed, and nothing more is to be begun.
    stopped: bool,
}

impl Crew<'_> {
    /// Does the jobs and returns what became of them, in their order.
    async fn work(mut self, work: Vec<Work>) -> Vec<SyncedImage> {
        let mut results: Vec<Option<SyncedImage>> = Vec::new();
        results.resize_with(work.len(), || None);
        let mut waiting: VecDeque<(usize, Work)> = work.into_iter().enumerate().collect();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < self.options.parallel.max(1)
                && let Some((at, (cx, job, copy))) = waiting.pop_front()
            {
                let done = match (&job.to, self.fixed.contains(&at)) {
                    (Err(error), _) => Some(unnamed(error)),
                    (_, true) => Some(Outcome::Immutable),
                    (Ok(_), _) if self.stopped => Some(Outcome::NotTried),
                    (Ok(_), _) => None,
                };
                if let Some(outcome) = done {
                    results[at] = Some(self.note(&cx, untouched(&job, outcome)));
                } else {
                    let dry_run = self.options.dry_run;
                    // An error here means that a copy may no longer go to another thread: most often by a closure that makes
                    // futures inside of a stream. Collecting them into a Vec first helps.
                    under_way.spawn(async move { (at, one(&cx, &job, &copy, dry_run).await, cx) });
                }
            }
            match under_way.join_next().await {
                None => break,
                Some(Ok((at, image, cx))) => results[at] = Some(self.note(&cx, image)),
                Some(Err(failed)) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Nobody aborts these tasks but a runtime that is being shut down.
                    Err(_) => break,
                },
            }
        }
        results.into_iter().flatten().collect()
    }

    /// Tells what became of an image, and remembers a failure.
    fn note(&mut self, cx: &Context, image: SyncedImage) -> SyncedImage {
        // What a dry run finds out is its result, not its progress.
        let silent = self.options.dry_run && !matches!(image.outcome, Outcome::Failed { .. });
        if silent {
            return image;
        }
        let reason = match &image.outcome {
            Outcome::Failed { message, .. } => {
                self.stopped |= !self.options.keep_going;
                Some(message.as_str())
            }
            _ => None,
        };
        cx.progress().event(&Event::Image {
            from: &image.from.to_string(),
            to: &image
                .to
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            outcome: image.outcome.word(),
            reason,
        });
        image
    }
}

/// Copies one image, or finds out whether it would be.
async fn one(cx: &Context, job: &Job, options: &CopyOptions, dry_run: bool) -> SyncedImage {
    let began = Instant::now();
    let mut image = untouched(job, Outcome::NotTried);
    let Ok(to) = &job.to else { return image };
    if dry_run {
        let (outcome, requests) = preview::preview(cx, &job.from, to, options).await;
        image.outcome = outcome.unwrap_or_else(|error| of_error(&error));
        image.requests = requests;
    } else {
        match copied(cx, &job.from, to, options).await {
            Err(error) => image.outcome = of_error(&error),
            Ok(report) => {
                image.blobs = report.copied;
                image.skipped = report.skipped + report.mounted;
                image.bytes = report.bytes;
                image.requests = report.requests;
                image.outcome = if report.unchanged {
                    Outcome::Unchanged {
                        digest: report.digest,
                    }
                } else {
                    Outcome::Copied {
                        digest: report.digest,
                        source_digest: report.source_digest,
                    }
                };
            }
        }
    }
    image.elapsed = began.elapsed();
    image
}

async fn copied(
    cx: &Context,
    from: &ImageRef,
    to: &ImageRef,
    options: &CopyOptions,
) -> Result<copy::CopyReport, Error> {
    if let ImageRef::Dir { path } | ImageRef::Oci { path, .. } = to
        && let Some(parent) = path.parent()
    {
        let parent = parent.to_owned();
        worker::run("make directory", move || make(&parent)).await?;
    }
    copy::copy(cx, from, to, options).await
}

/// Makes the directories above an image: the copy itself makes the last one.
fn make(directory: &Path) -> Result<(), SyncError> {
    if directory.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(directory).map_err(|source| SyncError::Make {
        path: directory.to_owned(),
        source,
    })
}

fn untouched(job: &Job, outcome: Outcome) -> SyncedImage {
    SyncedImage {
        from: job.from.clone(),
        to: job.to.as_ref().ok().cloned(),
        outcome,
        blobs: 0,
        skipped: 0,
        bytes: 0,
        requests: 0,
        elapsed: std::time::Duration::ZERO,
    }
}

fn unnamed(error: &SyncError) -> Outcome {
    Outcome::Failed {
        kind: error.kind(),
        message: chain(error),
    }
}

fn of_error(error: &Error) -> Outcome {
    Outcome::Failed {
        kind: error.kind(),
        message: chain(error),
    }
}

pub(super) fn failed_source(source: &SyncSource, error: &Error) -> FailedSource {
    FailedSource {
        source: source.to_string(),
        kind: error.kind(),
        message: chain(error),
    }
}

/// Puts an error and its causes into one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // A transparent wrapper repeats its source.
        if more != last {
            text.push_str(": ");
            text.push_str(&more);
        }
        last = more;
        cause = error.source();
    }
    text
}
