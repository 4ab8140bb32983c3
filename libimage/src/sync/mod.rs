//! Many images at once: repositories and selections of tags, brought up to date at a destination.
//!
//! A [`SyncPlan`] says what goes where, as data; [`read_plan`] reads one from YAML. [`sync`] lists what has to be listed, asks both
//! ends of every image for its digest, and copies those that differ.
//!
//! # What it costs
//!
//! For each repository one list of tags, if the selection needs one (each page of it is a request); for each image one HEAD at each
//! end. An image whose digests agree costs nothing more. Tags that must not change ([`SyncOptions::immutable_tags`]) and are there cost
//! nothing at the source: if four or more of a repository are concerned, the destination's tags are listed once instead of asked for
//! one by one. Images of one run share connections and tokens, and a blob that several of them need is transferred once: the others
//! wait for it, and find it there or have it mounted.
//!
//! # Example
//!
//! ```no_run
//! # async fn example(cx: &libimage::context::Context) -> Result<(), Box<dyn std::error::Error>> {
//! use libimage::sync::{Place, Selection, SyncEntry, SyncOptions, SyncPlan, SyncSource, SyncTarget};
//! let mirror = SyncTarget::Below {
//!     place: Place::Registry("mirror.example.com/team".to_owned()),
//!     scoped: false,
//! };
//! let selection = Selection { range: Some("^1.4".parse()?), ..Selection::default() };
//! let source = SyncSource::Repository("registry.example.com/team/app".parse()?);
//! let plan = SyncPlan { entries: vec![SyncEntry { selection, ..SyncEntry::new(source, mirror) }] };
//! let report = libimage::sync::sync(cx, &plan, &SyncOptions::default()).await?;
//! println!("{:?}", report.totals());
//! # Ok(())
//! # }
//! ```
//!
//! # Limitations
//!
//! Nothing is deleted at the destination. Tags that list what refers to an image (`sha256-…`, where a registry does not keep such lists
//! itself) are copied as other tags are: what else the destination's list had is replaced. Images of the local store are no source: `copy` takes those one by one.

mod date;
mod error;
mod immutable;
mod list;
mod pattern;
mod plan;
mod preview;
mod report;
mod run;
mod select;
mod version;
mod walk;
mod yaml;

pub use error::{SelectionError, SyncError};
pub use pattern::Pattern;
pub use plan::{Place, SyncAccess, SyncEntry, SyncPlan, SyncSource, SyncTarget};
pub use report::{FailedSource, Outcome, SyncReport, SyncedImage, Totals};
pub use select::{Age, Newest, Reference, Selection};
pub use version::{VersionRange, natural_order, version_of, version_order};
pub use yaml::read_plan;

use crate::{context::Context, copy::CopyOptions, error::Error};

/// How to synchronise.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// Only find out what would be copied; nothing is written.
    pub dry_run: bool,
    /// Try all images, also after one has failed. Otherwise those under way are finished, and no others begun.
    pub keep_going: bool,
    /// Tags that never change: where the destination has an image of such a name, that is all that is asked. The patterns are for the
    /// source's tags, without the suffix they get.
    pub immutable_tags: Vec<Pattern>,
    /// How many images are under way at once.
    pub parallel: usize,
    /// How each image is copied.
    pub copy: CopyOptions,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            keep_going: false,
            immutable_tags: Vec::new(),
            parallel: 8,
            copy: CopyOptions::default(),
        }
    }
}

/// Brings a destination up to date. What fails is in the report, image by image; the rest is done.
///
/// # Errors
///
/// The plan cannot be begun at all.
///
/// # Concurrency
///
/// Needs a tokio runtime with time and I/O. Dropping the future stops everything that is under way, as with [`crate::copy::copy`]:
/// images that were finished stay, and the next run goes on from there.
pub async fn sync(
    cx: &Context,
    plan: &SyncPlan,
    options: &SyncOptions,
) -> Result<SyncReport, Error> {
    run::run(cx, plan, options).await
}
