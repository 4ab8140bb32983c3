//! How is a layer compressed?

use std::io::Write;

/// A layer's compression, including the unusual shapes that are valid nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packing {
    /// The bare tar.
    Plain,
    /// One gzip member.
    Gzip,
    /// The tar cut into this many gzip members, as `pigz` and some registries' builders do.
    GzipMembers(usize),
    /// One zstd frame.
    Zstd,
    /// The tar cut into this many zstd frames, with a skippable frame in between, as zstd:chunked does.
    ZstdFrames(usize),
}

impl Packing {
    /// Returns the OCI layer media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Packing::Plain => "application/vnd.oci.image.layer.v1.tar",
            Packing::Gzip | Packing::GzipMembers(_) => {
                "application/vnd.oci.image.layer.v1.tar+gzip"
            }
            Packing::Zstd | Packing::ZstdFrames(_) => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// Compresses `bytes`. Equal input gives equal output.
    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Packing::Plain => bytes.to_vec(),
            Packing::Gzip => gzip(bytes),
            Packing::GzipMembers(count) => pieces(bytes, count).flat_map(gzip).collect(),
            Packing::Zstd => zstd_frame(bytes),
            Packing::ZstdFrames(count) => pieces(bytes, count)
                .flat_map(|piece| [zstd_frame(piece), skippable()].concat())
                .collect(),
        }
    }
}

fn pieces(bytes: &[u8], count: usize) -> std::slice::Chunks<'_, u8> {
    bytes.chunks(bytes.len().div_ceil(count.max(1)).max(1))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // The builder writes no name and no time, so the output depends on the input alone.
    let mut encoder = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).expect("memory takes all bytes");
    encoder.finish().expect("memory takes all bytes")
}

fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("the level is valid")
}

/// A skippable frame (RFC 8878, 3.1.2) with four bytes of content.
fn skippable() -> Vec<u8> {
    vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]
}
