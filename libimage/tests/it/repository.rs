//! Repositories asked and changed without copying: tags, digests, deletions, single manifests and blobs.

use std::sync::Arc;

use libimage::{
    Error, ErrorKind,
    digest::Digest,
    manifest::Manifest,
    name::ImageRef,
    repository::{
        self, CatalogOptions, DeleteMode, DeleteOptions, Deleted, DigestOptions, TagFilter,
        TagOptions,
    },
};
use trimaran_testkit::{Content, Fault, ImageMaker, Index, Layout, Registry, Rule, image::Blob};

use crate::{
    net::{assert_fails, assert_holds, block, copy_with, cx, image},
    net_local::open_store,
};

fn tags(registry: &Registry, options: &TagOptions) -> Result<Vec<String>, Error> {
    let reference = image(&registry.reference("image", "latest"));
    block(repository::tags(&cx(), &reference, options))
}

fn index() -> Index {
    let other = ImageMaker::new().platform("linux", "s390x", None);
    Index::new(vec![ImageMaker::sample().make(), other.make()])
}

fn delete(reference: &str, options: &DeleteOptions) -> Result<Deleted, Error> {
    block(repository::delete(&cx(), &image(reference), options))
}

fn methods(registry: &Registry) -> Vec<String> {
    let requests = registry.requests().into_iter();
    requests
        .filter(|request| request.path != "/v2/")
        .map(|request| request.method)
        .collect()
}

#[test]
fn no_more_tags_are_asked_for_than_are_wanted() {
    let registry = Registry::start();
    let made = ImageMaker::new().make();
    for number in 0..40 {
        registry.add("image", &format!("v{number:02}"), &made);
    }
    let some = TagOptions {
        limit: Some(3),
        last: Some("v04".to_owned()),
        ..TagOptions::default()
    };
    assert_eq!(tags(&registry, &some).unwrap(), ["v05", "v06", "v07"]);
    assert_eq!(registry.count("GET", "*/tags/list"), 1);
    let query = registry.requests().last().unwrap().query.clone();
    assert!(
        query.contains("n=3") && query.contains("last=v04"),
        "{query}"
    );
    // A registry that gives less than was asked for is asked again.
    registry.tags_per_page(2);
    assert_eq!(tags(&registry, &some).unwrap(), ["v05", "v06", "v07"]);
}

#[test]
fn tags_are_filtered() {
    let registry = Registry::start();
    let made = ImageMaker::new().make();
    for tag in ["1.0", "1.1", "1.1-rc1", "2.0", "latest"] {
        registry.add("image", tag, &made);
    }
    let regex = |pattern| vec![TagFilter::regex(pattern).unwrap()];
    let glob = |pattern| vec![TagFilter::glob(pattern)];
    let table: [(Vec<TagFilter>, Vec<TagFilter>, &[&str]); 4] = [
        (regex("^1[.]"), Vec::new(), &["1.0", "1.1", "1.1-rc1"]),
        (glob("1.?"), Vec::new(), &["1.0", "1.1"]),
        (
            [glob("2*"), regex("late")].concat(),
            Vec::new(),
            &["2.0", "latest"],
        ),
        (Vec::new(), glob("*-rc*"), &["1.0", "1.1", "2.0", "latest"]),
    ];
    for (include, exclude, expected) in table {
        let options = TagOptions {
            include,
            exclude,
            ..TagOptions::default()
        };
        assert_eq!(tags(&registry, &options).unwrap(), expected);
    }
    let limited = TagOptions {
        limit: Some(1),
        exclude: glob("1*"),
        ..TagOptions::default()
    };
    assert_eq!(tags(&registry, &limited).unwrap(), ["2.0"]);
}

#[test]
fn a_digest_costs_one_head() {
    let registry = Registry::start();
    registry.add("image", "latest", &index());
    let ask = |reference: &str, platform: Option<&str>| {
        let options = DigestOptions {
            platform: platform.map(|platform| platform.parse().unwrap()),
            ..DigestOptions::default()
        };
        block(repository::digest(&cx(), &image(reference), &options))
    };
    let reference = registry.reference("image", "latest");
    assert_eq!(ask(&reference, None).unwrap().as_str(), index().digest());
    assert_eq!(methods(&registry), ["HEAD"]);
    registry.forget_requests();
    let other = ask(&reference, Some("linux/s390x")).unwrap();
    assert_eq!(other.as_str(), index().images()[1].digest());
    registry
        .fault(Rule::any("*/manifests/*").fault(Fault::Without("Docker-Content-Digest".into())));
    registry.forget_requests();
    assert_eq!(ask(&reference, None).unwrap().as_str(), index().digest());
    assert_eq!(methods(&registry), ["HEAD", "GET"]);
    registry.heal();
    assert_fails(
        ask(&registry.reference("image", "nope"), None),
        ErrorKind::NotFound,
        &["nope"],
    );
    assert_fails(
        ask(&reference, Some("linux/riscv64")),
        ErrorKind::NotFound,
        &["linux/riscv64", "linux/s390x"],
    );
}

