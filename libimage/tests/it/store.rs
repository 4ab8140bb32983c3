//! The store: names, sharing, collection, repair, and several at once.

use std::{
    collections::BTreeSet, fs, io::Write, os::unix::fs::MetadataExt, path::Path, sync::Mutex,
    thread,
};

use libimage::{
    Error, ErrorKind,
    digest::Digest,
    progress::{Event, Progress, Silent},
    store::{IdMode, Image, Store, StoreError, StoreOptions},
    view,
};
use trimaran_testkit::{
    Content, ImageMaker, Index, Packing, Tree, is_root,
    tar::{RawMember, raw_tar},
};

use crate::listing::listing;

/// How whoever runs the tests opens a store.
pub(crate) fn store_options() -> StoreOptions {
    if is_root() {
        StoreOptions {
            ids: IdMode::Full,
            privileged: true,
        }
    } else {
        StoreOptions {
            ids: IdMode::Single,
            privileged: false,
        }
    }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, &store_options()).unwrap()
}

/// Puts everything of an image but its manifest into the store.
pub(crate) fn upload(store: &Store, content: &dyn Content) {
    for blob in content.blobs().into_iter().chain(content.manifests()) {
        let mut upload = store.upload().unwrap();
        upload.write_all(&blob.bytes).unwrap();
        upload
            .finish(Some((
                &blob.digest.parse().unwrap(),
                blob.bytes.len() as u64,
            )))
            .unwrap();
    }
}

pub(crate) fn publish(store: &Store, content: &dyn Content, names: &[&str]) -> Image {
    upload(store, content);
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    store.publish(&content.root().bytes, &names).unwrap()
}

/// An image with a layer of its own on one that all have.
fn sample(text: &str) -> trimaran_testkit::Image {
    let base = Tree::new()
        .dir("etc", 0o755)
        .file("etc/base", 0o644, "base");
    ImageMaker::new()
        .layer(&base, Packing::Gzip)
        .layer(&Tree::new().file("etc/own", 0o644, text), Packing::Zstd)
        .make()
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

fn names(store: &Store) -> Vec<Option<String>> {
    store
        .images()
        .unwrap()
        .into_iter()
        .map(|row| row.name)
        .collect()
}

#[test]
fn names_digests_and_ids_find_images() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let (one, two) = (sample("one"), sample("two"));
    publish(&store, &one, &["debian", "localhost:5000/a/b:v1"]);
    publish(&store, &two, &[]);
    for name in [
        "debian",
        "docker.io/library/debian:latest",
        "localhost:5000/a/b:v1",
        one.digest(),
        &one.config.digest,
        &one.config.digest[7..19],
    ] {
        let image = store.find(name).unwrap();
        assert_eq!(image.manifest_digest().as_str(), one.digest(), "{name}");
        assert_eq!(image.raw_manifest(), one.manifest.bytes);
        assert_eq!(image.id().as_str(), one.config.digest);
    }
    assert_eq!(
        store.find("debian").unwrap().name(),
        Some("docker.io/library/debian:latest")
    );
    assert_eq!(store.find(two.digest()).unwrap().name(), None);
    for name in [
        "nothing",
        "debian:13",
        "ab",
        "fffffffffff",
        "sha256:zz",
        "UPPER",
    ] {
        assert_eq!(
            store.find(name).unwrap_err().kind(),
            ErrorKind::NotFound,
            "{name}"
        );
    }
    let expected = [
        Some("docker.io/library/debian:latest"),
        Some("localhost:5000/a/b:v1"),
        None,
    ];
    assert_eq!(names(&store), expected.map(|name| name.map(str::to_owned)));
    let row = &store.images().unwrap()[0];
    let bytes: usize = one
        .blobs()
        .iter()
        .chain([&one.root()])
        .map(|blob| blob.bytes.len())
        .sum();
    assert_eq!((row.size_bytes, row.unpacked_bytes), (bytes as u64, None));
    assert!(
        row.platform
            .as_deref()
            .is_some_and(|platform| platform.starts_with("linux/"))
    );
    store
        .unpack(&store.find("debian").unwrap(), &Silent)
        .unwrap();
    assert_eq!(store.images().unwrap()[0].unpacked_bytes, Some(7));
}

