//! Registries that fail or lie: a clear message, exit code 125, and nothing named at the destination.

use crate::tool::{Home, assert_holds, assert_layout_holds};
use std::net::TcpListener;
use trimaran_testkit::image::{Blob, noise};
use trimaran_testkit::{Content, Fault, Image, ImageMaker, Layout, Packing, Registry, Rule, Tree};

fn image() -> Image {
    let tree = Tree::new().file("big", 0o644, noise(600_000));
    ImageMaker::sample().layer(&tree, Packing::Plain).make()
}

fn serving(image: &Image) -> Registry {
    let registry = Registry::start();
    registry.add("a", "v", image);
    registry
}

#[test]
fn an_unreachable_registry() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let message = home.fail(
        &["--retry-times", "0"],
        &format!("docker://{address}/a:v"),
        &home.layout("to", "v"),
    );
    assert!(message.contains(&address), "{message}");
    assert!(
        !home.path("to").exists(),
        "nothing is made for an image that is not there"
    );
}

#[test]
fn an_unknown_image() {
    let home = Home::new();
    let registry = Registry::start();
    let message = home.fail(
        &[],
        &registry.reference("nobody/knows", "this"),
        &home.layout("to", "v"),
    );
    assert!(message.contains("nobody/knows:this"), "{message}");
    assert!(
        registry.requests().len() <= 3,
        "not found is not tried again"
    );
    for (from, name) in [
        (home.layout("missing", "v"), "missing"),
        ("store:localhost/missing".to_owned(), "missing"),
    ] {
        let message = home.fail(&[], &from, &home.layout("to", "v"));
        assert!(message.contains(name), "{message}");
    }
    let made = home.made("made", "v", &ImageMaker::new().make());
    let message = home.fail(&[], &made.replace(":v", ":w"), &home.layout("to", "v"));
    assert!(message.contains('w'), "{message}");
}

#[test]
fn plain_http_is_refused_unless_allowed() {
    let home = Home::new();
    let registry = serving(&image());
    let arguments = [&*registry.reference("a", "v"), &home.layout("to", "v")];
    let failed = home.run(&arguments).expect_code(125);
    let told = failed.stderr.contains("hint: ") && failed.stderr.contains("--src-tls-verify=false");
    assert!(told, "{}", failed.stderr);
    assert_eq!(registry.requests(), []);
    assert_eq!(registry.tls_probes(), 1, "that is not tried again");
}

#[test]
fn a_full_disk() {
    let home = Home::new();
    let registry = serving(&image());
    let small = home.path("small");
    std::fs::create_dir(&small).unwrap();
    // In a mount namespace of its own, the file system goes with the process.
    let script =
        r#"mount -t tmpfs -o size=300k small "$1" && exec "$2" --src-tls-verify=false "$3" "$4""#;
    for to in [
        format!("oci:{}/layout:v", small.display()),
        "store:localhost/a:v".to_owned(),
    ] {
        let mut command = trimaran_testkit::command("unshare", &home.path(""));
        command.args([
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            small.to_str().unwrap(),
            crate::tool::PROGRAM,
        ]);
        command
            .args([&registry.reference("a", "v"), &to])
            .env("TRIMARAN_ROOT", small.join("root"));
        if !trimaran_testkit::is_root() {
            return trimaran_testkit::skip("needs root for a small file system");
        }
        let failed = trimaran_testkit::run(&mut command).expect_code(125);
        assert!(
            failed.stderr.contains("No space left") && failed.stderr.contains("small"),
            "{}",
            failed.stderr
        );
        assert!(
            failed.stderr.contains("hint: free some space"),
            "{}",
            failed.stderr
        );
    }
}

