//! `skopeo sync --src TRANSPORT --dest TRANSPORT SRC DST`: our own verb understands this form; what differs is that without `--all`
//! only this machine's image of a list is copied.

use super::options::Global;
use super::selection::Conversion;
use crate::transfer;
use libimage::copy::CopyOptions;
use trimaran_cli::Failure;

/// Copies many images at once
#[derive(Debug, Clone, clap::Args)]
#[group(id = "SkopeoSync")]
pub(super) struct Args {
    #[command(flatten)]
    sync: crate::sync::Work,

    #[command(flatten)]
    conversion: Conversion,

    #[command(flatten)]
    global: Global,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    transfer::limit(args.global.command_timeout);
    let mut options = CopyOptions {
        any_single: !args.global.is_overridden(),
        ..args.conversion.options()?
    };
    if !args.sync.takes_all() {
        options.platforms = vec![args.global.platform()];
    }
    crate::sync::run_with(&args.sync, options)
}
