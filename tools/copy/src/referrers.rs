//! `copy referrers IMAGE`: what refers to an image.

use crate::access::OneEnd;
use crate::local::Local;
use crate::transfer;
use clap::ValueEnum;
use libimage::artifact::{self, Node, Tree, TreeOptions};
use libimage::manifest::Descriptor;
use libimage::name::ImageRef;
use libimage::platform::Platform;
use serde_json::{Value, json};
use trimaran_cli::table::printable;
use trimaran_cli::{Failure, human, output};

/// Shows what refers to an image: signatures, SBOMs, attestations, and what refers to these
///
/// Found are manifests with the image as their subject (by the registry's endpoint, or its fallback tag) and cosign's tags. Of an
/// index, what refers to the index itself is shown; what refers to one of its images, with --platform.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image: in a registry or an OCI layout
    #[arg(value_name = "IMAGE")]
    image: ImageRef,

    /// Show only this kind of artifact, such as application/spdx+json, with what refers to it
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    /// Show this many levels instead of all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    depth: Option<u8>,

    /// Which image of an index, such as linux/arm64/v8, instead of the index
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// How the result is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Form,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// The form of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Tree,
    /// For programs
    Json,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = TreeOptions {
        artifact_type: args.artifact_type.clone(),
        depth: args.depth.map(usize::from),
        platform: args.platform.clone(),
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let found = transfer::perform(artifact::tree(&context, &args.image, &options))?;
    match args.format {
        Form::Json => output::json(&as_json(&args.image, &found)),
        Form::Tree => output::text(&drawn(&args.image, &found)),
    }
}

fn drawn(image: &ImageRef, tree: &Tree) -> String {
    let mut text = format!("{image}\n{}\n", tree.descriptor.digest);
    draw(&tree.referrers, "", &mut text);
    text
}

fn draw(nodes: &[Node], indent: &str, text: &mut String) {
    for (at, node) in nodes.iter().enumerate() {
        let last = at + 1 == nodes.len();
        let (branch, below) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let size = human::bytes(node.descriptor.size);
        let kind = printable(&kind(node));
        text.push_str(&format!(
            "{indent}{branch}{kind}  {}  {size}\n",
            node.descriptor.digest
        ));
        let indent = format!("{indent}{below}");
        let bar = if node.referrers.is_empty() {
            "    "
        } else {
            "│   "
        };
        let told = node.tag.iter().map(|tag| ("tag", tag.as_str()));
        let annotations = &node.descriptor.annotations;
        let told = told.chain(annotations.iter().map(|(key, value)| (&**key, &**value)));
        for (key, value) in told {
            text.push_str(&format!(
                "{indent}{bar}{}: {}\n",
                printable(key),
                printable(&shortened(value))
            ));
        }
        draw(&node.referrers, &indent, text);
    }
}

/// Certificates and signatures are kept in annotations too; nobody reads those in a tree.
fn shortened(value: &str) -> String {
    const SHOWN: usize = 100;
    let mut shown: String = value.chars().take(SHOWN).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}

fn kind(node: &Node) -> String {
    let suffix = node.tag.as_ref().and_then(|tag| tag.rsplit_once('.'));
    match suffix.map(|(_, suffix)| suffix) {
        Some("sig") => "cosign signatures".to_owned(),
        Some("att") => "cosign attestations".to_owned(),
        Some("sbom") => "cosign SBOM".to_owned(),
        _ => kind_of(&node.descriptor).to_owned(),
    }
}

fn kind_of(descriptor: &Descriptor) -> &str {
    descriptor
        .artifact_type
        .as_deref()
        .unwrap_or(&descriptor.media_type)
}

fn as_json(image: &ImageRef, tree: &Tree) -> Value {
    json!({
        "reference": image.to_string(),
        "mediaType": tree.descriptor.media_type,
        "digest": tree.descriptor.digest,
        "size": tree.descriptor.size,
        "referrers": tree.referrers.iter().map(node).collect::<Vec<_>>(),
    })
}

fn node(node: &Node) -> Value {
    json!({
        "artifactType": node.descriptor.artifact_type,
        "mediaType": node.descriptor.media_type,
        "digest": node.descriptor.digest,
        "size": node.descriptor.size,
        "annotations": node.descriptor.annotations,
        "tag": node.tag,
        "referrers": node.referrers.iter().map(self::node).collect::<Vec<_>>(),
    })
}
