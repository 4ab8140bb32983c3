//! `attach`: not there yet.

use trimaran_cli::Failure;

/// Attaches files to an image as a referrer
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::new("not there yet"))
}
