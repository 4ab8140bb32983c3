//! Applying and making layers: what ends up on the disk, what ends up in the archive, and that the two are inverses.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use libimage::{
    ErrorKind,
    layer::{ApplyOptions, DiffOptions, Owners, apply},
};
use proptest::prelude::*;
use trimaran_testkit::{
    Tree, User, is_root, run, skip,
    tar::{RawMember, raw_tar},
};

use crate::listing::{apply_to, diff_of, dir, listing, namespace, options};

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 200];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.mode() & 0o170_000 == 0o020_000 && found.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    xattr(path, namespace().opaque()).as_deref() == Some(b"y")
}

/// The paths of an archive as GNU tar sees them.
fn gnu_list(tar: &[u8]) -> Option<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), tar).unwrap();
    let output = Command::new("tar")
        .arg("-tf")
        .arg(file.path())
        .stderr(Stdio::piped())
        .output()
        .ok()?;
    assert!(
        output.status.success(),
        "GNU tar: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "GNU tar complains: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect(),
    )
}

#[test]
fn everything_a_member_says_is_there_afterwards() {
    let base = tempfile::tempdir().unwrap();
    let members = [
        RawMember {
            mtime: 11,
            ..RawMember::dir("./", 0o750)
        },
        RawMember {
            mtime: 12,
            ..RawMember::dir("d", 0o1777)
        },
        RawMember {
            mode: 0o4755,
            mtime: 13,
            ..RawMember::file("d/f", "content")
        }
        .pax(&[("mtime", b"13.25"), ("SCHILY.xattr.user.a", b"b\0c")]),
        RawMember {
            mtime: 14,
            ..RawMember::symlink("d/s", "f")
        },
        RawMember::hardlink("d/h", "d/f"),
        RawMember {
            mode: 0o620,
            mtime: 15,
            ..RawMember::new(b'6', "d/p")
        },
        RawMember {
            mtime: 16,
            ..RawMember::new(0, "old/")
        },
    ];
    let stats = apply_to(base.path(), "l", &raw_tar(&members)).unwrap();
    assert_eq!((stats.entries, stats.content_bytes), (7, 7));
    let at = |path: &str| fs::symlink_metadata(base.path().join("l").join(path)).unwrap();
    let seen = |path: &str| (at(path).mode() & 0o7777, at(path).mtime());
    assert_eq!(seen(""), (0o750, 11));
    assert_eq!(seen("d"), (0o1777, 12));
    assert_eq!(seen("d/f"), (0o4755, 13));
    assert_eq!(at("d/f").mtime_nsec(), 250_000_000);
    assert_eq!(at("d/s").mtime(), 14);
    assert_eq!(seen("d/p"), (0o620, 15));
    assert!(
        at("old").is_dir(),
        "a name that ends in a slash was a directory before ustar"
    );
    assert_eq!(at("d/h").ino(), at("d/f").ino());
    assert_eq!(
        xattr(&base.path().join("l/d/f"), "user.a").as_deref(),
        Some(&b"b\0c"[..])
    );
}

#[test]
fn owners_devices_and_capabilities_are_set_by_root() {
    if !is_root() {
        return skip("needs root");
    }
    let base = tempfile::tempdir().unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let members = [
        RawMember {
            uid: 1000,
            gid: 1001,
            ..RawMember::file("f", "x")
        }
        .pax(&[("SCHILY.xattr.security.capability", &capability)]),
        RawMember {
            uid: 7,
            ..RawMember::symlink("s", "f")
        },
        RawMember {
            device: (1, 3),
            mode: 0o666,
            ..RawMember::new(b'3', "null")
        },
        RawMember {
            device: (7, 0),
            mode: 0o660,
            gid: 6,
            ..RawMember::new(b'4', "loop")
        },
        RawMember::file("big", "x").pax(&[("uid", b"3000000000")]),
    ];
    apply_to(base.path(), "l", &raw_tar(&members)).unwrap();
    let at = |path: &str| fs::symlink_metadata(base.path().join("l").join(path)).unwrap();
    assert_eq!(
        (at("f").uid(), at("f").gid(), at("s").uid(), at("big").uid()),
        (1000, 1001, 7, 3_000_000_000)
    );
    assert_eq!(
        xattr(&base.path().join("l/f"), "security.capability").as_deref(),
        Some(&capability[..]),
        "chown did not clear it"
    );
    assert_eq!(
        (at("null").rdev(), at("null").mode() & 0o777),
        (0x103, 0o666)
    );
    assert_eq!((at("loop").rdev(), at("loop").gid()), (0x700, 6));
}

