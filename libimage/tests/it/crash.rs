//! Processes that die, machines that lose power, disks that are full: the store is sound afterwards.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use libimage::{ErrorKind, digest::Digest, progress::Silent, store::Store};
use trimaran_testkit::{ImageMaker, Packing, Tree, is_root, skip};

use crate::store::{open, publish, store_options};

/// Names the store in which the child of [`a_killed_process_leaves_a_sound_store`] works.
const CHILD: &str = "TRIMARAN_TEST_CRASH_STORE";

fn tree(files: usize) -> Tree {
    (0..files).fold(Tree::new(), |tree, at| {
        tree.file(&format!("d{}/f{at}", at % 50), 0o644, vec![at as u8; 2000])
    })
}

fn count(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// Not a test by itself: what the killed child does.
#[test]
fn child_that_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let store = open(Path::new(&path));
    let tar = tree(2000).tar();
    let mut upload = store.upload().unwrap();
    upload.write_all(&tar).unwrap();
    let mut staged = store.stage(&Digest::of(&tar)).unwrap().unwrap();
    // Half of the archive, then silence: the parent knows when, and kills us.
    let half = tar.len() / 2;
    let stalled = tar[..half].chain(Stalled);
    drop(staged.apply(stalled));
    drop(upload);
}

/// Tells the parent, and waits for the end.
struct Stalled;

impl Read for Stalled {
    fn read(&mut self, _buffer: &mut [u8]) -> std::io::Result<usize> {
        std::io::stdout().write_all(b"\nhalf-way\n").unwrap();
        loop {
            std::thread::park();
        }
    }
}

#[test]
fn a_killed_process_leaves_a_sound_store() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let image = publish(
        &store,
        &ImageMaker::new().layer(&tree(20), Packing::Gzip).make(),
        &["x"],
    );
    store.unpack(&image, &Silent).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_that_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, base.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    while !said.contains("half-way") {
        assert!(
            std::io::BufRead::read_line(&mut reader, &mut said).unwrap() > 0,
            "the child died early: {said}"
        );
    }
    assert_eq!(
        count(&base.path().join("tmp")),
        1,
        "it is in the middle of a layer"
    );
    drop(open(base.path()));
    assert_eq!(
        count(&base.path().join("tmp")),
        1,
        "the living are left alone"
    );
    assert!(store.gc(&[]).unwrap().deferred, "and not collected from");
    child.kill().unwrap();
    child.wait().unwrap();
    let store = open(base.path());
    assert_eq!(
        count(&base.path().join("tmp")),
        0,
        "what the dead leave is cleared"
    );
    assert_eq!(store.check(false).unwrap().findings, []);
    store.gc(&[]).unwrap();
    assert_eq!(
        count(&base.path().join("blobs/sha256")),
        3,
        "of its upload nothing is left"
    );
    let tar = tree(2000).tar();
    let mut staged = store
        .stage(&Digest::of(&tar))
        .unwrap()
        .expect("its lock died with it");
    staged.apply(&tar[..]).unwrap();
    staged.finish().unwrap();
}

#[test]
fn after_a_power_cut_layers_come_back_from_their_blobs() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state.json");
    let store = open(base.path());
    let make = |text: &str| {
        ImageMaker::new()
            .layer(&Tree::new().file("f", 0o644, text), Packing::Gzip)
            .make()
    };
    let old = publish(&store, &make("old"), &["old"]);
    store.unpack(&old, &Silent).unwrap();
    store.settle().unwrap();
    assert!(
        fs::read_to_string(&state)
            .unwrap()
            .contains("\"dirty\":true"),
        "too young to be settled by itself"
    );
    store.sync().unwrap();
    let new = publish(&store, &make("new"), &["new"]);
    store.unpack(&new, &Silent).unwrap();
    // The same disk in the next boot, without an orderly end.
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    assert_eq!(value["dirty"], true);
    value["bootId"] = "another".into();
    fs::write(&state, value.to_string()).unwrap();
    let store = open(base.path());
    assert!(
        store.has_layer(&old.diff_ids()[0]),
        "what was synchronised stays"
    );
    assert!(
        !store.has_layer(&new.diff_ids()[0]),
        "what may be damaged goes"
    );
    assert_eq!(store.check(false).unwrap().findings, []);
    store.unpack(&new, &Silent).unwrap();
    // An orderly end: nothing goes.
    store.sync().unwrap();
    let text = fs::read_to_string(&state).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["bootId"] = "yet another".into();
    fs::write(&state, value.to_string()).unwrap();
    assert!(open(base.path()).has_layer(&new.diff_ids()[0]));
}

/// A small file system that goes with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kib: usize) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kib}k,mode=700"),
                "tmpfs",
            ])
            .arg(disk.0.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status()
            .unwrap();
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_half_done_is_visible() {
    if !is_root() {
        return skip("needs root to mount a small file system");
    }
    let Some(disk) = SmallDisk::mount(2000) else {
        return skip("cannot mount a tmpfs");
    };
    let store = open(disk.0.path());
    let tar = tree(2000).tar();
    let mut upload = store.upload().unwrap();
    let error = upload.write_all(&tar).unwrap_err();
    assert_eq!(ErrorKind::of_io(&error), ErrorKind::NoSpace);
    drop(upload);
    let mut staged = store.stage(&Digest::of(&tar)).unwrap().unwrap();
    let error = staged.apply(&tar[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    drop(staged);
    assert!(!store.has_layer(&Digest::of(&tar)));
    assert_eq!(count(&disk.0.path().join("tmp")), 0);
    let image = publish(
        &store,
        &ImageMaker::new().layer(&tree(5), Packing::Gzip).make(),
        &["small"],
    );
    store.unpack(&image, &Silent).unwrap();
    assert_eq!(
        store.check(false).unwrap().findings,
        [],
        "what fits still works"
    );
    // Full to the last byte: even the index cannot be replaced, and the old one stays.
    let mut filler = fs::File::create(disk.0.path().join("filler")).unwrap();
    while filler.write_all(&[1; 512]).is_ok() {}
    let error = store.tag(&image, &"another".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(
        Store::open(disk.0.path(), &store_options())
            .unwrap()
            .images()
            .unwrap()
            .len(),
        1
    );
}
