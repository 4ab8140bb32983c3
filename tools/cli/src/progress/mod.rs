//! Draws the libraries' progress events on stderr: one bar on a terminal, one line a finished blob otherwise, or JSON lines.

mod json;

use crate::human;
use libimage::progress::{BlobKind, Event, Progress};
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two drawings of the bar: faster is not read, and costs time on a slow terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Time between two lines about what is under way, where there is no terminal: a log shows that it goes on, and stays short.
const REPORT: Duration = Duration::from_secs(30);
/// Cells of the bar itself.
const BAR_CELLS: u64 = 24;
/// How much of a digest is shown, as everywhere in the field.
const SHORT_HEX: usize = 12;

/// How progress is shown, as a flag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// A bar on a terminal, lines elsewhere
    #[default]
    Auto,
    /// A line for each thing that is done
    Plain,
    /// One JSON object a line for each event
    Json,
    /// Warnings only
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Warnings only.
    Quiet,
    /// A line for each thing that is done.
    Lines,
    /// One line that is drawn over and over.
    Bar,
    /// An object for each event.
    Json,
}

/// Receives events and draws them. What is on the line is erased when the last transfer ends, and on drop.
pub struct Drawing {
    style: Style,
    board: Mutex<Board>,
}

#[derive(Default)]
struct Board {
    /// Blobs under way and done, by digest.
    blobs: HashMap<String, Blob>,
    began: Option<Instant>,
    drawn: Option<Instant>,
    /// When a line about what is under way was written last.
    reported: Option<Instant>,
    line_is_dirty: bool,
}

struct Blob {
    kind: BlobKind,
    done: u64,
    total: Option<u64>,
    finished: bool,
}

impl Drawing {
    /// Draws on this process's stderr; `quiet` leaves warnings only.
    pub fn stderr(quiet: bool) -> Arc<Self> {
        Self::in_mode(if quiet { Mode::None } else { Mode::Auto })
    }

    /// Draws on this process's stderr as the user wants it.
    pub fn in_mode(mode: Mode) -> Arc<Self> {
        let style = match mode {
            Mode::None => Style::Quiet,
            Mode::Plain => Style::Lines,
            Mode::Json => Style::Json,
            Mode::Auto if std::io::stderr().is_terminal() => Style::Bar,
            Mode::Auto => Style::Lines,
        };
        Arc::new(Self {
            style,
            board: Mutex::default(),
        })
    }

    /// Takes the bar off the line, before something else is printed.
    pub fn clear(&self) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        show(&board.erased());
    }
}

impl Progress for Drawing {
    fn event(&self, event: &Event<'_>) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let text = board.take(event, self.style, Instant::now());
        show(&text);
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for Drawing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drawing")
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}

fn show(text: &str) {
    if !text.is_empty() {
        // A stderr that cannot be written leaves nobody to tell.
        std::io::stderr().lock().write_all(text.as_bytes()).ok();
    }
}

impl Board {
    /// Notes the event and returns what to write.
    fn take(&mut self, event: &Event<'_>, style: Style, now: Instant) -> String {
        if style == Style::Json {
            return json::of(event).map_or_else(String::new, |object| format!("{object}\n"));
        }
        let line = self.note(event, now);
        let wanted = |weight| weight == Weight::Warning || style == Style::Lines;
        let mut text = String::new();
        if let Some((line, weight)) = line
            && wanted(weight)
        {
            text.push_str(&self.erased());
            text.push_str(&line);
            text.push('\n');
        }
        match style {
            Style::Bar => text.push_str(&self.bar(now)),
            Style::Lines => text.push_str(&self.report(event, now)),
            Style::Quiet | Style::Json => {}
        }
        text
    }

    /// A line about what is under way, if there has been none for a while.
    fn report(&mut self, event: &Event<'_>, now: Instant) -> String {
        let since = *self.reported.get_or_insert(now);
        if !matches!(event, Event::Advanced { .. }) || now.duration_since(since) < REPORT {
            return String::new();
        }
        self.reported = Some(now);
        let (done, total) = self.bytes();
        let finished = self.finished();
        format!(
            "{finished} of {} blobs, {} of {}\n",
            self.blobs.len(),
            human::bytes(done),
            human::bytes(total)
        )
    }