#[test]
fn lies_are_found_and_leave_nothing_named() {
    let image = image();
    let layer = &image.layers.last().unwrap().blob;
    let big_manifest = [image.manifest.bytes.clone(), vec![b' '; 5 << 20]].concat();
    let blob = format!("*/blobs/{}", layer.digest);
    let manifest = "*/manifests/*";
    for (name, rule, words) in [
        (
            "flipped blob",
            Rule::get(&blob).fault(Fault::Flip),
            vec![&layer.digest[7..19]],
        ),
        (
            "short blob",
            Rule::get(&blob).fault(Fault::Shorten(1000)),
            vec![&layer.digest[7..19]],
        ),
        (
            "long blob",
            Rule::get(&blob).fault(Fault::Lengthen(1000)),
            vec![&layer.digest[7..19]],
        ),
        (
            "cut blob",
            Rule::get(&blob).fault(Fault::Truncate(0)),
            vec![],
        ),
        (
            "reset blob",
            Rule::get(&blob).fault(Fault::ResetAt(0)),
            vec![],
        ),
        (
            "missing blob",
            Rule::get(&blob).fault(Fault::Status(404)),
            vec![&layer.digest[7..19]],
        ),
        (
            "flipped manifest",
            Rule::get(manifest).fault(Fault::Flip),
            vec![],
        ),
        (
            "other manifest",
            Rule::get(manifest).fault(Fault::Replace(b"{}".to_vec())),
            vec![],
        ),
        (
            "huge manifest",
            Rule::get(manifest).fault(Fault::Replace(big_manifest)),
            vec![],
        ),
        (
            "wrong digest header",
            Rule::any(manifest).fault(Fault::Header(
                "Docker-Content-Digest".into(),
                format!("sha256:{}", "0".repeat(64)),
            )),
            vec![],
        ),
        (
            "not a manifest",
            Rule::any(manifest).fault(Fault::Header("Content-Type".into(), "text/html".into())),
            vec![],
        ),
        (
            "forbidden",
            Rule::any(manifest).fault(Fault::Status(403)),
            vec!["403"],
        ),
        (
            "broken server",
            Rule::any(manifest).fault(Fault::Status(500)),
            vec![],
        ),
    ] {
        let home = Home::new();
        let (from, to) = (serving(&image), Registry::start());
        from.fault(rule);
        let message = home.fail(
            &["--retry-times", "1"],
            &from.reference("a", "v"),
            &to.reference("b", "v"),
        );
        for word in words.iter().chain(&[&*from.host()]) {
            assert!(message.contains(word), "{name}: no {word} in {message}");
        }
        assert_eq!(to.manifest("b", "v"), None, "{name}");
        assert_eq!(to.blob("b", &layer.digest), None, "{name}");

        home.fail(
            &["--retry-times", "0"],
            &from.reference("a", "v"),
            &home.layout("to", "v"),
        );
        if home.path("to/index.json").exists() {
            let layout = Layout::open(&home.path("to"));
            assert_eq!(layout.tag("v"), None, "{name}");
            let honest: Vec<&str> = image
                .blobs()
                .into_iter()
                .chain([image.root()])
                .map(|blob| &*blob.digest)
                .collect();
            assert!(
                layout
                    .digests()
                    .iter()
                    .all(|digest| honest.contains(&&**digest)),
                "{name}: a temporary file is left"
            );
            assert!(
                !layout.digests().contains(&layer.digest)
                    || name.contains("manifest")
                    || words.is_empty(),
                "{name}"
            );
        }
    }
}

#[test]
fn accidents_are_tried_again() {
    let image = image();
    let layer = &image.layers.last().unwrap().blob;
    let blob = format!("*/blobs/{}", layer.digest);
    for (name, rule) in [
        (
            "reset in the middle",
            Rule::get(&blob).nth(1).fault(Fault::ResetAt(300_000)),
        ),
        (
            "cut in the middle",
            Rule::get(&blob).nth(1).fault(Fault::Truncate(300_000)),
        ),
        (
            "server error",
            Rule::get(&blob).nth(1).fault(Fault::Status(503)),
        ),
        (
            "too many requests",
            Rule::get(&blob).nth(1).fault(Fault::RetryAfter(429, 1)),
        ),
        (
            "manifest",
            Rule::get("*/manifests/*").nth(1).fault(Fault::ResetAt(10)),
        ),
        (
            "head",
            Rule::method("HEAD", "*/manifests/*")
                .nth(1)
                .fault(Fault::Status(500)),
        ),
        ("chunked", Rule::get(&blob).fault(Fault::Chunked)),
        (
            "no digest header",
            Rule::any("*/manifests/*").fault(Fault::Without("Docker-Content-Digest".into())),
        ),
    ] {
        let home = Home::new();
        let from = serving(&image);
        from.fault(rule);
        home.copy(&[], &from.reference("a", "v"), &home.layout("to", "v"));
        assert_layout_holds(&Layout::open(&home.path("to")), "v", &image);
        if name.contains("middle") {
            let asked: Vec<_> = from
                .requests()
                .into_iter()
                .filter(|request| request.path.ends_with(&layer.digest))
                .collect();
            assert!(
                asked.iter().any(|request| request.range.is_some()),
                "{name}: not resumed: {asked:#?}"
            );
        }
    }
}