#[test]
fn squashed_layers_belong_to_the_caller_and_stay_readable() {
    let base = tempfile::tempdir().unwrap();
    let members = [
        RawMember {
            uid: 1234,
            ..RawMember::dir("d", 0o000)
        },
        RawMember {
            uid: 1234,
            gid: 99,
            mode: 0o2000,
            ..RawMember::file("d/f", "x")
        },
    ];
    fs::create_dir(base.path().join("l")).unwrap();
    apply(
        &raw_tar(&members)[..],
        &dir(&base.path().join("l")),
        &ApplyOptions::rootless(Owners::Squash),
    )
    .unwrap();
    let at = |path: &str| fs::symlink_metadata(base.path().join("l").join(path)).unwrap();
    assert_eq!(at("d").mode() & 0o7777, 0o700);
    assert_eq!(
        at("d/f").mode() & 0o7777,
        0o2400,
        "set-id bits stay: they lead to the caller"
    );
    assert_eq!(at("d/f").uid(), rustix::process::getuid().as_raw());
}

#[test]
fn an_owner_nobody_mapped_is_named_with_its_remedy() {
    if is_root() {
        // Root can give files to anyone: the test runs itself again as somebody who cannot.
        let Some(user) = User::without_subids() else {
            return skip("needs the user trimaran-nosub");
        };
        let home = user.tempdir();
        let this = user.reachable(&std::env::current_exe().unwrap(), home.path());
        let name = "layer::an_owner_nobody_mapped_is_named_with_its_remedy";
        let mut again = user.command(this, home.path(), &[]);
        let done = run(again.args(["--exact", name])).expect_code(0);
        assert!(done.stdout.contains("1 passed"), "{}", done.stdout);
        return;
    }
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("l")).unwrap();
    let tar = raw_tar(&[RawMember {
        uid: 1234,
        ..RawMember::file("f", "x")
    }]);
    let error = apply(
        &tar[..],
        &dir(&base.path().join("l")),
        &ApplyOptions::rootless(Owners::Keep),
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("1234"), "{error}");
}

#[test]
fn missing_parents_are_made_the_same_every_time() {
    let base = tempfile::tempdir().unwrap();
    apply_to(
        base.path(),
        "l",
        &raw_tar(&[RawMember::file("/usr/lib/a/b", "x")]),
    )
    .unwrap();
    for path in ["", "usr", "usr/lib", "usr/lib/a"] {
        let found = fs::metadata(base.path().join("l").join(path)).unwrap();
        assert_eq!(
            (found.mode() & 0o7777, found.mtime()),
            (0o755, 0),
            "{path:?}"
        );
    }
}

#[test]
fn a_file_below_a_symlink_to_a_lower_layers_directory_lands_in_that_directory() {
    let base = tempfile::tempdir().unwrap();
    let members = [
        RawMember::symlink("lib", "usr/lib"),
        RawMember::file("lib/x", "x"),
        RawMember::symlink("bin", "/usr/bin"),
        RawMember::file("bin/y", "y"),
    ];
    apply_to(base.path(), "l", &raw_tar(&members)).unwrap();
    assert_eq!(
        fs::read_to_string(base.path().join("l/usr/lib/x")).unwrap(),
        "x"
    );
    assert_eq!(
        fs::read_to_string(base.path().join("l/usr/bin/y")).unwrap(),
        "y"
    );
    assert!(
        fs::symlink_metadata(base.path().join("l/lib"))
            .unwrap()
            .is_symlink()
    );
}

