//! Skopeo's command line, spoken when the binary is called `skopeo`: what scripts depend on is skopeo's (one platform without
//! `--all`, the shapes of the output, the exit codes), what only makes copying safer or cheaper stays ours.

mod copy;
mod delete;
mod digest;
mod inspect;
mod list_tags;
mod options;
mod selection;
mod sync;

use clap::{Command, FromArgMatches, Subcommand};
use libimage::ErrorKind;
use std::ffi::{OsStr, OsString};
use trimaran_cli::{ExitCode, Failure, output, parse};

/// The name under which this is the command line.
pub(crate) const NAME: &str = "skopeo";

/// Skopeo's own code for whatever failed, also for a command line that makes no sense.
const FAILED: ExitCode = ExitCode::Other(1);
/// Skopeo's code for an image that is not there.
const NOT_FOUND: ExitCode = ExitCode::Other(2);

const NOTE: &str = "\
This is Trimaran's copy, called by the name of skopeo. Its own command line, which can do more, is that of `copy`.
Exit codes: 0 done, 1 failed, 2 the image does not exist.";

#[derive(Debug, Subcommand)]
enum Verb {
    Copy(copy::Args),
    Delete(delete::Args),
    Inspect(inspect::Args),
    ListTags(list_tags::Args),
    Login(crate::login::Args),
    Logout(crate::logout::Args),
    ManifestDigest(digest::Args),
    Sync(sync::Args),
}

fn command() -> Command {
    let tool = Command::new(NAME)
        .bin_name(NAME)
        .about("Various operations with container images and container image registries")
        .after_help(NOTE)
        .disable_version_flag(true)
        .arg(
            clap::Arg::new("version")
                .long("version")
                .short('v')
                .action(clap::ArgAction::SetTrue)
                .help("Print the version"),
        );
    Verb::augment_subcommands(tool).subcommand_required(false)
}

/// Runs skopeo's command line `arguments` (without the program's name).
pub(crate) fn dispatch(arguments: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    run(arguments).map_err(|failure| {
        let code = match (failure.code(), failure.error_kind()) {
            (ExitCode::Success, _) => ExitCode::Success,
            (_, Some(ErrorKind::NotFound)) => NOT_FOUND,
            // Ended by a signal, for instance.
            (code @ ExitCode::Container(_), _) => code,
            _ => FAILED,
        };
        failure.with_code(code)
    })
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    let mut command = command();
    let arguments = options::after_the_verb(arguments);
    let matches = parse::matches(&mut command, NAME, arguments)?;
    if matches.get_flag("version") {
        output::line(format_args!(
            "skopeo version {} (trimaran)",
            env!("CARGO_PKG_VERSION")
        ))?;
        return Ok(ExitCode::Success);
    }
    if matches.subcommand_name().is_none() {
        parse::help(&mut command)?;
        return Ok(ExitCode::Success);
    }
    match Verb::from_arg_matches(&matches).map_err(|error| parse::told(&error))? {
        Verb::Copy(args) => copy::run(&args)?,
        Verb::Delete(args) => delete::run(&args)?,
        Verb::Inspect(args) => inspect::run(&args)?,
        Verb::ListTags(args) => list_tags::run(&args)?,
        Verb::Login(args) => crate::login::run(&args)?,
        Verb::Logout(args) => crate::logout::run(&args)?,
        Verb::ManifestDigest(args) => digest::run(&args)?,
        Verb::Sync(args) => sync::run(&args)?,
    }
    Ok(ExitCode::Success)
}

/// Tells whether the process was called by skopeo's name.
pub(crate) fn is_meant(argv0: Option<&OsStr>) -> bool {
    let base = argv0.and_then(|path| std::path::Path::new(path).file_name());
    base == Some(OsStr::new(NAME))
}
