//! `tag`: not there yet.

use trimaran_cli::Failure;

/// Gives an image of a registry more tags, without pulling it
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::new("not there yet"))
}