type Make = fn() -> Vec<RawMember>;

#[test]
fn later_members_replace_earlier_ones_of_any_kind() {
    let kinds: [(&str, Make); 4] = [
        ("file", || vec![RawMember::file("x", "1")]),
        ("dir", || {
            vec![RawMember::dir("x", 0o711), RawMember::file("x/in", "2")]
        }),
        ("symlink", || vec![RawMember::symlink("x", "/nowhere")]),
        ("link", || {
            vec![
                RawMember::file("other", "3"),
                RawMember::hardlink("x", "other"),
            ]
        }),
    ];
    for (first, before) in kinds {
        for (second, after) in kinds {
            let base = tempfile::tempdir().unwrap();
            apply_to(base.path(), "both", &raw_tar(&[before(), after()].concat())).unwrap();
            apply_to(base.path(), "alone", &raw_tar(&after())).unwrap();
            let both: Vec<String> = listing(&base.path().join("both"))
                .into_iter()
                .filter(|line| !line.starts_with("other") || second == "link")
                .collect();
            assert_eq!(
                both,
                listing(&base.path().join("alone")),
                "{first} then {second}"
            );
        }
    }
}

#[test]
fn whiteouts_hide_lower_layers_only_in_any_order() {
    let table: Vec<(&str, Vec<RawMember>)> = vec![
        (
            "before",
            vec![
                RawMember::file(".wh.d", ""),
                RawMember::dir("d", 0o755),
                RawMember::file("d/new", "x"),
            ],
        ),
        (
            "after",
            vec![
                RawMember::dir("d", 0o755),
                RawMember::file("d/new", "x"),
                RawMember::file(".wh.d", ""),
            ],
        ),
        (
            "implied",
            vec![RawMember::file(".wh.d", ""), RawMember::file("d/new", "x")],
        ),
        (
            "marker first",
            vec![
                RawMember::file("d/.wh..wh..opq", ""),
                RawMember::file("d/new", "x"),
                RawMember::dir("d", 0o755),
            ],
        ),
        (
            "marker last",
            vec![
                RawMember::dir("d", 0o755),
                RawMember::file("d/new", "x"),
                RawMember::file("d/.wh..wh..opq", ""),
            ],
        ),
    ];
    for (what, members) in table {
        let base = tempfile::tempdir().unwrap();
        apply_to(base.path(), "l", &raw_tar(&members)).unwrap();
        assert!(
            is_opaque(&base.path().join("l/d")),
            "{what}: what is below is hidden"
        );
        assert_eq!(
            fs::read_to_string(base.path().join("l/d/new")).unwrap(),
            "x",
            "{what}: what is new is there"
        );
    }
    let base = tempfile::tempdir().unwrap();
    let members = [
        RawMember::file(".wh.f", ""),
        RawMember::file("f", "new"),
        RawMember::file("a/.wh.gone", ""),
        RawMember::file("a/.wh.gone", ""),
    ];
    let stats = apply_to(base.path(), "l", &raw_tar(&members)).unwrap();
    assert_eq!(stats.whiteouts, 3);
    assert_eq!(fs::read_to_string(base.path().join("l/f")).unwrap(), "new");
    assert!(is_whiteout(&base.path().join("l/a/gone")));
    let stats = apply_to(
        base.path(),
        "root",
        &raw_tar(&[
            RawMember::file(".wh..wh..opq", ""),
            RawMember::file(".wh..wh.plnk/x", ""),
        ]),
    )
    .unwrap();
    assert!(stats.root_opaque);
    assert_eq!(
        listing(&base.path().join("root")).len(),
        1,
        "private files of an old union file system are no content"
    );
}

