//! `build mount CTR`: the root file system as a directory.

use crate::place::Place;
use crate::told;
use trimaran_cli::{Failure, output};

/// Mounts the root file system of working containers and prints where; without one, lists what is mounted
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Working containers
    containers: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    if args.containers.is_empty() {
        for container in place.session.list().map_err(told::build)? {
            if container.is_mounted() {
                output::line(format_args!(
                    "{} {}",
                    container.name(),
                    container.mount_point().display()
                ))?;
            }
        }
        return Ok(());
    }
    if place.namespace.private {
        let failure = Failure::new(
            "a mount of an ordinary user lasts only as long as its user namespace, which here is this command",
        );
        return Err(failure
            .with_hint("run the commands that need the mount inside one: `build unshare SCRIPT`"));
    }
    for name in &args.containers {
        let path = place.container(name)?.mount().map_err(told::build)?;
        match args.containers.len() {
            1 => output::line(path.display())?,
            _ => output::line(format_args!("{name} {}", path.display()))?,
        }
    }
    Ok(())
}
