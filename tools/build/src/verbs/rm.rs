//! `build rm CTR`: the end of a working container.

use crate::place::Place;
use crate::told;
use trimaran_cli::{Failure, output};

/// Removes working containers with all that was done in them; images stay
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Working containers
    #[arg(required_unless_present = "all")]
    containers: Vec<String>,

    /// All, and what killed commands left behind
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
        place.session.remove(&container).map_err(told::build)?;
        output::line(container.id())?;
    }
    if args.all {
        place.session.sweep().map_err(told::build)
    } else {
        Ok(())
    }
}
