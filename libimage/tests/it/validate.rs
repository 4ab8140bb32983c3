//! Images read again: what is right passes, every lie is found, and all of them at once.

use libimage::{
    Error, ErrorKind,
    validate::{ProblemKind, ValidateOptions, Validation, validate},
};
use serde_json::{Value, json};
use trimaran_testkit::{
    Content, Fault, Image, ImageMaker, Index, Layout, Packing, Registry, Rule, Tree,
    image::{Blob, Layer, sha256},
};

use crate::net::{assert_fails, block, cx, image};

fn check(reference: &str, options: &ValidateOptions) -> Result<Validation, Error> {
    block(validate(&cx(), &image(reference), options))
}

fn found(reference: &str) -> Validation {
    check(reference, &ValidateOptions::default()).unwrap()
}

fn kinds(found: &Validation) -> Vec<ProblemKind> {
    found.problems.iter().map(|problem| problem.kind).collect()
}

/// A layout with one image, whose reference is returned too.
fn layout(content: &dyn Content) -> (tempfile::TempDir, Layout, String) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path());
    layout.add("v", content);
    let reference = format!("oci:{}:v", dir.path().display());
    (dir, layout, reference)
}

/// Makes the image again with other documents; what is not changed stays true.
fn altered(made: &Image, config: impl Fn(&mut Value), manifest: impl Fn(&mut Value)) -> Image {
    let parse = |blob: &Blob| serde_json::from_slice::<Value>(&blob.bytes).unwrap();
    let mut altered = made.clone();
    let mut value = parse(&made.config);
    config(&mut value);
    altered.config = Blob::new(&made.config.media_type, value.to_string().into_bytes());
    let mut value = parse(&made.manifest);
    value["config"] = altered.config.descriptor();
    manifest(&mut value);
    altered.manifest = Blob::new(&made.manifest.media_type, value.to_string().into_bytes());
    altered
}

#[test]
fn what_is_right_passes_everywhere() {
    let made: Vec<Box<dyn Content>> = vec![
        Box::new(ImageMaker::sample().make()),
        Box::new(ImageMaker::sample().docker().make()),
        Box::new(ImageMaker::new().make()),
        Box::new(Index::new(vec![
            ImageMaker::sample().make(),
            ImageMaker::new().platform("linux", "s390x", None).make(),
        ])),
    ];
    let registry = Registry::start();
    for content in made {
        registry.add("image", "v", &*content);
        let (_dir, _, local) = layout(&*content);
        for reference in [registry.reference("image", "v"), local] {
            for fast in [false, true] {
                let options = ValidateOptions {
                    fast,
                    ..ValidateOptions::default()
                };
                registry.forget_requests();
                let found = check(&reference, &options).unwrap();
                assert!(found.is_valid(), "{reference}: {:?}", found.problems);
                assert_eq!(found.digest.unwrap().as_str(), content.digest());
                assert_eq!(found.blobs, content.blobs().len() as u64);
                assert_eq!(found.manifests, content.manifests().len() as u64 + 1);
                if fast {
                    // Configurations are read in any case.
                    let configs = content.manifests().len().max(1);
                    assert!(registry.count("GET", "*/blobs/*") <= configs);
                }
            }
        }
    }
}

