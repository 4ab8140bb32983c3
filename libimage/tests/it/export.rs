//! The root file system as one archive: the tree that others unpack, and what becomes of links whose other end is hidden.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use libimage::{
    Error, ErrorKind,
    export::{ExportOptions, ExportReport, export},
};
use trimaran_testkit::{
    Content, Fault, ImageMaker, Index, Layout, Packing, Registry, Rule, Tree,
    image::{Blob, Entry, Kind},
    is_root, skip,
    tar::{RawMember, raw_tar},
};

use crate::{
    listing::listing,
    net::{assert_fails, block, cx, image},
};

/// Bytes that a thread writes and the test reads.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn export_with(reference: &str, options: &ExportOptions) -> Result<(Vec<u8>, ExportReport), Error> {
    let out = Shared::default();
    let report = block(export(&cx(), &image(reference), out.clone(), options))?;
    let archive = std::mem::take(&mut *out.0.lock().unwrap());
    assert_eq!(archive.len() as u64, report.bytes);
    Ok((archive, report))
}

fn exported(reference: &str) -> Vec<u8> {
    export_with(reference, &ExportOptions::default()).unwrap().0
}

fn layout(content: &dyn Content) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    Layout::create(dir.path()).add("v", content);
    let reference = format!("oci:{}:v", dir.path().display());
    (dir, reference)
}

/// Unpacks an archive with GNU tar. Without -P it makes symlinks with absolute targets at the very end, and directories that are
/// described twice lose their time.
fn unpack(archive: &[u8], into: &Path) -> PathBuf {
    fs::create_dir_all(into).unwrap();
    let mut child = Command::new("tar")
        .args([
            "-x",
            "-p",
            "-P",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "-f",
            "-",
            "-C",
        ])
        .arg(into)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    assert!(child.wait().unwrap().success());
    into.to_owned()
}

/// Exports the layers and unpacks the result.
fn tree_of(layers: &[Tree]) -> (tempfile::TempDir, PathBuf) {
    let mut maker = ImageMaker::new();
    for layer in layers {
        maker = maker.layer(layer, Packing::Gzip);
    }
    let (_layout, reference) = layout(&maker.make());
    let dir = tempfile::tempdir().unwrap();
    let root = unpack(&exported(&reference), &dir.path().join("root"));
    (dir, root)
}

fn names(root: &Path) -> Vec<String> {
    let lines = listing(root);
    let names = lines.iter().map(|line| line.split(' ').next().unwrap());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn read(root: &Path, name: &str) -> String {
    fs::read_to_string(root.join(name)).unwrap()
}

fn links(root: &Path, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(root.join(name)).unwrap().nlink()
}

/// Layers in which everything happens that layers of real images do.
fn rich() -> Vec<Tree> {
    let node = |path: &str, kind: Kind| Entry {
        path: path.to_owned(),
        kind,
        mode: 0o620,
        uid: 0,
        gid: 5,
        mtime: 1_600_000_000,
        xattrs: Vec::new(),
    };
    // As archivers write them: what the link's header says is the file's (some unpackers believe the last one).
    let link = |path: &str| Entry {
        mode: 0o4755,
        gid: 0,
        mtime: 1_735_689_600,
        ..node(path, Kind::Hardlink("usr/bin/tool".to_owned()))
    };
    let long = format!("usr/{}", "long/".repeat(40));
    let base = Tree::new()
        .dir("etc", 0o755)
        .file("etc/motd", 0o644, "base")
        .file("etc/shadow", 0o640, "secret")
        .owner(0, 42)
        .dir("usr", 0o755)
        .dir("usr/bin", 0o755)
        .file("usr/bin/tool", 0o4755, "tool")
        .entry(link("usr/bin/alias"))
        .entry(link("usr/bin/third"))
        .symlink("bin", "usr/bin")
        .file("usr/bin/\u{e4}rger", 0o644, "not ASCII")
        .dir("home", 0o755)
        .dir("home/user", 0o700)
        .owner(1000, 1000)
        .file("home/user/.profile", 0o600, "hello")
        .owner(1000, 1000)
        .xattr("user.comment", b"kept\n")
        .dir("dev", 0o755)
        .entry(node("dev/null", Kind::Char(1, 3)))
        .entry(node("dev/loop0", Kind::Block(7, 0)))
        .entry(node("dev/pipe", Kind::Fifo))
        .dir("var", 0o755)
        .dir("var/cache", 0o755)
        .file("var/cache/old", 0o644, "old")
        .dir("opt", 0o755)
        .dir("opt/app", 0o755)
        .file("opt/app/file", 0o644, "file")
        .dir("tmp", 0o1777)
        .dir("deep", 0o755)
        .dir("deep/er", 0o555)
        .file("deep/er/file", 0o444, "x");
    let base = long
        .match_indices('/')
        .skip(1)
        .fold(base, |tree, (at, _)| tree.dir(&long[..at], 0o755))
        .file(&format!("{long}end"), 0o644, "far");
    let second = Tree::new()
        .dir("etc", 0o750)
        .whiteout("etc/shadow")
        .file("etc/motd", 0o600, "second")
        .dir("usr", 0o755)
        .dir("usr/bin", 0o755)
        .whiteout("usr/bin/tool")
        .dir("var", 0o755)
        .dir("var/cache", 0o711)
        .opaque("var/cache")
        .file("var/cache/new", 0o644, "new")
        // A file in place of a directory.
        .dir("opt", 0o755)
        .file("opt/app", 0o644, "no directory any more");
    let third = Tree::new()
        .dir("etc", 0o755)
        .file("etc/last", 0o644, "third")
        // And a directory in place of the file.
        .dir("opt", 0o755)
        .dir("opt/app", 0o700)
        .file("opt/app/again", 0o644, "again");
    vec![base, second, third]
}

#[test]
fn the_tree_is_the_one_umoci_unpacks() {
    if !is_root() || !Path::new("/usr/bin/umoci").exists() {
        return skip("needs root and umoci");
    }
    let busybox = ImageMaker::busybox().map(|maker| maker.make());
    for made in [Some(rich_image()), busybox].into_iter().flatten() {
        let (layout, reference) = layout(&made);
        let dir = tempfile::tempdir().unwrap();
        let ours = unpack(&exported(&reference), &dir.path().join("ours"));
        let bundle = dir.path().join("bundle");
        let unpacked = Command::new("umoci")
            .args(["unpack", "--image"])
            .arg(format!("{}:v", layout.path().display()))
            .arg(&bundle)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&unpacked.stderr);
        assert!(unpacked.status.success(), "{message}");
        assert_same(&ours, &bundle.join("rootfs"));
    }
}

