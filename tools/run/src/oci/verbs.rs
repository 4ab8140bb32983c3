//! `start`, `state`, `kill`, `pause`, `resume`, `delete`: a container that exists.

use super::{Ended, global::Face, words};
use clap::Parser;
use libcontainer::{ErrorKind, Signal};
use trimaran_cli::output;

/// Start the program of a created container
#[derive(Debug, Parser)]
pub(crate) struct StartArgs {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
}

/// Stop all processes of a container where they are
#[derive(Debug, Parser)]
pub(crate) struct PauseArgs {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
}

/// Let the processes of a paused container go on
#[derive(Debug, Parser)]
pub(crate) struct ResumeArgs {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
}

/// Print the state of a container
#[derive(Debug, Parser)]
pub(crate) struct StateArgs {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
}

/// Send a signal to a container's first process
#[derive(Debug, Parser)]
pub(crate) struct KillArgs {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
    /// Name or number
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    signal: String,
    /// Accepted for compatibility
    #[arg(short, long)]
    all: bool,
}

/// Remove a container
#[derive(Debug, Parser)]
pub(crate) struct DeleteArgs {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
    /// Kill it first; a container that does not exist is no error
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn start(face: &Face, args: &StartArgs) -> Result<u8, Ended> {
    face.load(&args.id)?.start()?;
    Ok(0)
}

pub(crate) fn pause(face: &Face, args: &PauseArgs) -> Result<u8, Ended> {
    face.load(&args.id)?.pause()?;
    Ok(0)
}

pub(crate) fn resume(face: &Face, args: &ResumeArgs) -> Result<u8, Ended> {
    face.load(&args.id)?.resume()?;
    Ok(0)
}

pub(crate) fn state(face: &Face, args: &StateArgs) -> Result<u8, Ended> {
    let state = face.load(&args.id)?.state()?;
    output::json(&super::list::value(&state)?)?;
    Ok(0)
}

pub(crate) fn kill(face: &Face, args: &KillArgs) -> Result<u8, Ended> {
    let signal: Signal = args.signal.parse()?;
    face.load(&args.id)?.kill(signal)?;
    Ok(0)
}

pub(crate) fn delete(face: &Face, args: &DeleteArgs) -> Result<u8, Ended> {
    match face.load(&args.id) {
        Ok(container) => container
            .delete(args.force)
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => Ended::Failed(words::DOES_NOT_EXIST.to_owned()),
                _ => error.into(),
            })?,
        Err(Ended::Failed(message)) if args.force && message == words::DOES_NOT_EXIST => {}
        Err(ended) => return Err(ended),
    }
    Ok(0)
}
