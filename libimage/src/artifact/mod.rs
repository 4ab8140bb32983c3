//! Content beside images: files pushed and pulled as artifacts, attached to images, and the tree of what refers to an image.
//!
//! An artifact is a manifest whose layers are files, each with its name in the annotation `org.opencontainers.image.title`. One with
//! a `subject` refers to an image, and is found from there: see [`crate::copy::Referrers`] for how it travels.
//!
//! # References
//!
//! Image specification 1.1, "Guidelines for Artifact Usage"; distribution specification 1.1, "Listing Referrers".

mod error;
mod file;
mod place;
mod pull;
mod push;
mod tree;

pub use error::ArtifactError;
pub use file::FilePart;
pub use place::FileName;
pub use pull::{PullOptions, Pulled, PulledFile, pull};
pub use push::{PushOptions, Pushed, attach, push};
pub use tree::{Node, Tree, TreeOptions, tree};

/// The annotation with a file's name.
pub const TITLE: &str = "org.opencontainers.image.title";
/// The annotation with the time at which something was made (RFC 3339).
pub const CREATED: &str = "org.opencontainers.image.created";
