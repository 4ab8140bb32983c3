//! Edits: what is changed, what is not, and that layers stay where they are.

use libimage::{
    Error, ErrorKind,
    copy::CopyReport,
    edit::{self, Changes, EditOptions, EntryChange, IndexOptions, Mutation},
};
use serde_json::{Value, json};
use trimaran_testkit::{Content, ImageMaker, Index, Layout, Packing, Registry, Tree};

use crate::{
    net::{assert_fails, block, cx, image},
    valid::{DOCKER, OCI, assert_valid, json},
};

fn changes(list: &[(&str, Option<&str>)]) -> Changes {
    let owned =
        |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
    list.iter().map(owned).collect()
}

fn sample(architecture: &str) -> ImageMaker {
    let tree = Tree::new().file("for", 0o644, architecture);
    ImageMaker::new()
        .platform("linux", architecture, None)
        .layer(&tree, Packing::Gzip)
        .layer(&Tree::new().dir("same", 0o755), Packing::Zstd)
        .env(&["PATH=/bin"])
        .setting("Labels", json!({"a": "1"}))
        .setting("Healthcheck", json!({"Test": ["CMD", "true"]}))
}

fn labelled() -> Mutation {
    Mutation {
        labels: changes(&[("b", Some("2")), ("a", None)]),
        env: changes(&[("NEW", Some("x"))]),
        ..Mutation::default()
    }
}

fn mutate(from: &str, to: &str, mutation: &Mutation) -> Result<CopyReport, Error> {
    let (from, to) = (image(from), image(to));
    block(edit::mutate(
        &cx(),
        &from,
        &to,
        mutation,
        &EditOptions::default(),
    ))
}

/// Reads a configuration.
fn config(registry: &Registry, repository: &str, manifest: &Value) -> Value {
    let digest = manifest["config"]["digest"].as_str().unwrap();
    serde_json::from_slice(&registry.blob(repository, digest).unwrap()).unwrap()
}

fn entries(registry: &Registry, repository: &str, tag: &str) -> Vec<Value> {
    let index = json(registry, repository, tag);
    index["manifests"].as_array().unwrap().clone()
}

#[test]
fn an_image_is_changed_where_it_is() {
    let registry = Registry::start();
    let made = sample("amd64").make();
    registry.add("image", "v1", &made);
    let there = registry.reference("image", "v1");
    let report = mutate(&there, &there, &labelled()).unwrap();
    assert_valid(&registry, "image", "v1", OCI);
    let manifest = json(&registry, "image", "v1");
    let before: Value = serde_json::from_slice(&made.root().bytes).unwrap();
    assert_eq!(manifest["layers"], before["layers"]);
    let mut expected: Value = serde_json::from_slice(&made.config.bytes).unwrap();
    expected["config"]["Labels"] = json!({"b": "2"});
    expected["config"]["Env"] = json!(["PATH=/bin", "NEW=x"]);
    assert_eq!(
        config(&registry, "image", &manifest),
        expected,
        "all else stays"
    );
    assert_eq!(report.source_digest.as_str(), made.digest());
    let change = (report.source_digest.clone(), report.digest.clone());
    assert_eq!(report.changes, [change]);
    assert_eq!((report.copied, report.manifests), (1, 1));
    // Two HEADs, two GETs, HEAD, POST and PUT of the configuration, PUT of the manifest: no layer is asked for.
    for layer in &made.layers {
        let about = format!("*{}*", layer.blob.digest);
        assert_eq!(registry.count("*", &about), 0, "{:?}", registry.requests());
    }
    assert!(report.requests <= 8, "{:?}", registry.requests());
    // The same again changes nothing.
    registry.forget_requests();
    let again = mutate(&there, &there, &labelled()).unwrap();
    assert!(again.unchanged && again.changes.is_empty());
    assert_eq!(registry.count("PUT", "*"), 0);
}

