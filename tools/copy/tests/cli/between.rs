//! Copies that succeed: what arrives, and what it costs.

use crate::tool::{Home, assert_holds, assert_layout_holds};
use trimaran_testkit::image::noise;
use trimaran_testkit::{Content, Fault, ImageMaker, Index, Layout, Packing, Registry, Rule, Tree};

fn index() -> Index {
    let for_platform = |architecture: &str, variant: Option<&str>| {
        let tree = Tree::new().file("platform", 0o644, format!("{architecture} {variant:?}"));
        ImageMaker::sample()
            .platform("linux", architecture, variant)
            .layer(&tree, Packing::Gzip)
            .make()
    };
    Index::new(vec![
        for_platform("amd64", None),
        for_platform("arm64", Some("v8")),
        for_platform("arm", Some("v7")),
    ])
}

#[test]
fn registry_to_registry_keeps_every_kind_of_image_byte_for_byte() {
    let home = Home::new();
    let unusual = Tree::new().file("big", 0o644, noise(3_000_000)).tar();
    let images: Vec<(&str, Box<dyn Content>)> = vec![
        ("oci", Box::new(ImageMaker::sample().make())),
        ("docker", Box::new(ImageMaker::sample().docker().make())),
        ("empty", Box::new(ImageMaker::new().make())),
        (
            "plain",
            Box::new(ImageMaker::new().tar_layer(&unusual, Packing::Plain).make()),
        ),
        (
            "frames",
            Box::new(
                ImageMaker::new()
                    .tar_layer(&unusual, Packing::ZstdFrames(4))
                    .make(),
            ),
        ),
        (
            "twice",
            Box::new(
                ImageMaker::new()
                    .tar_layer(&unusual, Packing::Gzip)
                    .tar_layer(&unusual, Packing::Gzip)
                    .make(),
            ),
        ),
        ("index", Box::new(index())),
        (
            "list",
            Box::new(Index::docker(vec![ImageMaker::sample().docker().make()])),
        ),
    ];
    for (name, content) in images {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("library/source", "1.0", &*content);
        let digest = home.copy(
            &[],
            &from.reference("library/source", "1.0"),
            &to.reference("team/a/b", name),
        );
        assert_eq!(digest, content.digest(), "{name}");
        assert_holds(&to, "team/a/b", name, &*content);
        assert_eq!(to.open_uploads(), 0, "{name}");
        let fetched = from.count("GET", "*/blobs/*");
        assert_eq!(
            fetched,
            content
                .blobs()
                .iter()
                .map(|blob| &blob.digest)
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            "{name}"
        );
    }
}

#[test]
fn a_copy_that_changes_nothing_costs_one_head_at_each_end() {
    let home = Home::new();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("a", "v", &index());
    home.copy(&[], &from.reference("a", "v"), &to.reference("b", "v"));
    for registry in [&from, &to] {
        registry.forget_requests();
    }
    let again = home
        .run(&[
            "--tls-verify=false",
            "--output",
            "json",
            &from.reference("a", "v"),
            &to.reference("b", "v"),
        ])
        .expect_code(0);
    let report: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(
        (&report["unchanged"], &report["requests"]),
        (&true.into(), &2.into())
    );
    for registry in [&from, &to] {
        let requests: Vec<String> = registry
            .requests()
            .into_iter()
            .map(|request| request.method)
            .collect();
        assert_eq!(requests, ["HEAD"]);
    }
}

#[test]
fn blobs_that_are_there_are_not_sent_again() {
    let home = Home::new();
    let (from, to) = (Registry::start(), Registry::start());
    let image = ImageMaker::sample().make();
    from.add("a", "v", &image);
    to.add_blob("b", &image.layers[1].blob);
    home.copy(&[], &from.reference("a", "v"), &to.reference("b", "v"));
    assert_holds(&to, "b", "v", &image);
    assert_eq!(
        from.count("GET", &format!("*/blobs/{}", image.layers[1].blob.digest)),
        0
    );
    assert_eq!(from.count("GET", "*/blobs/*"), image.blobs().len() - 1);
}

