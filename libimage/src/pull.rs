//! Into the store: resolve, verify, fetch, and unpack while it arrives.

use std::sync::Arc;

use crate::{
    context::Context,
    error::Error,
    name::{ImageRef, Name},
    platform::Platform,
    store::{Image, Store},
};

/// When to ask the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Only if the store has no such image.
    #[default]
    Missing,
    /// Always; blobs that are there are not fetched again.
    Always,
    /// If the registry has another one under the name.
    Newer,
    /// Never.
    Never,
}

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Which image of an index; without it, this machine's.
    pub platform: Option<Platform>,
    /// Whether layers are unpacked, for running; without it they are only stored.
    pub unpack: bool,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// How many layers are under way at once.
    pub jobs: usize,
    /// The name to record; without it, the reference's own.
    pub name: Option<Name>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            platform: None,
            unpack: true,
            policy: PullPolicy::default(),
            jobs: 4,
            name: None,
        }
    }
}

/// Brings an image into the store and returns it.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. Nothing half-made remains.
///
/// # Privileges
///
/// Unpacking sets owners: it runs inside the user namespace that owns the store's ids.
pub async fn pull(
    _cx: &Context,
    _image: &ImageRef,
    _store: Arc<Store>,
    _options: &PullOptions,
) -> Result<Image, Error> {
    unimplemented!()
}