#[test]
fn another_repository_gets_its_layers_mounted() {
    let registry = Registry::start();
    let made = sample("amd64").make();
    registry.add("team/a", "v1", &made);
    let (from, to) = (
        registry.reference("team/a", "v1"),
        registry.reference("team/b", "v2"),
    );
    let report = mutate(&from, &to, &labelled()).unwrap();
    assert_valid(&registry, "team/b", "v2", OCI);
    assert_eq!((report.mounted, report.copied), (2, 1));
    assert!(
        registry.manifest("team/a", "v1").unwrap().digest == made.digest(),
        "the source stays"
    );
    // And another registry gets copies.
    let other = Registry::start();
    let report = mutate(&from, &other.reference("c", "v3"), &labelled()).unwrap();
    assert_valid(&other, "c", "v3", OCI);
    assert_eq!(report.copied, 3);
}

#[test]
fn images_of_an_index_are_changed_by_platform() {
    let index = Index::new(vec![
        sample("amd64").make(),
        sample("arm64").make(),
        sample("s390x").make(),
    ]);
    let registry = Registry::start();
    registry.add("image", "v1", &index);
    let from = registry.reference("image", "v1");
    let all = mutate(&from, &registry.reference("image", "all"), &labelled()).unwrap();
    assert_eq!(assert_valid(&registry, "image", "all", OCI), 3);
    assert_eq!(all.changes.len(), 4);
    for entry in entries(&registry, "image", "all") {
        let manifest = json(&registry, "image", entry["digest"].as_str().unwrap());
        assert_eq!(
            config(&registry, "image", &manifest)["config"]["Labels"],
            json!({"b": "2"})
        );
    }
    let only = Mutation {
        platforms: vec!["linux/arm64".parse().unwrap()],
        annotations: changes(&[("org.example.manifest", Some("yes"))]),
        index_annotations: changes(&[("org.example.index", Some("yes"))]),
        ..labelled()
    };
    let one = mutate(&from, &registry.reference("image", "one"), &only).unwrap();
    assert_valid(&registry, "image", "one", OCI);
    assert_eq!(one.changes.len(), 2);
    let found = entries(&registry, "image", "one");
    assert_eq!(found[0]["digest"], index.images()[0].digest());
    assert_eq!(found[2]["digest"], index.images()[2].digest());
    let changed = json(&registry, "image", found[1]["digest"].as_str().unwrap());
    assert_eq!(
        changed["annotations"],
        json!({"org.example.manifest": "yes"})
    );
    let top = json(&registry, "image", "one");
    assert_eq!(top["annotations"], json!({"org.example.index": "yes"}));
    // To another registry the others come along.
    let other = Registry::start();
    mutate(&from, &other.reference("image", "one"), &only).unwrap();
    assert_eq!(assert_valid(&other, "image", "one", OCI), 3);
    assert_eq!(
        entries(&other, "image", "one"),
        found,
        "the same change gives the same bytes"
    );
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let registry = Registry::start();
    registry.add("image", "v1", &sample("amd64").make());
    registry.add("docker", "v1", &sample("amd64").docker().make());
    let there = registry.reference("image", "v1");
    let annotated = Mutation {
        annotations: changes(&[("a", Some("b"))]),
        ..Mutation::default()
    };
    let of_index = Mutation {
        index_annotations: changes(&[("a", Some("b"))]),
        ..Mutation::default()
    };
    let elsewhere = Mutation {
        platforms: vec!["linux/mips".parse().unwrap()],
        ..labelled()
    };
    let invalid = Mutation {
        expose: vec![("nonsense".to_owned(), true)],
        ..Mutation::default()
    };
    let digest = registry.manifest("image", "v1").unwrap().digest;
    let by_digest = format!("docker://{}/image@{digest}", registry.host());
    let docker = registry.reference("docker", "v1");
    let missing = registry.reference("image", "missing");
    for (place, mutation, kind, word) in [
        (
            &docker,
            &annotated,
            ErrorKind::Unsupported,
            "no annotations",
        ),
        (&there, &of_index, ErrorKind::Unsupported, "not an index"),
        (&there, &elsewhere, ErrorKind::NotFound, "linux/mips"),
        (&there, &invalid, ErrorKind::Unsupported, "port"),
        (
            &by_digest,
            &labelled(),
            ErrorKind::Unsupported,
            "name a tag",
        ),
        (&missing, &labelled(), ErrorKind::NotFound, "missing"),
    ] {
        assert_fails(mutate(place, place, mutation), kind, &[word]);
    }
    assert_eq!(registry.count("POST", "*"), 0, "nothing was begun");
    // A Docker image has settings all the same.
    mutate(&docker, &docker, &labelled()).unwrap();
    assert_valid(&registry, "docker", "v1", DOCKER);
}

