//! `copy validate REF`: reads an image again and tells everything that is wrong with it.

use crate::access::OneEnd;
use crate::format::{self, Format};
use crate::local::Local;
use crate::transfer;
use libimage::name::ImageRef;
use libimage::platform::Platform;
use libimage::validate::{Problem, ValidateOptions, Validation};
use serde_json::{Value, json};
use trimaran_cli::table::printable;
use trimaran_cli::{Failure, human, output};

/// Reads an image again, all of it, and tells everything that is wrong: digests, sizes, types, diffIDs, archives
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// Only these platforms of an index, such as linux/amd64,linux/arm64/v8
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    platform: Vec<Platform>,

    /// Only ask whether the blobs are there, with the right size; manifests and configurations are read
    #[arg(long)]
    fast: bool,

    /// How many blobs are read at once
    #[arg(long, value_name = "N", default_value_t = ValidateOptions::default().jobs, value_parser = format::jobs)]
    jobs: usize,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    /// How the result is printed: one line a problem, or a report as JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = ValidateOptions {
        platforms: args.platform.clone(),
        fast: args.fast,
        jobs: args.jobs,
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let found = transfer::perform(libimage::validate::validate(
        &context,
        &args.image,
        &options,
    ))?;
    drop(context);
    match args.format {
        Format::Text => output::text(&found.problems.iter().map(line).collect::<String>())?,
        Format::Json => output::json(&report(&args.image, &found, args.fast))?,
    }
    match found.problems.len() {
        0 => {
            if args.format == Format::Text {
                output::line(summary(args, &found))?;
            }
            Ok(())
        }
        1 => Err(Failure::new(format!("{} has a problem", args.image))),
        count => Err(Failure::new(format!("{} has {count} problems", args.image))),
    }
}

fn summary(args: &Args, found: &Validation) -> String {
    let blobs = counted(found.blobs, "blob");
    let what = if args.fast {
        format!("{blobs} there")
    } else {
        format!("{blobs} ({}) read again", human::bytes(found.bytes))
    };
    let manifests = counted(found.manifests, "manifest");
    format!("{} is valid: {manifests}, {what}", args.image)
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn line(problem: &Problem) -> String {
    let digest = problem
        .digest
        .as_ref()
        .map_or(String::new(), |digest| format!(" {digest}"));
    let text = format!(
        "{}: {}{digest}: {}",
        problem.kind.as_str(),
        problem.place,
        problem.message
    );
    printable(&text) + "\n"
}

fn report(image: &ImageRef, found: &Validation, fast: bool) -> Value {
    let problem = |problem: &Problem| {
        json!({
            "kind": problem.kind.as_str(),
            "place": problem.place,
            "digest": problem.digest,
            "message": problem.message,
        })
    };
    json!({
        "name": image.to_string(),
        "digest": found.digest,
        "valid": found.is_valid(),
        "fast": fast,
        "manifests": found.manifests,
        "blobs": found.blobs,
        "bytes": found.bytes,
        "foreign": found.foreign,
        "requests": found.requests,
        "problems": found.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}
