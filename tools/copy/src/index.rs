//! `copy index`: an index put together, taken apart, and annotated, where it is.

use crate::access::TwoEnds;
use crate::copy::{as_json, summary};
use crate::format::Format;
use crate::local::Local;
use crate::{changes, transfer};
use clap::Subcommand;
use libimage::context::Context;
use libimage::copy::{CopyOptions, CopyReport};
use libimage::edit::{self, EditOptions, EntryChange, IndexOptions, Selector};
use libimage::name::ImageRef;
use libimage::platform::Platform;
use trimaran_cli::{Failure, output};

/// Makes and edits indexes
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    Create(Create),
    Add(Add),
    Remove(Remove),
    Annotate(Annotate),
}

/// Makes an index of images, and of the entries of other indexes; what its repository lacks is copied there
#[derive(Debug, Clone, clap::Args)]
struct Create {
    /// Where the index goes
    #[arg(value_name = "DST")]
    to: ImageRef,

    /// An image or index that goes into it
    #[arg(long = "ref", short, value_name = "IMAGE")]
    images: Vec<ImageRef>,

    /// Set an annotation of the index
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = changes::parse)]
    annotation: Vec<changes::Change>,

    /// Say what kind of artifact the index is
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    #[command(flatten)]
    entering: Entering,

    #[command(flatten)]
    common: Common,
}

/// Adds images to an index, and entries of other indexes
#[derive(Debug, Clone, clap::Args)]
struct Add {
    /// The index
    #[arg(value_name = "DST")]
    to: ImageRef,

    /// What goes into it
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<ImageRef>,

    /// Set an annotation of the index, or remove it
    #[arg(long, short, value_name = "NAME=VALUE|NAME-", value_parser = changes::parse)]
    annotation: Vec<changes::Change>,

    #[command(flatten)]
    entering: Entering,

    #[command(flatten)]
    common: Common,
}

/// Removes entries from an index, with their attestations; their manifests stay in the registry
#[derive(Debug, Clone, clap::Args)]
struct Remove {
    /// The index
    #[arg(value_name = "DST")]
    to: ImageRef,

    /// Which entries: a platform, such as linux/arm64, or a digest
    #[arg(value_name = "PLATFORM|DIGEST", required = true)]
    entries: Vec<Selector>,

    #[command(flatten)]
    common: Common,
}

/// Changes what an index says about entries, or about itself
#[derive(Debug, Clone, clap::Args)]
struct Annotate {
    /// The index
    #[arg(value_name = "DST")]
    to: ImageRef,

    /// Which entries: a platform, such as linux/arm64, or a digest; without one, the index itself
    #[arg(value_name = "PLATFORM|DIGEST")]
    entries: Vec<Selector>,

    /// Set an annotation, or remove it
    #[arg(long, short, value_name = "NAME=VALUE|NAME-", value_parser = changes::parse)]
    annotation: Vec<changes::Change>,

    /// Set the version of the operating system; an empty one removes it
    #[arg(long, value_name = "VERSION", requires = "entries")]
    os_version: Option<String>,

    /// Set the variant of the processor; an empty one removes it
    #[arg(long, value_name = "VARIANT", requires = "entries")]
    variant: Option<String>,

    #[command(flatten)]
    common: Common,
}

/// Flags about images that enter an index.
#[derive(Debug, Clone, clap::Args)]
struct Entering {
    /// Take only these platforms, such as linux/amd64,linux/arm64/v8
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    platform: Vec<Platform>,

    /// Let an image take the place of one for the same platform
    #[arg(long)]
    replace: bool,
}

/// Flags all of them have. The index is the destination.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    #[command(flatten)]
    access: TwoEnds,

    #[command(flatten)]
    local: Local,

    /// How many blobs are copied at once, where the index's repository needs them
    #[arg(long, value_name = "N", default_value_t = CopyOptions::default().jobs, value_parser = crate::format::jobs)]
    jobs: usize,

    /// How the result is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(create) => {
            let options = create
                .entering
                .options(&create.annotation, create.artifact_type.as_ref());
            let common = &create.common;
            common.run(&create.to, &create.images, async |cx, edit| {
                let options = IndexOptions { edit, ..options };
                edit::create(cx, &create.to, &create.images, &options).await
            })
        }
        Verb::Add(add) => {
            let options = add.entering.options(&add.annotation, None);
            add.common.run(&add.to, &add.images, async |cx, edit| {
                let options = IndexOptions { edit, ..options };
                edit::add(cx, &add.to, &add.images, &options).await
            })
        }
        Verb::Remove(remove) => remove.common.run(&remove.to, &[], async |cx, options| {
            edit::remove(cx, &remove.to, &remove.entries, &options).await
        }),
        Verb::Annotate(annotate) => {
            let what = EntryChange {
                annotations: annotate.annotation.clone(),
                os_version: annotate.os_version.clone(),
                variant: annotate.variant.clone(),
            };
            if what.annotations.is_empty() && what.os_version.is_none() && what.variant.is_none() {
                return Err(Failure::usage(
                    "nothing is to be changed: give --annotation, --os-version or --variant",
                ));
            }
            annotate.common.run(&annotate.to, &[], async |cx, options| {
                edit::annotate(cx, &annotate.to, &annotate.entries, &what, &options).await
            })
        }
    }
}

impl Entering {
    fn options(
        &self,
        annotations: &[changes::Change],
        artifact_type: Option<&String>,
    ) -> IndexOptions {
        IndexOptions {
            platforms: self.platform.clone(),
            annotations: annotations.to_vec(),
            artifact_type: artifact_type.cloned(),
            replace: self.replace,
            ..IndexOptions::default()
        }
    }
}

impl Common {
    /// Opens what the references need, does the work, and tells what was done.
    fn run(
        &self,
        to: &ImageRef,
        images: &[ImageRef],
        work: impl AsyncFnOnce(&Context, EditOptions) -> Result<CopyReport, libimage::Error>,
    ) -> Result<(), Failure> {
        let references: Vec<&ImageRef> = images.iter().chain([to]).collect();
        let options = EditOptions {
            jobs: self.jobs,
            store: self.local.open(&references)?,
        };
        let context = self.access.context()?;
        let report = transfer::perform(work(&context, options))?;
        drop(context);
        if !self.access.quiet() {
            output::note(summary(&report));
        }
        match self.format {
            Format::Text => output::line(&report.digest),
            Format::Json => output::json(&as_json(&report)),
        }
    }
}
