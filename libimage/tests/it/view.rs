//! What overlay makes of a view: as root, and inside a user namespace with subordinate ids.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use libimage::{
    ErrorKind,
    digest::Digest,
    progress::Silent,
    store::{IdMode, Store, StoreOptions},
    view,
};
use trimaran_testkit::{
    ImageMaker, Packing, User, is_root, skip,
    tar::{RawMember, raw_tar},
};

use crate::store::publish;

/// Where the child works.
const CHILD: &str = "TRIMARAN_TEST_VIEW";

/// Whether the child is root of the machine.
const PRIVILEGED: &str = "TRIMARAN_TEST_PRIVILEGED";

fn layers() -> trimaran_testkit::Image {
    let lower = [
        RawMember::dir("kept", 0o755),
        RawMember {
            uid: 1000,
            gid: 1000,
            ..RawMember::file("kept/file", "lower")
        },
        RawMember::file("kept/removed", "lower"),
        RawMember::dir("emptied", 0o755),
        RawMember::file("emptied/old", "lower"),
        RawMember {
            device: (1, 3),
            ..RawMember::new(b'3', "null")
        },
    ];
    let upper = [
        RawMember::file("kept/.wh.removed", ""),
        RawMember::file("emptied/new", "upper"),
        RawMember::file("emptied/.wh..wh..opq", ""),
    ];
    ImageMaker::new()
        .tar_layer(&raw_tar(&lower), Packing::Gzip)
        .tar_layer(&raw_tar(&upper), Packing::Zstd)
        .make()
}

/// Not a test by itself: unpacks, mounts, and looks, in namespaces of its own.
#[test]
fn child_in_namespaces() {
    let Ok(base) = std::env::var(CHILD) else {
        return;
    };
    let (base, privileged) = (Path::new(&base), std::env::var_os(PRIVILEGED).is_some());
    let store = Store::open(
        &base.join("store"),
        &StoreOptions {
            ids: IdMode::Full,
            privileged,
        },
    )
    .unwrap();
    let image = publish(&store, &layers(), &["x"]);
    store.unpack(&image, &Silent).unwrap();
    let view = view::root(&store, &image).unwrap();
    let lowers: Vec<_> = view
        .lowers
        .iter()
        .map(|lower| lower.to_str().unwrap())
        .collect();
    let merged = base.join("merged");
    fs::create_dir(&merged).unwrap();
    let options = format!(
        "ro,lowerdir={}{}",
        lowers.join(":"),
        if view.userxattr { ",userxattr" } else { "" }
    );
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(&merged)
        .status()
        .unwrap();
    assert!(mounted.success(), "mount -o {options}");
    let names = |below: &str| {
        let mut names: Vec<_> = fs::read_dir(merged.join(below))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("kept"), ["file"], "the whiteout hides");
    assert_eq!(names("emptied"), ["new"], "the opaque directory hides");
    assert_eq!(
        names("").contains(&"null".to_owned()),
        privileged,
        "device nodes only where they can be made"
    );
    assert_eq!(fs::metadata(merged.join("kept/file")).unwrap().uid(), 1000);
    if !privileged {
        let tar = raw_tar(&[RawMember {
            uid: 70_000,
            ..RawMember::file("f", "")
        }]);
        let error = store
            .stage(&Digest::of(&tar))
            .unwrap()
            .unwrap()
            .apply(&tar[..])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            text.contains("70000") && text.contains("/etc/subuid"),
            "{text}"
        );
    }
    drop(view);
    assert!(
        Command::new("umount")
            .arg(&merged)
            .status()
            .unwrap()
            .success()
    );
    store.remove("x", false).unwrap();
    assert_eq!(fs::read_dir(base.join("store/layers")).unwrap().count(), 0);
    assert_eq!(
        fs::read_dir(base.join("store/trash")).unwrap().count(),
        0,
        "inside of its namespace everything can be removed"
    );
}

fn assert_passed(mut command: Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

const SELECT: [&str; 3] = ["--exact", "view::child_in_namespaces", "--nocapture"];

#[test]
fn root_mounts_a_view() {
    if !is_root() {
        return skip("needs root");
    }
    let base = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args(SELECT);
    command.env(CHILD, base.path()).env(PRIVILEGED, "1");
    assert_passed(command);
}

#[test]
fn a_user_namespace_with_subordinate_ids_unpacks_and_mounts_a_view() {
    let Some(user) = User::with_subids() else {
        return skip("needs root and a user with subordinate ids");
    };
    let home = user.tempdir();
    let program = user.reachable(&std::env::current_exe().unwrap(), home.path());
    let mut command = user.command(
        "unshare",
        home.path(),
        &[
            (CHILD, home.path().to_str().unwrap()),
            ("TMPDIR", home.path().to_str().unwrap()),
        ],
    );
    command
        .args(["--user", "--map-root-user", "--map-auto", "--mount"])
        .arg(program)
        .args(SELECT);
    assert_passed(command);
}
