//! `build from IMAGE`: a new working container.

use crate::place::Place;
use crate::{fetch, git, told};
use clap::ValueEnum;
use libbuild::{Base, Clues, repro};
use libimage::name::ImageRef;
use libimage::platform::Platform;
use libimage::pull::PullPolicy;
use trimaran_cli::registry::RegistryArgs;
use trimaran_cli::{Failure, output};

/// Makes a working container from an image, or from nothing, and prints its name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The base: NAME (looked up here first, then in its registry), docker://NAME, oci:PATH:TAG, store:NAME, or scratch
    image: String,

    /// Name of the container [default: IMAGE-working-container, with a number if that is taken]
    #[arg(long)]
    name: Option<String>,

    /// When to ask the registry
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pull: Pull,

    /// Platform of the base [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,

    /// The moment the image will claim to be from, in seconds since 1970 [default: $SOURCE_DATE_EPOCH, else the last commit
    /// of the clean git work tree we are in, else the base's]
    #[arg(long, visible_alias = "timestamp", value_name = "SECONDS", value_parser = repro::parse_epoch)]
    source_date_epoch: Option<i64>,

    /// Write the container's id to this file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<std::path::PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// When to ask the registry.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Pull {
    /// Only if the image is not here
    #[default]
    Missing,
    /// Always
    Always,
    /// Never
    Never,
    /// If the registry has another one
    Newer,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    let mut base = match args.image.as_str() {
        "scratch" => Base::scratch(),
        name => Base::image(find(args, place, name)?),
    };
    base = base.clues(clues(args.source_date_epoch)?);
    base = args.platform.iter().cloned().fold(base, Base::platform);
    base = args.name.iter().fold(base, Base::name);
    let container = place.session.from(base).map_err(told::build)?;
    if let Some(path) = &args.cidfile {
        std::fs::write(path, container.id())?;
    }
    output::line(container.name())
}

/// Makes sure that the store has the image, and returns what the store calls it.
fn find(args: &Args, place: &Place, name: &str) -> Result<String, Failure> {
    let reference = ImageRef::parse_or_bare(name)?;
    let local = match &reference {
        ImageRef::Bare(name) | ImageRef::Store(name) => Some(name.clone()),
        ImageRef::Docker(name) => Some(name.to_string()),
        _ => None,
    };
    let first = matches!(args.pull, Pull::Missing | Pull::Never) && args.platform.is_none();
    if let (true, Some(name)) = (first, &local)
        && place.store.find(name).is_ok()
    {
        return Ok(name.clone());
    }
    let policy = match args.pull {
        Pull::Missing => PullPolicy::Missing,
        Pull::Always => PullPolicy::Always,
        Pull::Never => PullPolicy::Never,
        Pull::Newer => PullPolicy::Newer,
    };
    let context = args
        .registry
        .context(place.namespace.uid, place.drawing.clone())?;
    let image = fetch::base(place, &context, &reference, policy, args.platform.clone())?;
    Ok(image
        .name()
        .map_or_else(|| image.manifest_digest().to_string(), str::to_owned))
}

fn clues(flag: Option<i64>) -> Result<Clues, Failure> {
    let variable = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .filter(|value| !value.is_empty());
    let environment = variable.map(|value| repro::parse_epoch(&value)).transpose();
    let environment =
        environment.map_err(|error| Failure::new(format!("SOURCE_DATE_EPOCH: {error}")))?;
    let git = || git::commit_time(&std::env::current_dir().ok()?);
    let git = if flag.is_none() && environment.is_none() {
        git()
    } else {
        None
    };
    Ok(Clues {
        flag,
        environment,
        git,
    })
}
