//! Conversion as a user asks for it, and what the field's tools make of the result.

use crate::tool::{Home, PLAIN};
use serde_json::{Value, json};
use std::path::Path;
use trimaran_testkit::debian::Options;
use trimaran_testkit::image::noise;
use trimaran_testkit::{
    Content, DebianRegistry, ImageMaker, Index, Outcome, Packing, Registry, Tree, command, run,
    skip,
};

fn ordinary(architecture: &str) -> ImageMaker {
    let tree = |name: &str| {
        let content = [noise(20_000), vec![b'x'; 200_000]].concat();
        Tree::new()
            .dir("d", 0o755)
            .file(&format!("d/{name}"), 0o644, content)
    };
    ImageMaker::new()
        .platform("linux", architecture, None)
        .layer(&tree("one"), Packing::Gzip)
        .layer(&tree("two"), Packing::GzipMembers(2))
        .env(&["PATH=/bin"])
        .cmd(&["/bin/sh"])
}

/// Runs `copy` with the flags that plain registries need.
fn copy(home: &Home, arguments: &[&str]) -> Outcome {
    home.run(&[&PLAIN[..], arguments].concat())
}

/// Runs a tool of the field's, if it is there.
fn peer(home: &Home, program: &str, arguments: &[&str]) -> Option<Outcome> {
    let path = format!("/usr/bin/{program}");
    if !Path::new(&path).exists() {
        return None;
    }
    Some(run(command(path, &home.path("")).args(arguments)))
}

fn manifest(registry: &Registry, reference: &str) -> Value {
    serde_json::from_slice(&registry.manifest("image", reference).unwrap().bytes).unwrap()
}

#[test]
fn old_and_new_digests_are_told() {
    let home = Home::new();
    let index = Index::new(vec![ordinary("amd64").make(), ordinary("arm64").make()]);
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v", &index);
    let (source, target) = (from.reference("image", "v"), to.reference("image", "v"));
    let done = copy(&home, &["--format", "v2s2", &source, &target]).expect_code(0);
    let new = to.manifest("image", "v").unwrap().digest;
    assert_eq!(done.stdout, format!("{new}\n"));
    for old in index
        .images()
        .iter()
        .map(Content::digest)
        .chain([index.digest()])
    {
        assert!(
            done.stderr.contains(&format!("changed: {old} -> sha256:")),
            "{}",
            done.stderr
        );
    }
    assert!(
        done.stderr
            .contains(&format!("changed: {} -> {new}", index.digest()))
    );
    // For programs; and nothing is written twice.
    let again = copy(&home, &["-f", "v2s2", "-o", "json", &source, &target]).expect_code(0);
    let report: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(report["unchanged"], true);
    assert_eq!(report["changes"].as_array().unwrap().len(), 3);
    assert_eq!(
        report["changes"][2],
        json!({"old": index.digest(), "new": new})
    );
}

