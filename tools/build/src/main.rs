//! Builds images step by step, from a shell, without a Dockerfile.

mod fetch;
mod git;
mod namespace;
mod place;
mod told;
mod verbs;
mod words;

use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use trimaran_cli::generate::{self, CompletionArgs, ManArgs};
use trimaran_cli::{ExitCode, Failure, failure, output, parse, program};

const EXAMPLES: &str = "\
Example:
  ctr=$(build from debian:13)
  build run \"$ctr\" -- sh -c 'apt-get update && apt-get install -y nginx'
  build copy --chown www-data:www-data \"$ctr\" site/ /var/www/html/
  build config --port 80 --entrypoint '[\"nginx\",\"-g\",\"daemon off;\"]' \"$ctr\"
  build commit \"$ctr\" localhost/site:1
  build rm \"$ctr\"

The same steps over the same base give the same image, bit for bit: no clock has a say in it.

Exit codes: that of the step in `run`; 2 the command line makes no sense, 125 we failed,
126 the step's command cannot be executed, 127 it does not exist.";

/// Builds images step by step, from a shell, without a Dockerfile
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    /// Directory of images and working containers [default: $TRIMARAN_ROOT, else /var/lib/trimaran, or ~/.local/share/trimaran for a user]
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,

    /// Print results and errors only; of `containers`, only ids
    #[arg(long, short, global = true)]
    quiet: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    From(verbs::from::Args),
    Run(verbs::run::Args),
    Copy(verbs::copy::Args),
    Add(verbs::add::Args),
    Config(verbs::config::Args),
    Mount(verbs::mount::Args),
    #[command(alias = "unmount")]
    Umount(verbs::umount::Args),
    Unshare(verbs::unshare::Args),
    Commit(verbs::commit::Args),
    #[command(visible_alias = "ps")]
    Containers(verbs::containers::Args),
    Inspect(verbs::inspect::Args),
    Rename(verbs::rename::Args),
    Rm(verbs::rm::Args),
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
    failure::run(|| {
        libbuild::seal::ensure_if_first().map_err(told::container)?;
        dispatch(program::name("build"))
    })
}

fn dispatch(name: &'static str) -> Result<ExitCode, Failure> {
    let cli: Cli = parse::parse(name, std::env::args_os().skip(1))?;
    let command = || Cli::command().name(name).bin_name(name);
    let open = || place::Place::open(cli.root.as_deref(), cli.quiet);
    match cli.verb {
        Verb::From(args) => verbs::from::run(&args, &open()?)?,
        Verb::Run(args) => return verbs::run::run(&args, &open()?),
        Verb::Copy(args) => verbs::copy::run(&args, &open()?)?,
        Verb::Add(args) => verbs::add::run(&args, &open()?)?,
        Verb::Config(args) => verbs::config::run(&args, &open()?)?,
        Verb::Mount(args) => verbs::mount::run(&args, &open()?)?,
        Verb::Umount(args) => verbs::umount::run(&args, &open()?)?,
        Verb::Unshare(args) => return verbs::unshare::run(&args),
        Verb::Commit(args) => verbs::commit::run(&args, &open()?)?,
        Verb::Containers(args) => verbs::containers::run(&args, &open()?, cli.quiet)?,
        Verb::Inspect(args) => verbs::inspect::run(&args, &open()?)?,
        Verb::Rename(args) => verbs::rename::run(&args, &open()?)?,
        Verb::Rm(args) => verbs::rm::run(&args, &open()?)?,
        Verb::Version => output::line(format_args!("{name} {}", env!("CARGO_PKG_VERSION")))?,
        Verb::Completion(args) => generate::completion(&args, command())?,
        Verb::Man(args) => generate::man(&args, command())?,
    }
    Ok(ExitCode::Success)
}
