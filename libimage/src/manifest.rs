//! Manifests and indexes: raw bytes plus a parsed view.