#[test]
fn gnu_sparse_files_are_read() {
    let base = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .arg("-c")
        .arg("truncate -s 3000000 s && printf begin | dd of=s conv=notrunc status=none && for n in 1 3 5 7 9 11 13; do printf part | dd of=s bs=1 seek=${n}00000 conv=notrunc status=none; done && tar -cS --format=gnu -f t.tar s")
        .current_dir(base.path())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return skip("GNU tar is missing");
    }
    apply_to(
        base.path(),
        "l",
        &fs::read(base.path().join("t.tar")).unwrap(),
    )
    .unwrap();
    assert!(
        fs::read(base.path().join("s")).unwrap() == fs::read(base.path().join("l/s")).unwrap(),
        "the same content"
    );
}

#[test]
fn the_archive_is_sorted_and_says_nothing_unchanged() {
    let base = tempfile::tempdir().unwrap();
    let lower = [
        RawMember::dir("etc", 0o755),
        RawMember::file("etc/keep", "k"),
        RawMember::file("etc/gone", "g"),
        RawMember::dir("replaced", 0o755),
        RawMember::file("replaced/old", "o"),
        RawMember::dir("changed", 0o755),
        RawMember::dir("moded", 0o755),
    ];
    let upper = [
        RawMember {
            mtime: 99,
            ..RawMember::dir("etc", 0o755)
        },
        RawMember::file("etc/new", "n"),
        RawMember::file("etc/.wh.gone", ""),
        RawMember::file("etc/.wh.never-was", ""),
        RawMember::dir("replaced", 0o755),
        RawMember::file("replaced/.wh..wh..opq", ""),
        RawMember::file("replaced/.wh.old", ""),
        RawMember::file("replaced.txt", "sorts before what is in the directory"),
        RawMember::dir("changed", 0o755),
        RawMember::dir("moded", 0o700),
        RawMember::dir("a", 0o755),
        RawMember::file("a/b", ""),
        RawMember::file("a.c", ""),
        RawMember::dir("made/opaque", 0o755),
        RawMember::file("made/opaque/.wh..wh..opq", ""),
    ];
    apply_to(base.path(), "lower", &raw_tar(&lower)).unwrap();
    apply_to(base.path(), "upper", &raw_tar(&upper)).unwrap();
    let tar = diff_of(
        &base.path().join("upper"),
        &[&base.path().join("lower")],
        Some(50),
    )
    .unwrap();
    let Some(names) = gnu_list(&tar) else {
        return skip("GNU tar is missing");
    };
    let expected = [
        "a/",
        "a.c",
        "a/b",
        "etc/.wh.gone",
        "etc/new",
        "made/",
        "made/opaque/",
        "moded/",
        "replaced/",
        "replaced/.wh..wh..opq",
        "replaced.txt",
    ];
    assert_eq!(names, expected);
    let empty = base.path().join("nothing");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        diff_of(&empty, &[&base.path().join("lower")], None).unwrap(),
        [0; 1024]
    );
}

#[test]
fn lower_layers_are_looked_at_as_overlay_shows_them() {
    let base = tempfile::tempdir().unwrap();
    // Deleted in layer 2: a whiteout in the upper one has nothing to hide any more.
    apply_to(
        base.path(),
        "1",
        &raw_tar(&[
            RawMember::file("d/f", ""),
            RawMember::file("d/e/x", ""),
            RawMember::file("o/y", ""),
        ]),
    )
    .unwrap();
    apply_to(
        base.path(),
        "2",
        &raw_tar(&[
            RawMember::file("d/.wh.f", ""),
            RawMember::file("o/.wh..wh..opq", ""),
        ]),
    )
    .unwrap();
    apply_to(
        base.path(),
        "up",
        &raw_tar(&[
            RawMember::file("d/.wh.f", ""),
            RawMember::file("d/.wh.e", ""),
            RawMember::file("o/.wh.y", ""),
        ]),
    )
    .unwrap();
    let tar = diff_of(
        &base.path().join("up"),
        &[&base.path().join("2"), &base.path().join("1")],
        None,
    )
    .unwrap();
    let Some(names) = gnu_list(&tar) else {
        return skip("GNU tar is missing");
    };
    assert_eq!(names, ["d/.wh.e"]);
}

