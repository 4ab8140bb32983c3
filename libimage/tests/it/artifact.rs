//! Files pushed, attached and pulled; names that lead elsewhere; the tree of what refers to an image.

use std::path::Path;

use libimage::{
    Error, ErrorKind,
    artifact::{self, FilePart, Node, PullOptions, PushOptions, Pushed, Tree, TreeOptions},
    copy::{CopyOptions, Referrers},
};
use serde_json::json;
use trimaran_testkit::{
    Content, DebianRegistry, Fault, ImageMaker, Index, Registry, Rule,
    debian::Options,
    image::{Blob, noise},
    skip,
};

use crate::net::{assert_fails, block, copy, copy_with, cx, image};

const SBOM: &str = "application/spdx+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Files in a directory of their own.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        Self(dir)
    }

    /// Names them as if the directory were the current one.
    fn parts(&self, names: &[&str]) -> Vec<FilePart> {
        let part = |name: &&str| FilePart {
            path: self.0.path().join(name),
            media_type: if name.ends_with(".json") {
                SBOM
            } else {
                "text/plain"
            }
            .to_owned(),
            title: Some((*name).to_owned()),
        };
        names.iter().map(part).collect()
    }
}

fn pull(from: &str, into: &Path, options: &PullOptions) -> Result<artifact::Pulled, Error> {
    block(artifact::pull(&cx(), &image(from), into, options))
}

fn attach(to: &str, parts: &[FilePart]) -> Result<Pushed, Error> {
    block(artifact::attach(
        &cx(),
        &image(to),
        parts,
        &PushOptions::new(SBOM),
    ))
}

fn tree(of: &str, options: &TreeOptions) -> Tree {
    block(artifact::tree(&cx(), &image(of), options)).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_go_and_come_back() {
    let large = noise(3 << 20);
    let files = Files::new(&[
        ("a.txt", b"hello"),
        ("b.json", b"{}"),
        ("large", &large),
        ("empty", b""),
    ]);
    let parts = files.parts(&["a.txt", "b.json", "large", "empty"]);
    let registry = Registry::start();
    let dir = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", dir.path().join("layout").display());
    for to in [registry.reference("files", "v1"), layout] {
        let options = PushOptions {
            annotations: [("org.example.note".to_owned(), "yes".to_owned())].into(),
            ..PushOptions::new("application/vnd.example+type")
        };
        let pushed = block(artifact::push(&cx(), &image(&to), &parts, &options)).unwrap();
        // The JSON file and the empty configuration are the same two bytes.
        assert_eq!((pushed.copied, pushed.skipped), (4, 0), "{to}");
        let out = tempfile::tempdir().unwrap();
        let into = out.path().join("made/on/the/way");
        let pulled = pull(&to, &into, &PullOptions::default()).unwrap();
        assert_eq!(pulled.digest, pushed.digest);
        assert_eq!(
            pulled.artifact_type.as_deref(),
            Some("application/vnd.example+type")
        );
        assert_eq!(names(&into), ["a.txt", "b.json", "empty", "large"]);
        assert!(std::fs::read(into.join("large")).unwrap() == large);
        let again = block(artifact::push(&cx(), &image(&to), &parts, &options)).unwrap();
        assert_eq!(
            (again.copied, again.digest),
            (0, pushed.digest),
            "the same files make the same artifact"
        );
    }
    assert_eq!(registry.open_uploads(), 0);
    let raw = registry.manifest("files", "v1").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&raw.bytes).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.example+type");
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.empty.v1+json"
    );
    assert_eq!(manifest["annotations"]["org.example.note"], "yes");
    assert_eq!(
        manifest["layers"][0]["annotations"]["org.opencontainers.image.title"],
        "a.txt"
    );
}

#[test]
fn what_is_wanted_is_written_and_nothing_else() {
    let files = Files::new(&[("a.txt", b"hello"), ("b.json", b"{}"), ("c.json", b"[]")]);
    let registry = Registry::start();
    let to = registry.reference("files", "v1");
    let parts = files.parts(&["a.txt", "b.json", "c.json"]);
    block(artifact::push(
        &cx(),
        &image(&to),
        &parts,
        &PushOptions::new(SBOM),
    ))
    .unwrap();
    let pulled = |media_types: &[&str], include: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let options = PullOptions {
            media_types: media_types.iter().map(ToString::to_string).collect(),
            include: include.iter().map(ToString::to_string).collect(),
            ..PullOptions::default()
        };
        pull(&to, out.path(), &options).map(|_| names(out.path()))
    };
    assert_eq!(pulled(&[SBOM], &[]).unwrap(), ["b.json", "c.json"]);
    assert_eq!(pulled(&[], &["a*", "c.*"]).unwrap(), ["a.txt", "c.json"]);
    assert_eq!(pulled(&[SBOM], &["c*"]).unwrap(), ["c.json"]);
    assert_fails(
        pulled(&["text/html"], &[]),
        ErrorKind::NotFound,
        &["asked for"],
    );
}

