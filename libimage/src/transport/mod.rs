//! Both ends of a transfer. Each medium has a file: registries, OCI layouts, the local store, archives, directories, Docker engines.
//!
//! A registry is asynchronous; everything else is on this machine and works in threads, behind the traits of `local`.

mod archive;
mod daemon;
mod dir;
mod error;
mod layout;
pub(crate) mod local;
pub(crate) mod meter;
mod mirrors;
pub(crate) mod pieces;
mod registry;
mod sink;
mod source;
mod store;
pub(crate) mod worker;

pub use error::TransportError;
pub use sink::{Put, Sink};
pub use source::Source;

use crate::{context::Context, error::Error, name::ImageRef};

/// Lists the names of the images in an archive.
pub(crate) async fn names(cx: &Context, image: &ImageRef) -> Result<Vec<String>, Error> {
    let (cx, image) = (cx.clone(), image.clone());
    worker::run("read archive", move || archive::names(&cx, &image)).await
}
