//! Layouts and the store as ends of a copy.

use std::{path::Path, sync::Arc};

use libimage::{
    ErrorKind,
    copy::{CopyOptions, InspectOptions},
    store::{IdMode, Store, StoreOptions},
};
use trimaran_testkit::{
    Content, Fault, ImageMaker, Index, Layout, Packing, Registry, Rule, image::noise, is_root,
};

use crate::net::{assert_fails, assert_holds, block, copy, copy_with, cx, image};

pub(crate) fn open_store(path: &Path) -> Arc<Store> {
    let options = if is_root() {
        StoreOptions {
            ids: IdMode::Full,
            privileged: true,
        }
    } else {
        StoreOptions {
            ids: IdMode::Single,
            privileged: false,
        }
    };
    Arc::new(Store::open(path, &options).unwrap())
}

fn index() -> Index {
    let other = ImageMaker::new()
        .tar_layer(&noise(600_000), Packing::Plain)
        .platform("linux", "s390x", None);
    Index::new(vec![ImageMaker::sample().make(), other.make()])
}

/// Asserts that a layout holds content as it was made.
#[track_caller]
fn assert_layout(path: &Path, tag: &str, content: &dyn Content) {
    let layout = Layout::open(path);
    assert_eq!(layout.tag(tag).as_deref(), Some(content.digest()));
    for blob in content
        .blobs()
        .into_iter()
        .chain(content.manifests())
        .chain([content.root()])
    {
        assert_eq!(
            layout.blob(&blob.digest).as_ref(),
            Some(&blob.bytes),
            "{}",
            blob.digest
        );
    }
}

/// Names of files in a directory tree that look like something left behind.
fn leftovers(path: &Path, content: &[&dyn Content]) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for content in content {
        let all = content
            .blobs()
            .into_iter()
            .chain(content.manifests())
            .chain([content.root()]);
        known.extend(all.map(|blob| blob.digest[7..].to_owned()));
    }
    let blobs = std::fs::read_dir(path.join("blobs/sha256")).map_or_else(
        |_| Vec::new(),
        |dir| {
            dir.map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        },
    );
    blobs
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect()
}

#[test]
fn a_registry_a_layout_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let made: [(&str, Box<dyn Content>); 3] = [
        ("oci", Box::new(ImageMaker::sample().make())),
        ("docker", Box::new(ImageMaker::sample().docker().make())),
        ("index", Box::new(index())),
    ];
    let (from, to) = (Registry::start(), Registry::start());
    let path = dir.path().join("layout");
    for (tag, content) in &made {
        from.add("image", tag, &**content);
        let there = format!("oci:{}:{tag}", path.display());
        let report = copy(&cx(), &from.reference("image", tag), &there).unwrap();
        assert_eq!(report.digest.as_str(), content.digest());
        assert_layout(&path, tag, &**content);
        assert!(
            copy(&cx(), &from.reference("image", tag), &there)
                .unwrap()
                .unchanged
        );
        copy(&cx(), &there, &to.reference("image", tag)).unwrap();
        assert_holds(&to, "image", tag, &**content);
    }
    let mut tags = block(libimage::copy::tags(
        &cx(),
        &image(&format!("oci:{}", path.display())),
    ))
    .unwrap();
    tags.sort();
    assert_eq!(tags, ["docker", "index", "oci"]);
}

#[test]
fn a_layout_into_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    Layout::create(&from).add("v1", &index());
    // The only image of a layout needs no name.
    copy(
        &cx(),
        &format!("oci:{}", from.display()),
        &format!("oci:{}:copied", to.display()),
    )
    .unwrap();
    assert_layout(&to, "copied", &index());
}

#[test]
fn a_corrupt_layout_is_not_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let made = ImageMaker::new()
        .tar_layer(&noise(600_000), Packing::Plain)
        .make();
    let layout = Layout::create(dir.path());
    layout.add("v1", &made);
    let path = layout.blob_path(&made.layers[0].blob.digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let to = Registry::start();
    // One at a time, the largest first: an upload of another blob that is only just announced cannot be taken back.
    let result = copy_with(
        &cx(),
        &format!("oci:{}:v1", dir.path().display()),
        &to.reference("image", "latest"),
        &CopyOptions {
            jobs: 1,
            ..CopyOptions::default()
        },
    );
    assert_fails(
        result,
        ErrorKind::DigestMismatch,
        &[&made.layers[0].blob.digest],
    );
    assert!(to.blob("image", &made.layers[0].blob.digest).is_none());
    assert_eq!(to.open_uploads(), 0);
}

