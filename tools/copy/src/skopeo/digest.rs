//! `skopeo manifest-digest FILE`: what a manifest's digest is.

use libimage::digest::Digest;
use libimage::limits;
use libimage::manifest::Manifest;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use trimaran_cli::{Failure, output};

/// Computes the digest of a manifest in a file
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The file
    #[arg(value_name = "MANIFEST-FILE")]
    file: PathBuf,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("cannot read {}: {error}", args.file.display()))
    };
    let file = File::open(&args.file).map_err(|error| failed(&error))?;
    let mut raw = Vec::new();
    file.take(limits::MANIFEST_BYTES + 1)
        .read_to_end(&mut raw)
        .map_err(|error| failed(&error))?;
    if raw.len() as u64 > limits::MANIFEST_BYTES {
        return Err(failed(&"it is too large for a manifest"));
    }
    // A digest of something else would look as good.
    Manifest::parse(raw.clone(), None)?;
    output::line(Digest::of(&raw))
}
