//! `export`, `validate` and `blob get`: streams on stdout and files that are complete or not there.

use crate::tool::Home;
use std::io::Write;
use std::process::{Command, Stdio};
use trimaran_testkit::{Content, Fault, ImageMaker, Layout, Registry, Rule};

const PLAIN: &str = "--tls-verify=false";

/// Lists an archive with GNU tar.
fn listed(archive: &[u8]) -> Vec<String> {
    let mut child = Command::new("tar")
        .args(["-t", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Names of files in a directory.
fn files(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.path("out")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_archive_on_stdout_and_in_a_file() {
    let home = Home::new();
    let reference = home.made("layout", "v", &ImageMaker::sample().make());
    let output = home
        .command(&["export", &reference])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success());
    let names = listed(&output.stdout);
    for there in ["etc/motd", "etc/new", "var/cache/new"] {
        assert!(names.iter().any(|name| name == there), "{names:?}");
    }
    for gone in ["etc/gone", "var/cache/old"] {
        assert!(!names.iter().any(|name| name == gone), "{names:?}");
    }
    std::fs::create_dir(home.path("out")).unwrap();
    let file = home.path("out/root.tar");
    let to = file.to_str().unwrap();
    let done = home.run(&["export", "-o", to, &reference]).expect_code(0);
    assert!(
        done.stdout.is_empty() && done.stderr.contains("exported"),
        "{}",
        done.stderr
    );
    assert_eq!(std::fs::read(&file).unwrap(), output.stdout);
    assert_eq!(files(&home), ["root.tar"]);
    let quiet = home
        .run(&["export", "-q", "-o", "/dev/null", &reference])
        .expect_code(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_reader_who_goes_away_is_no_error() {
    let home = Home::new();
    let noise = trimaran_testkit::image::noise(4_000_000);
    let tree = trimaran_testkit::Tree::new().file("big", 0o644, noise);
    let image = ImageMaker::new()
        .layer(&tree, trimaran_testkit::Packing::Plain)
        .make();
    let reference = home.made("layout", "v", &image);
    let mut child = home
        .command(&["export", "-q", &reference])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert!(ended.status.success());
}

#[test]
fn what_fails_leaves_no_file() {
    let home = Home::new();
    let registry = Registry::start();
    let image = ImageMaker::sample().make();
    registry.add("a", "v", &image);
    let layer = &image.layers[0].blob.digest;
    registry.fault(Rule::get(&format!("*/blobs/{layer}")).fault(Fault::Flip));
    std::fs::create_dir(home.path("out")).unwrap();
    let file = home.path("out/file");
    let to = file.to_str().unwrap();
    let reference = registry.reference("a", "v");
    for line in [
        &["export", PLAIN, "-o", to, &reference][..],
        &["blob", "get", PLAIN, "-o", to, &reference, layer],
    ] {
        let failed = home.run(line).expect_code(125);
        assert!(failed.stderr.contains(layer), "{line:?}: {}", failed.stderr);
        assert_eq!(files(&home), Vec::<String>::new(), "{line:?}");
    }
    let streamed = home
        .run(&["blob", "get", PLAIN, &reference, layer])
        .expect_code(125);
    assert!(streamed.stderr.contains(layer), "{}", streamed.stderr);
    for line in [
        &["export", "docker://a", "docker://b"][..],
        &["export"],
        &["export", "--platform", "linux", "docker://a"],
        &["blob", "get", "docker://a"],
        &["blob", "get", "docker://a", "sha256:short"],
    ] {
        home.run(line).expect_code(2);
    }
}

#[test]
fn a_validation_tells_every_problem() {
    let home = Home::new();
    let image = ImageMaker::sample().make();
    let reference = home.made("layout", "v", &image);
    let fine = home.run(&["validate", &reference]).expect_code(0);
    assert!(
        fine.stdout.contains("is valid: 1 manifest, 4 blobs"),
        "{}",
        fine.stdout
    );
    let layout = Layout::open(&home.path("layout"));
    let (first, second) = (&image.layers[0].blob.digest, &image.layers[1].blob.digest);
    std::fs::remove_file(layout.blob_path(first)).unwrap();
    std::fs::write(layout.blob_path(second), "short").unwrap();
    let bad = home.run(&["validate", &reference]).expect_code(125);
    let lines: Vec<&str> = bad.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", bad.stdout);
    assert!(lines[0].starts_with("missing: layer 1 of ") && lines[0].contains(first));
    assert!(lines[1].starts_with("size: layer 2 of ") && lines[1].contains(second));
    assert!(bad.stderr.contains("2 problems"), "{}", bad.stderr);
    for flags in [&[][..], &["--fast"]] {
        let line = [&["validate", "--format", "json"], flags, &[&*reference]].concat();
        let report = home.run(&line).expect_code(125);
        let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
        assert_eq!(report["valid"], false);
        assert_eq!(report["digest"], image.digest());
        assert_eq!(report["problems"][1]["kind"], "size");
        assert_eq!(report["problems"][0]["digest"], *first);
    }
    let nothing = home
        .run(&["validate", &home.layout("layout", "nope")])
        .expect_code(125);
    assert_eq!(nothing.stdout, "");
}
