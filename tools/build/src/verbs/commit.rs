//! `build commit CTR NAME`: an image of a working container.

use crate::place::Place;
use crate::{fetch, told};
use clap::ValueEnum;
use libbuild::{Commit, repro};
use libimage::compress::Compression;
use libimage::name::{ImageRef, Name};
use std::path::PathBuf;
use trimaran_cli::registry::RegistryArgs;
use trimaran_cli::{Failure, output};

/// Makes an image of a working container and prints its id
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The working container
    container: String,

    /// Where the image goes: NAME or store:NAME in the store, oci:PATH:TAG, docker://NAME; without it, to the store
    /// without a name
    destination: Option<String>,

    /// Another name in the store
    #[arg(long, short, value_name = "NAME")]
    tag: Vec<Name>,

    /// How the layer is packed
    #[arg(long, value_enum, default_value_t)]
    compress: Packing,

    /// Level of the compressor, instead of its usual one
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    compression_level: Option<i32>,

    /// The moment the image claims to be from, in seconds since 1970, instead of what `from` decided
    #[arg(long, visible_alias = "timestamp", value_name = "SECONDS", value_parser = repro::parse_epoch)]
    source_date_epoch: Option<i64>,

    /// Write the image's id to this file too
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,

    /// Remove the working container afterwards
    #[arg(long)]
    rm: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Packing {
    /// Zstandard
    #[default]
    Zstd,
    /// gzip, for older consumers
    Gzip,
    /// Not at all
    None,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    let container = place.container(&args.container)?;
    let destination = args
        .destination
        .as_deref()
        .map(ImageRef::parse_or_bare)
        .transpose()?;
    let mut commit = Commit::unnamed().compression(args.compression(), args.compression_level);
    commit = args
        .source_date_epoch
        .iter()
        .copied()
        .fold(commit, Commit::epoch);
    commit = args.tag.iter().cloned().fold(commit, Commit::name);
    if let Some(ImageRef::Bare(name) | ImageRef::Store(name)) = &destination {
        commit = commit.name(name.parse()?);
    }
    let built = container.commit(commit).map_err(told::build)?;
    if let Some(elsewhere @ (ImageRef::Docker(_) | ImageRef::Oci { .. })) = &destination {
        let context = args
            .registry
            .context(place.namespace.uid, place.drawing.clone())?;
        fetch::send(place, &context, &built.image, elsewhere)?;
        // The store was only on the way.
        if place.store.names(&built.manifest_digest)?.is_empty() {
            place.store.remove(built.manifest_digest.as_str(), false)?;
        }
    }
    if let Some(path) = &args.iidfile {
        std::fs::write(path, built.image_id.as_str())?;
    }
    if args.rm {
        place.session.remove(&container).map_err(told::build)?;
    }
    output::line(&built.image_id)
}

impl Args {
    fn compression(&self) -> Compression {
        match self.compress {
            Packing::Zstd => Compression::Zstd,
            Packing::Gzip => Compression::Gzip,
            Packing::None => Compression::None,
        }
    }
}
