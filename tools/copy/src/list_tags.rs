//! `copy list-tags REF`: the tags of a repository.

use crate::access::OneEnd;
use crate::transfer;
use libimage::name::ImageRef;
use libimage::repository::{TagFilter, TagOptions};
use serde_json::{Value, json};
use trimaran_cli::table::printable;
use trimaran_cli::template::Shape;
use trimaran_cli::{Failure, output};

/// Lists the tags of a repository, or the names in a layout or archive, in their order there
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which repository, such as docker://debian
    #[arg(value_name = "REF")]
    repository: ImageRef,

    /// Only tags that match this regular expression (anywhere, as in grep); may be repeated: any of them
    #[arg(long, value_name = "REGEX", value_parser = regex)]
    regex: Vec<TagFilter>,

    /// Only tags that match this pattern as a whole, such as 'v1.*'; may be repeated: any of them
    #[arg(long, value_name = "GLOB")]
    glob: Vec<String>,

    /// Not the tags that match this pattern as a whole; may be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// At most so many tags
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Only the tags after this one
    #[arg(long, value_name = "TAG")]
    last: Option<String>,

    #[command(flatten)]
    access: OneEnd,

    /// How the tags are printed: one a line (text), json, or a Go template such as '{{len .Tags}}'
    #[arg(long, short, value_name = "text|json|TEMPLATE", default_value = "text")]
    format: Shape,
}

fn regex(pattern: &str) -> Result<TagFilter, String> {
    TagFilter::regex(pattern).map_err(|error| {
        let cause = std::error::Error::source(&error);
        cause.map_or_else(|| error.to_string(), ToString::to_string)
    })
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if matches!(args.repository, ImageRef::Store(_)) {
        return Err(
            Failure::usage("the store has images, not tags").with_hint("`run images` lists them")
        );
    }
    let context = args.access.context()?;
    let globs = args.glob.iter().map(|glob| TagFilter::glob(glob));
    let options = TagOptions {
        limit: args.limit,
        last: args.last.clone(),
        include: args.regex.iter().cloned().chain(globs).collect(),
        exclude: args
            .exclude
            .iter()
            .map(|glob| TagFilter::glob(glob))
            .collect(),
        store: None,
    };
    let listing = libimage::repository::tags(&context, &args.repository, &options);
    let tags = transfer::perform(listing)?;
    let data = json!({"repository": args.repository.to_string(), "tags": tags});
    match &args.format {
        Shape::Text => output::text(&lines(&tags)),
        Shape::Json => output::json(&data),
        Shape::Template(template) => output::text(&rendered(template, &data)?),
    }
}

fn lines(tags: &[String]) -> String {
    tags.iter().map(|tag| printable(tag) + "\n").collect()
}

fn rendered(template: &trimaran_cli::template::Template, data: &Value) -> Result<String, Failure> {
    let text = template.render(data).map_err(Failure::usage)?;
    Ok(text.trim_end_matches('\n').to_owned() + "\n")
}
