//! `build umount CTR`: the end of `build mount`.

use crate::place::Place;
use crate::told;
use trimaran_cli::{Failure, output};

/// Unmounts the root file system of working containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Working containers
    #[arg(required_unless_present = "all")]
    containers: Vec<String>,

    /// All that are mounted
    #[arg(long, short, conflicts_with = "containers")]
    all: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    let named = args
        .containers
        .iter()
        .map(|name| place.container(name))
        .collect::<Result<Vec<_>, _>>()?;
    let containers = if args.all {
        place.session.list().map_err(told::build)?
    } else {
        named
    };
    for container in containers {
        if container.umount().map_err(told::build)? {
            output::line(container.id())?;
        } else if !args.all {
            output::warn(format_args!("{} is not mounted", container.name()));
        }
    }
    Ok(())
}
