//! `copy artifact push|pull`: files in a registry.

use crate::access::OneEnd;
use crate::format::{self, Format};
use crate::local::Local;
use crate::transfer;
use clap::Subcommand;
use libimage::artifact::{self, CREATED, FilePart, PullOptions, PushOptions, Pushed};
use libimage::name::ImageRef;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use trimaran_cli::{Failure, output, time};

/// Pushes files as an artifact, or pulls the files of one
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    Push(Push),
    Pull(Pull),
}

/// Pushes files as an artifact, and prints its digest
#[derive(Debug, Clone, clap::Args)]
struct Push {
    /// Where the artifact goes: a registry, an OCI layout or an archive
    #[arg(value_name = "DST")]
    to: ImageRef,

    /// Files with their types, which are application/octet-stream otherwise
    #[arg(value_name = "FILE[:MEDIA-TYPE]", required = true)]
    files: Vec<FilePart>,

    #[command(flatten)]
    kind: Kind,

    #[command(flatten)]
    form: Form,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Pulls the files of an artifact, and prints their names
#[derive(Debug, Clone, clap::Args)]
struct Pull {
    /// Where the artifact is
    #[arg(value_name = "SRC")]
    from: ImageRef,

    /// Directory the files go to; the names of the artifact lead nowhere else
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    output: PathBuf,

    /// Only files of this type (can be repeated)
    #[arg(long, value_name = "TYPE")]
    media_type: Vec<String>,

    /// Only files whose names match this pattern of * and ? (can be repeated)
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,

    /// Replace files that are there
    #[arg(long, short)]
    force: bool,

    /// How many files are fetched at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = format::jobs)]
    jobs: usize,

    #[command(flatten)]
    form: Form,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// What an artifact is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Kind {
    /// The kind of artifact: a media type, such as application/spdx+json
    #[arg(long, value_name = "TYPE")]
    artifact_type: String,

    /// An annotation of the artifact (can be repeated)
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
}

/// How the digest is printed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Form {
    /// How the result is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
    match key {
        "" => Err("it has no key".to_owned()),
        _ => Ok((key.to_owned(), value.to_owned())),
    }
}

impl Kind {
    /// Makes the library's options. The time of making is noted, as the field's tools do, unless it is given: so a build that wants the
    /// same digest twice gives it, or `SOURCE_DATE_EPOCH`.
    pub(crate) fn options(&self) -> Result<PushOptions, Failure> {
        let mut annotations: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in &self.annotation {
            if annotations.insert(key.clone(), value.clone()).is_some() {
                return Err(Failure::usage(format!("--annotation {key} is given twice")));
            }
        }
        if !annotations.contains_key(CREATED) {
            annotations.insert(CREATED.to_owned(), time::rfc3339(now()?));
        }
        Ok(PushOptions {
            annotations,
            ..PushOptions::new(&self.artifact_type)
        })
    }
}

fn now() -> Result<SystemTime, Failure> {
    let seconds = match std::env::var_os("SOURCE_DATE_EPOCH") {
        Some(epoch) => epoch
            .to_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::usage("SOURCE_DATE_EPOCH is no number"))?,
        None => SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    };
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or_else(|| Failure::usage("SOURCE_DATE_EPOCH is no time"))
}

/// Prints what was pushed.
pub(crate) fn printed(form: &Form, pushed: &Pushed) -> Result<(), Failure> {
    match form.format {
        Format::Text => output::line(&pushed.digest),
        Format::Json => output::json(&json!({
            "digest": pushed.digest,
            "subject": pushed.subject,
            "blobs": {"copied": pushed.copied, "skipped": pushed.skipped},
        })),
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.verb {
        Verb::Push(args) => push(args),
        Verb::Pull(args) => pull(args),
    }
}

fn push(args: &Push) -> Result<(), Failure> {
    let options = PushOptions {
        store: args.local.open(&[&args.to])?,
        ..args.kind.options()?
    };
    let context = args.access.context()?;
    let pushed = artifact::push(&context, &args.to, &args.files, &options);
    printed(&args.form, &transfer::perform(pushed)?)
}

fn pull(args: &Pull) -> Result<(), Failure> {
    let options = PullOptions {
        media_types: args.media_type.clone(),
        include: args.include.clone(),
        overwrite: args.force,
        jobs: args.jobs,
        store: args.local.open(&[&args.from])?,
    };
    let context = args.access.context()?;
    let pulled = artifact::pull(&context, &args.from, &args.output, &options);
    let pulled = transfer::perform(pulled)?;
    drop(context);
    if pulled.unnamed > 0 {
        output::warn(format_args!(
            "{} parts have no name and were not written",
            pulled.unnamed
        ));
    }
    match args.form.format {
        Format::Json => {
            let file = |file: &artifact::PulledFile| {
                json!({
                    "name": file.name.as_str(),
                    "mediaType": file.descriptor.media_type,
                    "digest": file.descriptor.digest,
                    "size": file.descriptor.size,
                })
            };
            output::json(&json!({
                "digest": pulled.digest,
                "artifactType": pulled.artifact_type,
                "files": pulled.files.iter().map(file).collect::<Vec<_>>(),
            }))
        }
        Format::Text => pulled
            .files
            .iter()
            .try_for_each(|file| output::line(file.name.as_str())),
    }
}
