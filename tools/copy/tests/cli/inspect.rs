//! `inspect` and `list-tags`.

use crate::tool::Home;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use trimaran_testkit::{
    Content, Fault, ImageMaker, Index, Packing, Registry, Rule, Tree, run, skip,
};

const PLAIN: &str = "--tls-verify=false";

fn json(home: &Home, arguments: &[&str]) -> Value {
    serde_json::from_str(&home.run(arguments).expect_code(0).stdout).unwrap()
}

#[test]
fn an_image_is_described_without_its_layers() {
    let home = Home::new();
    let registry = Registry::start();
    let image = ImageMaker::sample().user("app").workdir("/srv").make();
    registry.add("a", "v", &image);
    let found = json(
        &home,
        &[
            "inspect",
            PLAIN,
            "--format",
            "json",
            &registry.reference("a", "v"),
        ],
    );
    assert_eq!(found["name"], registry.reference("a", "v"));
    assert_eq!(found["digest"], image.digest());
    assert_eq!(
        found["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(found["id"], image.config.digest);
    assert_eq!(found["created"], "2025-01-01T00:00:00Z");
    assert_eq!(
        (&found["user"], &found["workingDir"]),
        (&json!("app"), &json!("/srv"))
    );
    for (layer, found) in image.layers.iter().zip(found["layers"].as_array().unwrap()) {
        assert_eq!(found["digest"], layer.blob.digest);
        assert_eq!(found["size"], layer.blob.bytes.len());
        assert_eq!(found["mediaType"], layer.blob.media_type);
        assert_eq!(found["diffId"], layer.diff_id);
    }
    assert_eq!(found["layers"][2]["createdBy"], "testkit: layer 3");
    for layer in &image.layers {
        assert_eq!(
            registry.count("GET", &format!("*/blobs/{}", layer.blob.digest)),
            0
        );
    }
    assert_eq!(
        registry.count("GET", "*/tags/*"),
        0,
        "inspecting an image lists no tags"
    );
}

#[test]
fn raw_and_config_are_byte_for_byte() {
    let home = Home::new();
    let registry = Registry::start();
    let image = ImageMaker::sample().make();
    let foreign = ImageMaker::sample().platform("linux", "s390x", None).make();
    let index = Index::new(vec![foreign.clone(), image.clone()]);
    registry.add("a", "v", &index);
    let remote = registry.reference("a", "v");
    let layout = home.made("layout", "v", &index);
    home.copy(&[], &layout, "store:localhost/a:v");
    for (reference, root) in [
        (&*remote, index.root()),
        (&layout, index.root()),
        ("store:localhost/a:v", image.root()),
    ] {
        let raw = home
            .run(&["inspect", PLAIN, "--raw", reference])
            .expect_code(0);
        assert_eq!(raw.stdout.as_bytes(), root.bytes, "{reference}");
        let config = home
            .run(&["inspect", PLAIN, "--config", reference])
            .expect_code(0);
        assert_eq!(config.stdout.as_bytes(), image.config.bytes, "{reference}");
    }
    let other = home
        .run(&[
            "inspect",
            PLAIN,
            "--config",
            "--platform",
            "linux/s390x",
            &remote,
        ])
        .expect_code(0);
    assert_eq!(other.stdout.as_bytes(), foreign.config.bytes);
    let one = home
        .run(&[
            "inspect",
            PLAIN,
            "--raw",
            "--platform",
            "linux/s390x",
            &remote,
        ])
        .expect_code(0);
    assert_eq!(one.stdout.as_bytes(), foreign.manifest.bytes);
    let found = json(&home, &["inspect", PLAIN, "--format", "json", &remote]);
    let platforms: Vec<&str> = found["platforms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["platform"].as_str().unwrap())
        .collect();
    assert_eq!(platforms[0], "linux/s390x");
    assert_eq!(found["imageDigest"], image.digest());
    let none = home
        .run(&["inspect", PLAIN, "--platform", "linux/riscv64", &remote])
        .expect_code(125);
    assert!(
        none.stderr.contains("linux/riscv64") && none.stderr.contains("linux/s390x"),
        "{}",
        none.stderr
    );
    let both = home
        .run(&["inspect", PLAIN, "--raw", "--config", &remote])
        .expect_code(0);
    assert_eq!(both.stdout.as_bytes(), image.config.bytes);
    home.run(&["inspect", "--raw", "--format", "json", &remote])
        .expect_code(2);
}

#[test]
fn tags_of_all_pages() {
    let home = Home::new();
    let registry = Registry::start();
    let image = ImageMaker::new().make();
    let tags: Vec<String> = (0..25).map(|number| format!("v{number:02}")).collect();
    for tag in &tags {
        registry.add("a/b", tag, &image);
    }
    registry.tags_per_page(4);
    let repository = format!("docker://{}/a/b", registry.host());
    let listed = home.run(&["list-tags", PLAIN, &repository]).expect_code(0);
    assert_eq!(listed.stdout.lines().collect::<Vec<_>>(), tags);
    let found = json(
        &home,
        &["list-tags", PLAIN, "--format", "json", &repository],
    );
    assert_eq!(found["tags"], json!(tags));
    let unknown = home
        .run(&[
            "list-tags",
            PLAIN,
            &format!("docker://{}/none", registry.host()),
        ])
        .expect_code(125);
    assert!(unknown.stderr.contains("none"), "{}", unknown.stderr);

    registry.fault(Rule::get("*/tags/list").fault(Fault::RepeatTags));
    registry.forget_requests();
    let looping = home.run(&["list-tags", PLAIN, &repository]);
    assert!(
        looping.code() == 125 || looping.stdout.lines().count() <= 25,
        "tags twice: {}",
        looping.stdout
    );
    assert!(
        registry.requests().len() < 30,
        "a list that goes in circles is noticed"
    );
}

#[test]
fn skopeo_sees_the_same_digest() {
    if !Path::new("/usr/bin/skopeo").exists() {
        return skip("needs skopeo");
    }
    let home = Home::new();
    let registry = Registry::start();
    // Debian's version knows no zstd.
    let tree = Tree::new().file("etc/motd", 0o644, "welcome");
    let plain = ImageMaker::new().layer(&tree, Packing::Gzip);
    for (tag, image) in [
        ("oci", plain.make()),
        ("docker", plain.clone().docker().make()),
    ] {
        let from = home.made(tag, "v", &image);
        home.copy(&[], &from, &registry.reference("a", tag));
        let mut skopeo = Command::new("/usr/bin/skopeo");
        skopeo.args([
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &registry.reference("a", tag),
        ]);
        let seen = run(skopeo.env("HOME", home.path(""))).expect_code(0);
        assert_eq!(seen.stdout.trim(), image.digest());
    }
}
