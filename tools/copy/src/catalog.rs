//! `copy catalog REGISTRY`: the repositories of a registry.

use crate::access::OneEnd;
use crate::format::Format;
use crate::transfer;
use libimage::repository::CatalogOptions;
use serde_json::json;
use trimaran_cli::table::printable;
use trimaran_cli::{Failure, output};

/// Lists the repositories of a registry; many public registries do not offer this
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which registry: a host, and its port if it needs one
    #[arg(value_name = "REGISTRY", value_parser = host)]
    registry: String,

    /// At most so many repositories
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Only the repositories after this one
    #[arg(long, value_name = "REPOSITORY")]
    last: Option<String>,

    #[command(flatten)]
    access: OneEnd,

    /// How the repositories are printed: one a line, or as JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Reads a host, as people write it: `registry.example:5000`, also behind `docker://`.
fn host(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("docker://").unwrap_or(text);
    let host = host.trim_end_matches('/');
    match host.is_empty() || host.contains(['/', '@', ' ']) {
        true => Err("not a host such as registry.example:5000".to_owned()),
        false => Ok(host.to_owned()),
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let context = args.access.context()?;
    let options = CatalogOptions {
        limit: args.limit,
        last: args.last.clone(),
    };
    let listing = libimage::repository::catalog(&context, &args.registry, &options);
    let repositories = transfer::perform(listing)?;
    match args.format {
        Format::Text => {
            let lines = repositories.iter().map(|name| printable(name) + "\n");
            output::text(&lines.collect::<String>())
        }
        Format::Json => {
            output::json(&json!({"registry": args.registry, "repositories": repositories}))
        }
    }
}
