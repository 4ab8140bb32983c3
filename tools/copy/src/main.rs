//! Copies container images between registries, layouts on disk and the local store.

mod access;
mod artifact;
mod attach;
mod blob;
mod catalog;
mod changes;
mod conversion;
mod copy;
mod delete;
mod digest;
mod engine;
mod export;
mod format;
mod index;
mod inspect;
mod list_tags;
mod local;
mod login;
mod logout;
mod manifest;
mod mutate;
mod outfile;
mod referrers;
mod sign;
mod signing;
mod skopeo;
mod stored;
mod sync;
mod tag;
mod transfer;
mod validate;
mod verify;

use clap::{Arg, Args, Command, FromArgMatches, Subcommand};
use trimaran_cli::generate::{self, CompletionArgs, ManArgs};
use trimaran_cli::{ExitCode, Failure, failure, human, output, parse, program};

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
    Sync(sync::Args),
    Digest(digest::Args),
    Tag(tag::Args),
    Delete(delete::Args),
    Catalog(catalog::Args),
    Referrers(referrers::Args),
    Manifest(manifest::Args),
    Blob(blob::Args),
    Index(index::Args),
    Mutate(mutate::Args),
    Validate(validate::Args),
    Export(export::Args),
    Attach(attach::Args),
    Artifact(artifact::Args),
    Login(login::Args),
    Logout(logout::Args),
    Sign(sign::Args),
    Verify(verify::Args),
    /// Prints the version
    Version,
    /// Prints a shell's completion script
    #[command(hide = true)]
    Completion(CompletionArgs),
    /// Writes the manual pages into a directory
    #[command(hide = true)]
    Man(ManArgs),
}

/// The flag every verb has.
const TIMEOUT: &str = "command-timeout";

fn main() -> std::process::ExitCode {
    let mut words = std::env::args_os();
    if skopeo::is_meant(words.next().as_deref()) {
        return failure::run(|| skopeo::dispatch(words));
    }
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
        .arg(
            Arg::new(TIMEOUT)
                .long(TIMEOUT)
                .global(true)
                .value_name("DURATION")
                .value_parser(human::parse_duration)
                .help("Give up after this time (as in 90s, 10m or 1h30m), and undo what is not finished"),
        )
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
    transfer::limit(matches.get_one(TIMEOUT).copied());
    let told = |error: clap::Error| parse::told(&error);
    if matches.subcommand_name().is_none() {
        copy::run(&copy::Args::from_arg_matches(&matches).map_err(told)?)?;
        return Ok(ExitCode::Success);
    }
    match Verb::from_arg_matches(&matches).map_err(told)? {
        Verb::Copy(args) => copy::run(&args)?,
        Verb::Inspect(args) => inspect::run(&args)?,
        Verb::ListTags(args) => list_tags::run(&args)?,
        Verb::Sync(args) => sync::run(&args)?,
        Verb::Digest(args) => digest::run(&args)?,
        Verb::Tag(args) => tag::run(&args)?,
        Verb::Delete(args) => delete::run(&args)?,
        Verb::Catalog(args) => catalog::run(&args)?,
        Verb::Referrers(args) => referrers::run(&args)?,
        Verb::Manifest(args) => manifest::run(&args)?,
        Verb::Blob(args) => blob::run(&args)?,
        Verb::Index(args) => index::run(&args)?,
        Verb::Mutate(args) => mutate::run(&args)?,
        Verb::Validate(args) => validate::run(&args)?,
        Verb::Export(args) => export::run(&args)?,
        Verb::Attach(args) => attach::run(&args)?,
        Verb::Artifact(args) => artifact::run(&args)?,
        Verb::Login(args) => login::run(&args)?,
        Verb::Logout(args) => logout::run(&args)?,
        Verb::Sign(args) => sign::run(&args)?,
        Verb::Verify(args) => verify::run(&args)?,
        Verb::Version => output::line(format_args!("{name} {}", env!("CARGO_PKG_VERSION")))?,
        Verb::Completion(args) => generate::completion(&args, command)?,
        Verb::Man(args) => generate::man(&args, command)?,
    }
    Ok(ExitCode::Success)
}
