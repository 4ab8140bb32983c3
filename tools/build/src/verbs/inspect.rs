//! `build inspect CTR`: all that is known about a working container.

use crate::place::Place;
use crate::told;
use serde_json::json;
use trimaran_cli::{Failure, output};

/// Prints what is known about a working container, as JSON
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The working container
    container: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    let container = place.container(&args.container)?;
    let record = container.record().map_err(told::build)?;
    output::json(&json!({
        "id": record.id,
        "name": record.name,
        "created": record.created,
        "base": record.base.as_ref().map(|base| json!({
            "name": base.name, "manifestDigest": base.manifest, "imageId": base.image_id, "diffIds": base.layers,
        })),
        "epoch": { "seconds": record.epoch.seconds, "origin": record.epoch.origin, "time": record.epoch.rfc3339() },
        "config": record.settings.config,
        "annotations": record.settings.annotations,
        "steps": record.steps.iter().filter_map(|step| step.history()).collect::<Vec<_>>(),
        "mountPoint": container.is_mounted().then(|| container.mount_point()),
    }))
}
