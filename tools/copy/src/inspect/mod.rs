//! `copy inspect REF`: what an image is, without fetching its layers.

mod describe;
mod text;

use crate::access::OneEnd;
use crate::local::Local;
use crate::transfer;
use libimage::copy::{InspectOptions, Inspected};
use libimage::name::ImageRef;
use libimage::platform::Platform;
use libimage::repository::DigestOptions;
use serde_json::Value;
use trimaran_cli::template::Shape;
use trimaran_cli::{Failure, output};

/// Describes an image: digest, platforms, configuration and layers, without fetching them
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// Print the manifest or index, byte for byte; with --config the configuration
    #[arg(long, conflicts_with = "format")]
    raw: bool,

    /// Print the image's configuration, byte for byte; with --format, what is asked for of it
    #[arg(long)]
    config: bool,

    /// Which image of an index, such as linux/arm64/v8, instead of this machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// How the result is printed: text, json, or a Go template such as '{{.Digest}} {{range .Layers}}{{.Size}} {{end}}'
    #[arg(long, short, value_name = "text|json|TEMPLATE", default_value = "text")]
    format: Shape,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let store = args.local.open(&[&args.image])?;
    let context = args.access.context()?;
    if args.raw && !args.config {
        let options = DigestOptions {
            platform: args.platform.clone(),
            store,
        };
        let manifest = libimage::repository::manifest(&context, &args.image, &options);
        return output::bytes(transfer::perform(manifest)?.raw());
    }
    let options = InspectOptions {
        platform: args.platform.clone(),
        store,
    };
    let found = transfer::perform(libimage::copy::inspect(&context, &args.image, &options))?;
    if args.config {
        return config(args, &found);
    }
    if found.image.is_none() && args.platform.is_some() {
        return Err(no_image(args, &found));
    }
    let data = describe::describe(&args.image, &found);
    match &args.format {
        Shape::Text => output::text(&text::render(&data)),
        other => shaped(other, &data),
    }
}

/// Prints the configuration, as it is or as the format says.
fn config(args: &Args, found: &Inspected) -> Result<(), Failure> {
    let Some(image) = &found.image else {
        return Err(no_image(args, found));
    };
    match &args.format {
        Shape::Text => output::bytes(&image.raw_config),
        other => shaped(other, &serde_json::from_slice(&image.raw_config)?),
    }
}

fn shaped(shape: &Shape, data: &Value) -> Result<(), Failure> {
    match shape {
        Shape::Text | Shape::Json => output::json(data),
        Shape::Template(template) => {
            let text = template.render(data).map_err(Failure::usage)?;
            // What a shell reads ends in a newline, as docker's and skopeo's output does.
            output::text(&(text.trim_end_matches('\n').to_owned() + "\n"))
        }
    }
}

fn no_image(args: &Args, found: &Inspected) -> Failure {
    let wanted = args.platform.clone().unwrap_or_else(Platform::host);
    let failure = Failure::new(format!("{} has no image for {wanted}", args.image));
    let offered: Vec<String> = found
        .entries
        .iter()
        .filter_map(|entry| Some(entry.platform.as_ref()?.to_string()))
        .collect();
    match offered.is_empty() {
        true => failure,
        false => failure.with_hint(format!("there are: {}", offered.join(", "))),
    }
}
