//! Conversion: what comes out is valid, keeps what it can, says what it cannot, and costs no more than it must.

use libimage::{
    ErrorKind,
    copy::{CopyOptions, CopyReport, Format, Recompress},
    media::Compression,
};
use serde_json::{Value, json};
use trimaran_testkit::image::{Blob, Image, Layer, noise, sha256};
use trimaran_testkit::{Content, Fault, ImageMaker, Index, Packing, Registry, Rule, Tree};

use crate::{
    net::{Recorder, assert_fails, assert_holds, builder, copy_with, cx},
    valid::{DOCKER, OCI, assert_valid, json, layers},
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn to_format(format: Format) -> CopyOptions {
    CopyOptions {
        format: Some(format),
        ..CopyOptions::default()
    }
}

fn to_compression(text: &str) -> CopyOptions {
    CopyOptions {
        compress: Some(text.parse().unwrap()),
        ..CopyOptions::default()
    }
}

fn tar(seed: u8) -> Vec<u8> {
    let mut content = noise(50_000);
    content.extend(std::iter::repeat_n(seed, 300_000));
    Tree::new()
        .dir("d", 0o755)
        .file("d/f", 0o644, content)
        .tar()
}

/// An image without zstd.
fn ordinary(architecture: &str) -> ImageMaker {
    ImageMaker::new()
        .platform("linux", architecture, None)
        .tar_layer(&tar(1), Packing::Gzip)
        .tar_layer(&tar(2), Packing::GzipMembers(3))
        .tar_layer(&tar(3), Packing::Plain)
        .setting("Healthcheck", json!({"Test": ["CMD", "true"]}))
}

/// What BuildKit adds to an index for an image.
fn attestation(subject: &Image) -> (Image, Value) {
    let statement = Blob::new("application/vnd.in-toto+json", subject.digest().into());
    let layer = Layer {
        diff_id: sha256(&statement.bytes),
        blob: statement,
    };
    let made = ImageMaker::new()
        .platform("unknown", "unknown", None)
        .raw_layer(layer)
        .make();
    let mut entry = made.root().descriptor();
    entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    entry["annotations"] = json!({
        "vnd.docker.reference.digest": subject.digest(),
        "vnd.docker.reference.type": "attestation-manifest",
    });
    (made, entry)
}

/// Puts an index whose images are attested under `image:latest`.
fn add_attested(registry: &Registry, images: Vec<Image>) -> Index {
    let attestations: Vec<(Image, Value)> = images.iter().map(attestation).collect();
    let entries = attestations
        .iter()
        .map(|(_, entry)| entry.clone())
        .collect();
    let index = Index::with(images, INDEX, entries);
    registry.add("image", "latest", &index);
    for (attestation, _) in &attestations {
        registry.add_untagged("image", attestation);
    }
    index
}

/// Copies `image:latest` to `image:latest`.
#[track_caller]
fn converted(from: &Registry, to: &Registry, options: &CopyOptions) -> CopyReport {
    let (from, to) = (
        from.reference("image", "latest"),
        to.reference("image", "latest"),
    );
    copy_with(&cx(), &from, &to, options).unwrap()
}

#[track_caller]
fn refused(from: &Registry, options: &CopyOptions, kind: ErrorKind, words: &[&str]) {
    let to = Registry::start();
    let (from, there) = (
        from.reference("image", "latest"),
        to.reference("image", "latest"),
    );
    assert_fails(copy_with(&cx(), &from, &there, options), kind, words);
    assert!(to.manifest("image", "latest").is_none());
    assert_eq!(to.open_uploads(), 0, "what was begun is undone");
}

#[test]
fn there_and_back_again_keeps_layers_and_configuration() {
    for content in [
        Box::new(ordinary("amd64").make()) as Box<dyn Content>,
        Box::new(Index::new(vec![
            ordinary("amd64").make(),
            ordinary("arm64").make(),
        ])),
    ] {
        let (from, docker, back) = (Registry::start(), Registry::start(), Registry::start());
        from.add("image", "latest", &*content);
        let there = converted(&from, &docker, &to_format(Format::V2s2));
        assert_eq!(there.source_digest.as_str(), content.digest());
        let images = assert_valid(&docker, "image", "latest", DOCKER);
        assert_eq!(there.changes.len(), content.manifests().len() + 1);
        let last = there.changes.last().unwrap();
        assert_eq!(
            (last.0.as_str(), &last.1),
            (content.digest(), &there.digest)
        );
        // Every configuration and layer is the same blob.
        for blob in content.blobs() {
            assert!(
                docker.blob("image", &blob.digest).is_some(),
                "{}",
                blob.media_type
            );
        }
        converted(&docker, &back, &to_format(Format::Oci));
        assert_eq!(assert_valid(&back, "image", "latest", OCI), images);
        let before: Value = serde_json::from_slice(&content.root().bytes).unwrap();
        let after = json(&back, "image", "latest");
        if content.manifests().is_empty() {
            assert_eq!(after, before, "nothing was lost on the way");
        }
        // The same is there already.
        let again = converted(&from, &docker, &to_format(Format::V2s2));
        assert!(again.unchanged && again.digest == there.digest);
        assert_eq!((again.copied, again.manifests), (0, 0));
        // It is what is asked for: converting does nothing to it.
        let copy = Registry::start();
        let same = converted(&docker, &copy, &to_format(Format::V2s2));
        assert_eq!((same.digest, same.changes), (there.digest, Vec::new()));
    }
}

#[test]
fn every_compression_becomes_every_other() {
    let packings = [
        Packing::Plain,
        Packing::Gzip,
        Packing::GzipMembers(4),
        Packing::Zstd,
        Packing::ZstdFrames(3),
    ];
    let image = packings
        .iter()
        .zip(1..)
        .fold(ImageMaker::new(), |maker, (packing, seed)| {
            maker.tar_layer(&tar(seed), *packing)
        })
        .make();
    let from = Registry::start();
    from.add("image", "latest", &image);
    for (wanted, kept) in [
        ("gzip", vec![1, 2]),
        ("gzip:9", vec![1, 2]),
        ("zstd", vec![3, 4]),
        ("zstd:15", vec![3, 4]),
        ("none", vec![0]),
    ] {
        let (to, again) = (Registry::start(), Registry::start());
        let report = converted(&from, &to, &to_compression(wanted));
        assert_valid(&to, "image", "latest", OCI);
        let manifest = json(&to, "image", "latest");
        let config = &manifest["config"]["digest"];
        assert_eq!(config, &image.config.digest, "the image's id stays");
        for (at, digest) in layers(&manifest).iter().enumerate() {
            let same = *digest == image.layers[at].blob.digest;
            // Undoing a compression that wraps nothing else gives the tar itself: that is no coincidence.
            assert_eq!(same, kept.contains(&at), "layer {at} as {wanted}");
        }
        assert_eq!(report.changes.len(), 1);
        let other = converted(&from, &again, &to_compression(wanted));
        assert_eq!(
            other.digest, report.digest,
            "the same input gives the same bytes"
        );
        // All layers are what is wanted now.
        let copy = Registry::start();
        let same = converted(&to, &copy, &to_compression(wanted));
        assert_eq!((same.digest, same.changes), (report.digest, Vec::new()));
    }
}

#[test]
fn force_compresses_again_what_is_compressed_so() {
    let image = ordinary("amd64").make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &image);
    let wanted: Recompress = "gzip:9".parse().unwrap();
    let options = CopyOptions {
        compress: Some(wanted.forced(true)),
        ..CopyOptions::default()
    };
    converted(&from, &to, &options);
    assert_valid(&to, "image", "latest", OCI);
    let after = layers(&json(&to, "image", "latest"));
    for (layer, after) in image.layers.iter().zip(&after) {
        assert_ne!(layer.blob.digest, *after);
    }
}

