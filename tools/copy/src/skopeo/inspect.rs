//! `skopeo inspect IMAGE`: what an image is, in skopeo's shapes.

use super::options::Global;
use crate::access::OneEnd;
use crate::local::Local;
use crate::transfer;
use libimage::context::Context;
use libimage::copy::{self, InspectOptions, Inspected, InspectedImage};
use libimage::manifest::Descriptor;
use libimage::name::ImageRef;
use serde::Serialize;
use serde_json::Value;
use trimaran_cli::template::Template;
use trimaran_cli::{Failure, output};

/// Shows what a registry, layout or store says about an image
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The image
    #[arg(value_name = "IMAGE-NAME")]
    image: ImageRef,

    /// Show the configuration
    #[arg(long)]
    config: bool,

    /// Show the manifest, or with --config the configuration, byte for byte
    #[arg(long)]
    raw: bool,

    /// Do not list the tags of the repository
    #[arg(long, short)]
    no_tags: bool,

    /// Show it through a Go template
    #[arg(long, short, value_name = "TEMPLATE")]
    format: Option<Template>,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    #[command(flatten)]
    global: Global,
}

/// What skopeo prints: the names, their order and what is left out when empty are part of the format.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    digest: String,
    repo_tags: Vec<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    created: Value,
    docker_version: String,
    labels: Value,
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    os: String,
    layers: Vec<String>,
    layers_data: Vec<Layer>,
    env: Value,
}

#[derive(Serialize)]
struct Layer {
    #[serde(rename = "MIMEType")]
    media_type: String,
    #[serde(rename = "Digest")]
    digest: String,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Annotations")]
    annotations: Value,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    transfer::limit(args.global.command_timeout);
    let store = args.local.open(&[&args.image])?;
    let cx = args.access.context()?;
    let options = InspectOptions {
        platform: args.global.is_overridden().then(|| args.global.platform()),
        store,
    };
    let (inspected, tags) = transfer::perform(async {
        let inspected = copy::inspect(&cx, &args.image, &options).await?;
        let tags = tags(args, &cx).await?;
        Ok((inspected, tags))
    })?;
    if args.raw && !args.config {
        return output::bytes(&inspected.raw);
    }
    let image = inspected.image.as_ref().ok_or_else(|| {
        Failure::new(format!(
            "{} has no image with a configuration for this platform",
            args.image
        ))
    })?;
    if args.config {
        return config(args, image);
    }
    let shown = shown(args, &inspected, image, tags)?;
    match &args.format {
        Some(template) => output::line(template.render(&serde_json::to_value(shown)?)?),
        None => print(&shown),
    }
}

/// Only a repository of a registry has tags worth a request, and only skopeo's own default asks for them.
async fn tags(args: &Args, cx: &Context) -> Result<Vec<String>, libimage::Error> {
    match &args.image {
        ImageRef::Docker(_) if !args.no_tags && !args.raw && !args.config => {
            copy::tags(cx, &args.image).await
        }
        _ => Ok(Vec::new()),
    }
}

fn config(args: &Args, image: &InspectedImage) -> Result<(), Failure> {
    if args.raw {
        return output::bytes(&image.raw_config);
    }
    let config: Value = serde_json::from_slice(&image.raw_config)?;
    match &args.format {
        Some(template) => output::line(template.render(&config)?),
        None => print(&config),
    }
}

fn shown(
    args: &Args,
    inspected: &Inspected,
    image: &InspectedImage,
    repo_tags: Vec<String>,
) -> Result<Shown, Failure> {
    let config: Value = serde_json::from_slice(&image.raw_config)?;
    let name = match &args.image {
        ImageRef::Docker(name) => name.without_reference(),
        _ => String::new(),
    };
    Ok(Shown {
        name,
        digest: inspected.digest.to_string(),
        repo_tags,
        created: config["created"].clone(),
        docker_version: text(&config["docker_version"]),
        labels: config["config"]["Labels"].clone(),
        architecture: image.platform.architecture.clone(),
        variant: image.platform.variant.clone(),
        os: image.platform.os.clone(),
        layers: image
            .layers
            .iter()
            .map(|layer| layer.digest.to_string())
            .collect(),
        layers_data: image.layers.iter().map(Layer::of).collect(),
        env: config["config"]["Env"].clone(),
    })
}

impl Layer {
    fn of(layer: &Descriptor) -> Self {
        Self {
            media_type: layer.media_type.clone(),
            digest: layer.digest.to_string(),
            size: layer.size,
            annotations: serde_json::to_value(&layer.annotations)
                .ok()
                .filter(|value| value.as_object().is_some_and(|object| !object.is_empty()))
                .unwrap_or(Value::Null),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Prints JSON indented by four, as skopeo does.
pub(super) fn print(value: &impl Serialize) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    bytes.push(b'\n');
    output::bytes(&bytes)
}