#[test]
fn tagging_moves_one_manifest_and_nothing_else() {
    let registry = Registry::start();
    let content = index();
    registry.add("image", "1.0", &content);
    registry.add("image", "same", &content);
    registry.add("image", "moved", &ImageMaker::new().make());
    let reference = image(&registry.reference("image", "1.0"));
    let new = ["a", "same", "moved"].map(str::to_owned);
    let tagged = block(repository::tag(&cx(), &reference, &new, None)).unwrap();
    let changed: Vec<bool> = tagged.iter().map(|tagged| tagged.changed).collect();
    assert_eq!(changed, [true, false, true]);
    for tag in &new {
        assert_holds(&registry, "image", tag, &content);
    }
    assert_eq!(
        methods(&registry),
        ["GET", "HEAD", "PUT", "HEAD", "HEAD", "PUT"]
    );

    registry.forget_requests();
    let bad = ["fine".to_owned(), "not fine".to_owned()];
    assert_fails(
        block(repository::tag(&cx(), &reference, &bad, None)),
        ErrorKind::InvalidReference,
        &["not fine"],
    );
    assert_eq!(methods(&registry), Vec::<String>::new(), "nothing is begun");
    assert_fails(
        block(repository::tag(&cx(), &image("dir:/nowhere"), &new, None)),
        ErrorKind::Unsupported,
        &["dir:/nowhere"],
    );
    let missing = image(&registry.reference("image", "nope"));
    assert_fails(
        block(repository::tag(&cx(), &missing, &new, None)),
        ErrorKind::NotFound,
        &["nope"],
    );
}

#[test]
fn layouts_and_the_store_are_tagged_too() {
    let dir = tempfile::tempdir().unwrap();
    let made = ImageMaker::sample().make();
    let layout = Layout::create(&dir.path().join("layout"));
    layout.add("1.0", &made);
    let path = layout.path().display();
    let reference = image(&format!("oci:{path}:1.0"));
    let new = ["2.0".to_owned(), "1.0".to_owned()];
    let tagged = block(repository::tag(&cx(), &reference, &new, None)).unwrap();
    assert!(tagged[0].changed && !tagged[1].changed);
    assert_eq!(layout.tag("2.0").as_deref(), Some(made.digest()));
    assert_eq!(layout.tag("1.0").as_deref(), Some(made.digest()));
    let digest = [made.digest().to_owned()];
    assert_fails(
        block(repository::tag(&cx(), &reference, &digest, None)),
        ErrorKind::InvalidReference,
        &[],
    );

    let store = open_store(&dir.path().join("store"));
    let options = libimage::copy::CopyOptions {
        store: Some(Arc::clone(&store)),
        ..libimage::copy::CopyOptions::default()
    };
    copy_with(&cx(), &reference.to_string(), "store:app:1", &options).unwrap();
    let new = ["2".to_owned(), "example.org/other:3".to_owned()];
    let stored = image("store:app:1");
    block(repository::tag(
        &cx(),
        &stored,
        &new,
        Some(Arc::clone(&store)),
    ))
    .unwrap();
    for name in ["app:2", "example.org/other:3", "app:1"] {
        assert_eq!(
            store.find(name).unwrap().raw_manifest(),
            made.manifest.bytes
        );
    }
    let by_id: ImageRef = image(&format!("store:{}", made.digest()));
    assert_fails(
        block(repository::tag(&cx(), &by_id, &new[..1], Some(store))),
        ErrorKind::InvalidReference,
        &["whole name"],
    );
}

