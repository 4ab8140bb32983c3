//! What was asked of the registry?

use std::sync::Mutex;

/// One request and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query without the question mark; empty where there was none.
    pub query: String,
    /// Status answered; 0 where the connection was cut before one.
    pub status: u16,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body that were handed to the connection.
    pub sent: u64,
    /// The `Authorization` header's scheme, such as `Bearer`; `None` where it was not sent.
    pub authorization: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Content-Range` header: which bytes of an upload these are.
    pub content_range: Option<String>,
    /// The number of the connection it came on.
    pub connection: usize,
    /// The `Host` header.
    pub host: String,
}

/// The requests in the order in which their heads arrived.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// How many were forgotten: the number of the first one kept.
    first: u64,
    kept: Vec<Request>,
}

impl Log {
    /// Adds a request and returns its number.
    pub(super) fn arrived(&self, request: Request) -> u64 {
        let mut entries = self.0.lock().expect("no connection panics with the lock");
        entries.kept.push(request);
        entries.first + entries.kept.len() as u64 - 1
    }

    pub(super) fn received(&self, number: u64, bytes: usize) {
        self.update(number, |request| request.received = bytes as u64);
    }

    /// Notes the answer before it is sent, so that a client which has it finds it here.
    pub(super) fn answered(&self, number: u64, status: u16, bytes: usize) {
        self.update(number, |request| {
            (request.status, request.sent) = (status, bytes as u64)
        });
    }

    pub(super) fn all(&self) -> Vec<Request> {
        self.0
            .lock()
            .expect("no connection panics with the lock")
            .kept
            .clone()
    }

    pub(super) fn forget(&self) {
        let mut entries = self.0.lock().expect("no connection panics with the lock");
        entries.first += entries.kept.len() as u64;
        entries.kept.clear();
    }

    fn update(&self, number: u64, change: impl FnOnce(&mut Request)) {
        let mut entries = self.0.lock().expect("no connection panics with the lock");
        let index = number
            .checked_sub(entries.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(request) = index.and_then(|index| entries.kept.get_mut(index)) {
            change(request);
        }
    }
}
