//! Archives among the sources of a copy.
//!
//! An archive is first unpacked into a directory of its own by the code that unpacks layers, which knows every trick an archive
//! can play, and then merged into the container like any directory.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use cap_std::fs::Dir;
use libimage::compress::{Decoder, decoder};
use libimage::layer::{ApplyOptions, LayerStats, Owners, apply};
use libimage::store::{IdMode, Store};

use super::CopyError;

/// The size of a header, which is also the unit of a tar archive.
const BLOCK_BYTES: usize = 512;

/// Where the check sum is in a header.
const SUM: std::ops::Range<usize> = 148..156;

/// Formats that other tools unpack and this one does not, by their first bytes.
const FOREIGN: [(&[u8], &str); 4] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
];

/// A stream of an archive, decompressed.
pub(crate) type Archive = Decoder<BufReader<File>>;

/// Opens `file` as an archive; `None` if it is none.
pub(crate) fn open(mut file: File, path: &Path) -> Result<Option<Archive>, CopyError> {
    let fault = |source| CopyError::Source {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let start = head(&mut file).map_err(fault)?;
    if let Some((_, format)) = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(CopyError::Format {
            path: path.to_owned(),
            format,
        });
    }
    let rewound = |file: &File| {
        let mut again = file.try_clone()?;
        again.seek(SeekFrom::Start(0))?;
        Ok(BufReader::new(again))
    };
    let reader = |file: &File| rewound(file).map_err(fault);
    let decode = |input| decoder(input).map_err(|error| archive_fault(path, error));
    // What only looks like gzip or zstd is a file like any other.
    let block = head(&mut decode(reader(&file)?)?).unwrap_or_default();
    if is_header(&block) {
        return decode(reader(&file)?).map(Some);
    }
    // Copies of a descriptor share one position, and the caller reads on.
    rewound(&file).map_err(fault)?;
    Ok(None)
}

/// Unpacks an archive into the directory `into`, which is made.
pub(crate) fn unpack(
    archive: Archive,
    path: &Path,
    into: &Path,
    store: &Store,
) -> Result<LayerStats, CopyError> {
    let fault = |operation| {
        move |source| CopyError::Source {
            operation,
            path: into.to_owned(),
            source,
        }
    };
    fs::create_dir(into).map_err(fault("create"))?;
    let directory =
        Dir::open_ambient_dir(into, cap_std::ambient_authority()).map_err(fault("open"))?;
    let about = store.options();
    let options = match (about.privileged, about.ids) {
        (true, _) => ApplyOptions::privileged(),
        (false, IdMode::Full) => ApplyOptions::rootless(Owners::Keep),
        (false, IdMode::Single) => ApplyOptions::rootless(Owners::Squash),
    };
    let stats = apply(archive, &directory, &options).map_err(|error| archive_fault(path, error))?;
    // Names that mean "gone" in a layer mean nothing in a plain archive, and cannot be files of an image.
    if stats.whiteouts + stats.opaques > 0 {
        return Err(CopyError::Kind {
            path: path.to_owned(),
        });
    }
    Ok(stats)
}

fn archive_fault(path: &Path, error: impl Into<libimage::Error>) -> CopyError {
    CopyError::Archive {
        path: path.to_owned(),
        source: error.into(),
    }
}

/// Reads the first block, or what there is of it.
fn head(file: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut block = Vec::new();
    file.take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
    Ok(block)
}

/// Tells whether a block is a header: its check sum counts its own field as spaces.
fn is_header(block: &[u8]) -> bool {
    if block.len() < BLOCK_BYTES {
        return false;
    }
    let field = block[SUM]
        .split(|byte| [b' ', 0].contains(byte))
        .find(|part| !part.is_empty());
    let said =
        field.and_then(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
    let counted = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u64::from(if SUM.contains(&at) { b' ' } else { *byte }));
    said == Some(counted.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn header() -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        block[..4].copy_from_slice(b"name");
        block[SUM].copy_from_slice(b"        ");
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    #[test]
    fn archives_are_known_by_their_check_sum() {
        let mut damaged = header();
        damaged[0] = b'N';
        assert!(is_header(&header()));
        for other in [
            vec![],
            vec![0; BLOCK_BYTES],
            vec![b'7'; BLOCK_BYTES],
            damaged,
            header()[..500].to_vec(),
        ] {
            assert!(!is_header(&other));
        }
    }

    #[test]
    fn formats_that_are_not_understood_are_named() {
        for (magic, format) in FOREIGN {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(magic).unwrap();
            file.rewind().unwrap();
            match open(file, Path::new("x")) {
                Err(CopyError::Format { format: named, .. }) => assert_eq!(named, format),
                other => panic!("{format}: {other:?}"),
            }
        }
    }
}
