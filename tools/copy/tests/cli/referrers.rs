//! Signatures and SBOMs: shown as a tree, copied with their image or left behind.

use crate::tool::{Home, PLAIN};
use trimaran_testkit::image::Artifact;
use trimaran_testkit::{Content, DebianRegistry, Image, ImageMaker, Index, Registry, debian, skip};

const SBOM: &str = "application/spdx+json";

struct Signed {
    image: Image,
    sbom: Artifact,
    signature: Artifact,
}

fn signed() -> Signed {
    let image = ImageMaker::sample().make();
    let sbom = Artifact::of(image.root(), SBOM, b"sbom");
    let signature = Artifact::of(
        sbom.root(),
        "application/vnd.example.signature",
        b"\x1b[31m",
    );
    Signed {
        image,
        sbom,
        signature,
    }
}

fn source(signed: &Signed) -> Registry {
    let registry = Registry::start();
    registry.add("a", "v", &signed.image);
    registry.add_untagged("a", &signed.sbom);
    registry.add_untagged("a", &signed.signature);
    registry
}

#[test]
fn a_tree_for_people_and_one_for_programs() {
    let home = Home::new();
    let signed = signed();
    let registry = source(&signed);
    let cosign = signed.image.digest().replace(':', "-") + ".sig";
    registry.add("a", &cosign, &Artifact::new("text/plain", b"cosign"));
    let show = |more: &[&str]| {
        let image = registry.reference("a", "v");
        let arguments = [&["referrers", "--tls-verify=false", &image], more].concat();
        home.run(&arguments).expect_code(0).stdout
    };
    let tree = show(&[]);
    let lines: Vec<&str> = tree.lines().collect();
    assert_eq!(lines[0], registry.reference("a", "v"));
    assert_eq!(lines[1], signed.image.digest());
    assert!(
        lines[2].starts_with(&format!("├── {SBOM}  {}", signed.sbom.digest())),
        "{tree}"
    );
    assert!(
        tree.contains("│   │   org.opencontainers.image.created: 2024-05-01T00:00:00Z\n"),
        "{tree}"
    );
    assert!(
        tree.contains(&format!(
            "│   └── application/vnd.example.signature  {}",
            signed.signature.digest()
        )),
        "{tree}"
    );
    assert!(tree.contains("└── cosign signatures  sha256:"), "{tree}");
    assert!(tree.contains(&format!("    tag: {cosign}\n")), "{tree}");

    let json: serde_json::Value = serde_json::from_str(&show(&["--format", "json"])).unwrap();
    assert_eq!(json["digest"], signed.image.digest());
    let first = &json["referrers"][0];
    assert_eq!(
        (&first["artifactType"], &first["digest"]),
        (&SBOM.into(), &signed.sbom.digest().into())
    );
    assert_eq!(first["referrers"][0]["digest"], signed.signature.digest());
    assert_eq!(json["referrers"][1]["tag"], cosign);

    assert!(
        !show(&["--depth", "1"]).contains("signature  "),
        "one level"
    );
    assert_eq!(show(&["--artifact-type", SBOM]).matches("──").count(), 2);
    home.run(&["referrers", "--depth", "0", "oci:x"])
        .expect_code(2);
    let missing = home.run(&[
        "referrers",
        "--tls-verify=false",
        &registry.reference("a", "w"),
    ]);
    missing.expect_code(125);
}

#[test]
fn they_are_copied_unless_told_otherwise() {
    let home = Home::new();
    let signed = signed();
    let from = source(&signed);
    let to = Registry::start();
    let copy = |flags: &[&str], name: &str| {
        let (from, to) = (from.reference("a", "v"), to.reference(name, "v"));
        let arguments = [&PLAIN[..], &["--output", "json"], flags, &[&from, &to]].concat();
        let done = home.run(&arguments).expect_code(0);
        let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        report["referrers"].as_u64().unwrap()
    };
    assert_eq!(copy(&[], "b"), 2);
    assert_eq!(
        to.manifest("b", signed.signature.digest()).as_ref(),
        Some(signed.signature.root())
    );
    assert_eq!(copy(&["--no-referrers"], "c"), 0);
    // The image is there: only when asked is it looked for more.
    assert_eq!(copy(&[], "c"), 0);
    assert_eq!(copy(&["--referrers"], "c"), 2);
    home.run(&["--referrers", "--no-referrers", "oci:a", "oci:b"])
        .expect_code(2);
}

#[test]
fn what_cannot_come_along_is_said() {
    let home = Home::new();
    let registry = Registry::start();
    let index = Index::new(vec![
        ImageMaker::sample().make(),
        ImageMaker::sample().platform("linux", "s390x", None).make(),
        ImageMaker::sample()
            .platform("linux", "riscv64", None)
            .make(),
    ]);
    registry.add("a", "v", &index);
    registry.add_untagged("a", &Artifact::of(index.root(), SBOM, b"sbom"));
    let from = registry.reference("a", "v");
    let smaller = home.layout("smaller", "v");
    let stored = "store:localhost/a:v".to_owned();
    for (flags, to) in [
        (&["--platform", "linux/amd64,linux/s390x"][..], &smaller),
        (&["--all"][..], &stored),
    ] {
        let done = home
            .run(&[&PLAIN[..], flags, &[&from, to]].concat())
            .expect_code(0);
        assert!(
            done.stderr.contains("1 referrers of") && done.stderr.contains("stay behind"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn debians_registry_and_a_layout_keep_them() {
    let Some(debian) = DebianRegistry::start(&debian::Options::default()) else {
        return skip("needs docker-registry");
    };
    let home = Home::new();
    let signed = signed();
    let from = source(&signed);
    let (there, layout) = (
        debian.reference("team/app", "v"),
        home.layout("layout", "v"),
    );
    let back = Registry::start();
    home.copy(&[], &from.reference("a", "v"), &there);
    home.copy(&[], &there, &layout);
    home.copy(&[], &layout, &back.reference("b", "v"));
    for artifact in [&signed.sbom, &signed.signature] {
        assert_eq!(
            back.manifest("b", artifact.digest()).as_ref(),
            Some(artifact.root())
        );
    }
    let tree = |image: &str| {
        let shown = home
            .run(&["referrers", "--tls-verify=false", image])
            .expect_code(0)
            .stdout;
        shown.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = tree(&from.reference("a", "v"));
    assert_eq!(expected.len(), 5);
    for image in [&there, &layout, &back.reference("b", "v")] {
        assert_eq!(tree(image), expected, "{image}");
    }
}
