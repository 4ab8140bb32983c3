//! `copy SRC DST`: an image from one place to another.

use crate::access::TwoEnds;
use crate::conversion::{self, Conversion};
use crate::format::Format;
use crate::local::Local;
use crate::signing::Signing;
use crate::transfer;
use libimage::context::Context;
use libimage::copy::{CopyOptions, CopyReport, Referrers};
use libimage::name::ImageRef;
use libimage::platform::Platform;
use libimage::registry::Quota;
use libimage::store::Store;
use libimage::trust::Signer;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trimaran_cli::{Failure, human, output};

/// Copies an image between `docker://NAME`, `oci:PATH[:TAG]`, `oci-archive:PATH[:TAG]`, `docker-archive:PATH[:NAME]`, `dir:PATH`,
/// `docker-daemon:NAME` and `store:NAME`
///
/// Each end can be any of these. An archive's PATH can be `-`: stdin for a source, stdout for a destination; the result is then
/// printed on stderr. `docker-archive:PATH:@N` is the image at position N, counted from 0. An `oci-archive:` that is there is
/// replaced, a `docker-archive:` is not. What comes from a pipe or from a Docker engine is kept in a nameless file in TMPDIR
/// (/var/tmp) until it is copied; nothing else is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where the image is
    #[arg(value_name = "SRC")]
    from: ImageRef,

    /// Where it goes
    #[arg(value_name = "DST")]
    to: ImageRef,

    /// Copy the images of all platforms, which is the default except into the store and into a Docker engine
    #[arg(long, short, conflicts_with = "platform")]
    all: bool,

    /// Copy only these platforms, such as linux/amd64,linux/arm64/v8; the digest of an index changes with them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    platform: Vec<Platform>,

    /// Give the copy this name too: another tag of the same repository, layout or archive, or another name in the store, the
    /// docker archive or the engine
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    additional_tag: Vec<String>,

    #[command(flatten)]
    conversion: Conversion,

    #[command(flatten)]
    access: TwoEnds,

    #[command(flatten)]
    local: Local,

    /// Copy signatures, SBOMs and attestations too where that is not the default: with one platform's image, and if the
    /// destination has the image already
    #[arg(long)]
    referrers: bool,

    /// Leave signatures, SBOMs and attestations behind
    #[arg(long, conflicts_with = "referrers")]
    no_referrers: bool,

    #[command(flatten)]
    signing: Signing,

    /// How many blobs are copied at once
    #[arg(long, value_name = "N", default_value_t = CopyOptions::default().jobs, value_parser = crate::format::jobs)]
    jobs: usize,

    /// Stop before the source's registry, if it tells how many pulls it still allows, would allow fewer than this many
    #[arg(long, value_name = "N")]
    min_quota: Option<u64>,

    /// Write the digest of the copy to this file too
    #[arg(long, value_name = "PATH")]
    digestfile: Option<PathBuf>,

    /// How the result is printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let store = args.local.open(&[&args.from, &args.to])?;
    let signers = args.signing.signers()?;
    let context = args.access.context()?;
    let report = transfer::perform(copied(args, &context, store, signers))?;
    drop(context);
    if let Some(path) = &args.digestfile {
        write_digest(path, &report)?;
    }
    if !args.access.quiet() {
        output::note(summary(&report));
        if let Some(quota) = report.quota {
            output::note(pulls(&quota));
        }
    }
    if args.to.is_standard_stream() {
        // stdout is the archive.
        if !args.access.quiet() {
            output::note(&report.digest);
        }
        return Ok(());
    }
    match args.output {
        Format::Text => output::line(&report.digest),
        Format::Json => output::json(&as_json(&report)),
    }
}

impl Args {
    fn referrers(&self) -> Referrers {
        match (self.referrers, self.no_referrers) {
            (true, _) => Referrers::Always,
            (_, true) => Referrers::Never,
            _ => Referrers::default(),
        }
    }
}

/// Copies what the flags ask for. A store or an engine is for running what is in it, so without a word about platforms only this machine's
/// goes there; but a source that is no index leaves nothing to choose, and is copied whatever it is for.
async fn copied(
    args: &Args,
    context: &Context,
    store: Option<Arc<Store>>,
    signers: Vec<Signer>,
) -> Result<CopyReport, libimage::Error> {
    let to_run = matches!(args.to, ImageRef::Store(_) | ImageRef::DockerDaemon(_));
    let host_only = to_run && !args.all && args.platform.is_empty();
    let options = args.conversion.apply(CopyOptions {
        platforms: if host_only {
            vec![Platform::host()]
        } else {
            args.platform.clone()
        },
        any_single: host_only,
        referrers: args.referrers(),
        sign: signers,
        remove_signatures: args.signing.removes_signatures(),
        additional_tags: args.additional_tag.clone(),
        jobs: args.jobs,
        min_quota: args.min_quota,
        store,
        ..CopyOptions::default()
    });
    libimage::copy::copy(context, &args.from, &args.to, &options).await
}

fn write_digest(path: &Path, report: &CopyReport) -> Result<(), Failure> {
    std::fs::write(path, format!("{}\n", report.digest)).map_err(|error| {
        Failure::new(format!(
            "the image is copied, but its digest cannot be written to {}: {error}",
            path.display()
        ))
    })
}

/// Tells people what was done.
pub(crate) fn summary(report: &CopyReport) -> String {
    if report.unchanged {
        let mut text = "the destination has it already".to_owned();
        if report.signatures > 0 {
            text.push_str(&format!("; {} signatures made", report.signatures));
        }
        return text + &conversion::told(report);
    }
    let mut text = format!(
        "copied {} blobs ({})",
        report.copied,
        human::bytes(report.bytes)
    );
    if report.skipped > 0 {
        text.push_str(&format!(", {} were there", report.skipped));
    }
    if report.mounted > 0 {
        text.push_str(&format!(
            ", {} mounted from another repository",
            report.mounted
        ));
    }
    if report.referrers > 0 {
        text.push_str(&format!(", and {} referrers", report.referrers));
    }
    if report.signatures > 0 {
        text.push_str(&format!("; {} signatures made", report.signatures));
    }
    text.push_str(&conversion::told(report));
    if report.changes.is_empty() && report.digest != report.source_digest {
        text.push_str(&format!(
            "\nthe digest is another, because of the platforms chosen: {} -> {}",
            report.source_digest, report.digest
        ));
    }
    text
}

fn pulls(quota: &Quota) -> String {
    let of = quota
        .limit
        .map_or_else(String::new, |limit| format!(" of {limit}"));
    let window = quota
        .window
        .map_or_else(String::new, |window| format!(" in {} s", window.as_secs()));
    format!(
        "the source's registry allows {}{of} more pulls{window}",
        quota.remaining
    )
}

/// Tells programs what was done.
pub(crate) fn as_json(report: &CopyReport) -> serde_json::Value {
    json!({
        "digest": report.digest,
        "sourceDigest": report.source_digest,
        "unchanged": report.unchanged,
        "manifests": report.manifests,
        "blobs": {"copied": report.copied, "skipped": report.skipped, "mounted": report.mounted},
        "referrers": report.referrers,
        "signatures": report.signatures,
        "changes": conversion::as_json(report),
        "bytes": report.bytes,
        "requests": report.requests,
        "quota": report.quota.map(|quota| json!({
            "limit": quota.limit,
            "remaining": quota.remaining,
            "windowSeconds": quota.window.map(|window| window.as_secs()),
        })),
    })
}