    /// Bytes done, and bytes there are, as far as that is known.
    fn bytes(&self) -> (u64, u64) {
        let done = self.blobs.values().map(|blob| blob.done).sum();
        let total = self
            .blobs
            .values()
            .map(|blob| blob.total.unwrap_or(blob.done).max(blob.done))
            .sum();
        (done, total)
    }

    fn finished(&self) -> usize {
        self.blobs.values().filter(|blob| blob.finished).count()
    }

    /// Keeps the sums, and tells in words what is worth a line.
    fn note(&mut self, event: &Event<'_>, now: Instant) -> Option<(String, Weight)> {
        match event {
            Event::Started {
                digest,
                kind,
                total,
            } => {
                self.began.get_or_insert(now);
                self.blobs.insert(
                    digest.to_string(),
                    Blob {
                        kind: *kind,
                        done: 0,
                        total: *total,
                        finished: false,
                    },
                );
                None
            }
            Event::Advanced { digest, done } => {
                if let Some(blob) = self.blobs.get_mut(&digest.to_string()) {
                    blob.done = *done;
                }
                None
            }
            Event::Done { digest } => {
                let blob = self.blobs.get_mut(&digest.to_string())?;
                blob.finished = true;
                blob.done = blob.total.unwrap_or(blob.done);
                Some((
                    format!(
                        "{} {} ({})",
                        word(blob.kind),
                        short(digest.hex()),
                        human::bytes(blob.done)
                    ),
                    Weight::Step,
                ))
            }
            Event::Skipped { digest, why } => {
                self.blobs.remove(&digest.to_string());
                Some((
                    format!("skipped {}: {why}", short(digest.hex())),
                    Weight::Step,
                ))
            }
            Event::Mounted { digest, from } => {
                self.blobs.remove(&digest.to_string());
                Some((
                    format!("mounted {} from {from}", short(digest.hex())),
                    Weight::Step,
                ))
            }
            Event::Unpacked {
                diff_id,
                entries,
                bytes,
            } => Some((
                format!(
                    "unpacked {} ({entries} entries, {})",
                    short(diff_id.hex()),
                    human::bytes(*bytes)
                ),
                Weight::Step,
            )),
            Event::Retry {
                what,
                after,
                reason,
            } => Some((
                format!(
                    "{what}: {reason}; trying again in {}",
                    human::duration(*after)
                ),
                Weight::Warning,
            )),
            Event::Image {
                from,
                to,
                outcome,
                reason,
            } => Some(image(from, to, outcome, *reason)),
            Event::Warning { message } => Some((format!("warning: {message}"), Weight::Warning)),
            _ => None,
        }
    }

    fn bar(&mut self, now: Instant) -> String {
        if self.blobs.values().all(|blob| blob.finished) {
            return self.erased();
        }
        if self
            .drawn
            .is_some_and(|drawn| now.duration_since(drawn) < REDRAW)
        {
            return String::new();
        }
        self.drawn = Some(now);
        self.line_is_dirty = true;
        let (done, total) = self.bytes();
        let finished = self.finished();
        let elapsed = self
            .began
            .map_or(Duration::ZERO, |began| now.duration_since(began));
        let rate = (done as f64 / elapsed.as_secs_f64().max(0.1)) as u64;
        let filled = (u128::from(done) * u128::from(BAR_CELLS))
            .checked_div(u128::from(total))
            .unwrap_or(0) as usize;
        format!(
            "\r[{:<width$}] {} / {}  {finished} of {} blobs  {}/s\x1b[K",
            "=".repeat(filled),
            human::bytes(done),
            human::bytes(total),
            self.blobs.len(),
            human::bytes(rate),
            width = BAR_CELLS as usize,
        )
    }

