//! Copies container images between registries, layouts on disk and the local store.

mod access;
mod copy;
mod format;
mod inspect;
mod list_tags;
mod local;
mod transfer;

use clap::{Args, Command, FromArgMatches, Subcommand};
use trimaran_cli::generate::{self, CompletionArgs, ManArgs};
use trimaran_cli::{ExitCode, Failure, failure, output, parse, program};

const EXAMPLES: &str = "\
Examples:
  copy docker://docker.io/library/debian:12 oci:debian:12
  copy --platform linux/arm64 docker://debian docker://registry.example/debian
  copy store:app docker://registry.example/team/app:1.0
  copy inspect docker://debian
  copy list-tags docker://debian

Credentials are looked up where the field's tools keep them (containers-auth.json(5)).
Exit codes: 0 done, 2 the command line makes no sense, 125 the copy failed.";

#[derive(Debug, Subcommand)]
enum Verb {
    Copy(copy::Args),
    Inspect(inspect::Args),
    ListTags(list_tags::Args),
    /// Prints the version
    Version,
    /// Prints a shell's completion script
    #[command(hide = true)]
    Completion(CompletionArgs),
    /// Writes the manual pages into a directory
    #[command(hide = true)]
    Man(ManArgs),
}

fn main() -> std::process::ExitCode {
    failure::run(|| dispatch(program::name("copy")))
}

/// The tool's command line: without a verb it is that of `copy`.
fn command(name: &'static str) -> Command {
    let tool = Command::new(name)
        .bin_name(name)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXAMPLES)
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true);
    Verb::augment_subcommands(copy::Args::augment_args(tool))
        .subcommand_required(false)
        .arg_required_else_help(false)
        .about("Copies container images between registries, layouts on disk and the local store, keeping their digests")
        .long_about(None)
}

fn dispatch(name: &'static str) -> Result<ExitCode, Failure> {
    let mut command = command(name);
    let matches = parse::matches(&mut command, name, std::env::args_os().skip(1))?;
    let told = |error: clap::Error| parse::told(&error);
    if matches.subcommand_name().is_none() {
        copy::run(&copy::Args::from_arg_matches(&matches).map_err(told)?)?;
        return Ok(ExitCode::Success);
    }
    match Verb::from_arg_matches(&matches).map_err(told)? {
        Verb::Copy(args) => copy::run(&args)?,
        Verb::Inspect(args) => inspect::run(&args)?,
        Verb::ListTags(args) => list_tags::run(&args)?,
        Verb::Version => output::line(format_args!("{name} {}", env!("CARGO_PKG_VERSION")))?,
        Verb::Completion(args) => generate::completion(&args, command)?,
        Verb::Man(args) => generate::man(&args, command)?,
    }
    Ok(ExitCode::Success)
}
