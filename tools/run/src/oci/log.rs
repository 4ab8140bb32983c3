//! Where a failure is written: exactly one line, because podman parses the whole file as one value.

use super::global::{Globals, LogFormat, LogLevel};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;
use trimaran_cli::{output, time};

/// The log of one call.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    path: Option<PathBuf>,
    format: LogFormat,
    level: LogLevel,
}

impl Log {
    pub(super) fn of(globals: &Globals) -> Self {
        Self {
            path: globals.log.clone(),
            format: globals.log_format,
            level: match globals.log_level {
                _ if globals.debug => LogLevel::Debug,
                Some(level) => level,
                // A file is parsed as a whole by podman, which expects a failure there and nothing else.
                None if globals.log.is_some() => LogLevel::Error,
                None => LogLevel::Warning,
            },
        }
    }

    /// Whether there is a file that can be written: a caller who asked for one will read it.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.open() {
            Some((path, Err(error))) => {
                Err(format!("cannot open the log {}: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn open(&self) -> Option<(&PathBuf, std::io::Result<File>)> {
        let path = self.path.as_ref()?;
        let opened = OpenOptions::new().create(true).append(true).open(path);
        Some((path, opened))
    }

    /// Appends a failure.
    pub(super) fn error(&self, message: &str) {
        self.append("error", message);
    }

    /// Says what was not done quite as asked: in the log, or on standard error if there is none.
    pub(super) fn warn(&self, message: &str) {
        if self.level < LogLevel::Warning {
            return;
        }
        if self.path.is_some() {
            self.append("warning", message);
        } else {
            output::warn(message);
        }
    }

    /// Says what is done, in the words of runc for its stages where it has them: its callers look for them. Built only if wanted.
    pub(super) fn debug(&self, message: impl FnOnce() -> String) {
        if self.level < LogLevel::Debug {
            return;
        }
        let message = message();
        if self.path.is_some() {
            self.append("debug", &message);
        } else {
            let now = time::rfc3339(SystemTime::now());
            output::note(format_args!("time={now:?} level=debug msg={message:?}"));
        }
    }

    fn append(&self, level: &str, message: &str) {
        let Some((path, opened)) = self.open() else {
            return;
        };
        let now = time::rfc3339(SystemTime::now());
        let line = match self.format {
            LogFormat::Json => json!({"level": level, "msg": message, "time": now}).to_string(),
            LogFormat::Text => format!("time={now:?} level={level} msg={message:?}"),
        };
        // One write: callers may share the file.
        let written = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            output::warn(format_args!(
                "cannot write the log {}: {error}",
                path.display()
            ));
        }
    }
}

/// Prints a failure.
pub(crate) fn stderr(message: &str) {
    output::note(format_args!("Error: {message}"));
}
