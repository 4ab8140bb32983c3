//! Both directions of every format, and streams that lie.

use std::io::{BufReader, Read, Write};

use proptest::prelude::*;

use super::*;

fn pack(content: &[u8], format: Compression) -> Vec<u8> {
    let mut encoder = encoder(Vec::new(), format, None).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    let mut out = Vec::new();
    // A tiny buffer makes every boundary fall somewhere awkward.
    let mut decoder = decoder(BufReader::with_capacity(3, bytes)).map_err(|error| error.kind())?;
    decoder
        .read_to_end(&mut out)
        .map_err(|error| ErrorKind::of_io(&error))?;
    Ok(out)
}

const TEXT: &[u8] =
    b"the quick brown fox jumps over the lazy dog, the quick brown fox jumps over the lazy dog";

#[test]
fn members_and_frames_are_read_to_the_last() {
    for format in [Compression::Gzip, Compression::Zstd] {
        let mut twice = pack(TEXT, format);
        twice.extend(pack(b"", format));
        twice.extend(pack(TEXT, format));
        assert_eq!(unpack(&twice).unwrap(), [TEXT, TEXT].concat(), "{format:?}");
    }
    let mut skippable = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    skippable.extend(pack(TEXT, Compression::Zstd));
    assert_eq!(unpack(&skippable).unwrap(), TEXT);
}

#[test]
fn zeros_after_gzip_are_padding_and_anything_else_is_an_error() {
    let mut padded = pack(TEXT, Compression::Gzip);
    padded.extend([0; 700]);
    assert_eq!(unpack(&padded).unwrap(), TEXT);
    padded.push(b'x');
    assert_eq!(unpack(&padded), Err(ErrorKind::Malformed));
    let mut garbage = pack(TEXT, Compression::Gzip);
    garbage.extend(b"garbage");
    assert_eq!(unpack(&garbage), Err(ErrorKind::Malformed));
}

#[test]
fn a_stream_that_lies_about_its_content_is_an_error() {
    let good = pack(TEXT, Compression::Gzip);
    let end = good.len();
    for (what, at) in [("checksum", end - 8), ("length", end - 1), ("content", 20)] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert_eq!(unpack(&bad), Err(ErrorKind::Malformed), "{what}");
    }
    let mut bad = pack(TEXT, Compression::Zstd);
    let end = bad.len();
    bad[end - 1] ^= 1;
    assert_eq!(unpack(&bad), Err(ErrorKind::Malformed), "zstd checksum");
}

#[test]
fn every_truncation_is_an_error() {
    for format in [Compression::Gzip, Compression::Zstd] {
        let good = pack(TEXT, format);
        for length in 4..good.len() {
            assert_eq!(
                unpack(&good[..length]),
                Err(ErrorKind::Malformed),
                "{format:?} cut at {length}"
            );
        }
    }
}

#[test]
fn output_beyond_the_limit_is_an_error() {
    let bomb = pack(&vec![0; 1 << 20], Compression::Gzip);
    let mut decoder = decoder_with_limit(&bomb[..], 1000).unwrap();
    let error = std::io::copy(&mut decoder, &mut std::io::sink()).unwrap_err();
    assert_eq!(ErrorKind::of_io(&error), ErrorKind::LimitExceeded);
}

#[test]
fn a_window_beyond_the_limit_is_an_error() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(TEXT).unwrap();
    assert!(unpack(&encoder.finish().unwrap()).is_err());
}

#[test]
fn the_gzip_header_tells_nothing() {
    assert_eq!(
        pack(TEXT, Compression::Gzip)[..10],
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]
    );
}

#[test]
fn what_is_neither_is_passed_on() {
    for content in [&b""[..], b"x", b"\x1f", b"ustar and so on"] {
        assert_eq!(unpack(content).unwrap(), content);
    }
}

#[test]
fn reading_ahead_gives_the_same_and_reports_errors() {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let packed = pack(&content, Compression::Zstd);
    let mut out = Vec::new();
    decode_ahead(std::io::Cursor::new(packed.clone()))
        .unwrap()
        .read_to_end(&mut out)
        .unwrap();
    assert!(out == content, "the same bytes");
    let cut = packed[..packed.len() / 2].to_vec();
    let error = decode_ahead(std::io::Cursor::new(cut))
        .unwrap()
        .read_to_end(&mut Vec::new())
        .unwrap_err();
    assert_eq!(ErrorKind::of_io(&error), ErrorKind::Malformed);
    drop(decode_ahead(std::io::Cursor::new(packed)).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn decode_undoes_encode(content in proptest::collection::vec(any::<u8>(), 0..5000), cut in 0_usize..5000) {
        let cut = cut.min(content.len());
        for format in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let whole = pack(&content, format);
            let mut encoder = encoder(Vec::new(), format, None).unwrap();
            encoder.write_all(&content[..cut]).unwrap();
            encoder.flush().unwrap();
            encoder.write_all(&content[cut..]).unwrap();
            prop_assert_eq!(&encoder.finish().unwrap(), &whole, "the output does not depend on how it was written");
            if format != Compression::None {
                prop_assert_eq!(&unpack(&whole).unwrap(), &content);
            }
        }
    }
}
