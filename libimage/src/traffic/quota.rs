//! How many pulls a registry still allows: the `RateLimit` headers.
//!
//! # References
//!
//! <https://docs.docker.com/docker-hub/usage/pulls/>, the draft `draft-ietf-httpapi-ratelimit-headers`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many pulls a registry allows, as its last answer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// Pulls in a window, if it says so.
    pub limit: Option<u64>,
    /// Pulls left.
    pub remaining: u64,
    /// How long the window is (or, where the registry says that, how long until it is over).
    pub window: Option<Duration>,
}

impl Quota {
    /// Reads the headers; `None` if they do not say how much is left. `get` finds a header by its lower-case name.
    pub(crate) fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let any = |names: [&str; 2]| names.into_iter().find_map(&get);
        let (remaining, window) = value(any(["ratelimit-remaining", "x-ratelimit-remaining"])?)?;
        let limit = any(["ratelimit-limit", "x-ratelimit-limit"]).and_then(value);
        Some(Self {
            limit: limit.map(|(limit, _)| limit),
            remaining,
            window: window
                .or(limit.and_then(|(_, window)| window))
                .map(Duration::from_secs),
        })
    }
}

/// Reads `100;w=21600`, or `100` alone.
fn value(text: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = text.split([';', ',']).map(str::trim);
    let count = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((count, window))
}

/// Answers this close to each other may have overtaken each other. A quota that was renewed meanwhile is noticed so much later.
const TOGETHER: Duration = Duration::from_secs(5);

/// The last quota a host told, and what is to be left of it.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Reading>);

#[derive(Debug, Default, Clone, Copy)]
struct Reading {
    last: Option<Quota>,
    at: Option<Instant>,
    least: Option<u64>,
}

impl Meter {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an answer said. Answers to requests that were under way together come in any order: of those the least is true.
    pub(crate) fn note(&self, quota: Quota) {
        let mut reading = self.reading();
        let overtaken = reading
            .last
            .is_some_and(|last| last.limit == quota.limit && last.remaining < quota.remaining)
            && reading.at.is_some_and(|at| at.elapsed() < TOGETHER);
        if !overtaken {
            (reading.last, reading.at) = (Some(quota), Some(Instant::now()));
        }
    }

    /// Returns what is left by the last answers, if one has said anything.
    pub(crate) fn last(&self) -> Option<Quota> {
        self.reading().last
    }

    /// Sets how many pulls are to be left.
    pub(crate) fn keep(&self, least: u64) {
        self.reading().least = Some(least);
    }

    /// Takes a pull from what is known to be left; the answer to it will say what is left indeed.
    ///
    /// # Errors
    ///
    /// Fewer would be left than are to be left.
    pub(crate) fn take(&self) -> Result<(), (Quota, u64)> {
        let mut reading = self.reading();
        let least = reading.least;
        let (Some(quota), Some(least)) = (&mut reading.last, least) else {
            return Ok(());
        };
        if quota.remaining <= least {
            return Err((*quota, least));
        }
        quota.remaining -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_are_taken_only_down_to_what_is_to_be_left() {
        let meter = Meter::default();
        assert!(meter.take().is_ok(), "nothing is known yet");
        meter.keep(2);
        meter.note(Quota {
            limit: None,
            remaining: 4,
            window: None,
        });
        let taken: Vec<bool> = (0..3).map(|_| meter.take().is_ok()).collect();
        assert_eq!(taken, [true, true, false]);
        assert_eq!(meter.last().map(|quota| quota.remaining), Some(2));
    }

    #[test]
    fn headers_of_the_field_are_read() {
        let quota = |limit, remaining, window: Option<u64>| {
            Some(Quota {
                limit,
                remaining,
                window: window.map(Duration::from_secs),
            })
        };
        type Headers = &'static [(&'static str, &'static str)];
        let cases: [(Headers, Option<Quota>); 6] = [
            (
                &[
                    ("ratelimit-limit", "100;w=21600"),
                    ("ratelimit-remaining", "76;w=21600"),
                ],
                quota(Some(100), 76, Some(21600)),
            ),
            (&[("ratelimit-remaining", "7")], quota(None, 7, None)),
            (
                &[("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0")],
                quota(Some(60), 0, None),
            ),
            (&[("ratelimit-limit", "100;w=21600")], None),
            (&[("ratelimit-remaining", "many")], None),
            (&[("ratelimit-remaining", "99999999999999999999")], None),
        ];
        for (headers, expected) in cases {
            let get = |name: &str| {
                headers
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| *value)
            };
            assert_eq!(Quota::of(get), expected, "{headers:?}");
        }
    }
}
