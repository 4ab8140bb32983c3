//! Every medium as both ends of a copy: what arrives is what left.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use libimage::{
    ErrorKind,
    context::Context,
    copy::{CopyOptions, copy_into},
    store::Store,
    transport::{Sink, Source},
};
use serde_json::{Value, json};
use trimaran_testkit::{
    Content, Fault, ImageMaker, Index, Packing, Registry, Rule, Tree,
    image::{noise, sha256},
    tar::{RawMember, raw_tar},
};

use crate::{
    net::{assert_fails, assert_holds, block, copy, copy_with, cx, image},
    net_local::open_store,
};

/// A place of each kind.
pub(crate) struct Places {
    home: tempfile::TempDir,
    store: Arc<Store>,
    pub(crate) registry: Registry,
}

const MEDIA: [&str; 6] = [
    "registry",
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "store",
];

impl Places {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self {
            store: open_store(&home.path().join("store")),
            home,
            registry: Registry::start(),
        }
    }

    /// Returns a reference to a place where nothing is yet.
    pub(crate) fn fresh(&self, medium: &str, name: &str) -> String {
        let path = self.home.path().join(format!("{medium}-{name}"));
        let path = path.display();
        match medium {
            "registry" => self.registry.reference(name, "v1"),
            "oci" | "oci-archive" => format!("{medium}:{path}:v1"),
            "docker-archive" => format!("{medium}:{path}:example.org/{name}:v1"),
            "dir" => format!("dir:{path}"),
            _ => format!("store:example.org/{name}:v1"),
        }
    }

    pub(crate) fn options(&self) -> CopyOptions {
        CopyOptions {
            store: Some(Arc::clone(&self.store)),
            ..CopyOptions::default()
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

fn index() -> Index {
    let made = |architecture: &str| {
        let tree = Tree::new().file("platform", 0o644, architecture);
        ImageMaker::sample()
            .platform("linux", architecture, None)
            .layer(&tree, Packing::Gzip)
            .make()
    };
    Index::new(vec![made("s390x"), made("amd64"), made("arm64")])
}

fn contents() -> Vec<(&'static str, Box<dyn Content>)> {
    let big = Tree::new().file("big", 0o644, noise(700_000)).tar();
    let zstd = ImageMaker::new()
        .tar_layer(&big, Packing::Zstd)
        .tar_layer(&big, Packing::Plain);
    vec![
        ("image", Box::new(ImageMaker::sample().make())),
        ("docker", Box::new(ImageMaker::sample().docker().make())),
        ("zstd", Box::new(zstd.make())),
        ("index", Box::new(index())),
        (
            "list",
            Box::new(Index::docker(vec![ImageMaker::sample().docker().make()])),
        ),
    ]
}

#[test]
fn every_medium_to_every_other_keeps_every_digest() {
    let cx = cx();
    for (kind, content) in contents() {
        let places = Places::new();
        let origin = Registry::start();
        origin.add("origin", "v1", &*content);
        let options = places.options();
        for from in MEDIA {
            let first = places.fresh(from, &format!("{kind}-{from}"));
            let report =
                copy_with(&cx, &origin.reference("origin", "v1"), &first, &options).unwrap();
            assert_eq!(report.digest.as_str(), content.digest(), "{kind} to {from}");
            for to in MEDIA {
                let name = format!("{kind}-{from}-{to}");
                let second = places.fresh(to, &name);
                let report = copy_with(&cx, &first, &second, &options)
                    .unwrap_or_else(|error| panic!("{kind}, {from} to {to}: {error}"));
                assert_eq!(
                    report.digest.as_str(),
                    content.digest(),
                    "{kind}, {from} to {to}"
                );
                // The proof is that everything can be had from there.
                let back = format!("{name}-back");
                let proof = places.registry.reference(&back, "v1");
                copy_with(&cx, &second, &proof, &options)
                    .unwrap_or_else(|error| panic!("{kind}, {from} to {to} and back: {error}"));
                assert_holds(&places.registry, &back, "v1", &*content);
            }
        }
    }
}

#[test]
fn an_archive_that_is_compressed_as_a_whole_is_read_without_unpacking_it() {
    let (places, cx) = (Places::new(), cx());
    for (kind, content) in contents() {
        places.registry.add(kind, "v1", &*content);
        for medium in ["oci-archive", "docker-archive"] {
            let plain = places.fresh(medium, kind);
            copy(&cx, &places.registry.reference(kind, "v1"), &plain).unwrap();
            let path = places.path(&format!("{medium}-{kind}"));
            let archive = std::fs::read(&path).unwrap();
            for packing in [Packing::Gzip, Packing::ZstdFrames(3)] {
                std::fs::write(&path, packing.pack(&archive)).unwrap();
                let back = format!("{kind}-{medium}-{packing:?}")
                    .to_lowercase()
                    .replace(['(', ')'], "");
                copy(&cx, &plain, &places.registry.reference(&back, "v1")).unwrap();
                assert_holds(&places.registry, &back, "v1", &*content);
            }
        }
    }
}

#[test]
fn an_archive_holds_several_images_and_shares_their_blobs() {
    let (places, cx) = (Places::new(), cx());
    let made = contents();
    for (kind, content) in &made {
        places.registry.add(kind, "v1", &**content);
    }
    for form in ["oci-archive", "docker-archive"] {
        let path = places.path(&format!("{form}-several"));
        let name = |kind: &str| match form {
            "oci-archive" => format!("{form}:{}:{kind}", path.display()),
            _ => format!("{form}:{}:example.org/{kind}:v1", path.display()),
        };
        block(async {
            let options = CopyOptions::default();
            let first = image(&places.registry.reference(made[0].0, "v1"));
            let source = Source::open(&cx, &first, None).await.unwrap();
            let sink = Sink::open(&cx, &image(&name(made[0].0)), None, &source)
                .await
                .unwrap();
            for (kind, _) in &made {
                let beside = sink.beside(&image(&name(kind))).unwrap();
                let from = image(&places.registry.reference(kind, "v1"));
                copy_into(&cx, &from, &beside, &options).await.unwrap();
            }
            assert!(!path.exists(), "an archive is not there before its end");
            let elsewhere = sink.beside(&image("oci-archive:/elsewhere.tar:x"));
            assert_fails(elsewhere, ErrorKind::InvalidReference, &["elsewhere"]);
            sink.finish().await.unwrap();
            assert_fails(sink.finish().await, ErrorKind::Canceled, &["complete"]);
        });
        for (kind, content) in &made {
            let back = format!("{form}-{kind}");
            copy(&cx, &name(kind), &places.registry.reference(&back, "v1")).unwrap();
            assert_holds(&places.registry, &back, "v1", &**content);
        }
        let without_name = format!("{form}:{}", path.display());
        let result = copy(&cx, &without_name, &places.registry.reference("x", "v1"));
        assert_fails(result, ErrorKind::Conflict, &["several", "zstd"]);
        let result = copy(&cx, &name("nope"), &places.registry.reference("x", "v1"));
        assert_fails(result, ErrorKind::NotFound, &["nope", "zstd"]);
        let tags = block(libimage::copy::tags(&cx, &image(&without_name))).unwrap();
        assert_eq!(tags.len(), made.len());
        let members = listed(&std::fs::read(&path).unwrap());
        let mut once = members.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), members.len(), "nothing is written twice");
    }
    let by_index = format!(
        "docker-archive:{}:@1",
        places.path("docker-archive-several").display()
    );
    let report = copy(&cx, &by_index, &places.registry.reference("second", "v1")).unwrap();
    assert_eq!(report.digest.as_str(), made[1].1.digest());
}

