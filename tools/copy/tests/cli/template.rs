//! `--format`: text for people, JSON, and templates as docker's and skopeo's users write them.

use crate::tool::Home;
use serde_json::json;
use trimaran_testkit::{Content, ImageMaker, Index, Registry};

const PLAIN: &str = "--tls-verify=false";

fn home() -> (Home, Registry, String) {
    let registry = Registry::start();
    let image = ImageMaker::sample()
        .user("app")
        .entrypoint(&["/bin/run", "with space"])
        .setting(
            "Labels",
            json!({"version": "1.2", "maintainer": "\u{1b}[31mred"}),
        )
        .setting("ExposedPorts", json!({"80/tcp": {}}))
        .annotations(json!({"org.example": "note"}))
        .make();
    registry.add("team/a", "v", &image);
    let reference = registry.reference("team/a", "v");
    (Home::new(), registry, reference)
}

#[test]
fn what_people_ask_for() {
    let (home, registry, reference) = home();
    let made = registry.manifest("team/a", "v").unwrap();
    let digest = &made.digest;
    let table = [
        ("{{.Name}} {{.Digest}}", format!("{reference} {digest}\n")),
        ("{{.Os}}/{{.Architecture}}", "linux/amd64\n".to_owned()),
        (
            "{{json .Config.Entrypoint}}",
            "[\"/bin/run\",\"with space\"]\n".to_owned(),
        ),
        (
            "{{range .Env}}{{println .}}{{end}}",
            "PATH=/usr/bin:/bin\nGREETING=hello\n".to_owned(),
        ),
        ("{{index .Labels \"version\"}}", "1.2\n".to_owned()),
        ("{{.Labels.version}}\\n", "1.2\n".to_owned()),
        ("{{len .Layers}}", "3\n".to_owned()),
        ("{{.Created}}", "2025-01-01T00:00:00Z\n".to_owned()),
        ("{{.Author}}", "<no value>\n".to_owned()),
        (
            "{{range $i, $l := .Layers}}{{if $i}},{{end}}{{$l.CreatedBy}}{{end}}",
            "testkit: layer 1,testkit: layer 2,testkit: layer 3\n".to_owned(),
        ),
    ];
    for (template, expected) in table {
        if template.contains("Architecture") && !cfg!(target_arch = "x86_64") {
            continue;
        }
        let shown = home
            .run(&["inspect", PLAIN, "--format", template, &reference])
            .expect_code(0);
        assert_eq!(shown.stdout, expected, "{template}");
    }
    let config = home
        .run(&[
            "inspect",
            PLAIN,
            "--config",
            "--format",
            "{{.config.User}}",
            &reference,
        ])
        .expect_code(0);
    assert_eq!(config.stdout, "app\n");
    let tags = home
        .run(&[
            "list-tags",
            PLAIN,
            "--format",
            "{{len .Tags}} {{join .Tags \",\"}}",
            &reference,
        ])
        .expect_code(0);
    assert_eq!(tags.stdout, "1 v\n");
}

#[test]
fn mistakes_in_templates_are_told() {
    let (home, _registry, reference) = home();
    for (template, word) in [
        ("{{.Nmae}}", "there is no field Nmae"),
        ("{{.Name", "never closed"),
        ("{{range .Layers}}", "{{end}}"),
        ("{{frob .}}", "no function frob"),
        ("yaml", "neither text, json"),
    ] {
        let failed = home
            .run(&["inspect", PLAIN, "--format", template, &reference])
            .expect_code(2);
        assert!(
            failed.stderr.contains(word),
            "{template}: {}",
            failed.stderr
        );
        assert_eq!(failed.stdout, "");
    }
}

#[test]
fn text_is_for_people() {
    let (home, registry, reference) = home();
    let shown = home
        .run(&["inspect", PLAIN, &reference])
        .expect_code(0)
        .stdout;
    for word in [
        "Name:",
        &reference,
        "Created:",
        "2025-01-01T00:00:00Z",
        "User:          app",
        "Entrypoint:    [\"/bin/run\",\"with space\"]",
        "Ports:         80/tcp",
        "Env:           PATH=/usr/bin:/bin",
        "Labels:",
        "version=1.2",
        "3, ",
        "oci zstd",
        "testkit: layer 2",
        "org.example=note",
    ] {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "a label drives the terminal");
    let index = Index::new(vec![
        ImageMaker::sample().make(),
        ImageMaker::new().platform("linux", "s390x", None).make(),
    ]);
    registry.add("team/a", "index", &index);
    let shown = home
        .run(&["inspect", PLAIN, &registry.reference("team/a", "index")])
        .expect_code(0)
        .stdout;
    for word in [
        "Platforms:",
        "linux/s390x",
        index.images()[1].digest(),
        "Image:",
        "Layers:",
    ] {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
}

#[test]
fn artifacts_are_described_by_their_parts() {
    let home = Home::new();
    let registry = Registry::start();
    let part = trimaran_testkit::image::Blob::new("text/plain", b"hello".to_vec());
    let mut descriptor = part.descriptor();
    descriptor["annotations"] = json!({"org.opencontainers.image.title": "hello.txt"});
    let manifest = json!({
        "schemaVersion": 2,
        "artifactType": "application/x-test",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": trimaran_testkit::image::sha256(b"{}"), "size": 2},
        "layers": [descriptor],
    });
    let manifest = trimaran_testkit::image::Blob::new(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().into_bytes(),
    );
    registry.add_manifest("a", "v", &manifest);
    let reference = registry.reference("a", "v");
    let shown = home
        .run(&["inspect", PLAIN, &reference])
        .expect_code(0)
        .stdout;
    for word in ["application/x-test", "Parts:", "hello.txt", &part.digest] {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
    assert!(!shown.contains("Layers:"), "{shown}");
    let none = home
        .run(&["inspect", PLAIN, "--config", &reference])
        .expect_code(125);
    assert!(none.stderr.contains("no image"), "{}", none.stderr);
}
