//! Registry to registry: what is transferred, what is asked, what is left alone.

use libimage::{ErrorKind, copy::CopyOptions, copy::InspectOptions, platform::Platform};
use trimaran_testkit::{
    Content, Fault, Image, ImageMaker, Index, Packing, Registry, Rule, Tree, image::noise,
};

use crate::net::{
    Recorder, assert_fails, assert_holds, block, builder, copy, copy_with, cx, image,
};

fn for_platform(architecture: &str, variant: Option<&str>) -> Image {
    let tree = Tree::new().file("etc/machine", 0o644, format!("{architecture}{variant:?}"));
    ImageMaker::new()
        .layer(&tree, Packing::Gzip)
        .platform("linux", architecture, variant)
        .make()
}

fn several_platforms() -> Index {
    let images = vec![
        for_platform("amd64", None),
        for_platform("arm", Some("v6")),
        for_platform("arm", Some("v7")),
        for_platform("arm64", Some("v8")),
    ];
    Index::new(images)
}

#[test]
fn images_of_all_kinds_arrive_byte_for_byte() {
    let plain = ImageMaker::sample().make();
    let docker = ImageMaker::sample().docker().make();
    let list = Index::docker(vec![
        ImageMaker::sample().docker().make(),
        for_platform("arm64", None),
    ]);
    let empty = ImageMaker::new().make();
    let cases: [(&str, &dyn Content); 5] = [
        ("plain", &plain),
        ("docker", &docker),
        ("index", &several_platforms()),
        ("list", &list),
        ("empty", &empty),
    ];
    for (tag, content) in cases {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("a/image", tag, content);
        let report = copy(
            &cx(),
            &from.reference("a/image", tag),
            &to.reference("b/image", tag),
        )
        .unwrap();
        assert_holds(&to, "b/image", tag, content);
        assert_eq!(report.digest.as_str(), content.digest(), "{tag}");
        assert_eq!(report.source_digest, report.digest);
        assert_eq!(report.manifests as usize, content.manifests().len() + 1);
        assert_eq!(to.open_uploads(), 0);
    }
}

#[test]
fn attestations_travel_with_their_index() {
    let attestation = ImageMaker::new()
        .tar_layer(b"{}", Packing::Plain)
        .platform("unknown", "unknown", None)
        .make();
    let index = Index::new(vec![for_platform("amd64", None), attestation]);
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &index);
    copy(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &index);
}

#[test]
fn a_copy_of_what_is_there_costs_two_heads() {
    let (from, to) = (Registry::start(), Registry::start());
    for registry in [&from, &to] {
        registry.add("image", "latest", &several_platforms());
    }
    let report = copy(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert!(report.unchanged);
    assert_eq!(report.requests, 2);
    for registry in [&from, &to] {
        assert_eq!(registry.requests().len(), 1, "{:?}", registry.requests());
        assert_eq!(registry.count("HEAD", "/v2/image/manifests/latest"), 1);
    }
}

#[test]
fn an_uploaded_blob_costs_one_head_and_two_requests() {
    let made = ImageMaker::sample().make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    let report = copy(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    let blobs = made.blobs().len();
    assert_eq!(report.copied as usize, blobs);
    assert_eq!(
        report.bytes as usize,
        made.blobs()
            .iter()
            .map(|blob| blob.bytes.len())
            .sum::<usize>()
    );
    for (method, pattern, count) in [
        ("HEAD", "*/blobs/*", blobs),
        ("POST", "*/uploads/", blobs),
        ("PUT", "*/uploads/*", blobs),
        ("HEAD", "*/manifests/*", 1),
        ("PUT", "*/manifests/*", 1),
    ] {
        assert_eq!(
            to.count(method, pattern),
            count,
            "{method} {pattern}: {:?}",
            to.requests()
        );
    }
    assert_eq!(to.requests().len(), 3 * blobs + 2);
    assert_eq!(
        from.requests().len(),
        2 + blobs + 2,
        "HEAD and GET of the manifest, GET of each blob, its referrers and the list of tags: {:?}",
        from.requests()
    );
    assert_eq!(
        report.requests as usize,
        from.requests().len() + to.requests().len()
    );
}

#[test]
fn blobs_that_are_there_are_not_sent_again() {
    let (old, new) = (
        ImageMaker::sample().make(),
        ImageMaker::sample().env(&["NEW=1"]).make(),
    );
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &new);
    to.add("image", "latest", &old);
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    let report = copy(
        &cx,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &new);
    assert_eq!(
        (report.copied, report.skipped),
        (1, 3),
        "only the configuration is new"
    );
    assert_eq!(recorder.count("Skipped"), 3);
    assert_eq!(recorder.count("Done"), 1);
}

#[test]
fn an_index_brings_only_the_children_that_are_missing() {
    let old = several_platforms();
    let new = Index::new(
        old.images()
            .iter()
            .cloned()
            .chain([for_platform("riscv64", None)])
            .collect(),
    );
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &new);
    to.add("image", "latest", &old);
    copy(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &new);
    assert_eq!(
        from.count("GET", "*/manifests/*"),
        2,
        "the index and the new child"
    );
    assert_eq!(from.count("GET", "*/blobs/*"), 2);
}

#[test]
fn one_registry_mounts_between_its_repositories() {
    let made = ImageMaker::sample().make();
    let registry = Registry::start();
    registry.add("team/a", "latest", &made);
    let report = copy(
        &cx(),
        &registry.reference("team/a", "latest"),
        &registry.reference("team/b", "latest"),
    )
    .unwrap();
    assert_holds(&registry, "team/b", "latest", &made);
    assert_eq!((report.mounted, report.copied), (4, 0));
    assert_eq!(
        registry.count("*", "*/blobs/sha256*"),
        0,
        "no blob is read or looked for"
    );
    assert_eq!(registry.count("POST", "*/uploads/"), 4);
}

