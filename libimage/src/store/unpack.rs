//! Unpacks an image's layers from local blobs: offline, several at once, the largest first.

use std::{io::BufReader, sync::Mutex, thread};

use super::{Image, Store, StoreError};
use crate::{
    compress::decode_ahead,
    digest::{Digest, VerifyingReader},
    progress::{BlobKind, Event, Progress},
};

/// Layers unpacked at once, at most: more only fight for the disk.
const WORKERS: usize = 8;

/// Bytes read from a blob at once.
const READ_BUFFER: usize = 128 << 10;

/// A layer to unpack.
struct Job {
    blob: Digest,
    size: u64,
    diff_id: Digest,
}

impl Store {
    /// Unpacks the layers that are not, from local blobs. Every blob and every layer is verified on the way.
    ///
    /// # Errors
    /// If a blob is missing or corrupt, or a layer cannot be applied; layers that were finished stay.
    ///
    /// # Privileges
    /// Those to give files to the owners the layers name: root, or inside the user namespace that owns the store's ids.
    pub fn unpack(&self, image: &Image, progress: &dyn Progress) -> Result<(), StoreError> {
        let mut jobs: Vec<Job> = image
            .layers()
            .filter(|(_, diff_id)| !self.has_layer(diff_id))
            .map(|(layer, diff_id)| Job {
                blob: layer.digest.clone(),
                size: layer.size,
                diff_id: diff_id.clone(),
            })
            .collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let _hold = self.hold()?;
        // Taken from the end.
        jobs.sort_by_key(|job| job.size);
        let workers = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(WORKERS)
            .min(jobs.len());
        let queue = Mutex::new(jobs);
        let failure = Mutex::new(None);
        // A function of its own: the condition of a loop would hold the lock during its body.
        let next = || {
            queue
                .lock()
                .expect("no worker panics while it holds the queue")
                .pop()
        };
        let work = || {
            while let Some(job) = next() {
                if let Err(error) = self.unpack_one(&job, progress) {
                    queue
                        .lock()
                        .expect("no worker panics while it holds the queue")
                        .clear();
                    failure
                        .lock()
                        .expect("no worker panics while it holds the failure")
                        .get_or_insert(error);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(work);
            }
            work();
        });
        failure
            .into_inner()
            .expect("no worker panics while it holds the failure")
            .map_or(Ok(()), Err)
    }

    fn unpack_one(&self, job: &Job, progress: &dyn Progress) -> Result<(), StoreError> {
        let Some(mut staged) = self.stage(&job.diff_id)? else {
            return Ok(());
        };
        progress.event(&Event::Started {
            digest: &job.blob,
            kind: BlobKind::Layer,
            total: Some(job.size),
        });
        let blob = VerifyingReader::new(self.read_blob(&job.blob)?, job.blob.clone(), job.size);
        let tar = decode_ahead(BufReader::with_capacity(READ_BUFFER, blob)).map_err(|source| {
            StoreError::Compress {
                diff_id: job.diff_id.clone(),
                source,
            }
        })?;
        let stats = staged.apply(tar)?;
        staged.finish()?;
        for message in &stats.warnings {
            progress.event(&Event::Warning {
                message: &format!("layer {}: {message}", job.diff_id),
            });
        }
        progress.event(&Event::Unpacked {
            diff_id: &job.diff_id,
            entries: stats.entries,
            bytes: stats.archive_bytes,
        });
        progress.event(&Event::Done { digest: &job.blob });
        Ok(())
    }
}
