//! `copy manifest get|put|head|delete`: single manifests, byte for byte.

use crate::access::OneEnd;
use crate::delete;
use crate::format::{self, Format};
use crate::local::Local;
use crate::{outfile, transfer};
use libimage::limits;
use libimage::manifest::Manifest;
use libimage::name::ImageRef;
use libimage::platform::Platform;
use libimage::repository::{DeleteMode, DeleteOptions, DigestOptions};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use trimaran_cli::{Failure, output};

/// Reads, writes and deletes single manifests, byte for byte
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    Get(Get),
    Put(Put),
    Head(Head),
    Delete(Delete),
}

/// Prints a manifest or index, byte for byte
#[derive(Debug, Clone, clap::Args)]
struct Get {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// The manifest of this platform's image, such as linux/arm64, instead of the index
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Writes a manifest or index as it is, and prints its digest; what it names must be there
#[derive(Debug, Clone, clap::Args)]
struct Put {
    /// Where it goes: its tag, or its digest
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// The file that holds it; - is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    /// Its media type, if it does not say so itself
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Prints the digest of a manifest, without fetching it
#[derive(Debug, Clone, clap::Args)]
struct Head {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    /// How the result is printed: the digest alone, or digest, size and type as JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Deletes a manifest, also if a tag names it, unless other tags point to it
#[derive(Debug, Clone, clap::Args)]
struct Delete {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// Delete it also if other tags point to it, and these with it
    #[arg(long)]
    force: bool,

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
    match &args.action {
        Action::Get(args) => get(args),
        Action::Put(args) => put(args),
        Action::Head(args) => head(args),
        Action::Delete(args) => delete_manifest(args),
    }
}

fn get(args: &Get) -> Result<(), Failure> {
    let options = DigestOptions {
        platform: args.platform.clone(),
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let fetching = libimage::repository::manifest(&context, &args.image, &options);
    let manifest = transfer::perform(fetching)?;
    outfile::write(args.output.as_deref(), manifest.raw())
}

fn put(args: &Put) -> Result<(), Failure> {
    let raw = read(&args.file, limits::MANIFEST_BYTES)?;
    let manifest = Manifest::parse(raw, args.media_type.as_deref())?;
    let store = args.local.open(&[&args.image])?;
    let context = args.access.context()?;
    let writing = libimage::repository::put_manifest(&context, &args.image, &manifest, store);
    output::line(transfer::perform(writing)?)
}

/// Reads a small file, or stdin.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot read {}: {error}", path.display()));
    let mut content = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(limit + 1).read_to_end(&mut content)
    } else {
        let file = File::open(path).map_err(failed)?;
        file.take(limit + 1).read_to_end(&mut content)
    };
    read.map_err(failed)?;
    if content.len() as u64 > limit {
        return Err(Failure::new(format!(
            "{} has more than {limit} bytes: too many for a manifest",
            path.display()
        )));
    }
    Ok(content)
}

fn head(args: &Head) -> Result<(), Failure> {
    let store = args.local.open(&[&args.image])?;
    let context = args.access.context()?;
    let asking = libimage::repository::head(&context, &args.image, store);
    let head = transfer::perform(asking)?;
    match args.format {
        Format::Text => output::line(&head.digest),
        Format::Json => output::json(&json!({
            "mediaType": head.media_type,
            "digest": head.digest,
            "size": head.size,
        })),
    }
}

fn delete_manifest(args: &Delete) -> Result<(), Failure> {
    let options = DeleteOptions {
        mode: DeleteMode::Manifest,
        force: args.force,
        jobs: args.jobs,
        store: args.local.open(&[&args.image])?,
        ..DeleteOptions::default()
    };
    let context = args.access.context()?;
    let deleting = libimage::repository::delete(&context, &args.image, &options);
    delete::report(&transfer::perform(deleting)?, args.format)
}