#[test]
fn docker_knows_no_zstd() {
    let from = Registry::start();
    let zstd = ImageMaker::new().tar_layer(&tar(1), Packing::Zstd).make();
    from.add("image", "latest", &zstd);
    let words = ["zstd", "v2s2", "gzip", &zstd.layers[0].blob.digest];
    refused(
        &from,
        &to_format(Format::V2s2),
        ErrorKind::Unsupported,
        &words,
    );
    let both = CopyOptions {
        format: Some(Format::V2s2),
        ..to_compression("zstd")
    };
    refused(&from, &both, ErrorKind::Unsupported, &["no zstd"]);
    // Compressed as Docker knows it, it is fine.
    for algorithm in ["gzip", "none"] {
        let to = Registry::start();
        let both = CopyOptions {
            format: Some(Format::V2s2),
            ..to_compression(algorithm)
        };
        converted(&from, &to, &both);
        assert_valid(&to, "image", "latest", DOCKER);
    }
    // A Docker image does not become an OCI image only because of zstd.
    let docker = Registry::start();
    docker.add("image", "latest", &ordinary("amd64").docker().make());
    refused(
        &docker,
        &to_compression("zstd"),
        ErrorKind::Unsupported,
        &["OCI"],
    );
    let to = Registry::start();
    let both = CopyOptions {
        format: Some(Format::Oci),
        ..to_compression("zstd")
    };
    converted(&docker, &to, &both);
    assert_valid(&to, "image", "latest", OCI);
}

