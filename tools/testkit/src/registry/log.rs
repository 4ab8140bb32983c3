//! What was asked of the registry?

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
    /// Bytes of the answer's body that were sent.
    pub sent: u64,
    /// The `Authorization` header's scheme, such as `Bearer`; `None` where it was not sent.
    pub authorization: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Host` header.
    pub host: String,
}
