//! Archives that try to get out, to lie, or to exhaust: nothing happens outside of the layer, and the error says what is wrong.

use std::{fs, io::Read, os::unix::fs::symlink, path::Path};

use libimage::{
    ErrorKind,
    layer::{ApplyOptions, apply},
};
use trimaran_testkit::tar::{RawMember, pax_record, raw_members, raw_tar};

use crate::listing::{apply_to, dir, listing, options};

/// Applies an archive beside a file and a directory that must stay as they are.
fn attack(tar: &[u8]) -> (tempfile::TempDir, Result<(), ErrorKind>) {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("victim")).unwrap();
    fs::write(base.path().join("victim/file"), "untouched").unwrap();
    fs::set_permissions(
        base.path().join("victim"),
        std::os::unix::fs::PermissionsExt::from_mode(0o750),
    )
    .unwrap();
    let before = listing(&base.path().join("victim"));
    let result = apply_to(base.path(), "layer", tar)
        .map(drop)
        .map_err(|error| error.kind());
    assert_eq!(
        listing(&base.path().join("victim")),
        before,
        "nothing outside of the layer changes"
    );
    let names: Vec<_> = fs::read_dir(base.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        names.len(),
        2,
        "nothing is made outside of the layer: {names:?}"
    );
    (base, result)
}

