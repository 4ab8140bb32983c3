//! `digest`, `tag`, `delete`, `catalog`, `manifest`, `blob` and the filters of `list-tags`.

use crate::tool::{Home, assert_holds};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;
use trimaran_testkit::{
    Content, DebianRegistry, ImageMaker, Index, Layout, Registry, debian, skip,
};

const PLAIN: &str = "--tls-verify=false";

fn index() -> Index {
    Index::new(vec![
        ImageMaker::sample().make(),
        ImageMaker::new().platform("linux", "s390x", None).make(),
    ])
}

#[track_caller]
fn out(home: &Home, line: &[&str]) -> String {
    home.run(line).expect_code(0).stdout
}

#[track_caller]
fn json(home: &Home, line: &[&str]) -> Value {
    serde_json::from_str(&out(home, line)).unwrap()
}

#[test]
fn digests() {
    let home = Home::new();
    let registry = Registry::start();
    registry.add("a", "v", &index());
    let reference = registry.reference("a", "v");
    assert_eq!(
        out(&home, &["digest", PLAIN, &reference]),
        format!("{}\n", index().digest())
    );
    let full = out(&home, &["digest", PLAIN, "--full-ref", &reference]);
    assert_eq!(
        full,
        format!("docker://{}/a@{}\n", registry.host(), index().digest())
    );
    let one = out(
        &home,
        &["digest", PLAIN, "--platform", "linux/s390x", &reference],
    );
    assert_eq!(one.trim(), index().images()[1].digest());
    // What is printed can be used.
    assert_eq!(
        out(&home, &["digest", PLAIN, full.trim()]).trim(),
        index().digest()
    );
    let made = ImageMaker::sample().make();
    let layout = home.made("layout", "v", &made);
    let full = out(&home, &["digest", "--full-ref", &layout]);
    assert_eq!(out(&home, &["digest", full.trim()]).trim(), made.digest());
    home.copy(&[], &layout, "store:localhost/a:v");
    let full = out(&home, &["digest", "--full-ref", "store:localhost/a:v"]);
    assert_eq!(out(&home, &["digest", full.trim()]).trim(), made.digest());
    let missing = home
        .run(&["digest", PLAIN, &registry.reference("a", "nope")])
        .expect_code(125);
    assert!(
        missing.stderr.contains("nope") && missing.stdout.is_empty(),
        "{}",
        missing.stderr
    );
    for line in [
        &["digest"][..],
        &["digest", "a"],
        &["digest", "--platform", "x", "docker://a"],
    ] {
        home.run(line).expect_code(2);
    }
}

#[test]
fn tags_are_filtered_and_come_in_parts() {
    let home = Home::new();
    let registry = Registry::start();
    let made = ImageMaker::new().make();
    for tag in ["1.0", "1.1", "1.1-rc1", "2.0", "latest"] {
        registry.add("a", tag, &made);
    }
    let reference = registry.reference("a", "x");
    for (flags, expected) in [
        (&["--glob", "1.*", "--exclude", "*-rc*"][..], "1.0\n1.1\n"),
        (&["--regex", "^[0-9.]+$"], "1.0\n1.1\n2.0\n"),
        (&["--limit", "2"], "1.0\n1.1\n"),
        (&["--limit", "2", "--last", "1.1"], "1.1-rc1\n2.0\n"),
        (&["--glob", "none"], ""),
    ] {
        let line = [&["list-tags", PLAIN], flags, &[&*reference]].concat();
        assert_eq!(out(&home, &line), expected, "{flags:?}");
    }
    let bad = home
        .run(&["list-tags", PLAIN, "--regex", "(", &reference])
        .expect_code(2);
    assert!(bad.stderr.contains("--regex"), "{}", bad.stderr);
}

