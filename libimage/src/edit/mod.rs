//! Images changed where they are: settings and annotations of an image, entries of an index. No layer is read for it.
//!
//! Documents are edited as JSON: fields unknown to us stay as they are, and the same change of the same document gives the same
//! bytes. A change of nothing gives the same digest, and then nothing is written.
//!
//! # Limitations
//!
//! A registry cannot change a tag only if it still means what was read: of two changes at once, one is lost. What refers to an image
//! (signatures, SBOMs) refers to its digest, and stays with the old one.

mod error;
mod image;
mod index;
mod mutate;

use std::sync::Arc;

pub use error::EditError;
pub use image::Mutation;
pub use index::{EntryChange, IndexOptions, Selector, add, annotate, create, remove};
pub use mutate::mutate;
use serde_json::{Map, Value};

use crate::{copy::CopyOptions, store::Store};

/// How an edit is done.
#[derive(Debug, Clone)]
pub struct EditOptions {
    /// How many blobs are under way at once, where another repository needs them.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

impl Default for EditOptions {
    fn default() -> Self {
        Self {
            jobs: CopyOptions::default().jobs,
            store: None,
        }
    }
}

impl EditOptions {
    fn copy_options(&self) -> CopyOptions {
        CopyOptions {
            jobs: self.jobs,
            store: self.store.clone(),
            ..CopyOptions::default()
        }
    }
}

/// Values by name, to be set or (`None`) removed, in this order.
pub type Changes = Vec<(String, Option<String>)>;

/// Applies changes to a field that holds texts by name. A field that ends empty goes.
fn apply(object: &mut Map<String, Value>, field: &str, changes: &Changes) {
    if changes.is_empty() {
        return;
    }
    let mut map = match object.remove(field) {
        Some(Value::Object(map)) => map,
        // Go writes an empty map as null.
        _ => Map::new(),
    };
    for (name, value) in changes {
        match value {
            Some(value) => map.insert(name.clone(), value.clone().into()),
            None => map.remove(name),
        };
    }
    if !map.is_empty() {
        object.insert(field.to_owned(), Value::Object(map));
    }
}