/// Puts an artifact into a registry whose files have these names.
fn hostile(registry: &Registry, titles: &[&str]) -> String {
    let content = Blob::new("text/plain", b"content".to_vec());
    registry.add_blob("hostile", &content);
    let layers: Vec<_> = titles
        .iter()
        .map(|title| {
            let mut layer = content.descriptor();
            layer["annotations"] = json!({"org.opencontainers.image.title": title});
            layer
        })
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": content.descriptor(), "layers": layers});
    let manifest = Blob::new(MANIFEST, manifest.to_string().into_bytes());
    registry.add_manifest("hostile", "v1", &manifest);
    registry.reference("hostile", "v1")
}

#[test]
fn names_lead_nowhere_else() {
    let registry = Registry::start();
    let outer = tempfile::tempdir().unwrap();
    let into = outer.path().join("into");
    for title in [
        "../escaped",
        "/tmp/trimaran-escaped",
        "a/../../escaped",
        "..",
        ".",
        "",
        "a//b",
        "a/",
        "nul\0",
        "line\nbreak",
        &"x".repeat(300),
    ] {
        let from = hostile(&registry, &["fine", title]);
        assert_fails(
            pull(&from, &into, &PullOptions::default()),
            ErrorKind::Malformed,
            &["no path below"],
        );
    }
    let twice = hostile(&registry, &["same", "same"]);
    assert_fails(
        pull(&twice, &into, &PullOptions::default()),
        ErrorKind::Conflict,
        &["same"],
    );
    assert!(
        !into.exists() || names(&into).is_empty(),
        "nothing is written before all names are right"
    );
    assert_eq!(registry.count("GET", "*/blobs/*"), 0);

    // Directories are made, symlinks on the way are not followed, whoever put them there.
    std::fs::create_dir_all(&into).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), into.join("link")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("target"), into.join("leaf")).unwrap();
    let force = PullOptions {
        overwrite: true,
        ..PullOptions::default()
    };
    for options in [&PullOptions::default(), &force] {
        let through = hostile(&registry, &["link/file"]);
        assert!(pull(&through, &into, options).is_err());
    }
    let leaf = hostile(&registry, &["leaf"]);
    assert_fails(
        pull(&leaf, &into, &PullOptions::default()),
        ErrorKind::Conflict,
        &["leaf"],
    );
    pull(&leaf, &into, &force).unwrap();
    assert!(
        into.join("leaf").symlink_metadata().unwrap().is_file(),
        "the link is replaced, not followed"
    );
    assert!(names(elsewhere.path()).is_empty());
    let deep = hostile(&registry, &["one/two/three"]);
    pull(&deep, &into, &PullOptions::default()).unwrap();
    assert_eq!(
        std::fs::read(into.join("one/two/three")).unwrap(),
        b"content"
    );
}

#[test]
fn files_that_are_there_stay_unless_forced() {
    let registry = Registry::start();
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("mine"), "mine").unwrap();
    let from = hostile(&registry, &["other", "mine"]);
    assert_fails(
        pull(&from, out.path(), &PullOptions::default()),
        ErrorKind::Conflict,
        &["mine"],
    );
    assert_eq!(names(out.path()), ["mine"], "all names are looked at first");
    let force = PullOptions {
        overwrite: true,
        ..PullOptions::default()
    };
    pull(&from, out.path(), &force).unwrap();
    assert_eq!(std::fs::read(out.path().join("mine")).unwrap(), b"content");
    // A directory is not replaced by a file.
    std::fs::create_dir(out.path().join("dir")).unwrap();
    assert!(pull(&hostile(&registry, &["dir"]), out.path(), &force).is_err());
}

