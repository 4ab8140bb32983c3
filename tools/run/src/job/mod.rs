//! `run [flags] IMAGE [COMMAND…]`: find the image, plan the container, run it in the foreground, tidy up.

mod args;
mod host_files;
mod image;
mod start;
mod wishes;

pub(crate) use args::JobArgs;

use crate::argument::split_after_first_word;
use crate::space::Space;
use clap::{Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use trimaran_cli::{ExitCode, Failure, parse};

/// What the help says about the verbs.
const VERBS: &str =
    "Verbs: pull, images, rmi, version, oci (an OCI runtime); `run VERB --help` tells more.
An image that is called like a verb is written behind `--`.";

/// Runs a job; `name` is what the tool was called by.
///
/// # Errors
/// The command line makes no sense, or the container cannot be started.
pub(crate) fn call(name: &'static str, arguments: Vec<OsString>) -> Result<ExitCode, Failure> {
    let mut command = command(name);
    if arguments.is_empty() {
        return Err(parse::told(&command.error(
            clap::error::ErrorKind::MissingRequiredArgument,
            "which IMAGE is to be run?",
        )));
    }
    let (ours, theirs) = split_after_first_word(&command, arguments);
    let matches = parse::matches(&mut command, name, ours)?;
    let mut args = JobArgs::from_arg_matches(&matches)
        .map_err(|error| parse::told(&error.format(&mut command)))?;
    args.command = theirs.into_iter().map(text).collect::<Result<_, _>>()?;
    run(&args)
}

fn command(name: &'static str) -> Command {
    let usage = format!("{name} [OPTIONS] IMAGE [COMMAND]...\n       {name} VERB ...");
    JobArgs::command()
        .name(name)
        .bin_name(name)
        .override_usage(usage)
        .after_help(VERBS)
}

/// The runtime specification is JSON: words of a command are text.
fn text(word: OsString) -> Result<String, Failure> {
    word.into_string()
        .map_err(|word| Failure::usage(format!("the argument {word:?} is not UTF-8")))
}

fn run(args: &JobArgs) -> Result<ExitCode, Failure> {
    let wishes = wishes::of(args)?;
    let name = args
        .name
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(crate::failure::container)?;
    // Before anything starts a thread.
    let space = Space::enter(args.root.root.as_deref())?;
    let store = space.store()?;
    let image = image::find_or_pull(args, &space, &store)?;
    start::run(
        args,
        start::Job {
            space: &space,
            store: &store,
            image: &image,
            wishes,
            name,
        },
    )
}
