//! What becomes another image on the way: the flags that ask for it, and how it is told.

use clap::{Args, ValueEnum};
use libimage::copy::{self, CopyOptions, CopyReport, Recompress};
use serde_json::{Value, json};

/// Flags of conversion.
#[derive(Debug, Clone, Args)]
pub(crate) struct Conversion {
    /// Convert manifests to this format; digests change with it, image ids do not
    #[arg(long, short, value_name = "FORMAT", value_enum)]
    format: Option<Format>,

    /// Compress layers with gzip, zstd or none, at a level if you like (zstd:9); those that are compressed so stay as they are
    #[arg(long, value_name = "ALGORITHM[:LEVEL]")]
    compress: Option<Recompress>,

    /// Compress layers again that are compressed so already
    #[arg(long, requires = "compress")]
    force_compression: bool,

    /// Keep the index as it is, although it names platforms that are not copied. Not every registry accepts that; where it is
    /// accepted, a later copy of all platforms finds the index there and does nothing
    #[arg(long, requires = "platform", conflicts_with_all = ["format", "compress"])]
    sparse: bool,
}

/// A family of media types.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The OCI image format
    Oci,
    /// Docker's image manifest version 2, schema 2
    V2s2,
}

impl Conversion {
    /// Tells the library what the flags say.
    pub(crate) fn apply(&self, options: CopyOptions) -> CopyOptions {
        CopyOptions {
            sparse: self.sparse,
            format: self.format.map(|format| match format {
                Format::Oci => copy::Format::Oci,
                Format::V2s2 => copy::Format::V2s2,
            }),
            compress: self
                .compress
                .clone()
                .map(|compress| compress.forced(self.force_compression)),
            ..options
        }
    }
}

/// Tells people which manifest became which, a line each; empty if none did.
pub(crate) fn told(report: &CopyReport) -> String {
    let lines = report.changes.iter();
    lines
        .map(|(old, new)| format!("\nchanged: {old} -> {new}"))
        .collect()
}

/// Tells programs which manifest became which.
pub(crate) fn as_json(report: &CopyReport) -> Value {
    let changes = report.changes.iter();
    changes
        .map(|(old, new)| json!({"old": old, "new": new}))
        .collect()
}
