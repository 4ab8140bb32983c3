//! From the word `IMAGE` to an unpacked image of the store.

use super::args::{JobArgs, PullArg};
use crate::{failure, space::Space, verbs};
use libimage::ErrorKind;
use libimage::name::{ImageRef, Name};
use libimage::platform::Platform;
use libimage::pull::{PullOptions, PullPolicy};
use libimage::store::{Image, Store};
use std::sync::Arc;
use trimaran_cli::Failure;
use trimaran_cli::progress::Drawing;

/// Finds the image in the store, else pulls it, and unpacks what is not unpacked. No thread is left running.
///
/// # Errors
/// There is no such image, or it cannot be fetched or unpacked.
pub(crate) fn find_or_pull(args: &JobArgs, space: &Space, store: &Store) -> Result<Image, Failure> {
    let wanted = ImageRef::parse_or_bare(&args.image).map_err(failure::image)?;
    let image = match local(args, &wanted, store)? {
        Some(image) => image,
        None => pull(args, &wanted, space, store)?,
    };
    if !image.diff_ids().iter().all(|layer| store.has_layer(layer)) {
        let drawing = Drawing::stderr(args.quiet);
        store.unpack(&image, &*drawing).map_err(failure::image)?;
    }
    Ok(image)
}

/// The image of the store, if it is to be used. The network side is not even built up for it.
fn local(args: &JobArgs, wanted: &ImageRef, store: &Store) -> Result<Option<Image>, Failure> {
    let name = match wanted {
        ImageRef::Store(name) => name.clone(),
        _ if args.pull == PullArg::Always => return Ok(None),
        ImageRef::Bare(name) => name.clone(),
        ImageRef::Docker(name) => name.to_string(),
        // A layout is local already: reading its manifest is how to know what it has now.
        _ => return Ok(None),
    };
    let found = match store.find(&name) {
        Ok(image) => Some(image).filter(|image| fits(image, args.platform.as_ref())),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failure::image(error)),
    };
    let fetchable = args.pull != PullArg::Never
        && !matches!(wanted, ImageRef::Store(_))
        && name.parse::<Name>().is_ok();
    match found {
        None if !fetchable => Err(Failure::new(format!(
            "no image {name:?} in the store {}",
            store.path().display()
        ))
        .with_hint("`run pull NAME` brings one there, `run images` lists them")),
        found => Ok(found),
    }
}

/// Whether the image is of the platform that was asked for, if one was.
fn fits(image: &Image, platform: Option<&Platform>) -> bool {
    platform.is_none_or(|wanted| {
        serde_json::from_slice::<Platform>(image.raw_config())
            .is_ok_and(|has| wanted.rank(&has).is_some())
    })
}

fn pull(args: &JobArgs, wanted: &ImageRef, space: &Space, store: &Store) -> Result<Image, Failure> {
    let policy = match args.pull {
        PullArg::Always => PullPolicy::Always,
        PullArg::Missing => PullPolicy::Missing,
        PullArg::Never => PullPolicy::Never,
    };
    let options = PullOptions {
        platform: args.platform.clone(),
        policy,
        ..PullOptions::default()
    };
    verbs::fetch(
        space,
        Arc::new(store.clone()),
        wanted,
        &options,
        &args.registry,
        args.quiet,
    )
}