/// Returns the names in an archive.
fn listed(archive: &[u8]) -> Vec<String> {
    let (mut names, mut at) = (Vec::new(), 0);
    while at + 512 <= archive.len() && archive[at] != 0 {
        let name = archive[at..at + 100].split(|byte| *byte == 0).next();
        let name = String::from_utf8(name.unwrap().to_vec()).unwrap();
        let size = String::from_utf8(archive[at + 124..at + 135].to_vec()).unwrap();
        names.push(name);
        at += 512
            + usize::from_str_radix(&size, 8)
                .unwrap()
                .next_multiple_of(512);
    }
    names
}

#[test]
fn a_copy_gets_additional_names() {
    let (places, cx) = (Places::new(), cx());
    let made = ImageMaker::sample().make();
    places.registry.add("origin", "v1", &made);
    let options = |names: &[&str]| CopyOptions {
        additional_tags: names.iter().map(|name| (*name).to_owned()).collect(),
        ..places.options()
    };
    let from = places.registry.reference("origin", "v1");
    let cases: [(&str, &[&str]); 5] = [
        ("registry", &["v2", "v3"]),
        ("oci", &["v2", "v3"]),
        ("oci-archive", &["v2", "v3"]),
        ("docker-archive", &["example.org/more:v2", "other"]),
        ("store", &["example.org/more:v2", "other"]),
    ];
    for (medium, names) in cases {
        let to = places.fresh(medium, "copy");
        copy_with(&cx, &from, &to, &options(names)).unwrap();
        for name in names {
            let (place, _) = to.rsplit_once(':').unwrap();
            let named = match medium {
                "store" => format!("store:{name}"),
                "docker-archive" => format!(
                    "docker-archive:{}:{name}",
                    places.path("docker-archive-copy").display()
                ),
                _ => format!("{place}:{name}"),
            };
            let back = format!("{medium}-back");
            let report = copy_with(
                &cx,
                &named,
                &places.registry.reference(&back, "v1"),
                &places.options(),
            );
            assert_eq!(report.unwrap().digest.as_str(), made.digest(), "{named}");
        }
    }
    // A name that is missing is added, though the others are there.
    let to = places.fresh("registry", "copy");
    let report = copy_with(&cx, &from, &to, &options(&["v2", "v4"])).unwrap();
    assert!(!report.unchanged);
    assert_holds(&places.registry, "copy", "v4", &made);
    let again = copy_with(&cx, &from, &to, &options(&["v2", "v4"])).unwrap();
    assert!(again.unchanged);
    let wrong = [
        ("registry", "no tag", ErrorKind::InvalidReference),
        ("registry", "elsewhere.org/a:b", ErrorKind::InvalidReference),
        ("store", "UPPER", ErrorKind::InvalidReference),
        ("dir", "v2", ErrorKind::Unsupported),
    ];
    for (medium, name, kind) in wrong {
        let to = places.fresh(medium, "wrong");
        let word = if medium == "dir" { "additional" } else { name };
        assert_fails(copy_with(&cx, &from, &to, &options(&[name])), kind, &[word]);
    }
}

