//! The state of a container as other programs read it.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// It is being created.
    Creating,
    /// It is ready, and the user's program has not been started.
    Created,
    /// The user's program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

/// The state of a container, in the JSON form that runc and its callers share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime specification.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Process id of the container's first process as the caller sees it; 0 when it has ended.
    pub pid: i32,
    /// Where the container is in its life.
    pub status: Status,
    /// The bundle directory; empty if there is none.
    pub bundle: PathBuf,
    /// The root file system's directory; empty if it is an overlay.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 with nanoseconds.
    pub created: String,
    /// The specification's annotations.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
    /// The user who created it.
    pub owner: String,
}