#[test]
fn a_layer_is_converted_once() {
    let twice = |architecture| {
        ImageMaker::new()
            .platform("linux", architecture, None)
            .tar_layer(&tar(1), Packing::Gzip)
            .tar_layer(&tar(1), Packing::Gzip)
            .make()
    };
    let index = Index::new(vec![twice("amd64"), twice("arm64")]);
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &index);
    let wanted = to_compression("zstd");
    let report = converted(&from, &to, &wanted);
    assert_eq!(assert_valid(&to, "image", "latest", OCI), 2);
    let layer = &index.images()[0].layers[0].blob.digest;
    let get = format!("/v2/image/blobs/{layer}");
    assert_eq!(from.count("GET", &get), 1, "{:?}", from.requests());
    // One layer and two configurations.
    assert_eq!(report.copied, 3);
    // Another tag with the same layer, by the same options: it is remembered.
    let other = ImageMaker::new()
        .tar_layer(&tar(1), Packing::Gzip)
        .env(&["OTHER=1"])
        .make();
    from.add("image", "other", &other);
    let there = (
        from.reference("image", "other"),
        to.reference("image", "other"),
    );
    let report = copy_with(&cx(), &there.0, &there.1, &wanted).unwrap();
    assert_eq!((report.copied, report.skipped), (1, 1), "{report:?}");
    assert_eq!(from.count("GET", &get), 1, "it is not read again");
    assert_valid(&to, "image", "other", OCI);
}

#[test]
fn a_second_conversion_learns_from_the_first() {
    let image = ordinary("amd64").make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &image);
    let first = converted(&from, &to, &to_compression("zstd"));
    from.forget_requests();
    let second = converted(&from, &to, &to_compression("zstd"));
    assert!(second.unchanged, "{second:?}");
    assert_eq!(first.digest, second.digest);
    assert_eq!(second.changes, first.changes);
    for layer in &image.layers {
        let get = format!("/v2/image/blobs/{}", layer.blob.digest);
        assert_eq!(
            from.count("GET", &get),
            0,
            "no layer is read: {:?}",
            from.requests()
        );
    }
}

#[test]
fn attestations_follow_their_images() {
    let from = Registry::start();
    let images = vec![
        ordinary("amd64").make(),
        ordinary("arm64").make(),
        ordinary("s390x").make(),
    ];
    let index = add_attested(&from, images);
    let entries = |registry: &Registry| -> Vec<Value> {
        let index = json(registry, "image", "latest");
        index["manifests"].as_array().unwrap().clone()
    };
    // Recompressed, each names its image by the new digest.
    let to = Registry::start();
    let report = converted(&from, &to, &to_compression("zstd"));
    assert_eq!(assert_valid(&to, "image", "latest", OCI), 3);
    assert_eq!(
        report.changes.len(),
        4,
        "the attestations themselves are kept"
    );
    let found = entries(&to);
    for at in 0..3 {
        let about = &found[at + 3]["annotations"]["vnd.docker.reference.digest"];
        assert_eq!(about, &found[at]["digest"]);
    }
    // Of the platforms chosen, in a smaller index; those of others stay behind.
    let platforms = vec![
        "linux/amd64".parse().unwrap(),
        "linux/s390x".parse().unwrap(),
    ];
    let chosen = CopyOptions {
        platforms,
        ..CopyOptions::default()
    };
    let to = Registry::start();
    let report = converted(&from, &to, &chosen);
    let found = entries(&to);
    assert_eq!(found.len(), 4);
    for (at, of) in [(0, 0), (1, 2)] {
        assert_eq!(found[at]["digest"], index.images()[of].digest());
        let about = &found[at + 2]["annotations"]["vnd.docker.reference.digest"];
        assert_eq!(about, index.images()[of].digest());
        let attestation = found[at + 2]["digest"].as_str().unwrap();
        assert!(to.manifest("image", attestation).is_some());
    }
    let change = (report.source_digest.clone(), report.digest.clone());
    assert_eq!(report.changes, [change]);
    // Docker's lists cannot hold them, which is said.
    let to = Registry::start();
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    let (source, target) = (
        from.reference("image", "latest"),
        to.reference("image", "latest"),
    );
    let report = copy_with(&cx, &source, &target, &to_format(Format::V2s2)).unwrap();
    assert_eq!(entries(&to).len(), 3);
    assert_valid(&to, "image", "latest", DOCKER);
    assert_eq!(report.changes.len(), 4);
    let warnings: Vec<String> = recorder.0.lock().unwrap().clone();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("3 attestations stay behind"))
    );
}