#[test]
fn a_failed_copy_leaves_what_was_there() {
    let (places, cx) = (Places::new(), cx());
    let old = ImageMaker::sample().make();
    let new = ImageMaker::new()
        .tar_layer(&noise(1 << 20), Packing::Plain)
        .make();
    places.registry.add("old", "v1", &old);
    let broken = Registry::start();
    broken.add("new", "v1", &new);
    broken.fault(Rule::get(&format!("*/blobs/{}", new.layers[0].blob.digest)).fault(Fault::Flip));
    let (old, new) = (
        places.registry.reference("old", "v1"),
        broken.reference("new", "v1"),
    );
    let archive = places.fresh("oci-archive", "a");
    copy(&cx, &old, &archive).unwrap();
    let path = places.path("oci-archive-a");
    let before = std::fs::read(&path).unwrap();
    for to in [archive.clone(), places.fresh("docker-archive", "b")] {
        assert_fails(copy(&cx, &new, &to), ErrorKind::DigestMismatch, &[]);
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let left = std::fs::read_dir(places.home.path()).unwrap();
    let left: Vec<_> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "store" && name != "oci-archive-a")
        .collect();
    assert_eq!(left, Vec::<String>::new());

    // A layout's archive is replaced, docker's is not: not even by the same image.
    copy(&cx, &old, &archive).unwrap();
    let docker = places.fresh("docker-archive", "b");
    copy(&cx, &old, &docker).unwrap();
    assert_fails(copy(&cx, &old, &docker), ErrorKind::Conflict, &["already"]);
    std::fs::write(places.path("docker-archive-b"), "").unwrap();
    copy(&cx, &old, &docker).expect("an empty file, as mktemp makes it, holds no image");
}

