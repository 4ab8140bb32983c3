//! `skopeo delete IMAGE`: the manifest that the name points to, and with it every tag of it, as skopeo does it.

use super::options::Global;
use crate::access::OneEnd;
use crate::local::Local;
use crate::transfer;
use libimage::name::ImageRef;
use libimage::repository::{DeleteMode, DeleteOptions, delete};
use trimaran_cli::Failure;

/// Deletes an image, under all its tags
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The image
    #[arg(value_name = "IMAGE-NAME")]
    image: ImageRef,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    #[command(flatten)]
    global: Global,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    transfer::limit(args.global.command_timeout);
    let options = DeleteOptions {
        mode: DeleteMode::Manifest,
        force: true,
        store: args.local.open(&[&args.image])?,
        ..DeleteOptions::default()
    };
    let cx = args.access.context()?;
    transfer::perform(delete(&cx, &args.image, &options))?;
    Ok(())
}