    fn erased(&mut self) -> String {
        if std::mem::take(&mut self.line_is_dirty) {
            "\r\x1b[K".to_owned()
        } else {
            String::new()
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Step,
    Warning,
}

/// A line about one image of many; what failed is worth a line also where others are not wanted.
fn image(from: &str, to: &str, outcome: &str, reason: Option<&str>) -> (String, Weight) {
    match reason {
        Some(reason) => (
            format!("{outcome} {from} -> {to}: {reason}"),
            Weight::Warning,
        ),
        None => (format!("{outcome} {from} -> {to}"), Weight::Step),
    }
}

fn word(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Manifest => "manifest",
        BlobKind::Config => "config",
        BlobKind::Layer => "layer",
        _ => "blob",
    }
}

fn short(hex: &str) -> &str {
    hex.get(..SHORT_HEX).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libimage::digest::Digest;

    fn digest() -> Digest {
        format!("sha256:{}", "ab".repeat(32)).parse().unwrap()
    }

    #[test]
    fn a_log_gets_one_line_a_blob() {
        let (mut board, digest, now) = (Board::default(), digest(), Instant::now());
        let mut take = |event| board.take(&event, Style::Lines, now);
        assert_eq!(
            take(Event::Started {
                digest: &digest,
                kind: BlobKind::Layer,
                total: Some(2000)
            }),
            ""
        );
        assert_eq!(
            take(Event::Advanced {
                digest: &digest,
                done: 1000
            }),
            ""
        );
        assert_eq!(
            take(Event::Done { digest: &digest }),
            "layer abababababab (2.00 kB)\n"
        );
    }

    #[test]
    fn a_terminal_gets_a_bar_that_goes_away() {
        let (mut board, digest, now) = (Board::default(), digest(), Instant::now());
        let mut take = |event| board.take(&event, Style::Bar, now);
        let bar = take(Event::Started {
            digest: &digest,
            kind: BlobKind::Layer,
            total: Some(2000),
        });
        assert!(
            bar.starts_with("\r[ ") && bar.contains("0 B / 2.00 kB  0 of 1 blobs"),
            "{bar:?}"
        );
        assert_eq!(
            take(Event::Advanced {
                digest: &digest,
                done: 1000
            }),
            "",
            "drawn again too soon"
        );
        assert_eq!(take(Event::Done { digest: &digest }), "\r\x1b[K");
    }

    #[test]
    fn a_log_is_told_now_and_then_that_it_goes_on() {
        let (mut board, digest, began) = (Board::default(), digest(), Instant::now());
        let started = Event::Started {
            digest: &digest,
            kind: BlobKind::Layer,
            total: Some(2000),
        };
        let advanced = Event::Advanced {
            digest: &digest,
            done: 1000,
        };
        assert_eq!(board.take(&started, Style::Lines, began), "");
        for (seconds, expected) in [
            (29, ""),
            (31, "0 of 1 blobs, 1.00 kB of 2.00 kB\n"),
            (60, ""),
            (61, "0 of 1 blobs, 1.00 kB of 2.00 kB\n"),
        ] {
            let now = began + Duration::from_secs(seconds);
            assert_eq!(
                board.take(&advanced, Style::Lines, now),
                expected,
                "{seconds}"
            );
        }
    }

    #[test]
    fn programs_get_an_object_a_line() {
        let (mut board, digest, now) = (Board::default(), digest(), Instant::now());
        let retry = Event::Retry {
            what: "GET",
            after: Duration::from_millis(1500),
            reason: "503",
        };
        let events = [
            Event::Started {
                digest: &digest,
                kind: BlobKind::Config,
                total: None,
            },
            retry,
            Event::Done { digest: &digest },
            Event::Warning { message: "a\nb" },
        ];
        let text: String = events
            .iter()
            .map(|event| board.take(event, Style::Json, now))
            .collect();
        let objects: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let kinds: Vec<_> = objects.iter().map(|object| &object["event"]).collect();
        assert_eq!(kinds, ["started", "retry", "done", "warning"]);
        assert_eq!(objects[0]["digest"], digest.to_string());
        assert_eq!(objects[1]["afterMilliseconds"], 1500);
    }

    #[test]
    fn quiet_leaves_warnings() {
        let (mut board, digest, now) = (Board::default(), digest(), Instant::now());
        let mut take = |event| board.take(&event, Style::Quiet, now);
        assert_eq!(
            take(Event::Started {
                digest: &digest,
                kind: BlobKind::Layer,
                total: None
            }),
            ""
        );
        assert_eq!(take(Event::Done { digest: &digest }), "");
        assert_eq!(take(Event::Warning { message: "x" }), "warning: x\n");
    }
}