#[test]
fn a_prefix_of_two_ids_is_ambiguous() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let mut seen = std::collections::HashMap::new();
    let prefix = (0..).find_map(|n| {
        let image = sample(&n.to_string());
        publish(&store, &image, &[]);
        let prefix = image.config.digest[7..10].to_owned();
        seen.insert(prefix.clone(), n).map(|_| prefix)
    });
    let error = store.find(&prefix.unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::Ambiguous { .. }), "{error}");
}

#[test]
fn a_moved_name_leaves_its_image_without_one() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    publish(&store, &sample("old"), &["app"]);
    let new = publish(&store, &sample("new"), &["app"]);
    assert_eq!(
        names(&store),
        [Some("docker.io/library/app:latest".to_owned()), None]
    );
    publish(&store, &sample("new"), &["app"]);
    assert_eq!(names(&store).len(), 2, "publishing again changes nothing");
    store.tag(&new, &"other".parse().unwrap()).unwrap();
    assert!(store.untag(&"app".parse().unwrap()).unwrap());
    assert!(!store.untag(&"app".parse().unwrap()).unwrap());
    assert_eq!(
        names(&store),
        [Some("docker.io/library/other:latest".to_owned()), None]
    );
    assert_eq!(
        store.prune(&[]).unwrap().blobs,
        3,
        "the old one's manifest, configuration and own layer"
    );
    assert_eq!(names(&store).len(), 1);
}

#[test]
fn layers_are_shared_leased_and_collected() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let (one, two) = (sample("one"), sample("two"));
    let first = publish(&store, &one, &["one"]);
    let second = publish(&store, &two, &["two"]);
    for image in [&first, &second] {
        store.unpack(image, &Silent).unwrap();
    }
    let layers = || fs::read_dir(base.path().join("layers")).unwrap().count();
    assert_eq!(layers(), 3, "the base once");
    let view = view::root(&store, &first).unwrap();
    assert_eq!(view.lowers.len(), 2);
    assert_eq!(
        fs::read_to_string(view.lowers[0].join("etc/own")).unwrap(),
        "one",
        "the topmost first"
    );
    assert_eq!(view.userxattr, !is_root());
    let removed = store.remove("one", false).unwrap();
    assert_eq!(removed.deleted, Some(digest(one.digest())));
    assert_eq!(removed.freed.layers, 0, "someone uses it");
    assert!(view.lowers[0].exists());
    drop(view);
    assert_eq!(store.gc(&[]).unwrap().layers, 1);
    assert_eq!(layers(), 2);
    store.pin("container-1", &second).unwrap();
    store.remove("two", false).unwrap();
    assert_eq!(layers(), 2, "pinned");
    assert!(store.check(false).unwrap().is_clean());
    assert!(store.pin("../x", &second).is_err());
    store.unpin("container-1").unwrap();
    store.unpin("container-1").unwrap();
    store.gc(&[digest(second.diff_ids()[0].as_str())]).unwrap();
    assert_eq!(layers(), 1, "the live set is kept");
    store.gc(&[]).unwrap();
    let left = |below: &str| fs::read_dir(base.path().join(below)).unwrap().count();
    assert_eq!(
        (layers(), left("blobs/sha256"), left("trash"), left("tmp")),
        (0, 0, 0, 0)
    );
    assert_eq!(store.find("two").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn images_with_several_names_are_removed_name_by_name_or_by_force() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let image = publish(&store, &sample("x"), &["a", "b"]);
    let id = &image.id().hex()[..12];
    assert!(matches!(
        store.remove(id, false),
        Err(StoreError::SeveralNames { .. })
    ));
    let removed = store.remove("a", false).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted), (1, None));
    assert_eq!(
        store.remove("a", false).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    publish(&store, &sample("x"), &["c"]);
    let removed = store.remove(id, true).unwrap();
    assert_eq!(removed.untagged.len(), 2);
    assert!(removed.deleted.is_some());
}

#[test]
fn nothing_is_collected_while_something_is_added() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let hold = store.hold().unwrap();
    upload(&store, &sample("x"));
    assert!(store.gc(&[]).unwrap().deferred);
    drop(hold);
    assert_eq!(store.gc(&[]).unwrap().blobs, 3);
}