#[test]
fn layouts_are_changed_too() {
    let dir = tempfile::tempdir().unwrap();
    Layout::create(dir.path()).add("v1", &sample("amd64").make());
    let there = format!("oci:{}:v1", dir.path().display());
    let report = mutate(&there, &there, &labelled()).unwrap();
    let layout = Layout::open(dir.path());
    assert_eq!(layout.tag("v1").as_deref(), Some(report.digest.as_str()));
    let to = Registry::start();
    mutate(&there, &to.reference("image", "v1"), &Mutation::default()).unwrap();
    assert_valid(&to, "image", "v1", OCI);
    assert!(mutate(&there, &there, &labelled()).unwrap().unchanged);
}

fn create(to: &str, images: &[String], options: &IndexOptions) -> Result<CopyReport, Error> {
    let images: Vec<_> = images.iter().map(|name| image(name)).collect();
    block(edit::create(&cx(), &image(to), &images, options))
}

fn add(to: &str, images: &[String], options: &IndexOptions) -> Result<CopyReport, Error> {
    let images: Vec<_> = images.iter().map(|name| image(name)).collect();
    block(edit::add(&cx(), &image(to), &images, options))
}

fn remove(to: &str, selectors: &[&str]) -> Result<CopyReport, Error> {
    let selectors: Vec<_> = selectors.iter().map(|text| text.parse().unwrap()).collect();
    block(edit::remove(
        &cx(),
        &image(to),
        &selectors,
        &EditOptions::default(),
    ))
}

fn annotate(to: &str, selectors: &[&str], what: &EntryChange) -> Result<CopyReport, Error> {
    let selectors: Vec<_> = selectors.iter().map(|text| text.parse().unwrap()).collect();
    block(edit::annotate(
        &cx(),
        &image(to),
        &selectors,
        what,
        &EditOptions::default(),
    ))
}

#[test]
fn an_index_is_made_added_to_and_taken_apart() {
    let (near, far) = (Registry::start(), Registry::start());
    let (amd64, arm64, s390x) = (
        sample("amd64").make(),
        sample("arm64").make(),
        sample("s390x").docker().make(),
    );
    near.add("parts", "amd64", &amd64);
    far.add(
        "parts",
        "several",
        &Index::new(vec![arm64.clone(), s390x.clone()]),
    );
    let to = near.reference("whole", "v1");
    let parts = [
        near.reference("parts", "amd64"),
        far.reference("parts", "several"),
    ];
    let options = IndexOptions {
        annotations: changes(&[("org.example.a", Some("b"))]),
        artifact_type: Some("application/vnd.example.set".to_owned()),
        ..IndexOptions::default()
    };
    let report = create(&to, &parts, &options).unwrap();
    assert_valid(&near, "whole", arm64.digest(), OCI);
    assert_valid(&near, "whole", s390x.digest(), DOCKER);
    let index = json(&near, "whole", "v1");
    assert_eq!(index["annotations"], json!({"org.example.a": "b"}));
    assert_eq!(index["artifactType"], "application/vnd.example.set");
    let digests = |registry: &Registry| -> Vec<String> {
        let digest = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
        entries(registry, "whole", "v1")
            .iter()
            .map(digest)
            .collect()
    };
    assert_eq!(
        digests(&near),
        [amd64.digest(), arm64.digest(), s390x.digest()]
    );
    assert_eq!(entries(&near, "whole", "v1")[0]["platform"], amd64.platform);
    assert_eq!(
        report.mounted, 3,
        "what the registry has is mounted: {report:?}"
    );
    assert!(
        create(&to, &parts, &options).unwrap().unchanged,
        "the same again"
    );

    // What is there is not added again; what has its place is refused, or replaces it.
    let none = IndexOptions::default();
    assert!(add(&to, &parts, &none).unwrap().unchanged);
    let newer = sample("arm64").env(&["NEWER=1"]).make();
    far.add("parts", "newer", &newer);
    let newer_there = [far.reference("parts", "newer")];
    assert_fails(
        add(&to, &newer_there, &none),
        ErrorKind::Conflict,
        &["linux/arm64", arm64.digest()],
    );
    let replacing = IndexOptions {
        replace: true,
        ..IndexOptions::default()
    };
    let report = add(&to, &newer_there, &replacing).unwrap();
    assert_eq!(
        digests(&near),
        [amd64.digest(), s390x.digest(), newer.digest()]
    );
    assert_eq!(report.changes.len(), 1);

    remove(&to, &["linux/amd64", s390x.digest()]).unwrap();
    assert_eq!(digests(&near), [newer.digest()]);
    assert!(
        near.manifest("whole", amd64.digest()).is_some(),
        "its manifest stays"
    );
    assert_fails(
        remove(&to, &["linux/amd64"]),
        ErrorKind::NotFound,
        &["no entry linux/amd64"],
    );
    assert_fails(
        remove(&to, &[amd64.digest()]),
        ErrorKind::NotFound,
        &[amd64.digest()],
    );
    assert_fails(
        remove(&near.reference("parts", "amd64"), &["linux/amd64"]),
        ErrorKind::Unsupported,
        &["not an index"],
    );
    assert_fails(
        remove(&near.reference("whole", "nope"), &["linux/amd64"]),
        ErrorKind::NotFound,
        &["nope"],
    );
}

