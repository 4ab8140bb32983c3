//! `copy inspect REF`: what an image is, without fetching its layers.

use crate::access::OneEnd;
use crate::local::Local;
use crate::transfer;
use libimage::copy::{InspectOptions, Inspected, InspectedImage};
use libimage::manifest::Descriptor;
use libimage::name::ImageRef;
use libimage::platform::Platform;
use serde_json::{Value, json};
use trimaran_cli::{Failure, output};

/// Describes an image as JSON: digest, platform, layers, and the platforms of an index
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// Print the manifest or index, byte for byte
    #[arg(long, conflicts_with_all = ["config", "platform"])]
    raw: bool,

    /// Print the image's configuration, byte for byte
    #[arg(long)]
    config: bool,

    /// Which image of an index, such as linux/arm64/v8, instead of this machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = InspectOptions {
        platform: args.platform.clone(),
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let found = transfer::perform(libimage::copy::inspect(&context, &args.image, &options))?;
    if args.raw {
        return output::bytes(&found.raw);
    }
    if args.config {
        let Some(image) = &found.image else {
            return Err(no_image(args, &found));
        };
        return output::bytes(&image.raw_config);
    }
    if found.image.is_none() && args.platform.is_some() {
        return Err(no_image(args, &found));
    }
    output::json(&summary(&args.image, &found))
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

fn summary(reference: &ImageRef, found: &Inspected) -> Value {
    let mut out = json!({
        "name": reference.to_string(),
        "digest": found.digest,
        "mediaType": found.media_type,
    });
    if !found.entries.is_empty() {
        out["platforms"] = found.entries.iter().map(entry).collect();
    }
    if let Some(image) = &found.image {
        out["image"] = described(image);
    }
    out
}

fn entry(descriptor: &Descriptor) -> Value {
    json!({
        "platform": descriptor.platform.as_ref().map(ToString::to_string),
        "digest": descriptor.digest,
        "size": descriptor.size,
    })
}

fn described(image: &InspectedImage) -> Value {
    // The configuration may hold anything; what is not there or not as the specification says is shown as null.
    let config: Value = serde_json::from_slice(&image.raw_config).unwrap_or_default();
    let layer = |layer: &Descriptor| json!({"digest": layer.digest, "size": layer.size, "mediaType": layer.media_type});
    json!({
        "digest": image.digest,
        "id": image.config.digest,
        "platform": image.platform.to_string(),
        "created": config["created"],
        "size": image.layers.iter().map(|layer| layer.size).sum::<u64>(),
        "layers": image.layers.iter().map(layer).collect::<Vec<_>>(),
        "env": config["config"]["Env"],
        "entrypoint": config["config"]["Entrypoint"],
        "cmd": config["config"]["Cmd"],
        "user": config["config"]["User"],
        "workingDir": config["config"]["WorkingDir"],
        "labels": config["config"]["Labels"],
    })
}
