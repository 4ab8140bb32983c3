//! Files as artifacts, and attached to images.

use crate::tool::Home;
use trimaran_testkit::{Content, DebianRegistry, ImageMaker, Registry, debian, run, skip};

const SBOM: &str = "application/spdx+json";

#[test]
fn files_are_pushed_and_pulled() {
    let home = Home::new();
    std::fs::create_dir(home.path("sub")).unwrap();
    std::fs::write(home.path("sub/a.json"), "{}").unwrap();
    std::fs::write(home.path("b"), "b").unwrap();
    let registry = Registry::start();
    let to = registry.reference("files", "v");
    let push = |home: &Home| {
        let arguments = [
            "artifact",
            "push",
            "--tls-verify=false",
            &to,
            "sub/a.json:application/json",
            "b",
            "--artifact-type",
            "application/vnd.example",
            "--annotation",
            "note=a=b",
        ];
        let mut command = home.command(&arguments);
        command
            .current_dir(home.path(""))
            .env("SOURCE_DATE_EPOCH", "86400");
        run(&mut command).expect_code(0).stdout
    };
    let digest = push(&home);
    let stored = registry.manifest("files", "v").unwrap();
    assert_eq!(digest.trim_end(), stored.digest);
    assert_eq!(
        push(&home),
        digest,
        "the same files at the same time make the same artifact"
    );
    let manifest: serde_json::Value = serde_json::from_slice(&stored.bytes).unwrap();
    assert_eq!(manifest["annotations"]["note"], "a=b");
    assert!(
        manifest["annotations"]["org.opencontainers.image.created"]
            .as_str()
            .unwrap()
            .starts_with("1970-01-02T00:00:00")
    );
    assert_eq!(manifest["layers"][0]["mediaType"], "application/json");
    assert_eq!(
        manifest["layers"][1]["mediaType"],
        "application/octet-stream"
    );

    let out = home.path("out");
    let out = out.to_str().unwrap();
    let pull = ["artifact", "pull", "--tls-verify=false", &to, "-o", out];
    let done = home.run(&pull).expect_code(0);
    assert_eq!(done.stdout, "sub/a.json\nb\n");
    assert_eq!(std::fs::read(home.path("out/sub/a.json")).unwrap(), b"{}");
    let again = home.run(&pull).expect_code(125);
    assert!(
        again.stderr.contains("is there already") && again.stderr.contains("--force"),
        "{}",
        again.stderr
    );
    home.run(&[&pull[..], &["--force"]].concat()).expect_code(0);
    let some = home.path("some");
    let some = [
        "artifact",
        "pull",
        "--tls-verify=false",
        &to,
        "-o",
        some.to_str().unwrap(),
        "--include",
        "*.json",
        "--format",
        "json",
    ];
    let done = home.run(&some).expect_code(0);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["digest"], digest.trim_end());
    assert_eq!(report["files"][0]["name"], "sub/a.json");
    assert!(!home.path("some/b").exists());
}

#[test]
fn command_lines_that_make_no_sense() {
    let home = Home::new();
    for arguments in [
        &["artifact"][..],
        &["artifact", "push", "oci:x"],
        &["artifact", "push", "oci:x", "file"],
        &["artifact", "push", "oci:x", "--artifact-type", "a/b"],
        &["artifact", "push", "oci:x", "..", "--artifact-type", "a/b"],
        &[
            "artifact",
            "push",
            "oci:x",
            "f",
            "--artifact-type",
            "a/b",
            "--annotation",
            "novalue",
        ],
        &[
            "artifact",
            "push",
            "oci:x",
            "f",
            "--artifact-type",
            "a/b",
            "--annotation",
            "a=1",
            "--annotation",
            "a=2",
        ],
        &["attach", "oci:x", "f"],
    ] {
        home.run(arguments).expect_code(2);
    }
    let missing = home
        .run(&[
            "artifact",
            "push",
            "oci:x",
            "missing",
            "--artifact-type",
            "a/b",
        ])
        .expect_code(125);
    assert!(
        missing.stderr.contains("cannot read missing"),
        "{}",
        missing.stderr
    );
    assert!(!home.path("x").exists());
}

#[test]
fn files_are_attached_to_images() {
    let home = Home::new();
    std::fs::write(home.path("sbom.json"), "{}").unwrap();
    let image = ImageMaker::sample().make();
    let registry = Registry::start();
    registry.add("a", "v", &image);
    let mut places = vec![
        registry.reference("a", "v"),
        home.made("layout", "v", &image),
    ];
    let debian = DebianRegistry::start(&debian::Options::default());
    match &debian {
        Some(debian) => {
            home.copy(&[], &places[0], &debian.reference("a", "v"));
            places.push(debian.reference("a", "v"));
        }
        None => skip("needs docker-registry"),
    }
    let file = format!("{}:{SBOM}", home.path("sbom.json").display());
    for place in &places {
        let attach = [
            "attach",
            "--tls-verify=false",
            place,
            &file,
            "--artifact-type",
            SBOM,
            "--format",
            "json",
        ];
        let attached = home.run(&attach).expect_code(0);
        let report: serde_json::Value = serde_json::from_str(&attached.stdout).unwrap();
        assert_eq!(report["subject"], image.digest(), "{place}");
        let shown = home
            .run(&["referrers", "--tls-verify=false", place])
            .expect_code(0)
            .stdout;
        assert!(
            shown.contains(report["digest"].as_str().unwrap()),
            "{place}: {shown}"
        );
    }
    let stored = home.run(&[
        "attach",
        "store:localhost/none:v",
        &file,
        "--artifact-type",
        SBOM,
    ]);
    stored.expect_code(125);
}
