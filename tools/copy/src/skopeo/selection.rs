//! Which images of a list, and in which form: the flags of `copy` and `sync`.

use super::options::Global;
use libimage::copy::{CopyOptions, Format, Recompress};
use libimage::media::Compression;
use trimaran_cli::Failure;

/// Which images of a list.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Selection {
    /// Copy all images of a list
    #[arg(long, short)]
    all: bool,

    /// Which images of a list: this machine's, all, or the list alone
    #[arg(long, value_name = "WHICH", value_parser = ["system", "all", "index-only"], conflicts_with = "all")]
    multi_arch: Option<String>,
}

/// In which form.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Conversion {
    /// Media types of the copy: oci or v2s2; without it those of the source
    #[arg(long, short, value_name = "FORMAT", value_parser = ["oci", "v2s1", "v2s2"])]
    format: Option<String>,

    /// Accepted: digests are kept, unless a flag asks for a conversion
    #[arg(long)]
    preserve_digests: bool,

    /// Compress layers that are not compressed (with gzip, unless a format is given)
    #[arg(long)]
    dest_compress: bool,

    /// Leave layers uncompressed
    #[arg(long, conflicts_with_all = ["dest_compress", "dest_compress_format"])]
    dest_decompress: bool,

    /// Compress layers that are not compressed so already
    #[arg(long, value_name = "FORMAT", value_parser = ["gzip", "zstd"])]
    dest_compress_format: Option<String>,

    /// Level of the compression
    #[arg(long, value_name = "LEVEL")]
    dest_compress_level: Option<i32>,

    /// Compress layers again that have the compression asked for
    #[arg(long)]
    dest_force_compress_format: bool,

    /// Accepted: layers are taken as they are
    #[arg(long)]
    dest_oci_accept_uncompressed_layers: bool,

    /// Accepted: what the destination has is never sent
    #[arg(long)]
    dest_precompute_digests: bool,
}

impl Selection {
    /// Adds what a copy is told.
    pub(super) fn select(&self, global: &Global, options: CopyOptions) -> CopyOptions {
        let which = self.multi_arch.as_deref();
        let all = self.all || which.is_some_and(|which| which != "system");
        CopyOptions {
            platforms: if all {
                Vec::new()
            } else {
                vec![global.platform()]
            },
            sparse: which == Some("index-only"),
            any_single: !global.is_overridden(),
            ..options
        }
    }
}

impl Conversion {
    /// What a copy is told.
    pub(super) fn options(&self) -> Result<CopyOptions, Failure> {
        let format = match self.format.as_deref() {
            None => None,
            Some("oci") => Some(Format::Oci),
            Some("v2s2") => Some(Format::V2s2),
            Some(other) => {
                let message = format!("images of the format {other} are not made any more");
                return Err(Failure::usage(message).with_hint("use oci or v2s2"));
            }
        };
        let compress = self.compress()?;
        if self.preserve_digests && (format.is_some() || compress.is_some()) {
            return Err(Failure::usage(
                "--preserve-digests forbids what --format and --dest-compress ask for",
            ));
        }
        Ok(CopyOptions {
            format,
            compress,
            ..CopyOptions::default()
        })
    }

    fn compress(&self) -> Result<Option<Recompress>, Failure> {
        let algorithm = match self.dest_compress_format.as_deref() {
            Some("zstd") => Compression::Zstd,
            Some(_) => Compression::Gzip,
            None if self.dest_decompress => Compression::None,
            None if self.dest_compress || self.dest_compress_level.is_some() => Compression::Gzip,
            None => return Ok(None),
        };
        let compress = Recompress::new(algorithm, self.dest_compress_level)
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Some(compress.forced(self.dest_force_compress_format)))
    }
}
