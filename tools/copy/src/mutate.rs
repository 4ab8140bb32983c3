//! `mutate`: not there yet.

use trimaran_cli::Failure;

/// Changes labels, annotations, environment, entrypoint or user of an image
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::new("not there yet"))
}
