//! `copy digest REF`: which digest a reference has now.

use crate::access::OneEnd;
use crate::local::Local;
use crate::transfer;
use libimage::digest::Digest;
use libimage::name::ImageRef;
use libimage::platform::Platform;
use libimage::repository::DigestOptions;
use trimaran_cli::{Failure, output};

/// Prints the digest of an image without fetching it
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// The digest of this platform's image, such as linux/arm64, instead of the index's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// Print a whole reference with the digest in place of the tag
    #[arg(long)]
    full_ref: bool,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = DigestOptions {
        platform: args.platform.clone(),
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let digest = transfer::perform(libimage::repository::digest(
        &context,
        &args.image,
        &options,
    ))?;
    if args.full_ref {
        return output::line(full(&args.image, &digest)?);
    }
    output::line(digest)
}

/// Returns the same image by its digest.
fn full(image: &ImageRef, digest: &Digest) -> Result<String, Failure> {
    match image {
        ImageRef::Docker(name) => Ok(ImageRef::Docker(name.with_digest(digest)).to_string()),
        ImageRef::Oci { path, .. } => Ok(format!("oci:{}:@{digest}", path.display())),
        ImageRef::Store(_) => Ok(format!("store:{digest}")),
        _ => Err(Failure::usage(format!(
            "images of {}: have no reference by digest",
            image.transport()
        ))),
    }
}
