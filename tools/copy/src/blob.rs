//! `copy blob get|put|head`: single blobs.

use crate::access::OneEnd;
use crate::format::Format;
use crate::local::Local;
use crate::outfile::OutFile;
use crate::transfer;
use libimage::digest::Digest;
use libimage::name::ImageRef;
use libimage::repository::BlobContent;
use serde_json::json;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use trimaran_cli::{Failure, output};

/// Reads and writes single blobs
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
}

/// Prints a blob; one that turns out to be wrong ends with an error, and no file is left
#[derive(Debug, Clone, clap::Args)]
struct Get {
    #[command(flatten)]
    which: Which,

    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Writes a file as a blob, and prints its digest
#[derive(Debug, Clone, clap::Args)]
struct Put {
    /// Where it goes: any image of the repository or layout
    #[arg(value_name = "REF")]
    repository: ImageRef,

    /// The file; - is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    /// The digest it must have; anything else is an error, and nothing is written
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    digest: Option<Digest>,

    /// The media type to print with --format json; a registry does not keep it
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    media_type: String,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    /// How the result is printed: the digest alone, or a descriptor as JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Prints the size of a blob in bytes, without fetching it
#[derive(Debug, Clone, clap::Args)]
struct Head {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    /// How the result is printed: the size alone, or digest and size as JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Which blob.
#[derive(Debug, Clone, clap::Args)]
struct Which {
    /// Where it is: any image of the repository or layout, or REPOSITORY@DIGEST
    #[arg(value_name = "REF")]
    repository: ImageRef,

    /// The blob's digest, if it is not in the reference
    #[arg(value_name = "DIGEST", value_parser = digest)]
    digest: Option<Digest>,
}

fn digest(text: &str) -> Result<Digest, String> {
    text.parse()
        .map_err(|error: libimage::digest::DigestError| error.to_string())
}

impl Which {
    fn digest(&self) -> Result<Digest, Failure> {
        let of_name = self.repository.docker_name().and_then(|name| name.digest());
        let of_tag = match &self.repository {
            ImageRef::Oci { tag: Some(tag), .. } => tag.trim_start_matches('@').parse().ok(),
            _ => None,
        };
        self.digest
            .clone()
            .or(of_name.cloned())
            .or(of_tag)
            .ok_or_else(|| Failure::usage("which blob? Give its digest"))
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Get(args) => get(args),
        Action::Put(args) => put(args),
        Action::Head(args) => head(args),
    }
}

fn get(args: &Get) -> Result<(), Failure> {
    let digest = args.which.digest()?;
    let repository = &args.which.repository;
    let store = args.local.open(&[repository])?;
    let context = args.access.context()?;
    let mut file = match args
        .output
        .as_deref()
        .filter(|path| path.as_os_str() != "-")
    {
        Some(path) => Some(OutFile::create(path)?),
        None => None,
    };
    let mut written = Ok(());
    let fetching = async {
        let blob = libimage::repository::blob(&context, repository, &digest, store).await?;
        written = match &mut file {
            Some(file) => pass(blob, file).await?,
            None => pass(blob, &mut io::stdout().lock()).await?,
        };
        Ok(())
    };
    transfer::perform(fetching)?;
    match file {
        None => written.map_err(output::failure),
        Some(file) => {
            written?;
            file.publish()
        }
    }
}

/// Writes a blob as it comes. The outer error is the blob's, the inner one the file's.
async fn pass(
    mut blob: BlobContent,
    out: &mut impl Write,
) -> Result<io::Result<()>, libimage::Error> {
    while let Some(piece) = blob.next().await {
        let piece = piece?;
        if let Err(error) = out.write_all(&piece) {
            return Ok(Err(error));
        }
    }
    Ok(out.flush())
}

fn put(args: &Put) -> Result<(), Failure> {
    let store = args.local.open(&[&args.repository])?;
    let context = args.access.context()?;
    let (digest, size) = if args.file.as_os_str() == "-" {
        let content = io::stdin();
        let writing = libimage::repository::put_blob(
            &context,
            &args.repository,
            content,
            args.digest.as_ref(),
            store,
        );
        transfer::perform(writing)?
    } else {
        let content = File::open(&args.file).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", args.file.display()))
        })?;
        let writing = libimage::repository::put_blob(
            &context,
            &args.repository,
            content,
            args.digest.as_ref(),
            store,
        );
        transfer::perform(writing)?
    };
    match args.format {
        Format::Text => output::line(digest),
        Format::Json => {
            output::json(&json!({"mediaType": args.media_type, "digest": digest, "size": size}))
        }
    }
}

fn head(args: &Head) -> Result<(), Failure> {
    let digest = args.which.digest()?;
    let repository = &args.which.repository;
    let store = args.local.open(&[repository])?;
    let context = args.access.context()?;
    let asking = libimage::repository::blob_size(&context, repository, &digest, store);
    let size = transfer::perform(asking)?;
    let size = size.ok_or_else(|| Failure::new(format!("{repository} has no blob {digest}")))?;
    match args.format {
        Format::Text => output::line(size),
        Format::Json => output::json(&json!({"digest": digest, "size": size})),
    }
}