#[test]
fn a_tag_goes_alone() {
    let registry = Registry::start();
    let made = ImageMaker::sample().make();
    registry.add("image", "old", &made);
    registry.add("image", "kept", &made);
    let gone = delete(
        &registry.reference("image", "old"),
        &DeleteOptions::default(),
    )
    .unwrap();
    assert_eq!(
        (&*gone.tags, &gone.manifest),
        (&["old".to_owned()][..], &None)
    );
    assert_eq!(registry.tags("image"), ["kept"]);
    assert_holds(&registry, "image", "kept", &made);
    assert_eq!(methods(&registry), ["DELETE"]);
    assert_fails(
        delete(
            &registry.reference("image", "old"),
            &DeleteOptions::default(),
        ),
        ErrorKind::NotFound,
        &["old"],
    );
    assert_holds(&registry, "image", "kept", &made);
}

#[test]
fn a_registry_that_cannot_delete_tags_keeps_the_manifest() {
    // 404 is what the distribution project's registry says without support.
    for status in [400, 405, 404] {
        let registry = Registry::start();
        let made = ImageMaker::sample().make();
        registry.add("image", "old", &made);
        registry.add("image", "kept", &made);
        registry.fault(Rule::method("DELETE", "*/manifests/old").fault(Fault::Status(status)));
        let reference = registry.reference("image", "old");
        assert_fails(
            delete(&reference, &DeleteOptions::default()),
            ErrorKind::Unsupported,
            &["image:old", "without its manifest"],
        );
        assert_eq!(registry.tags("image"), ["kept", "old"], "{status}");
        let manifest = DeleteOptions {
            mode: DeleteMode::Manifest,
            ..DeleteOptions::default()
        };
        assert_fails(
            delete(&reference, &manifest),
            ErrorKind::Conflict,
            &["kept", made.digest()],
        );
        assert_holds(&registry, "image", "kept", &made);
        let force = DeleteOptions {
            force: true,
            ..DeleteOptions::default()
        };
        let gone = delete(&reference, &force).unwrap();
        assert_eq!(gone.manifest.unwrap().as_str(), made.digest());
        assert!(registry.manifest("image", "kept").is_none(), "{status}");
    }
}

#[test]
fn a_manifest_goes_only_if_no_other_tag_points_to_it() {
    let registry = Registry::start();
    let (made, other) = (ImageMaker::sample().make(), ImageMaker::new().make());
    for tag in ["a", "b", "c"] {
        registry.add("image", tag, &made);
    }
    for number in 0..30 {
        registry.add("image", &format!("other{number}"), &other);
    }
    let by_digest = format!("docker://{}/image@{}", registry.host(), made.digest());
    let result = delete(&by_digest, &DeleteOptions::default());
    let text = result.as_ref().unwrap_err().to_string();
    assert!(!text.contains("other1"), "{text}");
    assert_fails(result, ErrorKind::Conflict, &["a, b, c", made.digest()]);
    assert_eq!(registry.count("DELETE", "*"), 0);
    assert_eq!(registry.count("HEAD", "*/manifests/*"), 33);
    registry.forget_requests();
    let force = DeleteOptions {
        force: true,
        ..DeleteOptions::default()
    };
    let gone = delete(&by_digest, &force).unwrap();
    assert_eq!(gone.manifest.unwrap().as_str(), made.digest());
    assert_eq!(methods(&registry), ["DELETE"]);
    assert_fails(delete(&by_digest, &force), ErrorKind::NotFound, &[]);
    // The tag in the reference is no other tag.
    let single = registry.reference("image", "single");
    registry.add(
        "image",
        "single",
        &ImageMaker::new().cmd(&["single"]).make(),
    );
    let manifest = DeleteOptions {
        mode: DeleteMode::Manifest,
        ..DeleteOptions::default()
    };
    assert_eq!(delete(&single, &manifest).unwrap().tags, ["single"]);
    assert!(registry.manifest("image", "single").is_none());
}

#[test]
fn a_registry_that_deletes_nothing_says_so() {
    let registry = Registry::start();
    registry.configure(|settings| settings.refuse_deletes = Some(405));
    let made = ImageMaker::sample().make();
    registry.add("image", "a", &made);
    let by_digest = format!("docker://{}/image:a@{}", registry.host(), made.digest());
    assert_fails(
        delete(&by_digest, &DeleteOptions::default()),
        ErrorKind::Unsupported,
        &["405"],
    );
    assert_holds(&registry, "image", "a", &made);
}

