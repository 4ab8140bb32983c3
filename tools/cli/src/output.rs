//! Data on stdout. A reader that went away (`run images | head -1`) is no error worth a message.

use crate::exit::ExitCode;
use crate::failure::Failure;
use std::io::Write;

/// Writes text as it is.
///
/// # Errors
/// If stdout cannot be written. A broken pipe fails quietly, with code 0.
pub fn text(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// Writes one line.
///
/// # Errors
/// As [`text`].
pub fn line(line: impl std::fmt::Display) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Writes bytes as they are.
///
/// # Errors
/// As [`text`].
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(failure)
}

/// Writes a value as indented JSON and a newline.
///
/// # Errors
/// As [`text`].
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(format_args!("{value:#}"))
}

/// Turns a failed write to stdout into what the tool ends with.
pub fn failure(error: std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::quiet(ExitCode::Success),
        _ => Failure::new(format!("cannot write to stdout: {error}")),
    }
}

/// Tells the user something that is neither data nor an error, on stderr.
pub fn note(message: impl std::fmt::Display) {
    // A stderr that cannot be written leaves nobody to tell.
    writeln!(std::io::stderr().lock(), "{message}").ok();
}

/// Warns on stderr.
pub fn warn(message: impl std::fmt::Display) {
    note(format_args!("warning: {message}"));
}
