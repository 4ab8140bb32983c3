//! Into the store, unpacked on the way.

use std::{path::Path, sync::Arc};

use libimage::{
    Error, ErrorKind,
    name::ImageRef,
    pull::{PullOptions, PullPolicy},
    store::{Image, Store},
};
use trimaran_testkit::{
    Content, Fault, ImageMaker, Index, Packing, Registry, Rule, Tree,
    image::{Blob, Layer, noise, sha256},
};

use crate::{
    net::{Recorder, assert_fails, block, builder, cx},
    net_local::open_store,
};

fn pull(store: &Arc<Store>, reference: &str, options: &PullOptions) -> Result<Image, Error> {
    let image = ImageRef::parse_or_bare(reference).unwrap();
    block(libimage::pull::pull(
        &cx(),
        &image,
        Arc::clone(store),
        options,
    ))
}

fn always() -> PullOptions {
    PullOptions {
        policy: PullPolicy::Always,
        ..PullOptions::default()
    }
}

/// Nothing half-made: no staged layers, no blobs but those of `content`.
#[track_caller]
fn assert_clean(store: &Path, content: &[&dyn Content]) {
    let list = |path: &str| -> Vec<String> {
        std::fs::read_dir(store.join(path)).map_or_else(
            |_| Vec::new(),
            |dir| {
                dir.map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect()
            },
        )
    };
    assert_eq!(
        list("tmp"),
        Vec::<String>::new(),
        "no staged layer, no temporary blob"
    );
    let known: Vec<String> = content
        .iter()
        .flat_map(|content| content.blobs().into_iter().chain([content.root()]))
        .map(|blob| blob.digest[7..].to_owned())
        .collect();
    let unknown: Vec<String> = list("blobs/sha256")
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn layers_of_all_packings_are_unpacked_while_they_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let made = ImageMaker::sample()
        .layer(
            &Tree::new().file("large", 0o644, noise(3 << 20)),
            Packing::Gzip,
        )
        .make();
    let registry = Registry::start();
    registry.add("image", "latest", &made);
    let image = pull(
        &store,
        &registry.reference("image", "latest"),
        &PullOptions::default(),
    )
    .unwrap();
    assert_eq!(image.manifest_digest().as_str(), made.digest());
    assert_eq!(image.raw_config(), made.config.bytes);
    assert_eq!(image.diff_ids().len(), made.layers.len());
    for (diff_id, layer) in image.diff_ids().iter().zip(&made.layers) {
        assert_eq!(diff_id.as_str(), layer.diff_id);
        assert!(store.has_layer(diff_id));
    }
    assert_eq!(
        registry.count("GET", "*/blobs/*"),
        made.blobs().len(),
        "each blob is fetched once"
    );
    let view = libimage::view::root(&store, &image).unwrap();
    assert_eq!(
        std::fs::read(view.lowers[0].join("large")).unwrap(),
        noise(3 << 20)
    );
    assert_clean(dir.path(), &[&made]);

    // What is there is not asked for.
    registry.forget_requests();
    pull(
        &store,
        &registry.reference("image", "latest"),
        &PullOptions::default(),
    )
    .unwrap();
    assert_eq!(registry.requests(), []);
    pull(&store, &registry.reference("image", "latest"), &always()).unwrap();
    assert_eq!(registry.count("GET", "*/blobs/*"), 0);
}

#[test]
fn an_index_gives_this_machines_image_or_the_one_asked_for() {
    let other = ImageMaker::new()
        .layer(&Tree::new().file("other", 0o644, "s390x"), Packing::Gzip)
        .platform("linux", "s390x", None)
        .make();
    let index = Index::new(vec![other.clone(), ImageMaker::sample().make()]);
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let registry = Registry::start();
    registry.add("image", "latest", &index);
    let reference = registry.reference("image", "latest");
    let image = pull(&store, &reference, &PullOptions::default()).unwrap();
    assert_eq!(image.manifest_digest().as_str(), index.images()[1].digest());
    let options = PullOptions {
        platform: Some("linux/s390x".parse().unwrap()),
        ..PullOptions::default()
    };
    assert_eq!(
        pull(&store, &reference, &options)
            .unwrap()
            .manifest_digest()
            .as_str(),
        other.digest()
    );
    let options = PullOptions {
        platform: Some("linux/riscv64".parse().unwrap()),
        ..PullOptions::default()
    };
    assert_fails(
        pull(&store, &reference, &options),
        ErrorKind::NotFound,
        &["linux/riscv64", "linux/s390x"],
    );
}

