//! Pulls an image into the store.
