//! `run rmi IMAGE…`: removes names, and with the last name the image.

use super::RootArgs;
use crate::{failure, space::Space};
use clap::Parser;
use libimage::store::Removed;
use trimaran_cli::{ExitCode, Failure, output};

/// Remove images from the store
#[derive(Debug, Parser)]
pub(crate) struct RmiArgs {
    /// Names, digests or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Remove all names of an image that is given by id; an unknown image is no error
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// Removes each image. One that cannot be removed does not keep the others.
///
/// # Errors
/// The store cannot be opened, or stdout not be written.
pub(crate) fn call(args: &RmiArgs) -> Result<ExitCode, Failure> {
    let store = Space::enter(args.root.root.as_deref())?.store()?;
    let mut code = ExitCode::Success;
    for image in &args.images {
        match store.remove(image, args.force) {
            Ok(removed) => output::text(&words(&removed))?,
            Err(error) if args.force && error.kind() == libimage::ErrorKind::NotFound => {}
            Err(error) => code = failure::image(error).report(),
        }
    }
    Ok(code)
}

fn words(removed: &Removed) -> String {
    let untagged = removed
        .untagged
        .iter()
        .map(|name| format!("untagged: {name}\n"));
    let deleted = removed
        .deleted
        .iter()
        .map(|digest| format!("deleted: {digest}\n"));
    untagged.chain(deleted).collect()
}
