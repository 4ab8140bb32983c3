//! `start`, `state`, `kill`, `pause`, `resume`, `delete`: a container that exists.

use super::notify::{self, Proxy};
use super::{Ended, global::Face, words};
use clap::Parser;
use libcontainer::runtime::Container;
use libcontainer::{ErrorKind, Signal};
use regex_lite::Regex;
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
    /// Nothing is wrong if the container has stopped; what is left of its processes is killed
    #[arg(short, long)]
    all: bool,
    /// ID is a regular expression, for all containers it matches
    #[arg(short, long)]
    regex: bool,
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
    /// ID is a regular expression, for all containers it matches
    #[arg(short, long)]
    regex: bool,
}

pub(crate) fn start(face: &Face, args: &StartArgs) -> Result<u8, Ended> {
    let mut container = face.load(&args.id)?;
    let proxy = Proxy::before_start(face, &args.id)?;
    container.start()?;
    if let Some(proxy) = proxy {
        proxy.until_ready(container.init()?)?;
    }
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
    output::line(super::list::text(&state, serde_json::to_string_pretty)?)?;
    Ok(0)
}

pub(crate) fn kill(face: &Face, args: &KillArgs) -> Result<u8, Ended> {
    // No signal, only the question whether there is somebody.
    let signal: Option<Signal> = match args.signal.as_str() {
        "0" => None,
        text => Some(text.parse()?),
    };
    for mut container in chosen(face, &args.id, args.regex)? {
        let sent = match signal {
            Some(signal) => container.kill(signal),
            None => container.init().map(drop),
        };
        match sent {
            Err(error) if args.all && *error.kind() == ErrorKind::NotRunning => {}
            other => other?,
        }
    }
    Ok(0)
}

pub(crate) fn delete(face: &Face, args: &DeleteArgs) -> Result<u8, Ended> {
    let containers = match chosen(face, &args.id, args.regex) {
        Err(Ended::Failed(message)) if args.force && message == words::DOES_NOT_EXIST => {
            return Ok(0);
        }
        other => other?,
    };
    for container in containers {
        let id = container.id().clone();
        container
            .delete_telling(args.force, &mut |error| face.log.warn(&words::of(&error)))
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => Ended::Failed(words::DOES_NOT_EXIST.to_owned()),
                _ => error.into(),
            })?;
        notify::forget(face, id.as_str());
    }
    Ok(0)
}

/// The container of this id, or all whose id the expression matches.
fn chosen(face: &Face, text: &str, regex: bool) -> Result<Vec<Container>, Ended> {
    if !regex {
        return Ok(vec![face.load(text)?]);
    }
    let pattern = Regex::new(text)
        .map_err(|why| Ended::Failed(format!("the regular expression {text:?}: {why}")))?;
    let mut all = face.runtime.list()?;
    all.retain(|container| pattern.is_match(container.id().as_str()));
    Ok(all)
}