#[test]
fn the_tree_is_the_one_podman_exports() {
    if !is_root() || !Path::new("/usr/bin/podman").exists() {
        return skip("needs root and podman");
    }
    let dir = tempfile::tempdir().unwrap();
    let (_layout, reference) = layout(&rich_image());
    let ours = unpack(&exported(&reference), &dir.path().join("ours"));
    let archive = dir.path().join("image.tar");
    let to = format!("docker-archive:{}:localhost/rich:v", archive.display());
    crate::net::copy(&cx(), &reference, &to).unwrap();
    let podman = |arguments: &[&str]| {
        let mut command = trimaran_testkit::command("/usr/bin/podman", dir.path());
        command.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--root",
        ]);
        command.arg(dir.path().join("storage")).arg("--runroot");
        command.arg(dir.path().join("run")).args(arguments);
        trimaran_testkit::run(&mut command)
    };
    let loaded = podman(&["load", "-q", "-i", archive.to_str().unwrap()]);
    if loaded.code() != 0 {
        return skip("podman cannot store images here");
    }
    let container = podman(&["create", "localhost/rich:v", "sh"]).expect_code(0);
    let tar = dir.path().join("theirs.tar");
    let id = container.stdout.trim();
    podman(&["export", "-o", tar.to_str().unwrap(), id]).expect_code(0);
    podman(&["rm", "-f", id]).expect_code(0);
    let theirs = unpack(&fs::read(tar).unwrap(), &dir.path().join("theirs"));
    assert_same(&ours, &theirs);
}

fn rich_image() -> trimaran_testkit::Image {
    let maker = ImageMaker::new();
    let layers = rich().into_iter();
    layers
        .fold(maker, |maker, layer| maker.layer(&layer, Packing::Gzip))
        .make()
}

#[track_caller]
fn assert_same(ours: &Path, theirs: &Path) {
    let (found, expected) = (without_root(listing(ours)), without_root(listing(theirs)));
    let missing = expected.iter().filter(|line| !found.contains(line));
    let differences: Vec<_> = found
        .iter()
        .filter(|line| !expected.contains(line))
        .chain(missing)
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// No layer says anything about the root: it is whatever the unpacker makes.
fn without_root(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !line.starts_with(' '));
    lines
}

#[test]
fn what_is_above_hides_what_is_below() {
    let (_dir, root) = tree_of(&rich());
    let names = names(&root);
    for gone in [
        "etc/shadow",
        "usr/bin/tool",
        "var/cache/old",
        "opt/app/file",
    ] {
        assert!(!names.iter().any(|name| name == gone), "{gone}");
    }
    assert_eq!(read(&root, "etc/motd"), "second");
    assert_eq!(read(&root, "opt/app/again"), "again");
    // The target is hidden: its content is the first link's, and the other is still the same file.
    assert_eq!(read(&root, "usr/bin/alias"), "tool");
    assert_eq!(
        (links(&root, "usr/bin/alias"), links(&root, "usr/bin/third")),
        (2, 2)
    );
}

