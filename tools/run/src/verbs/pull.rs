//! `run pull REF`: brings an image into the store.

use super::RootArgs;
use crate::{failure, space::Space};
use clap::Parser;
use libimage::name::{ImageRef, Name};
use libimage::platform::Platform;
use libimage::pull::{PullOptions, PullPolicy};
use libimage::store::{Image, Store};
use std::sync::Arc;
use trimaran_cli::progress::Drawing;
use trimaran_cli::registry::RegistryArgs;
use trimaran_cli::{Failure, output};

/// Bring an image into the store, unpacked and ready to run, and print its id
#[derive(Debug, Parser)]
pub(crate) struct PullArgs {
    /// Image: NAME, docker://NAME or oci:DIR:TAG
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Which image of a multi-platform one [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Say nothing but the id
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Pulls and prints the id.
///
/// # Errors
/// The image cannot be found, fetched or unpacked.
pub(crate) fn call(args: PullArgs) -> Result<(), Failure> {
    let image = ImageRef::parse_or_bare(&args.image).map_err(failure::image)?;
    if let ImageRef::Bare(name) = &image {
        // Here it is a name, not the beginning of an id.
        name.parse::<Name>().map_err(failure::image)?;
    }
    let space = Space::enter(args.root.root.as_deref())?;
    let options = PullOptions {
        platform: args.platform,
        policy: PullPolicy::Always,
        ..PullOptions::default()
    };
    let pulled = fetch(
        &space,
        Arc::new(space.store()?),
        &image,
        &options,
        &args.registry,
        args.quiet,
    )?;
    output::line(pulled.id())
}

/// Pulls on a tokio runtime of its own, which ends before this returns: no thread is left when a container is started.
///
/// # Errors
/// The image cannot be found, fetched or unpacked.
pub(crate) fn fetch(
    space: &Space,
    store: Arc<Store>,
    image: &ImageRef,
    options: &PullOptions,
    registry: &RegistryArgs,
    quiet: bool,
) -> Result<Image, Failure> {
    let drawing = Drawing::stderr(quiet);
    let context = registry.context(space.uid, drawing.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the network threads: {error}")))?;
    let pulled = runtime.block_on(libimage::pull::pull(&context, image, store, options));
    drop(runtime);
    drawing.clear();
    pulled.map_err(failure::image)
}
