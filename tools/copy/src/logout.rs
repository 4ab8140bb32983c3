//! `logout`: not there yet.

use trimaran_cli::Failure;

/// Forgets stored credentials
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::new("not there yet"))
}
