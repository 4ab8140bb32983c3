//! `copy delete REF`: a tag, or a manifest nobody else means.

use crate::access::OneEnd;
use crate::format::{self, Format};
use crate::local::Local;
use crate::transfer;
use libimage::name::ImageRef;
use libimage::repository::{DeleteMode, DeleteOptions, Deleted};
use serde_json::json;
use std::fmt::Write as _;
use trimaran_cli::{Failure, human, output};

/// Deletes a tag, leaving its manifest and other tags of it alone; or a manifest, if it is named by digest
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What to delete: with a tag the tag alone, with a digest the manifest
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// Delete the manifest also if a tag names it
    #[arg(long)]
    manifest: bool,

    /// Delete a manifest that other tags point to, and these with it; where the registry cannot delete a tag alone, delete its manifest
    #[arg(long)]
    force: bool,

    /// In a layout, also remove the blobs that nothing needs any more; nothing else may write to it meanwhile
    #[arg(long)]
    gc: bool,

    /// How many tags are asked at once for what they point to
    #[arg(long, value_name = "N", default_value_t = DeleteOptions::default().jobs, value_parser = format::jobs)]
    jobs: usize,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    /// How the result is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.gc && !matches!(args.image, ImageRef::Oci { .. }) {
        return Err(Failure::usage(
            "--gc is for layouts (oci:); everything else collects by itself",
        ));
    }
    let options = DeleteOptions {
        mode: if args.manifest {
            DeleteMode::Manifest
        } else {
            DeleteMode::AsNamed
        },
        force: args.force,
        collect: args.gc,
        jobs: args.jobs,
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let deleted = transfer::perform(libimage::repository::delete(
        &context,
        &args.image,
        &options,
    ))?;
    report(&deleted, args.format)
}

/// Prints what is gone.
pub(crate) fn report(deleted: &Deleted, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(&json!({
            "tags": deleted.tags,
            "manifest": deleted.manifest,
            "blobs": deleted.blobs,
            "bytes": deleted.bytes,
        }));
    }
    let mut text = String::new();
    for tag in &deleted.tags {
        writeln!(text, "untagged {tag}").expect("writing to a string succeeds");
    }
    if let Some(digest) = &deleted.manifest {
        writeln!(text, "deleted {digest}").expect("writing to a string succeeds");
    }
    if deleted.blobs > 0 {
        output::note(format_args!(
            "{} blobs removed ({})",
            deleted.blobs,
            human::bytes(deleted.bytes)
        ));
    }
    output::text(&text)
}
