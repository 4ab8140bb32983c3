//! `copy list-tags REF`: the tags of a repository.

use crate::access::OneEnd;
use crate::format::Format;
use crate::transfer;
use libimage::name::ImageRef;
use trimaran_cli::table::printable;
use trimaran_cli::{Failure, output};

/// Lists the tags of a repository, or the names in a layout
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which repository, such as docker://debian
    #[arg(value_name = "REF")]
    repository: ImageRef,

    #[command(flatten)]
    access: OneEnd,

    /// How the tags are printed: one a line, or as JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if matches!(args.repository, ImageRef::Store(_)) {
        return Err(
            Failure::usage("the store has images, not tags").with_hint("`run images` lists them")
        );
    }
    let context = args.access.context()?;
    let tags = transfer::perform(libimage::copy::tags(&context, &args.repository))?;
    match args.format {
        Format::Text => output::text(
            &tags
                .iter()
                .map(|tag| printable(tag) + "\n")
                .collect::<String>(),
        ),
        Format::Json => output::json(
            &serde_json::json!({"repository": args.repository.to_string(), "tags": tags}),
        ),
    }
}
