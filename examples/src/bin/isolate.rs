//! Runs a program of a directory in a container of its own, for anybody: `isolate DIRECTORY PROGRAM [ARGUMENT]…`.
//!
//! What the program writes into the directory is gone afterwards, and it has no network.

use libcontainer::command::{Command, Stdio};
use std::process::ExitCode;

fn main() -> Result<ExitCode, libcontainer::Error> {
    let mut words = std::env::args().skip(1);
    let directory = words.next().unwrap_or_else(|| ".".to_owned());
    let status = Command::new(directory)
        .args(words)
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .status()?;
    Ok(ExitCode::from(status.shell_code()))
}