#[test]
fn a_failed_copy_leaves_a_layout_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (
        ImageMaker::sample().make(),
        ImageMaker::new()
            .tar_layer(&noise(1 << 20), Packing::Plain)
            .make(),
    );
    let path = dir.path().join("layout");
    Layout::create(&path).add("v1", &old);
    let index_before = std::fs::read(path.join("index.json")).unwrap();
    let from = Registry::start();
    from.add("image", "latest", &new);
    from.fault(Rule::get(&format!("*/blobs/{}", new.layers[0].blob.digest)).fault(Fault::Flip));
    let there = format!("oci:{}:v1", path.display());
    assert_fails(
        copy(&cx(), &from.reference("image", "latest"), &there),
        ErrorKind::DigestMismatch,
        &[],
    );
    assert_eq!(
        std::fs::read(path.join("index.json")).unwrap(),
        index_before
    );
    assert_eq!(leftovers(&path, &[&old, &new]), Vec::<String>::new());
    assert!(
        Layout::open(&path)
            .blob(&new.layers[0].blob.digest)
            .is_none()
    );

    // Nothing is made for an image that does not exist.
    let nothing = dir.path().join("nothing");
    assert_fails(
        copy(
            &cx(),
            &from.reference("image", "nope"),
            &format!("oci:{}:v1", nothing.display()),
        ),
        ErrorKind::NotFound,
        &[],
    );
    assert!(!nothing.exists());
}

#[test]
fn dropping_a_copy_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let made = ImageMaker::new()
        .tar_layer(&noise(8 << 20), Packing::Plain)
        .make();
    let from = Registry::start();
    from.add("image", "latest", &made);
    // The blob never ends: whoever waits for it is dropped in the middle.
    from.fault(
        Rule::get(&format!("*/blobs/{}", made.layers[0].blob.digest)).fault(Fault::Stall(1 << 20)),
    );
    let path = dir.path().join("layout");
    let there = image(&format!("oci:{}:v1", path.display()));
    let (source, cx, options) = (
        image(&from.reference("image", "latest")),
        cx(),
        CopyOptions::default(),
    );
    block(async {
        let copying = libimage::copy::copy(&cx, &source, &there, &options);
        let begun = async {
            while from.count("GET", &format!("*/blobs/{}", made.layers[0].blob.digest)) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            result = copying => panic!("it cannot end: {result:?}"),
            () = begun => {}
        }
    });
    let layout = Layout::open(&path);
    assert!(layout.tag("v1").is_none());
    assert!(layout.blob(&made.layers[0].blob.digest).is_none());
}

#[test]
fn the_store_is_an_end_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&dir.path().join("store"));
    let options = CopyOptions {
        store: Some(Arc::clone(&store)),
        ..CopyOptions::default()
    };
    let made = ImageMaker::sample().docker().make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    copy_with(
        &cx(),
        &from.reference("image", "latest"),
        "store:app:v1",
        &options,
    )
    .unwrap();
    assert!(
        copy_with(
            &cx(),
            &from.reference("image", "latest"),
            "store:app:v1",
            &options
        )
        .unwrap()
        .unchanged
    );
    let stored = store.find("app:v1").unwrap();
    assert_eq!(stored.raw_manifest(), made.manifest.bytes);
    assert!(
        stored
            .diff_ids()
            .iter()
            .all(|diff_id| !store.has_layer(diff_id)),
        "a copy does not unpack"
    );
    copy_with(
        &cx(),
        "store:app:v1",
        &to.reference("image", "latest"),
        &options,
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &made);
    let inspect = InspectOptions {
        store: Some(store),
        ..InspectOptions::default()
    };
    let found = block(libimage::copy::inspect(
        &cx(),
        &image("store:app:v1"),
        &inspect,
    ))
    .unwrap();
    assert_eq!(found.digest.as_str(), made.digest());

    assert_fails(
        copy(&cx(), "store:app:v1", &to.reference("image", "two")),
        ErrorKind::Unsupported,
        &["store"],
    );
    assert_fails(
        copy_with(&cx(), "store:nope", &to.reference("image", "two"), &options),
        ErrorKind::NotFound,
        &["nope"],
    );
}

#[test]
fn an_index_goes_into_the_store_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&dir.path().join("store"));
    let options = CopyOptions {
        store: Some(Arc::clone(&store)),
        ..CopyOptions::default()
    };
    let from = Registry::start();
    from.add("image", "latest", &index());
    let report = copy_with(
        &cx(),
        &from.reference("image", "latest"),
        "store:app:v1",
        &options,
    )
    .unwrap();
    assert_eq!(report.digest.as_str(), index().digest());
    assert!(
        store
            .images()
            .unwrap()
            .iter()
            .any(|record| record.manifest_digest == report.digest),
        "{:?}",
        store.images()
    );
}
