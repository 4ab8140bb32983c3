//! Where a failure is written: exactly one line, because podman parses the whole file as one value.

use super::global::{Globals, LogFormat};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::SystemTime;
use trimaran_cli::{output, time};

/// Appends a failure to the log file, if there is one.
pub(crate) fn error(globals: &Globals, message: &str) {
    let Some(path) = &globals.log else { return };
    let now = time::rfc3339(SystemTime::now());
    let line = match globals.log_format {
        LogFormat::Json => json!({"level": "error", "msg": message, "time": now}).to_string(),
        LogFormat::Text => format!("time={now:?} level=error msg={message:?}"),
    };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
        output::warn(format_args!(
            "cannot write the log {}: {error}",
            path.display()
        ));
    }
}

/// Prints a failure.
pub(crate) fn stderr(message: &str) {
    output::note(format_args!("Error: {message}"));
}