#[test]
fn a_sparse_index_stays_as_it_is() {
    let from = Registry::start();
    let images = vec![
        ordinary("amd64").make(),
        ordinary("arm64").make(),
        ordinary("s390x").make(),
    ];
    let index = add_attested(&from, images);
    let to = Registry::start();
    to.configure(|settings| settings.sparse = true);
    let sparse = |platforms: &[&str]| CopyOptions {
        platforms: platforms
            .iter()
            .map(|platform| platform.parse().unwrap())
            .collect(),
        sparse: true,
        ..CopyOptions::default()
    };
    let report = converted(&from, &to, &sparse(&["linux/arm64"]));
    assert_eq!(report.digest.as_str(), index.digest());
    assert!(report.changes.is_empty());
    assert_eq!(
        to.manifest("image", "latest").unwrap().bytes,
        index.root().bytes
    );
    let has = |image: &Image| to.manifest("image", image.digest()).is_some();
    let there: Vec<bool> = index.images().iter().map(has).collect();
    assert_eq!(there, [false, true, false]);
    let attested = attestation(&index.images()[1]).0;
    assert!(has(&attested), "its attestation travels along");
    // Another platform joins it, although the index is there already; then there is nothing to do.
    let report = converted(&from, &to, &sparse(&["linux/amd64"]));
    assert!(!report.unchanged && has(&index.images()[0]));
    assert!(converted(&from, &to, &sparse(&["linux/amd64", "linux/arm64"])).unchanged);
    // Not every registry takes it.
    refused(
        &from,
        &sparse(&["linux/amd64"]),
        ErrorKind::Malformed,
        &["manifest unknown"],
    );
    // What makes no sense is refused.
    refused(&from, &sparse(&[]), ErrorKind::Unsupported, &["platforms"]);
    refused(
        &from,
        &sparse(&["linux/mips"]),
        ErrorKind::NotFound,
        &["linux/mips", "linux/s390x"],
    );
    let both = CopyOptions {
        format: Some(Format::V2s2),
        ..sparse(&["linux/amd64"])
    };
    refused(&from, &both, ErrorKind::Unsupported, &["sparsely"]);
}

#[test]
fn what_docker_has_no_place_for_is_named() {
    let maker =
        ordinary("amd64").annotations(json!({"org.example.one": "1", "org.example.two": "2"}));
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &maker.make());
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    let (source, target) = (
        from.reference("image", "latest"),
        to.reference("image", "latest"),
    );
    copy_with(&cx, &source, &target, &to_format(Format::V2s2)).unwrap();
    assert_valid(&to, "image", "latest", DOCKER);
    let events = recorder.0.lock().unwrap().join("\n");
    for word in ["Warning", "org.example.one", "org.example.two"] {
        assert!(events.contains(word), "{word} is not in {events}");
    }
    // OCI's format keeps them.
    let to = Registry::start();
    converted(&from, &to, &to_compression("zstd"));
    let manifest = json(&to, "image", "latest");
    assert_eq!(manifest["annotations"]["org.example.two"], "2");
}

/// Puts a manifest that was changed by hand under `image:latest`.
fn add_edited(registry: &Registry, image: &Image, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&image.root().bytes).unwrap();
    edit(&mut value);
    registry.add("image", "original", image);
    let bytes = serde_json::to_vec(&value).unwrap();
    registry.add_manifest(
        "image",
        "latest",
        &Blob::new(&image.root().media_type, bytes),
    );
}

