//! `run images`: what the store has.

use super::RootArgs;
use crate::{failure, space::Space};
use clap::{Parser, ValueEnum};
use libimage::digest::Digest;
use libimage::name::Name;
use libimage::store::ImageRecord;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::SystemTime;
use trimaran_cli::table::Table;
use trimaran_cli::{Failure, human, output, time};

/// List the images of the store
#[derive(Debug, Parser)]
pub(crate) struct ImagesArgs {
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show the digests of the manifests
    #[arg(long, conflicts_with = "quiet")]
    digests: bool,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Digits of a short id, as everywhere in the field.
const SHORT: usize = 12;

/// Prints the list.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn call(args: &ImagesArgs) -> Result<(), Failure> {
    let images = Space::enter(args.root.root.as_deref())?
        .store()?
        .images()
        .map_err(failure::image)?;
    if args.quiet {
        let mut seen = BTreeSet::new();
        let ids = images
            .iter()
            .map(|image| id(&image.id, args.no_trunc))
            .filter(|id| seen.insert(id.clone()));
        return output::text(&ids.map(|id| id + "\n").collect::<String>());
    }
    match args.format {
        Format::Json => output::json(&images.iter().map(as_json).collect()),
        Format::Table => output::text(&table(&images, args, SystemTime::now()).to_string()),
    }
}

fn table(images: &[ImageRecord], args: &ImagesArgs, now: SystemTime) -> Table {
    let mut headers = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
    if args.digests {
        headers.insert(2, "DIGEST");
    }
    let mut table = Table::new(&headers);
    for image in images {
        let (repository, tag) = repository_and_tag(image);
        let age = image
            .created
            .as_deref()
            .and_then(time::parse_rfc3339)
            .map(|at| now.duration_since(at).unwrap_or_default());
        let mut row = vec![
            repository,
            tag,
            id(&image.id, args.no_trunc),
            age.map_or_else(|| "unknown".to_owned(), human::age),
            human::bytes(image.unpacked_bytes.unwrap_or(image.size_bytes)),
        ];
        if args.digests {
            row.insert(2, image.manifest_digest.to_string());
        }
        table.row(row);
    }
    table
}

fn repository_and_tag(image: &ImageRecord) -> (String, String) {
    let none = || "<none>".to_owned();
    match image.name.as_deref().map(str::parse::<Name>) {
        Some(Ok(name)) => (
            name.without_reference(),
            name.tag().map_or_else(none, str::to_owned),
        ),
        _ => (image.name.clone().unwrap_or_else(none), none()),
    }
}

fn id(digest: &Digest, full: bool) -> String {
    if full {
        digest.to_string()
    } else {
        digest.hex().chars().take(SHORT).collect()
    }
}

fn as_json(image: &ImageRecord) -> Value {
    json!({
        "name": image.name,
        "id": image.id.as_str(),
        "digest": image.manifest_digest.as_str(),
        "created": image.created,
        "platform": image.platform,
        "size": image.size_bytes,
        "unpackedSize": image.unpacked_bytes,
    })
}