#[test]
fn deleting_in_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let (made, other) = (ImageMaker::sample().make(), ImageMaker::new().make());
    let layout = Layout::create(dir.path());
    layout.add("a", &made).add("b", &made).add("other", &other);
    let path = dir.path().display();
    let by_digest = format!("oci:{path}:@{}", made.digest());
    assert_fails(
        delete(&by_digest, &DeleteOptions::default()),
        ErrorKind::Conflict,
        &["a, b"],
    );
    let gone = delete(&format!("oci:{path}:a"), &DeleteOptions::default()).unwrap();
    assert_eq!(
        (gone.tags, gone.manifest, gone.blobs),
        (vec!["a".to_owned()], None, 0)
    );
    assert_eq!(layout.tag("b").as_deref(), Some(made.digest()));
    let collect = DeleteOptions {
        collect: true,
        ..DeleteOptions::default()
    };
    let gone = delete(&format!("oci:{path}:b"), &collect).unwrap();
    assert_eq!(gone.manifest.unwrap().as_str(), made.digest());
    assert_eq!(gone.blobs, made.blobs().len() as u64 + 1);
    let mut kept: Vec<String> = other
        .blobs()
        .iter()
        .map(|blob| blob.digest.clone())
        .collect();
    kept.push(other.digest().to_owned());
    kept.sort();
    assert_eq!(layout.digests(), kept);
    assert_fails(
        delete(&format!("oci:{path}:b"), &collect),
        ErrorKind::NotFound,
        &["b"],
    );
    // The only image needs no name.
    delete(&format!("oci:{path}"), &collect).unwrap();
    assert!(layout.digests().is_empty());
}

#[test]
fn a_part_of_an_index_cannot_go_alone() {
    let dir = tempfile::tempdir().unwrap();
    Layout::create(dir.path()).add("v", &index());
    let part = index().images()[0].digest().to_owned();
    let reference = format!("oci:{}:@{part}", dir.path().display());
    assert_fails(
        delete(&reference, &DeleteOptions::default()),
        ErrorKind::Unsupported,
        &["part of an index"],
    );
    // Collecting keeps what an index needs.
    let layout = Layout::open(dir.path());
    layout.add_blob(&Blob::new("text/plain", b"nobody's".to_vec()));
    let before = layout.digests().len();
    let opened = libimage::layout::Layout::open(dir.path()).unwrap();
    assert_eq!(opened.collect().unwrap().blobs, 1);
    assert_eq!(layout.digests().len(), before - 1);
}

#[test]
fn deleting_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let made = ImageMaker::sample().make();
    let from = dir.path().join("layout");
    Layout::create(&from).add("v", &made);
    let store = open_store(&dir.path().join("store"));
    let copying = libimage::copy::CopyOptions {
        store: Some(Arc::clone(&store)),
        ..libimage::copy::CopyOptions::default()
    };
    for name in ["store:app:1", "store:app:2"] {
        copy_with(&cx(), &format!("oci:{}:v", from.display()), name, &copying).unwrap();
    }
    let options = DeleteOptions {
        force: true,
        store: Some(Arc::clone(&store)),
        ..DeleteOptions::default()
    };
    let gone = delete("store:app:1", &options).unwrap();
    assert_eq!((gone.tags.len(), gone.manifest), (1, None));
    assert!(store.find("app:2").is_ok(), "force is for manifests");
    let gone = delete("store:app:2", &options).unwrap();
    assert_eq!(gone.manifest.unwrap().as_str(), made.digest());
    assert!(gone.blobs > 0);
    assert_fails(
        delete("store:app:2", &options),
        ErrorKind::NotFound,
        &["app:2"],
    );
    assert_fails(
        delete("store:app:2", &DeleteOptions::default()),
        ErrorKind::Unsupported,
        &["store"],
    );
    assert_fails(
        delete("dir:/x", &DeleteOptions::default()),
        ErrorKind::Unsupported,
        &["dir:/x"],
    );
}

#[test]
fn the_catalog_comes_in_pages() {
    let registry = Registry::start();
    let made = ImageMaker::new().make();
    let names: Vec<String> = (0..12)
        .map(|number| format!("team/app{number:02}"))
        .collect();
    for name in &names {
        registry.add(name, "latest", &made);
    }
    registry.tags_per_page(5);
    let list = |limit, last: Option<&str>| {
        let options = CatalogOptions {
            limit,
            last: last.map(str::to_owned),
        };
        block(repository::catalog(&cx(), &registry.host(), &options))
    };
    assert_eq!(list(None, None).unwrap(), names);
    assert_eq!(list(Some(2), Some("team/app03")).unwrap(), names[4..6]);
    assert_fails(
        block(repository::catalog(
            &cx(),
            "no host",
            &CatalogOptions::default(),
        )),
        ErrorKind::Malformed,
        &["no host"],
    );
}

