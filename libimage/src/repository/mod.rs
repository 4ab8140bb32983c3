//! What a repository holds, asked and changed without copying an image: tags, digests, deletions, single manifests and blobs.
//!
//! Layouts and the store are repositories too as far as they have names; what a medium cannot do is an error that says so.
//!
//! ```no_run
//! # async fn example() -> Result<(), libimage::Error> {
//! use libimage::{config::Policy, context::Context, repository};
//! let cx = Context::builder(Policy::accept_anything()).build();
//! let image = "docker://registry.example/team/app:1.0".parse()?;
//! repository::tag(&cx, &image, &["stable".to_owned()], None).await?;
//! println!("{}", repository::digest(&cx, &image, &Default::default()).await?);
//! # Ok(())
//! # }
//! ```

mod catalog;
mod content;
mod delete;
mod digest;
mod error;
mod filter;
mod tag;
mod tags;

use std::sync::Arc;

pub use catalog::{CatalogOptions, catalog};
pub use content::{
    BlobContent, ManifestHead, blob, blob_size, head, manifest, put_blob, put_manifest,
};
pub use delete::{DeleteMode, DeleteOptions, Deleted, delete};
pub use digest::{DigestOptions, digest};
pub use error::RepositoryError;
pub use filter::{TagFilter, glob_matches};
pub use tag::{Tagged, tag};
pub use tags::{TagOptions, tags};

use crate::{name::ImageRef, store::Store, transport::TransportError};

/// The store that `store:` means.
type OptionalStore = Option<Arc<Store>>;

fn store_of<'s>(
    image: &ImageRef,
    store: &'s OptionalStore,
) -> Result<&'s Arc<Store>, TransportError> {
    store.as_ref().ok_or_else(|| TransportError::NoStore {
        image: image.to_string(),
    })
}
