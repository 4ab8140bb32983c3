//! `copy attach IMAGE FILE...`: files that belong to an image.

use crate::access::OneEnd;
use crate::artifact::{Form, Kind, printed};
use crate::local::Local;
use crate::transfer;
use libimage::artifact::{self, FilePart, PushOptions};
use libimage::name::ImageRef;
use libimage::platform::Platform;
use trimaran_cli::Failure;

/// Attaches files to an image: SBOMs, reports, anything that is found from the image, and copied with it
///
/// The artifact's manifest names the image as its subject. Where a registry does not keep track of that itself, the image's fallback tag
/// (sha256-…) is extended. Prints the digest of the artifact.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image: in a registry or an OCI layout
    #[arg(value_name = "IMAGE")]
    image: ImageRef,

    /// Files with their types, which are application/octet-stream otherwise; none attaches annotations alone
    #[arg(value_name = "FILE[:MEDIA-TYPE]")]
    files: Vec<FilePart>,

    #[command(flatten)]
    kind: Kind,

    /// Attach to this image of an index, such as linux/arm64/v8, instead of to the index
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    #[command(flatten)]
    form: Form,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = PushOptions {
        platform: args.platform.clone(),
        store: args.local.open(&[&args.image])?,
        ..args.kind.options()?
    };
    let context = args.access.context()?;
    let attached = artifact::attach(&context, &args.image, &args.files, &options);
    printed(&args.form, &transfer::perform(attached)?)
}
