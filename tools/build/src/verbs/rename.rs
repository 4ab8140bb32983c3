//! `build rename CTR NAME`.

use crate::place::Place;
use crate::told;
use trimaran_cli::Failure;

/// Gives a working container another name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The working container
    container: String,
    /// Its new name
    name: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    place
        .container(&args.container)?
        .rename(&args.name)
        .map_err(told::build)
}