#[test]
fn a_directory_is_laid_out_as_the_field_knows_it() {
    let (places, cx) = (Places::new(), cx());
    let (single, many) = (ImageMaker::sample().make(), index());
    places.registry.add("single", "v1", &single);
    places.registry.add("many", "v1", &many);
    let to = places.fresh("dir", "a");
    let path = places.path("dir-a");
    copy(&cx, &places.registry.reference("many", "v1"), &to).unwrap();
    assert_eq!(names_in(&path), expected_names(&many));
    assert_eq!(
        std::fs::read_to_string(path.join("version")).unwrap(),
        "Directory Transport Version: 1.1\n"
    );
    std::fs::write(path.join("signature-1"), "of the old image").unwrap();
    std::fs::write(path.join("notes.txt"), "mine").unwrap();
    // Another image takes the place of the first, and only what was the image's goes.
    copy(&cx, &places.registry.reference("single", "v1"), &to).unwrap();
    let mut expected = expected_names(&single);
    expected.push("notes.txt".to_owned());
    expected.sort();
    assert_eq!(names_in(&path), expected);
    assert!(
        copy(&cx, &places.registry.reference("single", "v1"), &to)
            .unwrap()
            .unchanged
    );

    // Signatures in files travel between directories, in their order, in place of those that were there.
    for number in 1..=2 {
        std::fs::write(
            path.join(format!("signature-{number}")),
            format!("{number}"),
        )
        .unwrap();
    }
    let second = places.path("dir-b");
    copy(
        &cx,
        &places.registry.reference("many", "v1"),
        &places.fresh("dir", "b"),
    )
    .unwrap();
    std::fs::write(second.join("signature-1"), "of the old image").unwrap();
    copy(&cx, &to, &places.fresh("dir", "b")).unwrap();
    for number in 1..=2 {
        let signature = std::fs::read(second.join(format!("signature-{number}"))).unwrap();
        assert_eq!(signature, number.to_string().as_bytes());
    }
    assert!(!second.join("signature-3").exists());

    let foreign = places.path("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("precious"), "").unwrap();
    let foreign = format!("dir:{}", foreign.display());
    let result = copy(&cx, &places.registry.reference("single", "v1"), &foreign);
    assert_fails(result, ErrorKind::Malformed, &["neither empty"]);
    let result = copy(&cx, &foreign, &places.registry.reference("x", "v1"));
    assert_fails(result, ErrorKind::Malformed, &["manifest.json"]);
}

fn names_in(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn expected_names(content: &dyn Content) -> Vec<String> {
    let mut names = vec!["manifest.json".to_owned(), "version".to_owned()];
    names.extend(
        content
            .blobs()
            .iter()
            .map(|blob| blob.digest[7..].to_owned()),
    );
    let children = content.manifests();
    names.extend(
        children
            .iter()
            .map(|child| format!("{}.manifest.json", &child.digest[7..])),
    );
    names.sort();
    names.dedup();
    names
}

/// The layers and the configuration of an archive as docker saved it, by hand.
pub(crate) struct Saved {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
}

impl Saved {
    pub(crate) fn new(layers: &[&str]) -> Self {
        let tar = |text: &&str| Tree::new().file("file", 0o644, *text).tar();
        let layers: Vec<Vec<u8>> = layers.iter().map(tar).collect();
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self {
            layers,
            config: config.to_string().into_bytes(),
        }
    }

    pub(crate) fn config_name(&self) -> String {
        format!("{}.json", &sha256(&self.config)[7..])
    }

    pub(crate) fn manifest(&self, tags: &[&str], layers: &[&str]) -> RawMember {
        let list = json!([{"Config": self.config_name(), "RepoTags": tags, "Layers": layers}]);
        RawMember::file("manifest.json", list.to_string())
    }

    /// The manifest that is made for it.
    pub(crate) fn expected(&self, packing: Packing) -> Value {
        let packed_type = match packing {
            Packing::Gzip => ".tar.gzip",
            _ => ".tar",
        };
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let packed = packing.pack(layer);
                json!({
                    "mediaType": format!("application/vnd.docker.image.rootfs.diff{packed_type}"),
                    "size": packed.len(),
                    "digest": sha256(&packed),
                })
            })
            .collect();
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": self.config.len(),
                "digest": sha256(&self.config),
            },
            "layers": layers,
        })
    }
}

