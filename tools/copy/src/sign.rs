//! `copy sign REF --key FILE`: signs an image where it is, and makes keys.

use crate::access::OneEnd;
use crate::format::Format;
use crate::local::Local;
use crate::signing::{self, How};
use crate::transfer;
use libimage::name::ImageRef;
use libimage::sign::SignOptions;
use serde_json::json;
use std::path::PathBuf;
use trimaran_cli::{Failure, output};

/// Signs an image where it is, in the form that cosign and podman read; an index with each of its images
///
/// The signature says which name the image has: that of REF, or --sign-identity. Name REF by tag, or give the identity: a signature
/// for a digest fits no tag. To be safe from a tag that moves, name REF by digest and give the identity.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF", required_unless_present = "generate_key")]
    image: Option<ImageRef>,

    /// The private key: a file of --generate-key or of cosign, or plain PKCS #8 (PEM)
    #[arg(long, value_name = "PATH", required_unless_present = "generate_key", conflicts_with_all = ["policy", "insecure_policy", "require_signed"])]
    key: Vec<PathBuf>,

    /// Make a pair of keys instead, in the files PREFIX.key and PREFIX.pub
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["image", "key", "sign_identity"])]
    generate_key: Option<String>,

    #[command(flatten)]
    how: How,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    /// How the result is printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(prefix) = &args.generate_key {
        return signing::generate(prefix, args.how.passphrase()?.as_deref());
    }
    let Some(image) = &args.image else {
        return Err(Failure::usage("REF is missing"));
    };
    let options = SignOptions {
        signers: args.how.signers(&args.key)?,
        store: args.local.open(&[image])?,
    };
    let context = args.access.context()?;
    let signed = transfer::perform(libimage::sign::sign(&context, image, &options))?;
    drop(context);
    if signed.signatures == 0 && args.output == Format::Text {
        output::note("it was signed so already");
    }
    match args.output {
        Format::Text => output::line(&signed.digest),
        Format::Json => output::json(&json!({
            "digest": signed.digest,
            "signatures": signed.signatures,
        })),
    }
}
