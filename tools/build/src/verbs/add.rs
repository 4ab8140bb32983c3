//! `build add CTR SRC… DST`: files into a working container, archives unpacked.

use super::copy::Files;
use crate::place::Place;
use trimaran_cli::Failure;

/// Copies files into a working container like `copy`, and unpacks tar archives (plain, gzip or zstd) into the destination
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    args.files.copy(place, true)
}