/// Copies a handmade archive to a registry and returns the manifest there, and its digest.
fn pushed(cx: &Context, archive: &[u8], inside: &str) -> (Value, String) {
    let places = Places::new();
    let path = places.path("saved.tar");
    std::fs::write(&path, archive).unwrap();
    let from = format!("docker-archive:{}{inside}", path.display());
    let report = copy(cx, &from, &places.registry.reference("a", "v1"))
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    let manifest = places.registry.manifest("a", "v1").unwrap();
    let digest = report.digest.to_string();
    assert_eq!(manifest.digest, digest);
    (serde_json::from_slice(&manifest.bytes).unwrap(), digest)
}

#[test]
fn what_docker_saved_before_it_saved_manifests_gets_one() {
    let (saved, cx) = (Saved::new(&["one", "two"]), cx());
    let config = RawMember::file(saved.config_name(), &saved.config);
    let plain = [
        config.clone(),
        RawMember::file("a/layer.tar", &saved.layers[0]),
        RawMember::file("b/layer.tar", &saved.layers[1]),
        saved.manifest(&["app:v1"], &["a/layer.tar", "b/layer.tar"]),
    ];
    let expected = saved.expected(Packing::Plain);
    let (manifest, digest) = pushed(&cx, &raw_tar(&plain), ":app:v1");
    assert_eq!(manifest, expected);
    // The same again, whatever the members are called.
    let named = [
        saved.manifest(&["app:v1"], &["x.tar", "./y.tar"]),
        RawMember::dir("./", 0o755),
        RawMember::file("./x.tar", &saved.layers[0]),
        RawMember::file("y.tar", &saved.layers[1]),
        config.clone(),
        RawMember::file("y.tar", "a repetition means nothing"),
    ];
    assert_eq!(pushed(&cx, &raw_tar(&named), "").1, digest);
    // Layers that are links to layers, as docker saved equal ones.
    let linked = [
        config.clone(),
        RawMember::file("a/layer.tar", &saved.layers[0]),
        RawMember::file("b.tar", &saved.layers[1]),
        RawMember::symlink("b/layer.tar", "../b.tar"),
        RawMember::hardlink("c/layer.tar", "b/layer.tar"),
        saved.manifest(&["app:v1"], &["a/layer.tar", "c/layer.tar"]),
    ];
    assert_eq!(pushed(&cx, &raw_tar(&linked), ":@0").1, digest);
    // Compressed layers, as crane and kaniko write them, stay what they are.
    let packed = [
        config,
        RawMember::file("a.tar.gz", Packing::Gzip.pack(&saved.layers[0])),
        RawMember::file("b.tar.gz", Packing::Gzip.pack(&saved.layers[1])),
        saved.manifest(&["app:v1"], &["a.tar.gz", "b.tar.gz"]),
    ];
    let (manifest, _) = pushed(&cx, &raw_tar(&packed), "");
    assert_eq!(manifest, saved.expected(Packing::Gzip));
}