#[test]
fn times_are_whole_seconds_no_later_than_the_epoch() {
    let base = tempfile::tempdir().unwrap();
    let members = [
        RawMember::file("late", "").pax(&[("mtime", b"2000.75")]),
        RawMember::file("early", "").pax(&[("mtime", b"500.75")]),
        RawMember::file("before-1970", "").pax(&[("mtime", b"-5.5")]),
    ];
    apply_to(base.path(), "u", &raw_tar(&members)).unwrap();
    let tar = diff_of(&base.path().join("u"), &[], Some(1000)).unwrap();
    apply_to(base.path(), "again", &tar).unwrap();
    let time = |name: &str| {
        let found = fs::metadata(base.path().join("again").join(name)).unwrap();
        (found.mtime(), found.mtime_nsec())
    };
    assert_eq!(
        (time("late"), time("early"), time("before-1970")),
        ((1000, 0), (500, 0), (-6, 0))
    );
}

#[test]
fn what_cannot_be_in_a_layer_is_an_error_and_sockets_are_left_out() {
    let base = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(base.path().join("s")).unwrap();
    let mut out = Vec::new();
    let options = DiffOptions {
        epoch: None,
        overlay_xattrs: namespace(),
    };
    let stats = libimage::layer::diff(&dir(base.path()), &[], &options, &mut out).unwrap();
    assert_eq!(stats.skipped_sockets, 1);
    fs::write(base.path().join(".wh.x"), "").unwrap();
    assert_eq!(
        diff_of(base.path(), &[], None).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn the_same_tree_makes_the_same_archive_whatever_the_order_of_its_making() {
    let base = tempfile::tempdir().unwrap();
    let mut members: Vec<RawMember> = (0..200)
        .map(|n| RawMember::file(format!("d{}/f{}", n % 7, n * 7919 % 200), [n as u8; 10]))
        .collect();
    apply_to(base.path(), "a", &raw_tar(&members)).unwrap();
    members.reverse();
    apply_to(base.path(), "b", &raw_tar(&members)).unwrap();
    assert!(
        diff_of(&base.path().join("a"), &[], None).unwrap()
            == diff_of(&base.path().join("b"), &[], None).unwrap()
    );
}

#[test]
fn large_numbers_and_long_names_go_into_pax_records_that_gnu_tar_reads() {
    let base = tempfile::tempdir().unwrap();
    let name = format!("{}/{}", "d".repeat(200), "ü".repeat(100));
    let members = [
        RawMember::file("f", "").pax(&[("path", name.as_bytes())]),
        RawMember::symlink("l", "").pax(&[("linkpath", "t/".repeat(200).as_bytes())]),
        RawMember::file(
            format!("{}/{}", "p".repeat(90), "n".repeat(90)),
            "fits ustar",
        )
        .pax(&[(
            "path",
            format!("{}/{}", "p".repeat(90), "n".repeat(90)).as_bytes(),
        )]),
    ];
    apply_to(base.path(), "u", &raw_tar(&members)).unwrap();
    let tar = diff_of(&base.path().join("u"), &[], None).unwrap();
    apply_to(base.path(), "again", &tar).unwrap();
    assert_eq!(
        listing(&base.path().join("u")),
        listing(&base.path().join("again"))
    );
    let Some(names) = gnu_list(&tar) else {
        return skip("GNU tar is missing");
    };
    let below_root = names.iter().filter(|name| *name != "./");
    assert_eq!(below_root.count(), 5);
    assert!(tar.windows(14).any(|part| part == b"././@PaxHeader"));
}

#[test]
fn a_real_tree_is_applied_as_gnu_tar_does() {
    let base = tempfile::tempdir().unwrap();
    let tar = base.path().join("t.tar");
    let made = Command::new("tar")
        .args(["--format=pax", "-C", "/usr/share", "-cf"])
        .arg(&tar)
        .args(["doc/libc6", "zoneinfo", "perl5"])
        .stderr(Stdio::null())
        .status();
    if made.is_err() || !tar.exists() {
        return skip("GNU tar is missing");
    }
    fs::create_dir(base.path().join("gnu")).unwrap();
    let mut gnu = Command::new("tar");
    gnu.args(["-xpf"])
        .arg(&tar)
        .arg("-C")
        .arg(base.path().join("gnu"));
    assert!(gnu.stderr(Stdio::null()).status().unwrap().success());
    apply_to(base.path(), "ours", &fs::read(&tar).unwrap()).unwrap();
    let without_root = |name: &str| -> Vec<String> {
        // Parents the archive does not name get different times.
        listing(&base.path().join(name))
            .into_iter()
            .filter(|line| !line.starts_with(' ') && !line.starts_with("doc dir"))
            .collect()
    };
    if is_root() {
        assert_eq!(without_root("gnu"), without_root("ours"));
    } else {
        assert_eq!(without_root("gnu").len(), without_root("ours").len());
    }
}

/// A member of a random tree: a path of up to three names out of few, so that members meet.
fn member() -> impl Strategy<Value = (String, u8, u32, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "a",
        "b",
        "a.b",
        "c",
        "ä",
        "long-name-that-is-really-quite-long-indeed-so-that-three-of-them-do-not-fit",
    ]);
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    (
        path,
        0_u8..5,
        0_u32..0o10000,
        prop::collection::vec(any::<u8>(), 0..1100),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the tree: its archive, applied, makes an archive that is the same byte for byte.
    #[test]
    fn diff_undoes_apply(members in prop::collection::vec(member(), 0..25)) {
        let base = tempfile::tempdir().unwrap();
        let mut raw = Vec::new();
        for (at, (path, kind, mode, body)) in members.iter().enumerate() {
            let mut member = match kind {
                0 | 1 => RawMember::file("x", body),
                2 => RawMember::dir("x", *mode | 0o700),
                3 => RawMember::symlink("x", &members[at / 2].0),
                _ => RawMember::new(b'6', "x"),
            };
            member.mode = mode | 0o700;
            member.mtime = u64::from(*mode) * 100_000;
            raw.push(member.pax(&[("path", path.as_bytes())]));
        }
        // Some members cannot be placed below files or loops: the first part that can is the tree.
        let mut whole = raw.len();
        while apply_to(base.path(), &format!("try{whole}"), &raw_tar(&raw[..whole])).is_err() {
            whole -= 1;
        }
        let first = diff_of(&base.path().join(format!("try{whole}")), &[], None).unwrap();
        let stats = apply_to(base.path(), "again", &first).unwrap();
        prop_assert_eq!(stats.archive_bytes, first.len() as u64);
        prop_assert_eq!(listing(&base.path().join(format!("try{whole}"))), listing(&base.path().join("again")));
        let second = diff_of(&base.path().join("again"), &[], None).unwrap();
        prop_assert!(first == second, "the archives differ");
    }

    /// No input makes the reader panic or leave its directory.
    #[test]
    fn garbage_is_an_error(mut noise in prop::collection::vec(any::<u8>(), 1..3000), at in 0_usize..1500) {
        let mut tar = Tree::new().dir("d", 0o755).file("d/f", 0o644, "hello").symlink("s", "d").tar();
        let base = tempfile::tempdir().unwrap();
        let end = (at + noise.len()).min(tar.len());
        noise.truncate(end - at);
        tar[at..end].copy_from_slice(&noise);
        apply_to(base.path(), "l", &tar).ok();
        prop_assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }
}

#[test]
fn options_are_what_they_say() {
    assert_eq!(options().owners == Owners::Keep, is_root());
}
