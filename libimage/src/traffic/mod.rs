//! What a run learns about each registry host, for the whole [`Context`](crate::context::Context): how many requests it bears at
//! once, how many pulls are left, and which of its repositories have a blob,
//! and whether it wants uploads in chunks. Kept in memory only.

mod chunks;
mod history;
mod pace;
mod quota;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) use chunks::Chunks;
pub(crate) use history::History;
pub(crate) use pace::Pace;
pub(crate) use quota::Meter;
pub use quota::Quota;

/// The hosts met so far.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<HashMap<String, Arc<Host>>>);

/// One host and port.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// The gate of all requests but those of [`Host::uploads`]: a turn ends with the head of the answer.
    pub(crate) requests: Pace,
    /// The gate of requests with a body that comes from elsewhere, where the answer comes after it. Whoever holds a turn here may
    /// wait for one there, if that elsewhere is the same host, and never the other way round.
    pub(crate) uploads: Pace,
    pub(crate) chunks: Chunks,
    pub(crate) meter: Meter,
    pub(crate) history: History,
}

impl Traffic {
    /// Returns what is known about a host; the same for everybody who asks.
    pub(crate) fn host(&self, authority: &str) -> Arc<Host> {
        // The map is valid after every statement: a panic elsewhere does not spoil it.
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(authority.to_owned()).or_default())
    }
}