#[test]
fn links_follow_their_file_wherever_it_is() {
    let file = |content: &str| Tree::new().dir("d", 0o755).file("d/file", 0o644, content);
    // What it is, layers from the lowest, then what the names read as in the end, and how many there are of them.
    type Case = (
        &'static str,
        Vec<Tree>,
        Vec<(&'static str, &'static str, u64)>,
    );
    let table: Vec<Case> = vec![
        (
            "a link and its file",
            vec![file("a").hardlink("d/link", "d/file")],
            vec![("d/file", "a", 2), ("d/link", "a", 2)],
        ),
        (
            "the file is replaced above",
            vec![file("a").hardlink("d/link", "d/file"), file("b")],
            vec![("d/file", "b", 1), ("d/link", "a", 1)],
        ),
        (
            "a chain of links",
            vec![
                file("a")
                    .hardlink("d/2", "d/file")
                    .hardlink("d/3", "d/2")
                    .hardlink("d/4", "d/3"),
                Tree::new().whiteout("d/file").whiteout("d/2"),
            ],
            vec![("d/3", "a", 2), ("d/4", "a", 2)],
        ),
        (
            "only the link is hidden",
            vec![
                file("a").hardlink("d/link", "d/file"),
                Tree::new().whiteout("d/link"),
            ],
            vec![("d/file", "a", 1)],
        ),
        (
            "the file is in the layer below",
            vec![file("a"), Tree::new().hardlink("d/link", "d/file")],
            vec![("d/file", "a", 2), ("d/link", "a", 2)],
        ),
        (
            "the file is below and hidden",
            vec![
                file("a"),
                Tree::new()
                    .hardlink("d/link", "d/file")
                    .hardlink("d/more", "d/link")
                    .whiteout("d/file"),
            ],
            vec![("d/link", "a", 2), ("d/more", "a", 2)],
        ),
        (
            "the link comes before its file",
            vec![
                Tree::new()
                    .hardlink("d/link", "d/file")
                    .file("d/file", 0o644, "a"),
            ],
            vec![("d/file", "a", 2), ("d/link", "a", 2)],
        ),
        (
            "a link to a link of the layer below",
            vec![
                file("a").hardlink("d/link", "d/file"),
                Tree::new()
                    .hardlink("d/up", "d/link")
                    .whiteout("d/file")
                    .whiteout("d/link"),
            ],
            vec![("d/up", "a", 1)],
        ),
        (
            "a link to itself above a file",
            vec![file("a"), Tree::new().hardlink("d/file", "d/file")],
            vec![("d/file", "a", 1)],
        ),
    ];
    for (what, layers, expected) in table {
        let (_dir, root) = tree_of(&layers);
        let found: Vec<String> = names(&root)
            .into_iter()
            .filter(|name| name != "d")
            .collect();
        let wanted: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
        assert_eq!(found, wanted, "{what}");
        for (name, content, count) in expected {
            assert_eq!(read(&root, name), content, "{what}: {name}");
            assert_eq!(links(&root, name), count, "{what}: {name}");
        }
    }
}

#[test]
fn names_lead_through_symlinks_of_their_own_layer() {
    let inside = Tree::new()
        .dir("usr", 0o755)
        .dir("usr/lib", 0o755)
        .symlink("lib", "usr/lib")
        .file("lib/a", 0o644, "a")
        .symlink("abs", "/usr")
        .file("abs/lib/b", 0o644, "b");
    let (_dir, root) = tree_of(&[inside]);
    assert_eq!(
        names(&root),
        ["abs", "lib", "usr", "usr/lib", "usr/lib/a", "usr/lib/b"]
    );
    // Another layer's symlink is hidden by the directory, as in overlay.
    let below = Tree::new()
        .dir("usr", 0o755)
        .dir("usr/lib", 0o755)
        .symlink("lib", "usr/lib");
    let (_dir, root) = tree_of(&[below, Tree::new().file("lib/a", 0o644, "a")]);
    assert_eq!(names(&root), ["lib", "lib/a", "usr", "usr/lib"]);
    let circle = Tree::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/x", 0o644, "x");
    let (_layout, reference) = layout(&ImageMaker::new().layer(&circle, Packing::Gzip).make());
    assert_fails(
        export_with(&reference, &ExportOptions::default()),
        ErrorKind::LimitExceeded,
        &["symlinks"],
    );
}

