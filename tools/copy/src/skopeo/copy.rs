//! `skopeo copy SRC DST`.

use super::options::Global;
use super::selection::{Conversion, Selection};
use crate::access::TwoEnds;
use crate::local::Local;
use crate::signing::Signing;
use crate::transfer;
use libimage::copy::{CopyOptions, CopyReport, copy};
use libimage::name::ImageRef;
use std::path::PathBuf;
use trimaran_cli::{Failure, output};

/// Copies an image from one place to another
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Where the image is
    #[arg(value_name = "SOURCE-IMAGE")]
    from: ImageRef,

    /// Where it goes
    #[arg(value_name = "DESTINATION-IMAGE")]
    to: ImageRef,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    conversion: Conversion,

    #[command(flatten)]
    signing: Signing,

    /// A further tag of the copy
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    additional_tag: Vec<String>,

    /// Write the digest of the copy to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    #[command(flatten)]
    access: TwoEnds,

    #[command(flatten)]
    local: Local,

    #[command(flatten)]
    global: Global,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    transfer::limit(args.global.command_timeout);
    let store = args.local.open(&[&args.from, &args.to])?;
    let sign = args.signing.signers()?;
    let cx = args.access.context()?;
    let options = CopyOptions {
        store,
        sign,
        remove_signatures: args.signing.removes_signatures(),
        additional_tags: args.additional_tag.clone(),
        ..args
            .selection
            .select(&args.global, args.conversion.options()?)
    };
    let report = transfer::perform(copy(&cx, &args.from, &args.to, &options))?;
    drop(cx);
    told(args, &report)
}

fn told(args: &Args, report: &CopyReport) -> Result<(), Failure> {
    if let Some(path) = &args.digestfile {
        // Without a newline: scripts use the content as it is.
        std::fs::write(path, report.digest.to_string()).map_err(|error| {
            Failure::new(format!(
                "the image is copied, but its digest cannot be written to {}: {error}",
                path.display()
            ))
        })?;
    }
    if !args.access.quiet() {
        output::note(report.digest.to_string());
    }
    Ok(())
}