#[test]
fn what_is_said_about_old_bytes_goes_with_them() {
    let (from, to) = (Registry::start(), Registry::start());
    add_edited(&from, &ordinary("amd64").make(), |manifest| {
        manifest["unheardOf"] = json!({"stays": true});
        manifest["layers"][0]["data"] = json!("b2xk");
        manifest["layers"][0]["urls"] = json!(["https://example.org/old"]);
        manifest["layers"][0]["annotations"] = json!({
            "io.github.containers.zstd-chunked.manifest-checksum": "sha256:0",
            "org.example.stays": "yes",
        });
        manifest["layers"][0]["unheardOf"] = json!(1);
        manifest["layers"][2]["annotations"] =
            json!({"containerd.io/snapshot/stargz/toc.digest": "x"});
    });
    converted(&from, &to, &to_compression("zstd"));
    assert_valid(&to, "image", "latest", OCI);
    let manifest = json(&to, "image", "latest");
    assert_eq!(manifest["unheardOf"], json!({"stays": true}));
    let layer = &manifest["layers"][0];
    assert_eq!((layer.get("data"), layer.get("urls")), (None, None));
    assert_eq!(layer["annotations"], json!({"org.example.stays": "yes"}));
    assert_eq!(layer["unheardOf"], 1);
    assert_eq!(manifest["layers"][2].get("annotations"), None);
}

#[test]
fn foreign_layers_are_only_renamed() {
    let (from, docker, back) = (Registry::start(), Registry::start(), Registry::start());
    let foreign = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": sha256(b"elsewhere"),
        "size": 9,
        "urls": ["https://example.org/base"],
    });
    let image = ordinary("amd64").docker().make();
    add_edited(&from, &image, |manifest| {
        manifest["layers"]
            .as_array_mut()
            .unwrap()
            .insert(0, foreign.clone());
    });
    converted(&from, &back, &to_format(Format::Oci));
    let oci = json(&back, "image", "latest");
    let name = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    assert_eq!(oci["layers"][0]["mediaType"], name);
    assert_eq!(oci["layers"][0]["urls"], foreign["urls"]);
    converted(&back, &docker, &to_format(Format::V2s2));
    assert_eq!(json(&docker, "image", "latest")["layers"][0], foreign);
}