#[test]
fn times_have_their_fractions_and_directories_keep_theirs() {
    use std::os::unix::fs::MetadataExt;
    let member = RawMember::file("d/file", "x").pax(&[("mtime", b"1600000000.25")]);
    let tar = raw_tar(&[RawMember::dir("d/", 0o755), member]);
    let upper = raw_tar(&[
        RawMember {
            mtime: 1_500_000_000,
            ..RawMember::dir("d/", 0o755)
        },
        RawMember::file("d/new", "y"),
    ]);
    let made = ImageMaker::new()
        .tar_layer(&tar, Packing::Gzip)
        .tar_layer(&upper, Packing::Gzip)
        .make();
    let (_layout, reference) = layout(&made);
    let dir = tempfile::tempdir().unwrap();
    let root = unpack(&exported(&reference), dir.path());
    let file = fs::metadata(root.join("d/file")).unwrap();
    assert_eq!(
        (file.mtime(), file.mtime_nsec()),
        (1_600_000_000, 250_000_000)
    );
    assert_eq!(fs::metadata(root.join("d")).unwrap().mtime(), 1_500_000_000);
}

#[test]
fn an_export_depends_on_the_image_alone() {
    let registry = Registry::start();
    let made = ImageMaker::sample().make();
    let other = ImageMaker::new().platform("linux", "s390x", None);
    let other = other
        .layer(&Tree::new().file("other", 0o644, "x"), Packing::Plain)
        .make();
    let index = Index::new(vec![other, made.clone()]);
    registry.add("image", "v", &index);
    let (_layout, reference) = layout(&made);
    let first = exported(&reference);
    assert_eq!(first, exported(&reference));
    assert_eq!(first, exported(&registry.reference("image", "v")));
    let options = ExportOptions {
        platform: Some("linux/s390x".parse().unwrap()),
        ..ExportOptions::default()
    };
    let (archive, report) = export_with(&registry.reference("image", "v"), &options).unwrap();
    assert_ne!(archive, first);
    assert_eq!(report.digest.as_str(), index.images()[0].digest());
    // Each layer is fetched once.
    assert_eq!(
        registry.count("GET", &format!("*/blobs/{}", made.layers[0].blob.digest)),
        1
    );
    let (_empty, nothing) = layout(&ImageMaker::new().make());
    assert_eq!(exported(&nothing), [0; 1024]);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let tree = |tree: Tree| ImageMaker::new().layer(&tree, Packing::Gzip).make();
    let table = [
        (
            tree(Tree::new().file("../up", 0o644, "x")),
            ErrorKind::Malformed,
            "leads out",
        ),
        (
            tree(Tree::new().hardlink("a", "nowhere")),
            ErrorKind::Malformed,
            "nowhere",
        ),
        (
            tree(Tree::new().file("a", 0o644, "x").file("a/b", 0o644, "x")),
            ErrorKind::Malformed,
            "a/b",
        ),
        (
            tree(Tree::new().file("a/b", 0o644, "x").file("a", 0o644, "x")),
            ErrorKind::Unsupported,
            "directory of the same layer",
        ),
        (
            tree(Tree::new().entry(Entry {
                path: "x".to_owned(),
                kind: Kind::Char(0, 0),
                mode: 0o600,
                uid: 0,
                gid: 0,
                mtime: 0,
                xattrs: Vec::new(),
            })),
            ErrorKind::Unsupported,
            "0:0",
        ),
        (
            ImageMaker::new()
                .tar_layer(b"no archive", Packing::Gzip)
                .make(),
            ErrorKind::Malformed,
            "",
        ),
    ];
    for (made, kind, word) in table {
        let (_layout, reference) = layout(&made);
        assert_fails(
            export_with(&reference, &ExportOptions::default()),
            kind,
            &[word],
        );
    }
    let artifact = serde_json::json!({
        "schemaVersion": 2,
        "artifactType": "text/plain",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": trimaran_testkit::image::sha256(b"{}"), "size": 2},
        "layers": [],
    });
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let blob = Blob::new(manifest, artifact.to_string().into_bytes());
    let registry = Registry::start();
    registry.add_manifest("image", "v", &blob);
    assert_fails(
        export_with(&registry.reference("image", "v"), &ExportOptions::default()),
        ErrorKind::Unsupported,
        &["no image", "empty"],
    );
}

#[test]
fn a_source_that_fails_is_the_reason() {
    let registry = Registry::start();
    let made = ImageMaker::sample().make();
    registry.add("image", "v", &made);
    let layer = format!("*/blobs/{}", made.layers[1].blob.digest);
    registry.fault(Rule::get(&layer).fault(Fault::Flip));
    assert_fails(
        export_with(&registry.reference("image", "v"), &ExportOptions::default()),
        ErrorKind::DigestMismatch,
        &[&made.layers[1].blob.digest],
    );
}
