//! `logout REGISTRY`: forgets credentials.

use crate::stored::{Key, Target};
use trimaran_cli::{Failure, output};

/// Forgets the credentials of a registry, or of all
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The registry, or the part of it, that was logged in to
    #[arg(
        value_name = "REGISTRY",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    registry: Option<String>,

    /// Forget all credentials of the file
    #[arg(long, short)]
    all: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Some(registry) = &args.registry else {
        args.target.clear()?;
        return output::line("Removed login credentials for all registries");
    };
    let key: Key = registry.parse()?;
    if args.target.keeper(&key)?.remove(&key)? {
        return output::line(format_args!("Removed login credentials for {key}"));
    }
    let elsewhere = key.known(&args.target)?.is_some();
    let failure = key.not_logged_in();
    Err(if elsewhere {
        failure.with_hint("another file or entry has credentials for it: --authfile names a file, and `docker logout` knows docker's")
    } else {
        failure
    })
}