#[test]
fn artifacts_and_nested_indexes() {
    let artifact = |registry: &Registry| {
        add_edited(registry, &ordinary("amd64").make(), |manifest| {
            manifest["config"]["mediaType"] = json!("application/vnd.example.thing+json");
        });
    };
    let from = Registry::start();
    artifact(&from);
    refused(
        &from,
        &to_format(Format::V2s2),
        ErrorKind::Unsupported,
        &["artifact"],
    );
    refused(
        &from,
        &to_compression("zstd"),
        ErrorKind::Unsupported,
        &["artifact"],
    );
    // Indexes inside each other: the OCI format has them, Docker's has not.
    let inner = Index::docker(vec![ordinary("arm64").docker().make()]);
    let mut entry = inner.root().descriptor();
    entry["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let outer = Index::with(vec![ordinary("amd64").make()], INDEX, vec![entry]);
    let from = Registry::start();
    from.add_untagged("image", &inner);
    from.add("image", "latest", &outer);
    refused(
        &from,
        &to_format(Format::V2s2),
        ErrorKind::Unsupported,
        &["inside", outer.digest()],
    );
    let to = Registry::start();
    let report = converted(&from, &to, &to_format(Format::Oci));
    assert_eq!(assert_valid(&to, "image", "latest", OCI), 2);
    let old: Vec<&str> = report.changes.iter().map(|(old, _)| old.as_str()).collect();
    assert_eq!(
        old,
        [inner.images()[0].digest(), inner.digest(), outer.digest()]
    );
}

#[test]
fn an_index_without_platforms_gets_them_from_the_configurations() {
    let image = ordinary("arm64").make();
    let entry = image.root().descriptor();
    let from = Registry::start();
    from.add_untagged("image", &image);
    from.add(
        "image",
        "latest",
        &Index::with(Vec::new(), INDEX, vec![entry]),
    );
    let to = Registry::start();
    converted(&from, &to, &to_format(Format::V2s2));
    assert_valid(&to, "image", "latest", DOCKER);
    let platform = &json(&to, "image", "latest")["manifests"][0]["platform"];
    assert_eq!(*platform, json!({"os": "linux", "architecture": "arm64"}));
}

#[test]
fn layers_that_lie_are_not_converted() {
    let lying = |diff_id: String, bytes: Vec<u8>| {
        let blob = Blob::new(Packing::Gzip.media_type(), bytes);
        ImageMaker::new().raw_layer(Layer { blob, diff_id }).make()
    };
    let good = Packing::Gzip.pack(&tar(1));
    let cut = good[..good.len() / 2].to_vec();
    let trailing = [&good[..], b"trailing garbage"].concat();
    let cases = [
        (
            lying(sha256(b"other"), good.clone()),
            ErrorKind::DigestMismatch,
            "unpacks to",
        ),
        (
            lying(sha256(&tar(1)), cut),
            ErrorKind::Malformed,
            "cannot be compressed again",
        ),
        (
            lying(sha256(&tar(1)), trailing),
            ErrorKind::Malformed,
            "cannot be compressed again",
        ),
    ];
    for (image, kind, word) in &cases {
        let from = Registry::start();
        from.add("image", "latest", image);
        refused(
            &from,
            &to_compression("zstd"),
            *kind,
            &[word, &image.layers[0].blob.digest],
        );
    }
    // The configuration lists fewer layers than there are.
    let from = Registry::start();
    let image = ordinary("amd64").make();
    add_edited(&from, &image, |manifest| {
        let layers = manifest["layers"].as_array_mut().unwrap();
        layers.pop();
    });
    refused(
        &from,
        &to_compression("zstd"),
        ErrorKind::Malformed,
        &["lists 3 layers", "has 2"],
    );
}

#[test]
fn faults_on_the_way_are_survived_or_undone() {
    let image = ImageMaker::new()
        .tar_layer(
            &Tree::new().file("f", 0o644, noise(2_000_000)).tar(),
            Packing::Plain,
        )
        .make();
    let layer = format!("*/blobs/{}", image.layers[0].blob.digest);
    // A download that is reset goes on; an upload that fails begins again.
    for (which, fault) in [
        (
            "from",
            Rule::get(&layer).first(1).fault(Fault::ResetAt(700_000)),
        ),
        (
            "to",
            Rule::method("PATCH", "*")
                .first(1)
                .fault(Fault::ResetUpload(500_000)),
        ),
    ] {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("image", "latest", &image);
        if which == "from" { &from } else { &to }.fault(fault);
        converted(&from, &to, &to_compression("zstd"));
        assert_valid(&to, "image", "latest", OCI);
        assert_eq!(to.open_uploads(), 0, "{which}");
    }
    let from = Registry::start();
    from.add("image", "latest", &image);
    from.fault(Rule::get(&layer).fault(Fault::Flip));
    refused(
        &from,
        &to_compression("zstd"),
        ErrorKind::DigestMismatch,
        &[],
    );
}

#[test]
fn one_repository_gets_only_what_is_new() {
    let registry = Registry::start();
    let image = ordinary("amd64").make();
    registry.add("image", "latest", &image);
    let (from, to) = (
        registry.reference("image", "latest"),
        registry.reference("image", "docker"),
    );
    let report = copy_with(&cx(), &from, &to, &to_format(Format::V2s2)).unwrap();
    assert_eq!(
        registry.count("*", "*/blobs/*"),
        0,
        "{:?}",
        registry.requests()
    );
    assert_eq!((report.copied, report.skipped), (0, 4));
    assert_valid(&registry, "image", "docker", DOCKER);
    assert_holds(&registry, "image", "latest", &image);
}

#[test]
fn compressions_have_their_levels() {
    for (algorithm, level, good) in [
        (Compression::Gzip, Some(9), true),
        (Compression::Gzip, Some(10), false),
        (Compression::Zstd, Some(22), true),
        (Compression::Zstd, Some(0), false),
        (Compression::None, Some(1), false),
        (Compression::None, None, true),
    ] {
        assert_eq!(
            Recompress::new(algorithm, level).is_ok(),
            good,
            "{algorithm:?} {level:?}"
        );
    }
}
