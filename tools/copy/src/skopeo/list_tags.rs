//! `skopeo list-tags REPOSITORY`: the tags, in skopeo's shape.

use super::inspect::print;
use super::options::Global;
use crate::access::OneEnd;
use crate::transfer;
use libimage::name::ImageRef;
use serde::Serialize;
use trimaran_cli::Failure;

/// Lists the tags of a repository
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The repository
    #[arg(value_name = "REPOSITORY-NAME")]
    repository: ImageRef,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    global: Global,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    tags: Vec<String>,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    transfer::limit(args.global.command_timeout);
    let cx = args.access.context()?;
    let tags = transfer::perform(libimage::copy::tags(&cx, &args.repository))?;
    let repository = match &args.repository {
        ImageRef::Docker(name) => Some(name.without_reference()),
        _ => None,
    };
    print(&Shown { repository, tags })
}