#[test]
fn single_manifests_come_and_go_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let made = ImageMaker::sample().docker().make();
    registry.add("image", "v", &made);
    let layout = Layout::create(&dir.path().join("layout"));
    layout.add("v", &made);
    let in_layout = format!("oci:{}:v", layout.path().display());
    for reference in [registry.reference("image", "v"), in_layout] {
        let reference = image(&reference);
        let got = block(repository::manifest(
            &cx(),
            &reference,
            &DigestOptions::default(),
        ));
        assert_eq!(got.unwrap().raw(), made.manifest.bytes);
        let head = block(repository::head(&cx(), &reference, None)).unwrap();
        assert_eq!(head.digest.as_str(), made.digest());
        assert_eq!(head.size, Some(made.manifest.bytes.len() as u64));
        assert_eq!(head.media_type.as_deref(), Some(&*made.manifest.media_type));
        let new = match &reference {
            ImageRef::Docker(name) => ImageRef::Docker(name.with_tag("new").unwrap()),
            _ => image(&format!("oci:{}:new", layout.path().display())),
        };
        let manifest = Manifest::parse(made.manifest.bytes.clone(), None).unwrap();
        let put = block(repository::put_manifest(&cx(), &new, &manifest, None)).unwrap();
        assert_eq!(put.as_str(), made.digest());
        let again = block(repository::manifest(&cx(), &new, &DigestOptions::default()));
        assert_eq!(again.unwrap().raw(), made.manifest.bytes);
    }
    let other = Digest::of(b"other");
    let wrong = image(&format!("docker://{}/image@{other}", registry.host()));
    let manifest = Manifest::parse(made.manifest.bytes.clone(), None).unwrap();
    assert_fails(
        block(repository::put_manifest(&cx(), &wrong, &manifest, None)),
        ErrorKind::DigestMismatch,
        &[other.as_str()],
    );
    // What it names has to be there.
    let elsewhere = image(&registry.reference("empty", "v"));
    assert!(block(repository::put_manifest(&cx(), &elsewhere, &manifest, None)).is_err());
}

async fn whole(reference: ImageRef, digest: Digest) -> Result<Vec<u8>, Error> {
    let mut blob = repository::blob(&cx(), &reference, &digest, None).await?;
    let mut content = Vec::new();
    while let Some(piece) = blob.next().await {
        content.extend_from_slice(&piece?);
    }
    assert_eq!(content.len() as u64, blob.size);
    Ok(content)
}

#[test]
fn single_blobs_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let layout = Layout::create(&dir.path().join("layout"));
    let content = trimaran_testkit::image::noise(1_000_000);
    let digest = Digest::of(&content);
    let in_layout = format!("oci:{}:v", layout.path().display());
    for reference in [registry.reference("image", "v"), in_layout] {
        let reference = image(&reference);
        let missing = block(repository::blob_size(&cx(), &reference, &digest, None)).unwrap();
        assert_eq!(missing, None);
        assert_fails(
            block(whole(reference.clone(), digest.clone())),
            ErrorKind::NotFound,
            &[digest.as_str()],
        );
        let other = Digest::of(b"other");
        let reader = std::io::Cursor::new(content.clone());
        let wrong = block(repository::put_blob(
            &cx(),
            &reference,
            reader.clone(),
            Some(&other),
            None,
        ));
        assert_fails(wrong, ErrorKind::DigestMismatch, &[other.as_str()]);
        assert_eq!(registry.open_uploads(), 0);
        let kept = block(repository::blob_size(&cx(), &reference, &digest, None)).unwrap();
        assert_eq!(kept, None, "what was not expected is not kept");
        let put = block(repository::put_blob(
            &cx(),
            &reference,
            reader,
            Some(&digest),
            None,
        ));
        assert_eq!(put.unwrap(), (digest.clone(), content.len() as u64));
        let size = block(repository::blob_size(&cx(), &reference, &digest, None)).unwrap();
        assert_eq!(size, Some(content.len() as u64));
        assert_eq!(block(whole(reference, digest.clone())).unwrap(), content);
    }
    registry.fault(Rule::get("*/blobs/*").fault(Fault::Flip));
    assert_fails(
        block(whole(
            image(&registry.reference("image", "v")),
            digest.clone(),
        )),
        ErrorKind::DigestMismatch,
        &[digest.as_str()],
    );
    assert_fails(
        block(repository::put_blob(
            &cx(),
            &image("dir:/x"),
            &b""[..],
            None,
            None,
        )),
        ErrorKind::Unsupported,
        &["dir:/x"],
    );
}