#[test]
fn a_resumed_download_survives_a_registry_without_ranges() {
    let image = image();
    let layer = &image.layers.last().unwrap().blob;
    let blob = format!("*/blobs/{}", layer.digest);
    for second in [Fault::IgnoreRange, Fault::WrongRange] {
        let home = Home::new();
        let from = serving(&image);
        from.fault(Rule::get(&blob).nth(1).fault(Fault::ResetAt(300_000)));
        from.fault(Rule::get(&blob).nth(2).fault(second.clone()));
        let reference = from.reference("a", "v");
        let to = home.layout("to", "v");
        let done = home.run(&[
            "--src-tls-verify=false",
            "--retry-times",
            "3",
            &reference,
            &to,
        ]);
        // Starting again is right, giving up is allowed; a wrong file is not.
        if done.code() == 0 {
            assert_layout_holds(&Layout::open(&home.path("to")), "v", &image);
        } else {
            assert!(
                !home.path("to/index.json").exists()
                    || Layout::open(&home.path("to")).tag("v").is_none(),
                "{second:?}"
            );
        }
        assert!(
            done.code() == 0 || second == Fault::WrongRange,
            "{second:?}: {}",
            done.stderr
        );
    }
}

#[test]
fn uploads_that_fail_are_tried_again_or_told() {
    let image = image();
    let source = Home::new();
    let from = source.made("from", "v", &image);
    for rule in [
        Rule::method("PUT", "*/blobs/uploads/*")
            .nth(1)
            .fault(Fault::ResetUpload(100)),
        Rule::method("POST", "*/blobs/uploads/")
            .nth(1)
            .fault(Fault::Status(503)),
        Rule::method("PUT", "*/manifests/*")
            .nth(1)
            .fault(Fault::Status(500)),
    ] {
        let to = Registry::start();
        to.fault(rule);
        source.copy(&[], &from, &to.reference("b", "v"));
        assert_holds(&to, "b", "v", &image);
    }
    for (rule, word) in [
        (
            Rule::method("POST", "*/blobs/uploads/").fault(Fault::Without("Location".into())),
            "ocation",
        ),
        (
            Rule::method("PUT", "*/manifests/*").fault(Fault::Status(403)),
            "403",
        ),
        (
            Rule::method("PUT", "*/blobs/uploads/*").fault(Fault::Status(400)),
            "",
        ),
    ] {
        let to = Registry::start();
        to.fault(rule);
        let message = source.fail(&["--retry-times", "1"], &from, &to.reference("b", "v"));
        assert!(
            message.contains(word) && message.contains(&to.host()),
            "{message}"
        );
        assert_eq!(to.manifest("b", "v"), None);
    }
}

#[test]
fn a_layout_that_lies_is_not_copied() {
    let home = Home::new();
    let image = image();
    let layer = &image.layers[0].blob;
    let registry = Registry::start();
    for bytes in [
        layer.bytes[..100].to_vec(),
        [&layer.bytes[..], b"x"].concat(),
        vec![0; layer.bytes.len()],
    ] {
        let from = home.made("from", "v", &image);
        Layout::open(&home.path("from")).add_blob(&Blob {
            bytes,
            ..layer.clone()
        });
        let message = home.fail(
            &["--retry-times", "0"],
            &from,
            &registry.reference("b", "v"),
        );
        assert!(message.contains(&layer.digest[7..19]), "{message}");
        assert_eq!(registry.manifest("b", "v"), None);
        home.fail(&[], &from, "store:localhost/b:v");
        home.run(&["inspect", "store:localhost/b:v"])
            .expect_code(125);
    }
}
