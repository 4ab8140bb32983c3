//! The verbs about images, and those about the tool itself.

mod images;
mod pull;
mod rmi;

use crate::job;
use clap::{Args, Command, CommandFactory, Parser};
use std::ffi::OsString;
use std::path::PathBuf;
use trimaran_cli::{ExitCode, Failure, generate, output, parse};

pub(crate) use pull::fetch;

/// What every verb that works with the store has.
#[derive(Debug, Clone, Args)]
pub(crate) struct RootArgs {
    /// Where images and containers are kept [default: TRIMARAN_ROOT, else /var/lib/trimaran or ~/.local/share/trimaran]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// Print a shell's completion script
#[derive(Debug, Parser)]
struct Completion {
    #[command(flatten)]
    args: generate::CompletionArgs,
}

/// Write the manual pages
#[derive(Debug, Parser)]
struct Man {
    #[command(flatten)]
    args: generate::ManArgs,
}

/// Print the version
#[derive(Debug, Parser)]
struct Version {}

/// Calls a verb; `name` is what the tool was called by.
///
/// # Errors
/// Whatever the verb ends with.
pub(crate) fn call(
    name: &'static str,
    verb: &str,
    arguments: Vec<OsString>,
) -> Result<ExitCode, Failure> {
    // The verb's own name in its help: once a process, and clap wants names that live for ever.
    let full: &'static str = Box::leak(format!("{name} {verb}").into_boxed_str());
    match verb {
        "run" => return job::call(full, arguments),
        "pull" => pull::call(parse::parse(full, arguments)?)?,
        "images" => images::call(&parse::parse(full, arguments)?)?,
        "rmi" => return rmi::call(&parse::parse(full, arguments)?),
        "completion" => generate::completion(
            &parse::parse::<Completion>(full, arguments)?.args,
            tree(name),
        )?,
        "man" => generate::man(&parse::parse::<Man>(full, arguments)?.args, tree(name))?,
        "version" => {
            parse::parse::<Version>(full, arguments)?;
            output::line(format_args!("{name} {}", env!("CARGO_PKG_VERSION")))?;
        }
        verb => unreachable!("{verb} is no verb of the grammar's"),
    }
    Ok(ExitCode::Success)
}

/// The whole command tree under one name: for help, manual pages and completions only. Verbs parse their own part.
pub(crate) fn tree(name: &'static str) -> Command {
    let verb = |name: &'static str, command: Command| command.name(name);
    job::JobArgs::command()
        .name(name)
        .bin_name(name)
        .subcommand_precedence_over_arg(true)
        .args_conflicts_with_subcommands(true)
        .subcommand(verb("pull", pull::PullArgs::command()))
        .subcommand(verb("images", images::ImagesArgs::command()))
        .subcommand(verb("rmi", rmi::RmiArgs::command()))
        .subcommand(verb("version", Version::command()))
        .subcommand(verb(
            "oci",
            Command::new("oci")
                .about("Act as an OCI runtime: create, start, state, kill, delete, run, list"),
        ))
        .subcommand(verb("completion", Completion::command()).hide(true))
        .subcommand(verb("man", Man::command()).hide(true))
}
