//! `build copy CTR SRC… DST`: files into a working container.

use crate::place::Place;
use crate::told;
use libbuild::CopyFiles;
use std::path::PathBuf;
use trimaran_cli::Failure;

/// Copies files into a working container: a directory means what is in it, as in a Containerfile's COPY
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) files: Files,
}

/// What `copy` and `add` have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// The working container
    container: String,

    /// Sources, patterns allowed, and at last the destination; one that ends in / is a directory
    #[arg(required = true, num_args = 2.., value_names = ["SRC", "DST"])]
    paths: Vec<String>,

    /// Owner, instead of root; names as in the container
    #[arg(long, value_name = "USER[:GROUP]")]
    chown: Option<String>,

    /// Permission bits, instead of those of the sources
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    chmod: Option<u32>,

    /// Take the sources from another working container or an image of the store
    #[arg(long, value_name = "CTR|IMAGE", conflicts_with = "contextdir")]
    from: Option<String>,

    /// Directory that relative sources are in [default: the current one]
    #[arg(long, value_name = "DIR")]
    contextdir: Option<PathBuf>,
}

fn octal(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| "an octal number up to 7777, as in 644".to_owned())
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    args.files.copy(place, false)
}

impl Files {
    pub(super) fn copy(&self, place: &Place, unpack: bool) -> Result<(), Failure> {
        let container = place.container(&self.container)?;
        let (destination, sources) = self
            .paths
            .split_last()
            .ok_or_else(|| Failure::usage("SRC and DST are missing"))?;
        let here = std::path::absolute(self.contextdir.as_deref().unwrap_or(".".as_ref()))?;
        let mut copy = CopyFiles::new(here, sources, destination);
        copy = self.from.iter().fold(copy, CopyFiles::from);
        copy = self.chown.iter().fold(copy, CopyFiles::chown);
        copy = self.chmod.iter().copied().fold(copy, CopyFiles::chmod);
        if unpack {
            copy = copy.unpack();
        }
        container.copy(copy).map(drop).map_err(told::build)
    }
}