#[test]
fn within_one_registry_blobs_are_mounted_not_moved() {
    let home = Home::new();
    let registry = Registry::start();
    let image = index();
    registry.add("a", "v", &image);
    home.copy(
        &[],
        &registry.reference("a", "v"),
        &registry.reference("b", "v"),
    );
    assert_holds(&registry, "b", "v", &image);
    assert_eq!(registry.count("GET", "*/blobs/*"), 0);
    assert_eq!(registry.count("PUT", "*/blobs/*"), 0);

    // A registry may answer that it will not: then the blob is sent.
    let registry = Registry::start();
    registry.add("a", "v", &image);
    registry.fault(Rule::method("POST", "*/blobs/uploads/").fault(Fault::MountRefused));
    home.copy(
        &[],
        &registry.reference("a", "v"),
        &registry.reference("b", "v"),
    );
    assert_holds(&registry, "b", "v", &image);
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn a_digest_survives_layout_registry_layout_and_store() {
    let home = Home::new();
    let registry = Registry::start();
    for (name, image) in [
        ("oci", ImageMaker::sample().make()),
        ("docker", ImageMaker::sample().docker().make()),
    ] {
        let first = home.made(&format!("{name}-1"), "tag", &image);
        let second = home.layout(&format!("{name}-2"), "other");
        let stored = format!("store:localhost/{name}:kept");
        let middle = registry.reference(name, "v");
        let back = registry.reference(name, "back");
        for (from, to) in [
            (&first, &middle),
            (&middle, &second),
            (&second, &stored),
            (&stored, &back),
        ] {
            assert_eq!(home.copy(&[], from, to), image.digest(), "{from} -> {to}");
        }
        assert_layout_holds(
            &Layout::open(&home.path(&format!("{name}-2"))),
            "other",
            &image,
        );
        assert_holds(&registry, name, "back", &image);
        let raw = home.run(&["inspect", "--raw", &stored]).expect_code(0);
        assert_eq!(raw.stdout.as_bytes(), image.root().bytes);
    }
}

#[test]
fn platforms_are_chosen() {
    let home = Home::new();
    let registry = Registry::start();
    let image = index();
    registry.add("a", "v", &image);
    let from = registry.reference("a", "v");
    let arm64 = &image.images()[1];

    let one = home.layout("one", "v");
    assert_eq!(
        home.copy(&["--platform", "linux/arm64"], &from, &one),
        arm64.digest()
    );
    let layout = Layout::open(&home.path("one"));
    assert_layout_holds(&layout, "v", arm64);
    assert_eq!(
        layout.blob(image.images()[0].digest()),
        None,
        "nothing of another platform comes along"
    );

    let two = home.copy(
        &["--platform", "linux/amd64,linux/arm/v7"],
        &from,
        &registry.reference("b", "v"),
    );
    let smaller: serde_json::Value =
        serde_json::from_slice(&registry.manifest("b", "v").unwrap().bytes).unwrap();
    let entries: Vec<&str> = smaller["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    assert_eq!(
        entries,
        [image.images()[0].digest(), image.images()[2].digest()]
    );
    assert_eq!(registry.manifest("b", "v").unwrap().digest, two);

    let none = home.fail(
        &["--platform", "linux/s390x"],
        &from,
        &home.layout("none", "v"),
    );
    assert!(
        none.contains("linux/s390x") && none.contains("linux/arm64/v8"),
        "{none}"
    );
    assert!(
        !home.path("none").join("index.json").exists()
            || Layout::open(&home.path("none")).tag("v").is_none()
    );

    home.copy(&["--all"], &from, &home.layout("all", "v"));
    assert_layout_holds(&Layout::open(&home.path("all")), "v", &image);
}

#[test]
fn into_the_store_goes_this_machines_image_unless_asked_otherwise() {
    let home = Home::new();
    let here = ImageMaker::sample().make();
    let foreign = ImageMaker::sample().platform("linux", "s390x", None).make();
    let index = Index::new(vec![foreign.clone(), here.clone()]);
    let from = home.made("layout", "v", &index);
    assert_eq!(
        home.copy(&[], &from, "store:localhost/here:1"),
        here.digest()
    );
    assert_eq!(
        home.copy(
            &["--platform", "linux/s390x"],
            &from,
            "store:localhost/there:1"
        ),
        foreign.digest()
    );
    // A single image is what it is: there is nothing to choose.
    let single = home.made("single", "v", &foreign);
    assert_eq!(
        home.copy(&[], &single, "store:localhost/single:1"),
        foreign.digest()
    );
    let wrong = home.fail(
        &["--platform", "linux/riscv64"],
        &single,
        "store:localhost/wrong:1",
    );
    assert!(wrong.contains("riscv64"), "{wrong}");
}

#[test]
fn the_result_is_a_digest_or_json_and_nothing_else() {
    let home = Home::new();
    let image = ImageMaker::sample().make();
    let from = home.made("from", "v", &image);
    let file = home.path("digest");
    let done = home
        .run(&[
            "--quiet",
            "--digestfile",
            file.to_str().unwrap(),
            &from,
            &home.layout("to", "v"),
        ])
        .expect_code(0);
    assert_eq!(done.stdout, format!("{}\n", image.digest()));
    assert_eq!(done.stderr, "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), done.stdout);

    let done = home
        .run(&["copy", "--output", "json", &from, &home.layout("json", "v")])
        .expect_code(0);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["digest"], image.digest());
    assert_eq!(report["blobs"]["copied"], image.blobs().len());
    assert!(
        !done.stderr.contains('\r') && !done.stderr.contains('\x1b'),
        "no bar without a terminal: {}",
        done.stderr
    );
}

#[test]
fn tags_of_one_layout_do_not_disturb_each_other() {
    let home = Home::new();
    let images = [
        ImageMaker::sample().make(),
        ImageMaker::sample().user("app").make(),
    ];
    let sources: Vec<String> = images
        .iter()
        .zip(["a", "b"])
        .map(|(image, name)| home.made(name, "v", image))
        .collect();
    std::thread::scope(|scope| {
        for (source, tag) in sources.iter().zip(["one", "two"]) {
            let home = &home;
            scope.spawn(move || home.copy(&[], source, &home.layout("shared", tag)));
        }
    });
    let layout = Layout::open(&home.path("shared"));
    for (image, tag) in images.iter().zip(["one", "two"]) {
        assert_layout_holds(&layout, tag, image);
    }
    // A tag can be moved.
    home.copy(&[], &sources[1], &home.layout("shared", "one"));
    assert_eq!(layout.tag("one").as_deref(), Some(images[1].digest()));
    assert_eq!(layout.index()["manifests"].as_array().unwrap().len(), 2);
}