#[test]
fn compression_is_chosen_on_the_command_line() {
    let home = Home::new();
    let from = home.made("from", "v", &ordinary("amd64").make());
    for (flags, expected) in [
        (
            &["--compress", "zstd:9"][..],
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        (
            &["--compress", "none"],
            "application/vnd.oci.image.layer.v1.tar",
        ),
        (
            &[
                "--compress",
                "gzip:9",
                "--force-compression",
                "--format",
                "v2s2",
            ],
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    ] {
        let to = Registry::start();
        home.copy(flags, &from, &to.reference("image", "v"));
        let manifest = manifest(&to, "v");
        for layer in manifest["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], expected);
        }
    }
}

#[test]
fn a_sparse_index_keeps_its_digest() {
    let home = Home::new();
    let index = Index::new(vec![ordinary("amd64").make(), ordinary("arm64").make()]);
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v", &index);
    let (source, target) = (from.reference("image", "v"), to.reference("image", "v"));
    let flags = ["--sparse", "--platform", "linux/arm64"];
    // Most registries want to have what an index names.
    let message = home.fail(&flags, &source, &target);
    assert!(message.contains("leave out --sparse"), "{message}");
    to.configure(|settings| settings.sparse = true);
    assert_eq!(home.copy(&flags, &source, &target), index.digest());
    assert!(to.manifest("image", index.images()[0].digest()).is_none());
    // Without it, a smaller index.
    let (other, list) = (to.reference("image", "w"), "linux/arm64,linux/amd64");
    assert_eq!(
        home.copy(&["--platform", list], &source, &other),
        index.digest()
    );
}

#[test]
fn nonsense_is_refused() {
    let home = Home::new();
    let from = home.made("from", "v", &ImageMaker::sample().make());
    let to = home.layout("to", "v");
    for flags in [
        &["--format", "v2s1"][..],
        &["--format", "json"],
        &["--compress", "bzip2"],
        &["--compress", "gzip:12"],
        &["--compress", "zstd:chunked"],
        &["--force-compression"],
        &["--sparse"],
        &["--sparse", "--platform", "linux/amd64", "--format", "oci"],
    ] {
        let failed = copy(&home, &[flags, &[&from, &to]].concat()).expect_code(2);
        assert_eq!(failed.stdout, "");
    }
    // The sample has a layer of zstd.
    for flags in [
        &["--format", "v2s2"][..],
        &["--format", "v2s2", "--compress", "zstd"],
    ] {
        let message = home.fail(flags, &from, &to);
        assert!(
            message.contains("zstd") && message.contains("gzip"),
            "{message}"
        );
    }
    assert!(!home.path("to/index.json").exists() || home.fail(&[], &to, &from).contains("no"));
}

#[test]
fn skopeo_reads_what_was_converted_and_converts_alike() {
    let home = Home::new();
    if peer(&home, "skopeo", &["--version"]).is_none() {
        return skip("needs skopeo");
    }
    let Some(debian) = DebianRegistry::start(&Options::default()) else {
        return skip("needs docker-registry");
    };
    let image = ordinary("amd64").make();
    let from = home.made("from", "v", &image);
    for (flags, skopeo_flags, name) in [
        (
            &["--format", "v2s2"][..],
            &["--format", "v2s2"][..],
            "docker",
        ),
        (&["--format", "oci"], &["--format", "oci"], "oci"),
        (
            &["--compress", "zstd"],
            &["--format", "oci", "--dest-compress-format", "zstd"],
            "zstd",
        ),
    ] {
        let (ours, theirs) = (
            debian.reference(name, "ours"),
            debian.reference(name, "theirs"),
        );
        home.copy(flags, &from, &ours);
        let arguments = [
            &["copy", "--insecure-policy", "--dest-tls-verify=false"],
            skopeo_flags,
            &[&from, &theirs],
        ];
        peer(&home, "skopeo", &arguments.concat())
            .unwrap()
            .expect_code(0);
        let raw = |reference: &str| -> Value {
            let inspect = ["inspect", "--raw", "--tls-verify=false", reference];
            let raw = peer(&home, "skopeo", &inspect)
                .unwrap()
                .expect_code(0)
                .stdout;
            serde_json::from_str(&raw).unwrap()
        };
        let (ours_raw, theirs_raw) = (raw(&ours), raw(&theirs));
        assert_eq!(ours_raw["mediaType"], theirs_raw["mediaType"], "{name}");
        assert_eq!(
            ours_raw["config"]["mediaType"],
            theirs_raw["config"]["mediaType"]
        );
        let types = |manifest: &Value| -> Vec<Value> {
            let layers = manifest["layers"].as_array().unwrap().iter();
            layers.map(|layer| layer["mediaType"].clone()).collect()
        };
        // skopeo does not convert a layer only because another compression is preferred, unless forced to.
        if name != "zstd" {
            assert_eq!(ours_raw["layers"], theirs_raw["layers"], "{name}");
        } else {
            assert!(
                types(&ours_raw)
                    .iter()
                    .all(|kind| kind.as_str().unwrap().ends_with("+zstd"))
            );
        }
        // It copies ours, checking every digest; what Docker knows also to where layers are unpacked.
        let place = if name == "zstd" {
            "dir:"
        } else {
            "docker-archive:"
        };
        let place = format!("{place}{}", home.path(&format!("{name}.out")).display());
        let read = [
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            &ours,
            &place,
        ];
        peer(&home, "skopeo", &read).unwrap().expect_code(0);
        let config = ["inspect", "--config", "--raw", "--tls-verify=false", &ours];
        let config = peer(&home, "skopeo", &config)
            .unwrap()
            .expect_code(0)
            .stdout;
        assert_eq!(
            config.as_bytes(),
            image.config.bytes,
            "the configuration is the same, byte for byte"
        );
        // And ours reads theirs, and makes the same of it.
        let back = home.copy(
            &["--format", "oci", "--compress", "gzip"],
            &theirs,
            &home.layout(name, "back"),
        );
        assert!(back.starts_with("sha256:"));
    }
}

#[test]
fn podman_pulls_what_was_converted() {
    let home = Home::new();
    if !Path::new("/usr/bin/podman").exists() {
        return skip("needs podman");
    }
    let (root, runroot) = (home.path("podman"), home.path("podman-run"));
    let storage = [
        "--root",
        root.to_str().unwrap(),
        "--runroot",
        runroot.to_str().unwrap(),
        "--storage-driver=vfs",
    ];
    let podman =
        |arguments: &[&str]| peer(&home, "podman", &[&storage[..], arguments].concat()).unwrap();
    if podman(&["images"]).code() != 0 {
        return skip("podman has no storage here");
    }
    let image = ordinary("amd64").make();
    let registry = Registry::start();
    let from = home.made("from", "v", &image);
    for (flags, tag) in [
        (&["--format", "v2s2"][..], "docker"),
        (&["--compress", "zstd"], "zstd"),
        (&["--compress", "none"], "plain"),
        (&["--compress", "gzip:9", "--force-compression"], "gzip"),
    ] {
        let there = registry.reference("image", tag);
        home.copy(flags, &from, &there);
        let pulled = podman(&["pull", "-q", "--tls-verify=false", &there]).expect_code(0);
        let id = format!("sha256:{}", pulled.stdout.trim());
        assert_eq!(
            id, image.config.digest,
            "the image's id is the same as {tag}"
        );
        podman(&["rmi", "-f", pulled.stdout.trim()]).expect_code(0);
    }
}