#[test]
fn what_cannot_be_right_is_refused() {
    use ErrorKind::{LimitExceeded, Malformed, Unsupported};
    let file = || RawMember::file("f", "x");
    let sized = |size_field| RawMember {
        size_field: Some(size_field),
        ..file()
    };
    let long = |flag, length: usize| RawMember::new(flag, "././@LongLink").body(vec![b'a'; length]);
    let table: Vec<(&str, Vec<RawMember>, ErrorKind)> = vec![
        (
            "dot dot",
            vec![RawMember::file("../victim/file", "owned")],
            Malformed,
        ),
        (
            "dot dot inside",
            vec![RawMember::file("a/../../victim/file", "owned")],
            Malformed,
        ),
        (
            "dot dot after a slash",
            vec![RawMember::file("/../victim/file", "owned")],
            Malformed,
        ),
        (
            "dot dot in a PAX path",
            vec![file().pax(&[("path", b"../victim/file")])],
            Malformed,
        ),
        (
            "dot dot in a hard link",
            vec![RawMember::hardlink("l", "../victim/file")],
            Malformed,
        ),
        (
            "hard link to nothing",
            vec![RawMember::hardlink("l", "nothing")],
            Malformed,
        ),
        (
            "hard link to the root",
            vec![RawMember::hardlink("l", "./")],
            Malformed,
        ),
        (
            "hard link to a directory",
            vec![RawMember::dir("d", 0o755), RawMember::hardlink("l", "d")],
            Malformed,
        ),
        (
            "hard link to a whiteout",
            vec![RawMember::file(".wh.w", ""), RawMember::hardlink("l", "w")],
            Malformed,
        ),
        (
            "the root as a symlink",
            vec![RawMember::symlink("./", "../victim")],
            Malformed,
        ),
        (
            "the root as a file",
            vec![RawMember::file(".", "x")],
            Malformed,
        ),
        (
            "a file below a file",
            vec![file(), RawMember::file("f/x", "x")],
            ErrorKind::Io,
        ),
        (
            "character device 0:0",
            vec![RawMember::new(b'3', "w")],
            Unsupported,
        ),
        (
            "whiteout of nothing",
            vec![RawMember::file(".wh.", "")],
            Malformed,
        ),
        (
            "whiteout of the directory above",
            vec![RawMember::file("d/.wh...", "")],
            Malformed,
        ),
        (
            "something in a whiteout",
            vec![RawMember::file(".wh.a/b", "")],
            Malformed,
        ),
        (
            "symlink to nothing",
            vec![RawMember::symlink("l", "")],
            Malformed,
        ),
        (
            "NUL in a PAX path",
            vec![file().pax(&[("path", b"a\0b")])],
            Malformed,
        ),
        (
            "over-long name",
            vec![file().pax(&[("path", &[b'n'; 300])])],
            LimitExceeded,
        ),
        (
            "over-long path",
            vec![file().pax(&[("path", &b"dir/".repeat(2000))])],
            LimitExceeded,
        ),
        (
            "too deep",
            vec![file().pax(&[("path", &b"d/".repeat(1500))])],
            LimitExceeded,
        ),
        ("negative size", vec![sized([0xff; 12])], Malformed),
        (
            "huge size",
            vec![sized([
                0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ])],
            LimitExceeded,
        ),
        (
            "size beyond 64 bits",
            vec![sized([0x80, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
            Malformed,
        ),
        (
            "size that is no number",
            vec![sized(*b"12345x7890\0\0")],
            Malformed,
        ),
        (
            "huge PAX size",
            vec![file().pax(&[("size", b"18446744073709551615")])],
            LimitExceeded,
        ),
        (
            "negative PAX size",
            vec![file().pax(&[("size", b"-1")])],
            Malformed,
        ),
        (
            "uid beyond 32 bits",
            vec![file().pax(&[("uid", b"4294967296")])],
            Malformed,
        ),
        (
            "the uid that means none",
            vec![file().pax(&[("uid", b"4294967295")])],
            Malformed,
        ),
        (
            "negative uid",
            vec![RawMember {
                uid_field: Some([0xff; 8]),
                ..file()
            }],
            Malformed,
        ),
        (
            "PAX sparse",
            vec![file().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")])],
            Unsupported,
        ),
        (
            "endless PAX body",
            vec![file().before(RawMember {
                size: 1 << 32,
                ..RawMember::new(b'x', "p")
            })],
            LimitExceeded,
        ),
        (
            "endless long name",
            vec![file().before(RawMember {
                size: 1 << 32,
                ..long(b'L', 0)
            })],
            LimitExceeded,
        ),
        (
            "PAX record that is too long",
            vec![file().before(RawMember::new(b'x', "p").body("99 path=x\n"))],
            Malformed,
        ),
        (
            "two PAX headers",
            vec![file().pax(&[("path", b"a")]).pax(&[("path", b"b")])],
            Malformed,
        ),
        (
            "two long names",
            vec![file().before(long(b'L', 4)).before(long(b'L', 5))],
            Malformed,
        ),
        (
            "a header without a member",
            vec![RawMember::new(b'x', "p").body(pax_record("path", b"a"))],
            Malformed,
        ),
        (
            "wrong checksum",
            vec![RawMember {
                checksum_error: 1,
                ..file()
            }],
            Malformed,
        ),
        (
            "unknown type",
            vec![RawMember::new(b'V', "volume")],
            Unsupported,
        ),
        (
            "multi-volume",
            vec![RawMember::new(b'M', "rest")],
            Unsupported,
        ),
    ];
    for (what, members, expected) in table {
        let (_base, result) = attack(&raw_tar(&members));
        assert_eq!(result, Err(expected), "{what}");
    }
}

#[test]
fn every_truncation_is_an_error_or_the_end() {
    let tar = raw_members(&[
        RawMember::file("a", [b'x'; 700]).pax(&[("path", b"long")]),
        RawMember::file("b", "y"),
    ]);
    let ends = [512, 1024, 1536, 2048, 512 * 3 + 700, 2560, 3072];
    let around = ends
        .iter()
        .flat_map(|end| [end - 1, *end, end + 1])
        .filter(|length| !matches!(length, 2560 | 3072..));
    for length in around.chain((1..2560).step_by(97)) {
        let (_base, result) = attack(&tar[..length]);
        // An archive may end without closing blocks or the last padding, after a complete member.
        let complete = (512 * 3 + 700..=512 * 5).contains(&length);
        assert_eq!(result.is_ok(), complete, "cut at {length}");
    }
}

#[test]
fn symlinks_lead_nowhere_else() {
    let outside = ["/", "../../..", "/victim", "../victim"];
    for target in outside {
        let members = [
            RawMember::symlink("door", target),
            RawMember::file("door/victim/file", "owned"),
            RawMember::dir("door/victim", 0o777),
            RawMember::file("door/file", "owned"),
            RawMember::hardlink("door/link", "door/file"),
        ];
        let (_base, result) = attack(&raw_tar(&members));
        assert_eq!(result, Ok(()), "{target}: inside the layer that is allowed");
    }
    // A leaf that is a symlink is replaced, never followed; a chmod does not go through it either.
    let members = [
        RawMember::symlink("f", "../victim/file"),
        RawMember::file("f", "mine"),
        RawMember::symlink("d", "../victim"),
        RawMember::dir("d", 0o777),
    ];
    let (base, result) = attack(&raw_tar(&members));
    assert_eq!(result, Ok(()));
    assert_eq!(
        fs::read_to_string(base.path().join("layer/f")).unwrap(),
        "mine"
    );
    assert!(
        fs::symlink_metadata(base.path().join("layer/d"))
            .unwrap()
            .is_dir()
    );
    // A symlink in place of a directory that has content and metadata waiting.
    let members = [
        RawMember::dir("d", 0o700),
        RawMember::file("d/f", "x"),
        RawMember::symlink("d", "../victim"),
    ];
    let (base, result) = attack(&raw_tar(&members));
    assert_eq!(result, Ok(()));
    assert!(
        fs::symlink_metadata(base.path().join("layer/d"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_symlink_loop_is_an_error_not_a_hang() {
    let members = [
        RawMember::symlink("a", "b"),
        RawMember::symlink("b", "a"),
        RawMember::file("a/f", "x"),
    ];
    assert!(attack(&raw_tar(&members)).1.is_err());
    let members = [RawMember::symlink("a", "a/x"), RawMember::file("a/f", "x")];
    assert!(attack(&raw_tar(&members)).1.is_err());
}

#[test]
fn a_newline_in_an_attribute_changes_neither_name_nor_size() {
    let value = [
        &b"x\n"[..],
        &pax_record("path", b"smuggled"),
        &pax_record("size", b"0"),
    ]
    .concat();
    let member = RawMember {
        size: 0,
        ..RawMember::file("f", "hello")
    };
    let member = member.pax(&[("SCHILY.xattr.user.a", &value), ("size", b"5")]);
    let (base, result) = attack(&raw_tar(&[member]));
    assert_eq!(result, Ok(()));
    assert_eq!(
        fs::read_to_string(base.path().join("layer/f")).unwrap(),
        "hello"
    );
    assert!(!base.path().join("layer/smuggled").exists());
}

#[test]
fn overlays_private_attributes_are_stripped() {
    let names = [
        "user.overlay.opaque",
        "user.overlay.redirect",
        "trusted.overlay.opaque",
        "trusted.overlay.metacopy",
        "trusted.x",
    ];
    let keys: Vec<String> = names
        .iter()
        .map(|name| format!("SCHILY.xattr.{name}"))
        .collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"y"[..])).collect();
    let tar = raw_tar(&[
        RawMember::dir("d", 0o755).pax(&records),
        RawMember::file("d/f", "").pax(&records),
    ]);
    let base = tempfile::tempdir().unwrap();
    let stats = apply_to(base.path(), "layer", &tar).unwrap();
    assert_eq!(
        stats.skipped_xattrs, 2,
        "trusted.x of both is counted, overlay's are not even that"
    );
    for path in ["d", "d/f"] {
        let mut buffer = [0; 1000];
        let length =
            rustix::fs::llistxattr(base.path().join("layer").join(path), &mut buffer[..]).unwrap();
        assert!(
            !String::from_utf8_lossy(&buffer[..length]).contains("overlay"),
            "{path}"
        );
    }
}

#[test]
fn limits_hold() {
    let base = tempfile::tempdir().unwrap();
    let many: Vec<RawMember> = (0..20)
        .map(|n| RawMember::file(format!("f{n}"), vec![0; 1000]))
        .collect();
    let table = [
        (
            "entries",
            ApplyOptions {
                max_entries: 10,
                ..options()
            },
        ),
        (
            "bytes",
            ApplyOptions {
                max_bytes: 10_000,
                ..options()
            },
        ),
    ];
    for (what, options) in table {
        fs::create_dir(base.path().join(what)).unwrap();
        let error =
            apply(&raw_tar(&many)[..], &dir(&base.path().join(what)), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{what}");
    }
    // Endless zeros behind the archive count, too.
    let short = raw_tar(&many[..1]);
    let endless = (&short[..]).chain(std::io::repeat(0));
    fs::create_dir(base.path().join("endless")).unwrap();
    let options = ApplyOptions {
        max_bytes: 1 << 20,
        ..options()
    };
    let error = apply(endless, &dir(&base.path().join("endless")), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn device_nodes_are_left_out_and_counted_rootless_or_refused() {
    let device = RawMember {
        device: (1, 3),
        ..RawMember::new(b'3', "null")
    };
    let tar = raw_tar(&[device, RawMember::new(b'6', "fifo")]);
    let base = tempfile::tempdir().unwrap();
    let apply_with = |name: &str, options: ApplyOptions| {
        fs::create_dir(base.path().join(name)).unwrap();
        apply(&tar[..], &dir(&base.path().join(name)), &options)
    };
    let rootless = ApplyOptions {
        devices: libimage::layer::Devices::Skip,
        ..options()
    };
    let stats = apply_with("skip", rootless).unwrap();
    assert_eq!(stats.skipped_devices, 1);
    assert!(
        stats.warnings[0].contains("1 device"),
        "{:?}",
        stats.warnings
    );
    assert!(!base.path().join("skip/null").exists() && base.path().join("skip/fifo").exists());
    let refusing = ApplyOptions {
        devices: libimage::layer::Devices::Refuse,
        ..options()
    };
    assert_eq!(
        apply_with("refuse", refusing).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn non_utf8_names_are_names() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let (base, result) = attack(&raw_tar(&[RawMember::file(b"caf\xe9/\xff\xfe", "x")]));
    assert_eq!(result, Ok(()));
    assert!(
        base.path()
            .join("layer")
            .join(OsStr::from_bytes(b"caf\xe9/\xff\xfe"))
            .exists()
    );
}

#[test]
fn a_staging_directory_reached_through_a_symlink_is_still_itself() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("real")).unwrap();
    symlink("real", base.path().join("alias")).unwrap();
    apply(
        &raw_tar(&[RawMember::file("f", "x")])[..],
        &dir(&base.path().join("alias")),
        &options(),
    )
    .unwrap();
    assert!(Path::new(&base.path().join("real/f")).exists());
}
