//! Copies container images between registries, layouts on disk and the local store.

mod access;
mod copy;
mod format;
mod inspect;
mod list_tags;
mod local;
mod transfer;

use clap::{CommandFactory, Parser, Subcommand};
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

/// Copies container images between registries, layouts on disk and the local store, keeping their digests
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = EXAMPLES,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    copy: Option<copy::Args>,

    #[command(subcommand)]
    verb: Option<Verb>,
}

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

fn dispatch(name: &'static str) -> Result<ExitCode, Failure> {
    let cli: Cli = parse::parse(name, std::env::args_os().skip(1))?;
    let command = || Cli::command().name(name).bin_name(name);
    match (cli.verb, cli.copy) {
        (Some(Verb::Copy(args)), _) | (None, Some(args)) => copy::run(&args)?,
        (Some(Verb::Inspect(args)), _) => inspect::run(&args)?,
        (Some(Verb::ListTags(args)), _) => list_tags::run(&args)?,
        (Some(Verb::Version), _) => {
            output::line(format_args!("{name} {}", env!("CARGO_PKG_VERSION")))?
        }
        (Some(Verb::Completion(args)), _) => generate::completion(&args, command())?,
        (Some(Verb::Man(args)), _) => generate::man(&args, command())?,
        (None, None) => return Err(Failure::usage("nothing to copy: SRC and DST are missing")),
    }
    Ok(ExitCode::Success)
}