#[test]
fn an_index_means_the_image_for_this_machine_and_may_be_sparse() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let (ours, theirs) = (
        sample("ours"),
        ImageMaker::new()
            .platform("linux", "s390x", None)
            .layer(&Tree::new().file("f", 0o644, "z"), Packing::Plain)
            .make(),
    );
    let index = Index::new(vec![theirs.clone(), ours.clone()]);
    upload(&store, &ours);
    let mut child = store.upload().unwrap();
    child.write_all(&ours.manifest.bytes).unwrap();
    child.finish(None).unwrap();
    let image = store
        .publish(&index.root().bytes, &["multi".parse().unwrap()])
        .unwrap();
    assert_eq!(image.manifest_digest().as_str(), ours.digest());
    assert_eq!(
        store.find("multi").unwrap().id().as_str(),
        ours.config.digest
    );
    assert_eq!(
        store
            .find(&ours.config.digest[7..20])
            .unwrap()
            .id()
            .as_str(),
        ours.config.digest
    );
    assert!(store.check(false).unwrap().is_clean());
    store.gc(&[]).unwrap();
    store.unpack(&image, &Silent).unwrap();
    store.remove("multi", false).unwrap();
    assert_eq!(
        fs::read_dir(base.path().join("blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_is_incomplete_is_not_published() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let image = sample("x");
    let error = store
        .publish(&image.manifest.bytes, &["x".parse().unwrap()])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        store.publish(b"{}", &[]).unwrap_err().kind(),
        ErrorKind::Malformed
    );
    assert!(store.images().unwrap().is_empty());
}

/// Remembers the unpacked layers and the warnings.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Progress for Recorder {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Unpacked { diff_id, .. } => diff_id.to_string(),
            Event::Warning { message } => (*message).to_owned(),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn unpacking_is_offline_parallel_and_done_once() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let mut maker = ImageMaker::new();
    for layer in 0..12 {
        maker = maker.layer(
            &Tree::new().file("f", 0o644, vec![layer; 300_000]),
            [Packing::Gzip, Packing::Zstd, Packing::Plain][usize::from(layer) % 3],
        );
    }
    let image = publish(&store, &maker.make(), &["x"]);
    assert_eq!(
        view::root(&store, &image).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let recorder = Recorder::default();
    thread::scope(|scope| {
        for _ in 0..3 {
            // Each as its own process would: another handle, other locks.
            scope.spawn(|| open(base.path()).unpack(&image, &recorder).unwrap());
        }
    });
    let seen = recorder.0.into_inner().unwrap();
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(
        (seen.len(), distinct.len()),
        (12, 12),
        "each layer was unpacked by exactly one"
    );
    assert_eq!(
        fs::read_dir(base.path().join("locks"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().len() > 20)
            .count(),
        0
    );
    assert_eq!(view::root(&store, &image).unwrap().lowers.len(), 12);
}

#[test]
fn layers_that_lie_are_not_published() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let tar = Tree::new().file("f", 0o644, "x").tar();
    let right = Digest::of(&tar);
    let mut staged = store.stage(&right).unwrap().unwrap();
    staged
        .apply(&Tree::new().file("f", 0o644, "y").tar()[..])
        .unwrap();
    assert_eq!(
        staged.finish().unwrap_err().kind(),
        ErrorKind::DigestMismatch
    );
    let staged = store.stage(&right).unwrap().unwrap();
    assert!(matches!(
        staged.finish(),
        Err(StoreError::NotApplied { .. })
    ));
    drop(store.stage(&right).unwrap().unwrap());
    assert!(!store.has_layer(&right));
    assert_eq!(
        fs::read_dir(base.path().join("tmp")).unwrap().count(),
        0,
        "nothing is left behind"
    );
    // The diffID covers what comes after the end of the archive.
    let longer = [&tar[..], &[0; 5000]].concat();
    let mut staged = store.stage(&Digest::of(&longer)).unwrap().unwrap();
    staged.apply(&longer[..]).unwrap();
    staged.finish().unwrap();
    assert!(store.stage(&Digest::of(&longer)).unwrap().is_none());
}

#[test]
fn damaged_content_is_found_and_what_can_be_is_repaired() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let made = sample("x");
    let image = publish(&store, &made, &["x"]);
    store.unpack(&image, &Silent).unwrap();
    assert_eq!(store.check(false).unwrap().findings, []);
    let layer = base.path().join("layers").join(image.diff_ids()[0].hex());
    fs::write(layer.join("layer.json"), "").unwrap();
    let blob = base
        .path()
        .join("blobs/sha256")
        .join(&made.layers[1].blob.digest[7..]);
    fs::write(&blob, "garbage").unwrap();
    let findings = store.check(false).unwrap();
    assert_eq!(findings.findings.len(), 2, "{findings:?}");
    let findings = store.check(true).unwrap();
    assert!(
        !findings.is_clean(),
        "a blob that is gone must be pulled again"
    );
    assert!(!layer.exists() && !blob.exists());
    upload(&store, &made);
    store.unpack(&image, &Silent).unwrap();
    assert_eq!(store.check(false).unwrap().findings, []);
}