#[test]
fn policies_decide_who_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let (old, new) = (
        ImageMaker::sample().make(),
        ImageMaker::sample().env(&["NEW=1"]).make(),
    );
    let registry = Registry::start();
    registry.add("image", "latest", &old);
    let reference = registry.reference("image", "latest");
    let with = |policy| {
        pull(
            &store,
            &reference,
            &PullOptions {
                policy,
                ..PullOptions::default()
            },
        )
    };
    assert_fails(with(PullPolicy::Never), ErrorKind::NotFound, &["image"]);
    with(PullPolicy::Missing).unwrap();
    registry.add("image", "latest", &new);
    for (policy, expected) in [
        (PullPolicy::Missing, &old),
        (PullPolicy::Never, &old),
        (PullPolicy::Newer, &new),
        (PullPolicy::Always, &new),
    ] {
        assert_eq!(
            with(policy).unwrap().manifest_digest().as_str(),
            expected.digest(),
            "{policy:?}"
        );
    }
    registry.fault(Rule::any("/v2/*").fault(Fault::Status(503)));
    assert_eq!(
        with(PullPolicy::Newer).unwrap().manifest_digest().as_str(),
        new.digest(),
        "good enough without the registry"
    );
    assert!(matches!(
        with(PullPolicy::Always).unwrap_err().kind(),
        ErrorKind::Network { .. }
    ));
    // By short name and by id, from the store alone.
    assert!(
        pull(
            &store,
            new.config.digest.as_str(),
            &PullOptions {
                policy: PullPolicy::Never,
                ..PullOptions::default()
            }
        )
        .is_ok()
    );
}

#[test]
fn digests_name_images_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let made = ImageMaker::sample().make();
    let registry = Registry::start();
    registry.add("image", "latest", &made);
    let reference = format!("docker://{}/image@{}", registry.host(), made.digest());
    pull(&store, &reference, &PullOptions::default()).unwrap();
    registry.forget_requests();
    pull(&store, &reference, &PullOptions::default()).unwrap();
    assert_eq!(registry.requests(), []);
}

#[test]
fn a_layout_is_pulled_under_a_local_name() {
    let dir = tempfile::tempdir().unwrap();
    let made = ImageMaker::sample().make();
    let path = dir.path().join("images");
    trimaran_testkit::Layout::create(&path).add("v1", &made);
    let store = open_store(&dir.path().join("store"));
    let image = pull(
        &store,
        &format!("oci:{}:v1", path.display()),
        &PullOptions::default(),
    )
    .unwrap();
    assert_eq!(image.manifest_digest().as_str(), made.digest());
    assert_eq!(
        store.find("localhost/images:v1").unwrap().manifest_digest(),
        image.manifest_digest()
    );
}

#[test]
fn blobs_without_layers_are_unpacked_later_and_offline() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let made = ImageMaker::sample().make();
    let registry = Registry::start();
    registry.add("image", "latest", &made);
    let reference = registry.reference("image", "latest");
    let stored = pull(
        &store,
        &reference,
        &PullOptions {
            unpack: false,
            ..PullOptions::default()
        },
    )
    .unwrap();
    assert!(
        stored
            .diff_ids()
            .iter()
            .all(|diff_id| !store.has_layer(diff_id))
    );
    drop(registry);
    let image = pull(&store, &reference, &PullOptions::default()).unwrap();
    assert!(
        image
            .diff_ids()
            .iter()
            .all(|diff_id| store.has_layer(diff_id))
    );
}

#[test]
fn what_is_wrong_on_the_way_leaves_nothing() {
    let good = ImageMaker::sample()
        .layer(
            &Tree::new().file("large", 0o644, noise(1 << 20)),
            Packing::Gzip,
        )
        .make();
    let last = good.layers.last().unwrap().blob.digest.clone();
    let cases = [
        (Fault::Flip, ErrorKind::DigestMismatch),
        (Fault::Truncate(10), ErrorKind::Network { transient: true }),
        (Fault::Lengthen(100), ErrorKind::DigestMismatch),
        (Fault::Status(404), ErrorKind::NotFound),
    ];
    for (fault, kind) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = open_store(dir.path());
        let registry = Registry::start();
        registry.add("image", "latest", &good);
        registry.fault(Rule::get(&format!("*/blobs/{last}")).fault(fault.clone()));
        let result = pull(
            &store,
            &registry.reference("image", "latest"),
            &PullOptions::default(),
        );
        if fault == Fault::Flip {
            // The inflater may notice before the hash does: both are right.
            assert!(matches!(
                result.unwrap_err().kind(),
                ErrorKind::DigestMismatch | ErrorKind::Malformed
            ));
        } else {
            assert_fails(result, kind, &[&last]);
        }
        assert!(store.images().unwrap().is_empty(), "{fault:?}");
        assert!(
            !store.has_layer(&good.layers.last().unwrap().diff_id.parse().unwrap()),
            "{fault:?}"
        );
        assert_clean(dir.path(), &[&good]);
        registry.heal();
        pull(
            &store,
            &registry.reference("image", "latest"),
            &PullOptions::default(),
        )
        .unwrap();
    }
}