#[test]
fn only_some_platforms_are_put_into_an_index() {
    let registry = Registry::start();
    let index = Index::new(vec![sample("amd64").make(), sample("arm64").make()]);
    registry.add("from", "v1", &index);
    let options = IndexOptions {
        platforms: vec!["linux/arm64".parse().unwrap()],
        ..IndexOptions::default()
    };
    let to = registry.reference("to", "v1");
    create(&to, &[registry.reference("from", "v1")], &options).unwrap();
    let found = entries(&registry, "to", "v1");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["digest"], index.images()[1].digest());
    assert!(
        registry
            .manifest("to", index.images()[0].digest())
            .is_none()
    );
    // An index without anything in it is one, too.
    create(
        &registry.reference("to", "empty"),
        &[],
        &IndexOptions::default(),
    )
    .unwrap();
    assert_eq!(entries(&registry, "to", "empty"), Vec::<Value>::new());
}

#[test]
fn entries_are_annotated() {
    let registry = Registry::start();
    let index = Index::new(vec![sample("amd64").make(), sample("arm").make()]);
    registry.add("image", "v1", &index);
    registry.add(
        "docker",
        "v1",
        &Index::docker(vec![sample("amd64").docker().make()]),
    );
    let to = registry.reference("image", "v1");
    let change = EntryChange {
        annotations: changes(&[("org.example.a", Some("b"))]),
        variant: Some("v7".to_owned()),
        os_version: Some("6.1".to_owned()),
    };
    annotate(&to, &["linux/arm"], &change).unwrap();
    let found = entries(&registry, "image", "v1");
    assert_eq!(found[1]["annotations"], json!({"org.example.a": "b"}));
    let platform =
        json!({"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "6.1"});
    assert_eq!(found[1]["platform"], platform);
    assert_eq!(found[0].get("annotations"), None);
    // And back.
    let back = EntryChange {
        annotations: changes(&[("org.example.a", None)]),
        variant: Some(String::new()),
        os_version: Some(String::new()),
    };
    annotate(&to, &[index.images()[1].digest()], &back).unwrap();
    let original: Value = serde_json::from_slice(&index.root().bytes).unwrap();
    assert_eq!(json(&registry, "image", "v1"), original);
    // The index itself.
    let itself = EntryChange {
        annotations: changes(&[("org.example.index", Some("yes"))]),
        ..EntryChange::default()
    };
    annotate(&to, &[], &itself).unwrap();
    assert_eq!(
        json(&registry, "image", "v1")["annotations"]["org.example.index"],
        "yes"
    );
    for selectors in [&[][..], &["linux/amd64"]] {
        let docker = registry.reference("docker", "v1");
        assert_fails(
            annotate(&docker, selectors, &itself),
            ErrorKind::Unsupported,
            &["no annotations"],
        );
    }
}

#[test]
fn a_docker_list_stays_one() {
    let registry = Registry::start();
    registry.add(
        "list",
        "v1",
        &Index::docker(vec![sample("amd64").docker().make()]),
    );
    registry.add("oci", "v1", &sample("arm64").make());
    registry.add("docker", "v1", &sample("arm64").docker().make());
    let to = registry.reference("list", "v1");
    let none = IndexOptions::default();
    assert_fails(
        add(&to, &[registry.reference("oci", "v1")], &none),
        ErrorKind::Unsupported,
        &["convert"],
    );
    add(&to, &[registry.reference("docker", "v1")], &none).unwrap();
    assert_eq!(assert_valid(&registry, "list", "v1", DOCKER), 2);
}

#[test]
fn a_layout_holds_an_index_that_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    registry.add("parts", "amd64", &sample("amd64").make());
    registry.add("parts", "arm64", &sample("arm64").make());
    let there = format!("oci:{}:v1", dir.path().display());
    let parts = ["amd64", "arm64"].map(|tag| registry.reference("parts", tag));
    let report = create(&there, &parts, &IndexOptions::default()).unwrap();
    let layout = Layout::open(dir.path());
    assert_eq!(layout.tag("v1").as_deref(), Some(report.digest.as_str()));
    assert_eq!(
        layout.index()["manifests"].as_array().unwrap().len(),
        1,
        "no stray entries"
    );
    remove(&there, &["linux/arm64"]).unwrap();
    // What came out of it is an image again.
    let to = Registry::start();
    let (from, back) = (image(&there), image(&to.reference("image", "v1")));
    block(libimage::copy::copy(
        &cx(),
        &from,
        &back,
        &libimage::copy::CopyOptions::default(),
    ))
    .unwrap();
    assert_eq!(assert_valid(&to, "image", "v1", OCI), 1);
}

#[test]
fn archives_hold_what_was_edited_or_converted() {
    use libimage::copy::{CopyOptions, Format};
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    registry.add("image", "v1", &sample("amd64").make());
    registry.add(
        "image",
        "both",
        &Index::new(vec![sample("amd64").make(), sample("arm64").make()]),
    );
    let from = registry.reference("image", "v1");
    let place = |name: &str| dir.path().join(name).display().to_string();
    let changed = mutate(&from, &registry.reference("image", "v2"), &labelled()).unwrap();
    for (transport, tag) in [
        ("oci-archive", ":v1"),
        ("docker-archive", ":image:v1"),
        ("dir", ""),
    ] {
        let at = |name: &str| format!("{transport}:{}{tag}", place(&format!("{transport}-{name}")));
        let there = at("edited");
        let report = mutate(&from, &there, &labelled()).unwrap();
        assert_eq!(report.digest, changed.digest, "{there}");
        let to = Registry::start();
        let (back, target) = (image(&there), image(&to.reference("image", "v1")));
        let both = CopyOptions {
            format: Some(Format::V2s2),
            compress: Some("gzip".parse().unwrap()),
            ..CopyOptions::default()
        };
        block(libimage::copy::copy(&cx(), &back, &target, &both)).unwrap();
        assert_valid(&to, "image", "v1", DOCKER);
        // And converted on the way in.
        let again = image(&at("converted"));
        block(libimage::copy::copy(&cx(), &image(&from), &again, &both)).unwrap();
        let other = Registry::start();
        let target = image(&other.reference("image", "v1"));
        block(libimage::copy::copy(
            &cx(),
            &again,
            &target,
            &CopyOptions::default(),
        ))
        .unwrap();
        assert_valid(&other, "image", "v1", DOCKER);
    }
    let there = format!("oci-archive:{}:v1", place("index.tar"));
    create(
        &there,
        &[registry.reference("image", "both")],
        &IndexOptions::default(),
    )
    .unwrap();
    let to = Registry::start();
    let target = image(&to.reference("image", "v1"));
    block(libimage::copy::copy(
        &cx(),
        &image(&there),
        &target,
        &CopyOptions::default(),
    ))
    .unwrap();
    assert_eq!(assert_valid(&to, "image", "v1", OCI), 2);
}
