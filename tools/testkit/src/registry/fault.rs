//! What goes wrong, and when?

use super::deliver::Delivery;
use super::wire::{Answer, Head};
use std::sync::Mutex;
use std::time::Duration;

/// One thing that goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is reset after this many bytes of the answer's body.
    ResetAt(u64),
    /// The connection is reset after this many bytes of the request's body were read.
    ResetUpload(u64),
    /// This many bytes of the request's body are added to the upload, then the connection is reset.
    CutUpload(u64),
    /// This many bytes of the request's body are read, then nothing happens until the client gives up or the registry is dropped.
    StallUpload(u64),
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
    /// A status with `Retry-After` as it is given here, such as a date.
    RetryWhen(u16, String),
    /// A header of the answer is replaced.
    Header(String, String),
    /// A header of the answer is left out.
    Without(String),
    /// A redirect (307) to the same path and query below this address, such as `http://127.0.0.1:9`.
    Redirect(String),
    /// The `Range` header is ignored: 200 and everything.
    IgnoreRange,
    /// A range other than the one asked for comes back.
    WrongRange,
    /// A mount is not done but answered with an upload session (202).
    MountRefused,
    /// All bearer tokens given so far expire before the request is looked at.
    ExpireTokens,
    /// The first page of tags comes again, with a link that claims there are more.
    RepeatTags,
}

impl Fault {
    /// Tells whether it happens while the request's body is read.
    pub(super) fn cuts_upload(&self) -> bool {
        matches!(
            self,
            Fault::ResetUpload(_) | Fault::CutUpload(_) | Fault::StallUpload(_)
        )
    }
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
    /// Matches requests of any method whose path matches `pattern` (`*` matches anything). A pattern with a question mark is
    /// compared with the path, a question mark and the query.
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

/// The scripted rules.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    pub(super) fn add(&self, rule: Rule) {
        self.0
            .lock()
            .expect("no connection panics with the lock")
            .push(rule);
    }

    pub(super) fn clear(&self) {
        self.0
            .lock()
            .expect("no connection panics with the lock")
            .clear();
    }

    /// Counts the request for every rule it matches, and returns the fault of the first that is due.
    pub(super) fn choose(&self, head: &Head) -> Option<Fault> {
        let (method, path) = (&head.method, &head.path);
        let whole = format!("{path}?{}", head.query);
        let mut rules = self.0.lock().expect("no connection panics with the lock");
        let mut chosen = None;
        for rule in rules.iter_mut() {
            let same = rule.method.as_ref().is_none_or(|wanted| wanted == method);
            let target = if rule.path.contains('?') {
                &whole
            } else {
                path
            };
            if !same || !matches(&rule.path, target) {
                continue;
            }
            rule.seen += 1;
            let due = rule.seen >= rule.from && rule.seen - rule.from < rule.times;
            if due && chosen.is_none() {
                chosen.clone_from(&rule.fault);
            }
        }
        chosen
    }
}

/// Tells whether `path` matches `pattern`, in which `*` stands for anything, including nothing and slashes.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|&at| tail.is_char_boundary(at))
                .any(|at| matches(rest, &tail[at..]))
        }),
    }
}

/// A request on its way through a fault.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) head: Head,
    /// An answer given without looking at what the registry holds.
    pub(super) early: Option<Answer>,
}

impl Staged {
    pub(super) fn new(head: Head) -> Staged {
        Staged { head, early: None }
    }

    /// Changes the request, or answers it, before the registry sees it.
    pub(super) fn before(&mut self, fault: &Fault) {
        match fault {
            Fault::Status(status) => self.early = Some(scripted(*status)),
            Fault::RetryAfter(status, seconds) => {
                self.early = Some(scripted(*status).with("Retry-After", seconds.to_string()));
            }
            Fault::RetryWhen(status, when) => {
                self.early = Some(scripted(*status).with("Retry-After", when));
            }
            Fault::Redirect(base) => {
                let mark = if self.head.query.is_empty() { "" } else { "?" };
                let target = format!("{base}{}{mark}{}", self.head.path, self.head.query);
                self.early = Some(Answer::new(307).with("Location", target));
            }
            Fault::IgnoreRange => self
                .head
                .headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case("range")),
            Fault::MountRefused | Fault::RepeatTags => self.head.query.clear(),
            _ => {}
        }
    }

    /// Changes the answer, and says how it is sent.
    pub(super) fn after(&self, fault: Fault, answer: &mut Answer) -> Delivery {
        match fault {
            Fault::ResetAt(n) => return Delivery::ResetAt(n),
            Fault::Truncate(n) => return Delivery::Truncate(n),
            Fault::Stall(n) => return Delivery::Stall(n),
            Fault::Drip(size, pause) => return Delivery::Drip(size, pause),
            Fault::Chunked => return Delivery::Chunked,
            Fault::Shorten(n) => answer
                .body
                .truncate(usize::try_from(n).unwrap_or(usize::MAX)),
            Fault::Lengthen(n) => {
                let more = usize::try_from(n).unwrap_or(0);
                answer.body.resize(answer.body.len() + more, b'+');
            }
            Fault::Flip => {
                let middle = answer.body.len() / 2;
                if let Some(byte) = answer.body.get_mut(middle) {
                    *byte ^= 1;
                }
            }
            Fault::Replace(body) => answer.body = body,
            Fault::Header(name, value) => answer.set(&name, value),
            Fault::Without(name) => answer.remove(&name),
            Fault::WrongRange => {
                let length = answer.body.len();
                answer.status = 206;
                answer.set(
                    "Content-Range",
                    format!("bytes 0-{}/{length}", length.saturating_sub(1)),
                );
            }
            Fault::RepeatTags => {
                let path = &self.head.path;
                answer.set("Link", format!("<{path}?n=2&last=again>; rel=\"next\""));
            }
            _ => {}
        }
        Delivery::Whole
    }
}

fn scripted(status: u16) -> Answer {
    let code = match status {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    Answer::error(status, code, "scripted by the test")
}

#[cfg(test)]
mod tests {
    use super::{Fault, Head, Rule, Rules, matches};

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("/v2/", "/v2/", true),
            ("/v2/", "/v2/a", false),
            ("*/blobs/*", "/v2/a/b/blobs/sha256:1", true),
            ("*/blobs/sha256:*", "/v2/a/blobs/uploads/", false),
            ("*", "", true),
            ("/a*b*c", "/abxbc", true),
            ("/a*b*c", "/abxb", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn rules_count_their_own_matches() {
        let rules = Rules::default();
        rules.add(Rule::get("/b*").nth(2).fault(Fault::Status(500)));
        rules.add(Rule::any("/b*").first(1).fault(Fault::Flip));
        let seen: Vec<_> = ["GET", "PUT", "GET", "GET"]
            .map(|method| {
                rules.choose(&Head {
                    method: method.to_owned(),
                    path: "/b1".to_owned(),
                    ..Head::default()
                })
            })
            .into();
        assert_eq!(
            seen,
            [Some(Fault::Flip), None, Some(Fault::Status(500)), None]
        );
    }
}