#[test]
fn what_breaks_leaves_no_half_file() {
    for fault in [Fault::Flip, Fault::Truncate(0), Fault::Status(404)] {
        let registry = Registry::start();
        let out = tempfile::tempdir().unwrap();
        let from = hostile(&registry, &["file"]);
        registry.fault(Rule::get("*/blobs/*").fault(fault.clone()));
        assert!(
            pull(&from, out.path(), &PullOptions::default()).is_err(),
            "{fault:?}"
        );
        assert!(names(out.path()).is_empty(), "{fault:?}");
    }
}

#[test]
fn an_index_and_an_image_have_no_files() {
    let registry = Registry::start();
    let out = tempfile::tempdir().unwrap();
    registry.add("image", "v1", &ImageMaker::sample().make());
    registry.add(
        "index",
        "v1",
        &Index::new(vec![ImageMaker::sample().make()]),
    );
    assert_fails(
        pull(
            &registry.reference("image", "v1"),
            out.path(),
            &PullOptions::default(),
        ),
        ErrorKind::NotFound,
        &["has a name"],
    );
    assert_fails(
        pull(
            &registry.reference("index", "v1"),
            out.path(),
            &PullOptions::default(),
        ),
        ErrorKind::Unsupported,
        &["index"],
    );
}

#[test]
fn what_cannot_be_pushed() {
    let files = Files::new(&[("a.txt", b"hello")]);
    std::fs::create_dir(files.0.path().join("dir")).unwrap();
    let registry = Registry::start();
    let push = |names: &[&str], kind: &str| {
        let to = image(&registry.reference("files", "v1"));
        block(artifact::push(
            &cx(),
            &to,
            &files.parts(names),
            &PushOptions::new(kind),
        ))
    };
    assert_fails(push(&["missing"], SBOM), ErrorKind::NotFound, &["missing"]);
    assert_fails(
        push(&["dir"], SBOM),
        ErrorKind::Unsupported,
        &["dir", "regular file"],
    );
    assert_fails(
        push(&["a.txt", "a.txt"], SBOM),
        ErrorKind::Conflict,
        &["a.txt"],
    );
    assert_fails(
        push(&["a.txt"], "no type"),
        ErrorKind::InvalidReference,
        &["no type", "media type"],
    );
    assert!(
        registry.requests().is_empty(),
        "all of this is known before anything is sent"
    );
}

#[test]
fn attached_files_are_found_from_the_image_and_travel_with_it() {
    let files = Files::new(&[("sbom.json", b"{\"packages\":[]}"), ("report.txt", b"fine")]);
    let made = Index::new(vec![ImageMaker::sample().make()]);
    let dir = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", dir.path().join("layout").display());
    let (with, without, to) = (Registry::start(), Registry::start(), Registry::start());
    without.configure(|settings| settings.referrers = false);
    for registry in [&with, &without] {
        registry.add("a", "v1", &made);
    }
    copy(&cx(), &with.reference("a", "v1"), &layout).unwrap();
    let debian = DebianRegistry::start(&Options::default());
    let mut places = vec![
        with.reference("a", "v1"),
        without.reference("a", "v1"),
        layout,
    ];
    match &debian {
        Some(debian) => {
            copy(&cx(), &places[0], &debian.reference("a", "v1")).unwrap();
            places.push(debian.reference("a", "v1"));
        }
        None => skip("needs docker-registry"),
    }
    for (at, place) in places.iter().enumerate() {
        let sbom = attach(place, &files.parts(&["sbom.json"])).unwrap();
        assert_eq!(sbom.subject.unwrap().as_str(), made.digest());
        // Something about the SBOM itself, and something without files.
        let by_digest = place.rsplit_once(':').unwrap().0.to_owned() + "@" + sbom.digest.as_str();
        let by_digest = match place.starts_with("oci:") {
            true => place.rsplit_once(':').unwrap().0.to_owned() + ":" + sbom.digest.as_str(),
            false => by_digest,
        };
        if !place.starts_with("oci:") {
            let report = attach(&by_digest, &files.parts(&["report.txt"])).unwrap();
            let found = tree(place, &TreeOptions::default());
            assert_eq!(found.descriptor.digest.as_str(), made.digest());
            let [node] = &found.referrers[..] else {
                panic!("{found:?}")
            };
            assert_eq!(
                (
                    &node.descriptor.digest,
                    node.descriptor.artifact_type.as_deref()
                ),
                (&sbom.digest, Some(SBOM))
            );
            let below: Vec<&Node> = node.referrers.iter().collect();
            assert_eq!(below.len(), 1, "{place}");
            assert_eq!(below[0].descriptor.digest, report.digest);
            let shallow = TreeOptions {
                depth: Some(1),
                ..TreeOptions::default()
            };
            assert!(tree(place, &shallow).referrers[0].referrers.is_empty());
        }
        let other = TreeOptions {
            artifact_type: Some("text/plain".to_owned()),
            ..TreeOptions::default()
        };
        assert!(tree(place, &other).referrers.is_empty());
        // It comes along with the image, and can be pulled there.
        let name = format!("copy-{at}");
        copy(&cx(), place, &to.reference(&name, "v1")).unwrap();
        let found = tree(&to.reference(&name, "v1"), &TreeOptions::default());
        assert_eq!(found.referrers[0].descriptor.digest, sbom.digest, "{place}");
        let out = tempfile::tempdir().unwrap();
        let there = format!("docker://{}/{name}@{}", to.host(), sbom.digest);
        pull(&there, out.path(), &PullOptions::default()).unwrap();
        assert_eq!(names(out.path()), ["sbom.json"]);
    }
}

