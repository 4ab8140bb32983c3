//! `copy tag REF TAG...`: other tags for an image that is there.

use crate::access::OneEnd;
use crate::format::Format;
use crate::local::Local;
use crate::transfer;
use libimage::name::ImageRef;
use serde_json::{Value, json};
use trimaran_cli::{Failure, output};

/// Gives an image more tags in its repository, without moving its content
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// The tags it gets; in the store also whole names
    #[arg(value_name = "TAG", required = true)]
    tags: Vec<String>,

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
    let store = args.local.open(&[&args.image])?;
    let context = args.access.context()?;
    let tagging = libimage::repository::tag(&context, &args.image, &args.tags, store);
    let tagged = transfer::perform(tagging)?;
    match args.format {
        Format::Text => {
            let line = |tagged: &libimage::repository::Tagged| {
                let what = if tagged.changed { "set" } else { "unchanged" };
                format!("{} {} {what}\n", tagged.tag, tagged.digest)
            };
            output::text(&tagged.iter().map(line).collect::<String>())
        }
        Format::Json => {
            let item = |tagged: &libimage::repository::Tagged| json!({"tag": tagged.tag, "digest": tagged.digest, "changed": tagged.changed});
            output::json(&Value::from(tagged.iter().map(item).collect::<Vec<_>>()))
        }
    }
}