#[test]
fn tags_are_set_without_moving_anything() {
    let home = Home::new();
    let registry = Registry::start();
    registry.add("a", "v", &index());
    let reference = registry.reference("a", "v");
    let set = out(&home, &["tag", PLAIN, &reference, "w", "v"]);
    let digest = index().digest().to_owned();
    assert_eq!(set, format!("w {digest} set\nv {digest} unchanged\n"));
    assert_holds(&registry, "a", "w", &index());
    assert_eq!(registry.count("*", "*/blobs/*"), 0);
    let found = json(&home, &["tag", PLAIN, "--format", "json", &reference, "w"]);
    assert_eq!(found[0]["changed"], false);
    let layout = home.made("layout", "v", &ImageMaker::sample().make());
    out(&home, &["tag", &layout, "other"]);
    assert!(Layout::open(&home.path("layout")).tag("other").is_some());
    for line in [&["tag", "docker://a"][..], &["tag"]] {
        home.run(line).expect_code(2);
    }
    let bad = home
        .run(&["tag", PLAIN, &reference, "no tag"])
        .expect_code(125);
    assert!(bad.stderr.contains("no tag"), "{}", bad.stderr);
}

#[test]
fn deletions_are_careful() {
    let home = Home::new();
    let registry = Registry::start();
    let made = ImageMaker::sample().make();
    for tag in ["a", "b", "c"] {
        registry.add("r", tag, &made);
    }
    let gone = out(&home, &["delete", PLAIN, &registry.reference("r", "a")]);
    assert_eq!(gone, "untagged a\n");
    let again = home
        .run(&["delete", PLAIN, &registry.reference("r", "a")])
        .expect_code(125);
    assert!(again.stderr.contains("no tag a"), "{}", again.stderr);
    let by_digest = format!("docker://{}/r@{}", registry.host(), made.digest());
    let refused = home.run(&["delete", PLAIN, &by_digest]).expect_code(125);
    for word in ["b, c", "hint: --force"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert_holds(&registry, "r", "b", &made);
    registry.configure(|settings| settings.refuse_tag_deletes = Some(405));
    let refused = home
        .run(&["delete", PLAIN, &registry.reference("r", "b")])
        .expect_code(125);
    for word in ["r:b", "without its manifest", "hint: --manifest"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert_holds(&registry, "r", "b", &made);
    let gone = json(
        &home,
        &["delete", PLAIN, "--force", "--format", "json", &by_digest],
    );
    assert_eq!(gone["manifest"], made.digest());
    assert!(registry.tags("r").is_empty());

    let layout = home.made("layout", "v", &made);
    home.run(&["delete", "--gc", "store:x"]).expect_code(2);
    let gone = home.run(&["delete", "--gc", &layout]).expect_code(0);
    assert_eq!(
        gone.stdout,
        format!("untagged v\ndeleted {}\n", made.digest())
    );
    assert!(gone.stderr.contains("5 blobs removed"), "{}", gone.stderr);
    home.run(&["delete", &layout]).expect_code(125);
}

#[test]
fn the_catalog() {
    let home = Home::new();
    let registry = Registry::start();
    let made = ImageMaker::new().make();
    for name in ["a", "b/c", "d"] {
        registry.add(name, "v", &made);
    }
    let host = registry.host();
    assert_eq!(out(&home, &["catalog", PLAIN, &host]), "a\nb/c\nd\n");
    let url = format!("docker://{host}/");
    let rest = json(
        &home,
        &[
            "catalog", PLAIN, "--last", "a", "--limit", "1", "--format", "json", &url,
        ],
    );
    assert_eq!(rest["repositories"], serde_json::json!(["b/c"]));
    for line in [
        &["catalog"][..],
        &["catalog", "docker://a/b"],
        &["catalog", ""],
    ] {
        home.run(line).expect_code(2);
    }
}

/// Runs the tool with something on its stdin.
fn fed(home: &Home, line: &[&str], input: &[u8]) -> std::process::Output {
    let mut child = home
        .command(line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read it all has failed, which is seen below.
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

#[test]
fn an_image_is_put_together_from_its_parts() {
    let home = Home::new();
    let registry = Registry::start();
    let made = ImageMaker::sample().make();
    let from = home.made("layout", "v", &made);
    let to = registry.reference("parts", "v");
    for (at, blob) in made.blobs().iter().enumerate() {
        let file = home.path("blob");
        let path = file.to_str().unwrap();
        out(&home, &["blob", "get", "-o", path, &from, &blob.digest]);
        assert_eq!(std::fs::read(&file).unwrap(), blob.bytes);
        let put = if at % 2 == 0 {
            out(
                &home,
                &["blob", "put", PLAIN, "--digest", &blob.digest, &to, path],
            )
        } else {
            let fed = fed(&home, &["blob", "put", PLAIN, &to], &blob.bytes);
            assert!(
                fed.status.success(),
                "{}",
                String::from_utf8_lossy(&fed.stderr)
            );
            String::from_utf8(fed.stdout).unwrap()
        };
        assert_eq!(put.trim(), blob.digest);
        let size = out(&home, &["blob", "head", PLAIN, &to, &blob.digest]);
        assert_eq!(size.trim(), blob.bytes.len().to_string());
    }
    let manifest = home.path("manifest.json");
    let path = manifest.to_str().unwrap();
    out(&home, &["manifest", "get", "-o", path, &from]);
    assert_eq!(
        out(&home, &["manifest", "put", PLAIN, &to, path]).trim(),
        made.digest()
    );
    assert_holds(&registry, "parts", "v", &made);
    let head = json(&home, &["manifest", "head", PLAIN, "--format", "json", &to]);
    assert_eq!(head["digest"], made.digest());
    assert_eq!(head["size"], made.manifest.bytes.len());
    assert_eq!(
        out(&home, &["manifest", "get", PLAIN, &to]).as_bytes(),
        made.manifest.bytes
    );
    let gone = out(&home, &["manifest", "delete", PLAIN, &to]);
    assert!(gone.contains(made.digest()), "{gone}");
    home.run(&["manifest", "head", PLAIN, &to]).expect_code(125);
}

#[test]
fn wrong_parts_are_refused() {
    let home = Home::new();
    let registry = Registry::start();
    let to = registry.reference("a", "v");
    for (line, input, word) in [
        (
            &["manifest", "put", PLAIN, &*to][..],
            "no json",
            "not valid",
        ),
        (
            &["manifest", "put", PLAIN, &to, "/no/such/file"],
            "",
            "/no/such/file",
        ),
        (
            &["blob", "put", PLAIN, &to, "/no/such/file"],
            "",
            "/no/such/file",
        ),
        (&["blob", "put", PLAIN, "dir:/tmp"], "x", "dir:/tmp"),
        (
            &[
                "blob",
                "head",
                PLAIN,
                &to,
                &trimaran_testkit::image::sha256(b"x"),
            ],
            "",
            "no blob",
        ),
    ] {
        let failed = fed(&home, line, input.as_bytes());
        let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(125), "{line:?}: {stderr}");
        assert!(stderr.contains(word), "{line:?}: {stderr}");
    }
    let large = vec![b' '; 5 << 20];
    let failed = fed(&home, &["manifest", "put", PLAIN, &to], &large);
    assert_eq!(failed.status.code(), Some(125));
    for line in [
        &["manifest"][..],
        &["blob"],
        &["manifest", "frob", "docker://a"],
    ] {
        home.run(line).expect_code(2);
    }
}

#[test]
fn debians_registry_keeps_manifests_that_tags_share() {
    let Some(registry) = DebianRegistry::start(&debian::Options::default()) else {
        return skip("needs docker-registry");
    };
    let home = Home::new();
    let made = ImageMaker::sample().make();
    let from = home.made("layout", "v", &made);
    let (first, second) = (
        registry.reference("a", "first"),
        registry.reference("a", "second"),
    );
    home.copy(&[], &from, &first);
    out(&home, &["tag", PLAIN, &first, "second"]);
    assert_eq!(out(&home, &["list-tags", PLAIN, &first]), "first\nsecond\n");
    assert_eq!(out(&home, &["catalog", PLAIN, &registry.host()]), "a\n");
    // Whether this release can delete a tag alone or not, the other one stays.
    let deleted = home.run(&["delete", PLAIN, &first]);
    match deleted.code() {
        0 => assert_eq!(out(&home, &["list-tags", PLAIN, &first]), "second\n"),
        _ => assert!(
            deleted.stderr.contains("hint: --manifest"),
            "{}",
            deleted.stderr
        ),
    }
    assert_eq!(
        out(&home, &["digest", PLAIN, &second]).trim(),
        made.digest()
    );
    assert!(out(&home, &["validate", PLAIN, &second]).contains("is valid"));
    out(&home, &["delete", PLAIN, "--manifest", "--force", &second]);
    home.run(&["digest", PLAIN, &second]).expect_code(125);
}
