//! What goes wrong, and when?

use std::time::Duration;

/// One thing that goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is reset after this many bytes of the answer's body.
    ResetAt(u64),
    /// The connection is reset after this many bytes of the request's body were read.
    ResetUpload(u64),
    /// The connection is closed in order after this many bytes of the body, although more were announced.
    Truncate(u64),
    /// Only this many bytes are announced and sent: an answer that is whole but too short.
    Shorten(u64),
    /// This many bytes are appended and announced.
    Lengthen(u64),
    /// One byte of the body is another.
    Flip,
    /// The body is replaced.
    Replace(Vec<u8>),
    /// This many bytes are sent, then none until the client gives up or the registry is dropped.
    Stall(u64),
    /// The body comes in pieces of so many bytes with a pause before each.
    Drip(usize, Duration),
    /// The body comes in chunked transfer coding, without a length.
    Chunked,
    /// Another status, with an OCI error body.
    Status(u16),
    /// A status with `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// A header of the answer is replaced.
    Header(String, String),
    /// A header of the answer is left out.
    Without(String),
    /// A redirect (307) to this address.
    Redirect(String),
    /// The `Range` header is ignored: 200 and everything.
    IgnoreRange,
    /// A range other than the one asked for comes back.
    WrongRange,
    /// A mount is not done but answered with an upload session (202).
    MountRefused,
    /// The page of tags is the first one again, with a link to more.
    RepeatTags,
}

/// A fault and the requests it happens to.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) method: Option<String>,
    pub(super) path: String,
    pub(super) from: usize,
    pub(super) times: usize,
    pub(super) seen: usize,
    pub(super) fault: Option<Fault>,
}

impl Rule {
    /// Matches requests of any method whose path matches `pattern` (`*` matches anything).
    pub fn any(pattern: &str) -> Rule {
        Rule {
            method: None,
            path: pattern.to_owned(),
            from: 1,
            times: usize::MAX,
            seen: 0,
            fault: None,
        }
    }

    /// Matches requests of one method.
    pub fn method(method: &str, pattern: &str) -> Rule {
        Rule {
            method: Some(method.to_owned()),
            ..Rule::any(pattern)
        }
    }

    /// Matches GET requests.
    pub fn get(pattern: &str) -> Rule {
        Rule::method("GET", pattern)
    }

    /// Lets the fault happen to the `number`th matching request alone, counted from 1.
    #[must_use]
    pub fn nth(mut self, number: usize) -> Rule {
        (self.from, self.times) = (number, 1);
        self
    }

    /// Lets the fault happen to the first `count` matching requests.
    #[must_use]
    pub fn first(mut self, count: usize) -> Rule {
        self.times = count;
        self
    }

    /// Sets the fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Rule {
        self.fault = Some(fault);
        self
    }
}