#[test]
fn nothing_is_attached_to_an_archive() {
    let files = Files::new(&[("sbom.json", b"{}")]);
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    registry.add("a", "v1", &ImageMaker::sample().make());
    for transport in ["oci-archive", "docker-archive", "dir"] {
        let path = dir.path().join(transport);
        let place = format!("{transport}:{}", path.display());
        copy(&cx(), &registry.reference("a", "v1"), &place).unwrap();
        let read = || match path.is_file() {
            true => std::fs::read(&path).unwrap().len(),
            false => names(&path).len(),
        };
        let before = read();
        assert_fails(
            attach(&place, &files.parts(&["sbom.json"])),
            ErrorKind::Unsupported,
            &["attached", transport],
        );
        assert_eq!(read(), before, "it is left as it was");
    }
}

#[test]
fn several_at_once_are_all_listed() {
    let Some(debian) = DebianRegistry::start(&Options::default()) else {
        return skip("needs docker-registry");
    };
    let from = Registry::start();
    from.add("a", "v1", &ImageMaker::sample().make());
    let there = debian.reference("a", "v1");
    copy(&cx(), &from.reference("a", "v1"), &there).unwrap();
    let contents: Vec<String> = (0..8).map(|number| format!("report {number}")).collect();
    let files: Vec<Files> = contents
        .iter()
        .map(|content| Files::new(&[("r", content.as_bytes())]))
        .collect();
    // One context: its writers take turns.
    let cx = cx();
    block(async {
        let attaching = files.iter().map(|files| {
            let (cx, to, parts) = (cx.clone(), image(&there), files.parts(&["r"]));
            tokio::spawn(async move {
                artifact::attach(&cx, &to, &parts, &PushOptions::new(SBOM))
                    .await
                    .unwrap();
            })
        });
        for task in attaching.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    assert_eq!(tree(&there, &TreeOptions::default()).referrers.len(), 8);
}

#[test]
fn an_image_of_an_index_has_its_own() {
    let files = Files::new(&[("sbom.json", b"{}")]);
    let registry = Registry::start();
    let other = ImageMaker::sample().platform("linux", "s390x", None).make();
    registry.add(
        "a",
        "v1",
        &Index::new(vec![ImageMaker::sample().make(), other.clone()]),
    );
    let there = registry.reference("a", "v1");
    let platform = Some("linux/s390x".parse().unwrap());
    let options = PushOptions {
        platform: platform.clone(),
        ..PushOptions::new(SBOM)
    };
    let attached = block(artifact::attach(
        &cx(),
        &image(&there),
        &files.parts(&["sbom.json"]),
        &options,
    ))
    .unwrap();
    assert_eq!(attached.subject.unwrap().as_str(), other.digest());
    assert!(tree(&there, &TreeOptions::default()).referrers.is_empty());
    let of_it = TreeOptions {
        platform,
        ..TreeOptions::default()
    };
    assert_eq!(tree(&there, &of_it).referrers.len(), 1);
    // Copied whole, it comes along.
    let to = Registry::start();
    let report = copy_with(
        &cx(),
        &there,
        &to.reference("b", "v1"),
        &CopyOptions {
            referrers: Referrers::WithImage,
            ..CopyOptions::default()
        },
    );
    assert_eq!(report.unwrap().referrers, 1);
}