#[test]
fn the_oldest_archives_of_docker_can_be_read() {
    let (saved, cx) = (Saved::new(&["base", "top"]), cx());
    let document = |value: Value| value.to_string();
    let base = json!({
        "id": "base", "created": "2014-01-01T00:00:00Z", "container_config": {"Cmd": ["/bin/sh", "-c", "add"]},
        "architecture": "amd64", "os": "linux",
    });
    let top = json!({
        "id": "top", "parent": "base", "created": "2014-01-02T00:00:00Z", "author": "me",
        "config": {"Cmd": ["/x"]}, "architecture": "amd64", "os": "linux", "Size": 3,
    });
    let members = [
        RawMember::file("base/VERSION", "1.0"),
        RawMember::file("base/json", document(base)),
        RawMember::file("base/layer.tar", &saved.layers[0]),
        RawMember::file("top/VERSION", "1.0"),
        RawMember::file("top/json", document(top)),
        RawMember::file("top/layer.tar", &saved.layers[1]),
        RawMember::file("repositories", r#"{"old": {"v1": "top"}}"#),
    ];
    let archive = raw_tar(&members);
    let (manifest, digest) = pushed(&cx, &archive, ":old:v1");
    assert_eq!(manifest["layers"], saved.expected(Packing::Plain)["layers"]);
    assert_eq!(pushed(&cx, &archive, "").1, digest, "the same every time");
    let places = Places::new();
    let path = places.path("old.tar");
    std::fs::write(&path, archive).unwrap();
    let from = format!("docker-archive:{}", path.display());
    copy(&cx, &from, &places.registry.reference("a", "v1")).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config = places.registry.blob("a", config).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["config"]["Cmd"], json!(["/x"]));
    assert_eq!(config["history"][0]["created_by"], "/bin/sh -c add");
    assert_eq!(config["rootfs"]["diff_ids"][1], sha256(&saved.layers[1]));
    assert!(config.get("parent").is_none() && config.get("Size").is_none());
}

#[test]
fn a_combined_archive_without_all_platforms_gives_the_one_it_has() {
    // Docker with containerd's store saves the index whole, and the blobs of its own platform.
    let (places, cx) = (Places::new(), cx());
    let index = index();
    let here = &index.images()[1];
    let blob = |blob: &trimaran_testkit::image::Blob| {
        RawMember::file(format!("blobs/sha256/{}", &blob.digest[7..]), &blob.bytes)
    };
    let mut descriptor = index.root().descriptor();
    descriptor["annotations"] = json!({"io.containerd.image.name": "docker.io/library/app:v1"});
    let layers: Vec<String> = here
        .layers
        .iter()
        .map(|layer| format!("blobs/sha256/{}", &layer.blob.digest[7..]))
        .collect();
    let list = json!([{
        "Config": format!("blobs/sha256/{}", &here.config.digest[7..]),
        "RepoTags": ["app:v1"],
        "Layers": layers,
    }]);
    let mut members = vec![
        RawMember::file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#),
        RawMember::file(
            "index.json",
            json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string(),
        ),
        RawMember::file("manifest.json", list.to_string()),
        blob(index.root()),
        blob(&here.manifest),
        blob(&here.config),
    ];
    members.extend(here.layers.iter().map(|layer| blob(&layer.blob)));
    let path = places.path("combined.tar");
    std::fs::write(&path, raw_tar(&members)).unwrap();
    let from = format!("docker-archive:{}:app:v1", path.display());
    let report = copy(&cx, &from, &places.registry.reference("a", "v1")).unwrap();
    assert_eq!(report.digest.as_str(), here.digest());
    assert_holds(&places.registry, "a", "v1", here);
}