#[test]
fn a_mount_that_becomes_an_upload_goes_to_the_place_named() {
    let made = ImageMaker::sample().make();
    let registry = Registry::start();
    registry.add("a", "latest", &made);
    registry.fault(Rule::method("POST", "*/uploads/").fault(Fault::MountRefused));
    let report = copy(
        &cx(),
        &registry.reference("a", "latest"),
        &registry.reference("b", "latest"),
    )
    .unwrap();
    assert_holds(&registry, "b", "latest", &made);
    assert_eq!((report.mounted, report.copied), (0, 4));
    assert_eq!(
        registry.count("POST", "*/uploads/"),
        4,
        "the answer to the mount is used"
    );
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn another_tag_of_one_repository_is_only_a_manifest() {
    let registry = Registry::start();
    registry.add("a", "one", &several_platforms());
    copy(
        &cx(),
        &registry.reference("a", "one"),
        &registry.reference("a", "two"),
    )
    .unwrap();
    assert_holds(&registry, "a", "two", &several_platforms());
    assert_eq!(registry.count("*", "*/blobs/*"), 0);
}

#[test]
fn one_platform_is_that_manifest_alone() {
    let index = several_platforms();
    // What is asked for, and which entry of the index it means.
    for (platform, entry) in [
        ("linux/amd64", 0),
        ("linux/arm/v6", 1),
        ("linux/arm/v7", 2),
        ("linux/arm", 2),
        ("linux/arm/v8", 2),
        ("linux/arm64", 3),
    ] {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("image", "latest", &index);
        let options = CopyOptions {
            platforms: vec![platform.parse().unwrap()],
            ..CopyOptions::default()
        };
        let report = copy_with(
            &cx(),
            &from.reference("image", "latest"),
            &to.reference("image", "latest"),
            &options,
        )
        .unwrap();
        assert_eq!(
            report.digest.as_str(),
            index.images()[entry].digest(),
            "{platform}"
        );
        assert_eq!(report.source_digest.as_str(), index.digest());
        assert_holds(&to, "image", "latest", &index.images()[entry]);
    }
}

#[test]
fn several_platforms_are_a_smaller_index() {
    let index = several_platforms();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &index);
    let platforms = ["linux/amd64", "linux/arm64"]
        .map(|platform| platform.parse().unwrap())
        .to_vec();
    let options = CopyOptions {
        platforms,
        ..CopyOptions::default()
    };
    let report = copy_with(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
        &options,
    )
    .unwrap();
    assert_ne!(report.digest, report.source_digest);
    let written = to.manifest("image", "latest").unwrap();
    assert_eq!(written.digest, report.digest.as_str());
    let written: serde_json::Value = serde_json::from_slice(&written.bytes).unwrap();
    let entries: Vec<&str> = written["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    assert_eq!(
        entries,
        [index.images()[0].digest(), index.images()[3].digest()]
    );
    assert!(
        to.manifest("image", index.images()[1].digest()).is_none(),
        "other platforms stay behind"
    );
}

#[test]
fn a_missing_platform_names_those_there_are() {
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &several_platforms());
    from.add("single", "latest", &for_platform("amd64", None));
    for (repository, words) in [
        ("image", ["linux/s390x", "linux/arm/v7"]),
        ("single", ["linux/s390x", "linux/amd64"]),
    ] {
        let options = CopyOptions {
            platforms: vec!["linux/s390x".parse().unwrap()],
            ..CopyOptions::default()
        };
        let result = copy_with(
            &cx(),
            &from.reference(repository, "latest"),
            &to.reference("image", "latest"),
            &options,
        );
        assert_fails(result, ErrorKind::NotFound, &words);
    }
    assert_eq!(to.count("POST", "*"), 0);
}

#[test]
fn a_destination_digest_must_be_the_images() {
    let made = ImageMaker::sample().make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    let by_digest = |digest: &str| format!("docker://{}/image@{digest}", to.host());
    let other = ImageMaker::new().make();
    assert_fails(
        copy(
            &cx(),
            &from.reference("image", "latest"),
            &by_digest(other.digest()),
        ),
        ErrorKind::DigestMismatch,
        &[other.digest(), made.digest()],
    );
    copy(
        &cx(),
        &from.reference("image", "latest"),
        &by_digest(made.digest()),
    )
    .unwrap();
    assert!(to.manifest("image", made.digest()).is_some());
}

#[test]
fn inspecting_reads_no_layer() {
    let index = several_platforms();
    let registry = Registry::start();
    registry.add("image", "latest", &index);
    let options = InspectOptions {
        platform: Some("linux/arm/v7".parse().unwrap()),
        ..InspectOptions::default()
    };
    let found = block(libimage::copy::inspect(
        &cx(),
        &image(&registry.reference("image", "latest")),
        &options,
    ))
    .unwrap();
    assert_eq!(found.raw, index.root().bytes);
    assert_eq!(found.entries.len(), 4);
    let described = found.image.unwrap();
    assert_eq!(described.raw_config, index.images()[2].config.bytes);
    assert_eq!(
        described.platform,
        "linux/arm/v7".parse::<Platform>().unwrap()
    );
    assert_eq!(registry.count("GET", "*/blobs/*"), 1, "the configuration");
}

#[test]
fn large_blobs_stream_through() {
    let made = ImageMaker::new()
        .tar_layer(&noise(20 << 20), Packing::Plain)
        .tar_layer(&noise(3 << 20), Packing::Plain)
        .make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    copy(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &made);
}