#[test]
fn layers_that_lie_are_refused() {
    let tar = Tree::new()
        .file("a", 0o644, "content")
        .file("b", 0o644, noise(100_000))
        .tar();
    let gzip = Packing::Gzip.pack(&tar);
    let media_type = Packing::Gzip.media_type();
    let lying = |bytes: Vec<u8>, diff_id: String| Layer {
        blob: Blob::new(media_type, bytes),
        diff_id,
    };
    let mut garbled = gzip.clone();
    let middle = garbled.len() / 2;
    garbled[middle..middle + 50].fill(0x55);
    let mut trailing = gzip.clone();
    trailing.extend_from_slice(b"and then some");
    let mut bomb_length = gzip.clone();
    let end = bomb_length.len();
    bomb_length[end - 4..].copy_from_slice(&7u32.to_le_bytes());
    let cases = [
        (
            "another diffID",
            lying(gzip.clone(), sha256(b"other")),
            ErrorKind::DigestMismatch,
        ),
        (
            "a broken stream",
            lying(garbled, sha256(&tar)),
            ErrorKind::Malformed,
        ),
        (
            "half a stream",
            lying(gzip[..end / 2].to_vec(), sha256(&tar)),
            ErrorKind::Malformed,
        ),
        (
            "something behind it",
            lying(trailing, sha256(&tar)),
            ErrorKind::Malformed,
        ),
        (
            "a false length",
            lying(bomb_length, sha256(&tar)),
            ErrorKind::Malformed,
        ),
        (
            "no archive at all",
            lying(Packing::Gzip.pack(&[7; 5000]), sha256(&[7; 5000])),
            ErrorKind::Malformed,
        ),
    ];
    for (name, layer, kind) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = open_store(dir.path());
        let made = ImageMaker::new().raw_layer(layer).make();
        let registry = Registry::start();
        registry.add("image", "latest", &made);
        let error = pull(
            &store,
            &registry.reference("image", "latest"),
            &PullOptions::default(),
        )
        .map(drop)
        .expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(store.images().unwrap().is_empty(), "{name}");
        assert!(
            !store.has_layer(&made.layers[0].diff_id.parse().unwrap()),
            "{name}"
        );
        assert_clean(dir.path(), &[&made]);
    }
}

#[test]
fn documents_that_disagree_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let registry = Registry::start();
    let made = ImageMaker::sample().make();
    // A manifest with one layer less than its configuration has.
    let mut manifest: serde_json::Value = serde_json::from_slice(&made.manifest.bytes).unwrap();
    manifest["layers"].as_array_mut().unwrap().pop();
    registry.add("image", "latest", &made);
    registry.add_manifest(
        "image",
        "short",
        &Blob::new(
            &made.manifest.media_type,
            serde_json::to_vec(&manifest).unwrap(),
        ),
    );
    assert_fails(
        pull(&store, &registry.reference("image", "short"), &always()),
        ErrorKind::Malformed,
        &["2 layers", "3"],
    );
    manifest["config"]["mediaType"] = "application/vnd.example.artifact".into();
    registry.add_manifest(
        "image",
        "artifact",
        &Blob::new(
            &made.manifest.media_type,
            serde_json::to_vec(&manifest).unwrap(),
        ),
    );
    assert_fails(
        pull(&store, &registry.reference("image", "artifact"), &always()),
        ErrorKind::Unsupported,
        &["vnd.example.artifact"],
    );
    assert_clean(dir.path(), &[&made]);
}

#[test]
fn two_pulls_of_one_image_share_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let made = ImageMaker::sample()
        .layer(
            &Tree::new().file("large", 0o644, noise(2 << 20)),
            Packing::Zstd,
        )
        .make();
    let registry = Registry::start();
    registry.add("image", "latest", &made);
    let store = open_store(dir.path());
    let reference = registry.reference("image", "latest");
    std::thread::scope(|scope| {
        let pulls = [(); 4].map(|()| scope.spawn(|| pull(&store, &reference, &always()).unwrap()));
        for pulled in pulls {
            assert_eq!(
                pulled.join().unwrap().manifest_digest().as_str(),
                made.digest()
            );
        }
    });
    assert_clean(dir.path(), &[&made]);
}

#[test]
fn events_tell_what_happens() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let made = ImageMaker::sample().make();
    let registry = Registry::start();
    registry.add("image", "latest", &made);
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    let image: ImageRef = registry.reference("image", "latest").parse().unwrap();
    block(libimage::pull::pull(
        &cx,
        &image,
        store,
        &PullOptions::default(),
    ))
    .unwrap();
    for (event, count) in [
        ("Started", 3),
        ("Unpacked", 3),
        ("Done", 3),
        ("Retry", 0),
        ("Warning", 0),
    ] {
        assert_eq!(
            recorder.count(event),
            count,
            "{event}: {:?}",
            recorder.0.lock().unwrap()
        );
    }
}
