//! `sync`: not there yet.

use trimaran_cli::Failure;

/// Copies repositories and selections of tags, and does nothing where nothing changed
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::new("not there yet"))
}