#[test]
fn a_corrupt_blob_does_not_unpack() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let made = sample("x");
    let image = publish(&store, &made, &["x"]);
    let blob = base
        .path()
        .join("blobs/sha256")
        .join(&made.layers[0].blob.digest[7..]);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&blob, bytes).unwrap();
    let error = Error::from(store.unpack(&image, &Silent).unwrap_err());
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Malformed | ErrorKind::DigestMismatch
        ),
        "{error:?}"
    );
    assert!(!store.has_layer(&image.diff_ids()[0]));
}

#[test]
fn a_layer_that_hides_all_below_ends_the_view() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let layer = |members: &[RawMember]| raw_tar(members);
    let made = ImageMaker::new()
        .tar_layer(&layer(&[RawMember::file("below", "")]), Packing::Gzip)
        .tar_layer(
            &layer(&[
                RawMember::file(".wh..wh..opq", ""),
                RawMember::file("new", ""),
            ]),
            Packing::Gzip,
        )
        .tar_layer(&layer(&[RawMember::file("top", "")]), Packing::Gzip)
        .tar_layer(&layer(&[RawMember::file("top", "")]), Packing::Gzip)
        .make();
    let image = publish(&store, &made, &["x"]);
    store.unpack(&image, &Silent).unwrap();
    let view = view::root(&store, &image).unwrap();
    let names: Vec<_> = view
        .lowers
        .iter()
        .map(|lower| listing(lower)[1].split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        ["top", "new"],
        "no directory twice, nothing below the one that hides all"
    );
}

#[test]
fn an_image_without_layers_has_an_empty_directory() {
    let base = tempfile::tempdir().unwrap();
    let store = open(base.path());
    let image = publish(&store, &ImageMaker::new().make(), &["empty"]);
    let view = view::root(&store, &image).unwrap();
    assert_eq!(view.lowers.len(), 1);
    assert_eq!(fs::read_dir(&view.lowers[0]).unwrap().count(), 0);
}

#[test]
fn the_store_is_private_and_layers_are_readable_in_it() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("new/store");
    let store = open(&path);
    let image = publish(&store, &sample("x"), &["x"]);
    store.unpack(&image, &Silent).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("layers"))), (0o700, 0o700));
    assert_eq!(mode(&view::root(&store, &image).unwrap().lowers[0]), 0o755);
}

#[test]
fn a_newer_store_is_refused_and_others_of_its_kind_are_opened() {
    let base = tempfile::tempdir().unwrap();
    drop(open(base.path()));
    fs::write(
        base.path().join("state.json"),
        r#"{"version":99,"generation":1,"bootId":"x","dirty":false}"#,
    )
    .unwrap();
    assert_eq!(
        Store::open(base.path(), &store_options())
            .unwrap_err()
            .kind(),
        ErrorKind::Unsupported
    );
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Store::open(&file, &store_options()).is_err());
    fs::create_dir_all(base.path().join("with-containers/containers")).unwrap();
    open(&base.path().join("with-containers"));
}

#[test]
fn a_squashed_layer_is_unpacked_again_by_who_has_ids() {
    let base = tempfile::tempdir().unwrap();
    let open_as = |ids| {
        Store::open(
            base.path(),
            &StoreOptions {
                ids,
                privileged: false,
            },
        )
        .unwrap()
    };
    let single = open_as(IdMode::Single);
    let image = publish(&single, &sample("x"), &["x"]);
    single.unpack(&image, &Silent).unwrap();
    let full = open_as(IdMode::Full);
    let top = &image.diff_ids()[1];
    assert!(single.has_layer(top) && !full.has_layer(top));
    let lease = single.lease(&image).unwrap();
    assert_eq!(full.lease(&image).unwrap_err().kind(), ErrorKind::NotFound);
    if !is_root() {
        return;
    }
    assert_eq!(
        full.unpack(&image, &Silent).unwrap_err().kind(),
        ErrorKind::Conflict,
        "a container runs on it"
    );
    drop(lease);
    full.unpack(&image, &Silent).unwrap();
    assert!(single.has_layer(top) && full.has_layer(top));
}