#[test]
fn every_lie_about_bytes_is_found() {
    let made = ImageMaker::sample().make();
    let (config, layers) = (&made.config, &made.layers);
    let flip = |layout: &Layout, digest: &str| {
        let mut bytes = layout.blob(digest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(layout.blob_path(digest), bytes).unwrap();
    };
    let cut = |layout: &Layout, digest: &str| {
        let bytes = layout.blob(digest).unwrap();
        std::fs::write(layout.blob_path(digest), &bytes[..bytes.len() - 1]).unwrap();
    };
    let remove = |layout: &Layout, digest: &str| {
        std::fs::remove_file(layout.blob_path(digest)).unwrap();
    };
    type Damage<'a> = &'a dyn Fn(&Layout, &str);
    let table: [(Damage<'_>, &Blob, ProblemKind); 6] = [
        (&flip, &layers[1].blob, ProblemKind::Digest),
        (&cut, &layers[1].blob, ProblemKind::Size),
        (&remove, &layers[2].blob, ProblemKind::Missing),
        (&flip, config, ProblemKind::Digest),
        (&remove, config, ProblemKind::Missing),
        (&flip, &made.manifest, ProblemKind::Digest),
    ];
    for (damage, blob, expected) in table {
        let (_dir, layout, reference) = layout(&made);
        damage(&layout, &blob.digest);
        let found = found(&reference);
        assert_eq!(kinds(&found), [expected], "{:?}", found.problems);
        let digest = found.problems[0].digest.as_ref();
        if blob.digest != made.manifest.digest {
            assert_eq!(digest.unwrap().as_str(), blob.digest);
        }
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let made = ImageMaker::sample().make();
    let other = ImageMaker::new().platform("linux", "s390x", None).make();
    let index = Index::new(vec![made.clone(), other.clone()]);
    let (_dir, layout, reference) = layout(&index);
    for digest in [&made.layers[0].blob.digest, &other.config.digest] {
        std::fs::remove_file(layout.blob_path(digest)).unwrap();
    }
    std::fs::write(layout.blob_path(&made.layers[2].blob.digest), "x").unwrap();
    let whole = found(&reference);
    let mut all = kinds(&whole);
    all.sort();
    assert_eq!(
        all,
        [
            ProblemKind::Missing,
            ProblemKind::Missing,
            ProblemKind::Size
        ],
        "{:?}",
        whole.problems
    );
    // With a platform, only what is its.
    let options = ValidateOptions {
        platforms: vec!["linux/s390x".parse().unwrap()],
        ..ValidateOptions::default()
    };
    let one = check(&reference, &options).unwrap();
    assert_eq!(kinds(&one), [ProblemKind::Missing], "{:?}", one.problems);
    let options = ValidateOptions {
        platforms: vec!["linux/riscv64".parse().unwrap()],
        ..ValidateOptions::default()
    };
    assert_fails(
        check(&reference, &options),
        ErrorKind::NotFound,
        &["linux/riscv64"],
    );
}

#[test]
fn documents_that_contradict_each_other() {
    let made = ImageMaker::sample().make();
    let same = |_: &mut Value| {};
    let other = sha256(b"other");
    let twice = |value: &mut Value| {
        let first = value["rootfs"]["diff_ids"][0].clone();
        value["rootfs"]["diff_ids"]
            .as_array_mut()
            .unwrap()
            .push(first);
    };
    let table: Vec<(&str, Image, Vec<ProblemKind>)> = vec![
        (
            "another diffID",
            altered(
                &made,
                |value| value["rootfs"]["diff_ids"][1] = json!(other),
                same,
            ),
            vec![ProblemKind::DiffId],
        ),
        (
            "a diffID too many",
            altered(&made, twice, same),
            vec![ProblemKind::Mismatch],
        ),
        (
            "no diffIDs",
            altered(&made, |value| value["rootfs"] = json!({}), same),
            vec![ProblemKind::Malformed],
        ),
        (
            "a diffID that is none",
            altered(
                &made,
                |value| value["rootfs"]["diff_ids"][0] = json!("x"),
                same,
            ),
            vec![ProblemKind::Malformed],
        ),
        (
            "a step of the history too many",
            altered(
                &made,
                |value| value["history"].as_array_mut().unwrap().push(json!({})),
                same,
            ),
            vec![ProblemKind::Mismatch],
        ),
        (
            "an empty step is none too many",
            altered(
                &made,
                |value| {
                    let history = value["history"].as_array_mut().unwrap();
                    history.push(json!({"empty_layer": true}));
                },
                same,
            ),
            Vec::new(),
        ),
        (
            "no platform",
            altered(&made, |value| value["os"] = json!(""), same),
            vec![ProblemKind::Malformed],
        ),
        (
            "the type of zstd for gzip",
            altered(&made, same, |value| {
                value["layers"][0]["mediaType"] =
                    json!("application/vnd.oci.image.layer.v1.tar+zstd");
            }),
            vec![ProblemKind::MediaType],
        ),
        (
            "a type of no layer",
            altered(&made, same, |value| {
                value["layers"][0]["mediaType"] = json!("text/plain")
            }),
            vec![ProblemKind::MediaType],
        ),
        (
            "another size in the descriptor",
            altered(&made, same, |value| value["layers"][0]["size"] = json!(7)),
            vec![ProblemKind::Size],
        ),
    ];
    for (what, content, expected) in table {
        let (_dir, _, reference) = layout(&content);
        let found = found(&reference);
        assert_eq!(kinds(&found), expected, "{what}: {:?}", found.problems);
    }
}

#[test]
fn layers_that_are_no_archives() {
    let noise = trimaran_testkit::image::noise(5000);
    let mut broken = Tree::new().file("a", 0o644, "content").tar();
    broken[0] ^= 1;
    let escaping = Tree::new().file("../escape", 0o644, "x").tar();
    for (tar, what) in [
        (noise, "no archive"),
        (broken, "checksum"),
        (escaping, "escape"),
    ] {
        let made = ImageMaker::new().tar_layer(&tar, Packing::Gzip).make();
        let (_dir, _, reference) = layout(&made);
        let found = found(&reference);
        // The digest of the whole is right: that is told apart.
        assert_eq!(
            kinds(&found),
            [ProblemKind::Malformed],
            "{what}: {:?}",
            found.problems
        );
    }
    // The codec's own verdict.
    let blob = Blob::new(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        [&[0x1f, 0x8b, 8, 0][..], &[0xff; 600]].concat(),
    );
    let layer = Layer {
        diff_id: sha256(b""),
        blob,
    };
    let (_dir, _, reference) = layout(&ImageMaker::new().raw_layer(layer).make());
    assert_eq!(kinds(&found(&reference)), [ProblemKind::Malformed]);
}

#[test]
fn an_index_and_its_manifests() {
    let made = ImageMaker::sample().make();
    let both = json!({
        "schemaVersion": 2,
        "config": made.config.descriptor(),
        "layers": [],
        "manifests": [],
    });
    let both = Blob::new(
        "application/vnd.oci.image.manifest.v1+json",
        both.to_string().into_bytes(),
    );
    let confused = Image {
        manifest: both,
        ..made.clone()
    };
    let (_dir, _, reference) = layout(&confused);
    assert_eq!(kinds(&found(&reference)), [ProblemKind::Malformed]);
    // A manifest that an index calls an index.
    let mut entry = made.manifest.descriptor();
    entry["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    let liar = Index::with(
        vec![made.clone()],
        "application/vnd.oci.image.index.v1+json",
        vec![
            entry,
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(b"gone"), "size": 4}),
        ],
    );
    // The first entry is the same manifest under its right type; the second is not looked at again.
    let (_dir, _, reference) = layout(&liar);
    let seen = found(&reference);
    assert_eq!(kinds(&seen), [ProblemKind::Missing], "{:?}", seen.problems);
}

#[test]
fn a_platform_that_is_another() {
    let mut made = ImageMaker::sample().make();
    made.platform = json!({"os": "linux", "architecture": "s390x"});
    let (_dir, _, reference) = layout(&Index::new(vec![made]));
    let found = found(&reference);
    assert_eq!(
        kinds(&found),
        [ProblemKind::Mismatch],
        "{:?}",
        found.problems
    );
}

#[test]
fn registries_that_lie_or_fail() {
    let registry = Registry::start();
    let made = ImageMaker::sample().make();
    registry.add("image", "v", &made);
    let reference = registry.reference("image", "v");
    let layer = format!("*/blobs/{}", made.layers[0].blob.digest);
    for (fault, expected) in [
        (Fault::Flip, ProblemKind::Digest),
        (Fault::Shorten(10), ProblemKind::Size),
        (Fault::Lengthen(10), ProblemKind::Size),
        (Fault::Status(404), ProblemKind::Missing),
    ] {
        registry.heal();
        registry.fault(Rule::get(&layer).fault(fault.clone()));
        let found = found(&reference);
        assert_eq!(kinds(&found), [expected], "{fault:?}: {:?}", found.problems);
    }
    // What cannot be looked at is no finding.
    registry.heal();
    registry.fault(Rule::get(&layer).fault(Fault::Status(403)));
    let denied = check(&reference, &ValidateOptions::default());
    assert_fails(denied, ErrorKind::Denied, &["403"]);
    assert_fails(
        check(
            &registry.reference("image", "nope"),
            &ValidateOptions::default(),
        ),
        ErrorKind::NotFound,
        &["nope"],
    );
    registry.heal();
    let fast = ValidateOptions {
        fast: true,
        ..ValidateOptions::default()
    };
    registry.fault(Rule::method("HEAD", &layer).fault(Fault::Status(404)));
    assert_eq!(
        kinds(&check(&reference, &fast).unwrap()),
        [ProblemKind::Missing]
    );
}
