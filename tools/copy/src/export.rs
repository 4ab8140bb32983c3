//! `copy export REF`: an image's root file system as one archive.

use crate::access::OneEnd;
use crate::local::Local;
use crate::outfile::OutFile;
use crate::transfer;
use libimage::export::{ExportOptions, ExportReport};
use libimage::layer::LayerError;
use libimage::name::ImageRef;
use libimage::platform::Platform;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use trimaran_cli::{ExitCode, Failure, human, output};

/// Writes an image's root file system as a tar archive, without unpacking it and without privileges
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// The file to write; - is stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,

    /// Which image of an index, such as linux/arm64/v8, instead of this machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::usage("an archive is nothing for a terminal")
            .with_hint("give -o FILE, or send it to another program"));
    }
    let options = ExportOptions {
        platform: args.platform.clone(),
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let file = match to_stdout {
        true => None,
        false => Some(OutFile::create(&args.output)?),
    };
    let out = match &file {
        Some(file) => file.handle()?,
        None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
    };
    // An error that means a reader who went away is told apart before it becomes text.
    let exporting = async {
        match libimage::export::export(&context, &args.image, out, &options).await {
            Err(error) if is_broken_pipe(&error) => Ok(None),
            other => other.map(Some),
        }
    };
    let report = transfer::perform(exporting)?;
    drop(context);
    let Some(report) = report else {
        return Err(Failure::quiet(ExitCode::Success));
    };
    if let Some(file) = file {
        file.publish()?;
    }
    if !args.access.quiet() {
        output::note(summary(&report));
    }
    Ok(())
}

fn is_broken_pipe(error: &libimage::Error) -> bool {
    matches!(
        error.get_ref().downcast_ref(),
        Some(LayerError::Write { source }) if source.kind() == io::ErrorKind::BrokenPipe
    )
}

fn summary(report: &ExportReport) -> String {
    format!(
        "exported {}: {} files and directories, {}",
        report.digest,
        report.entries,
        human::bytes(report.bytes)
    )
}
