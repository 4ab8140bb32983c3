//! What refers to an image comes along, in every convention and between all of them; what that costs in requests.

use std::sync::Arc;

use libimage::{
    ErrorKind,
    copy::{CopyOptions, CopyReport, Referrers, TagLists},
    digest::Digest,
    manifest::Descriptor,
    name::ImageRef,
    transport::Source,
};
use trimaran_testkit::{
    Content, DebianRegistry, Fault, Image, ImageMaker, Index, Packing, Registry, Rule, Tree,
    debian::Options,
    image::{Artifact, Blob},
    skip,
};

use crate::net::{
    Recorder, assert_fails, assert_holds, block, builder, copy, copy_with, cx, image,
};

const SBOM: &str = "application/spdx+json";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

/// Two platforms; an SBOM and a signature of the index, a signature of the SBOM, an SBOM of the first image, and cosign's tag.
struct Signed {
    index: Index,
    sbom: Artifact,
    signature: Artifact,
    of_sbom: Artifact,
    of_image: Artifact,
    cosign: Artifact,
}

fn single(architecture: &str) -> Image {
    let tree = Tree::new().file("platform", 0o644, architecture);
    ImageMaker::sample()
        .platform("linux", architecture, None)
        .layer(&tree, Packing::Gzip)
        .make()
}

impl Signed {
    fn new() -> Self {
        let index = Index::new(vec![single("amd64"), single("s390x")]);
        let sbom = Artifact::of(index.root(), SBOM, b"sbom of the index");
        Self {
            signature: Artifact::of(index.root(), SIGNATURE, b"signature"),
            of_sbom: Artifact::of(sbom.root(), SIGNATURE, b"signature of the sbom"),
            of_image: Artifact::of(index.images()[0].root(), SBOM, b"sbom of amd64"),
            cosign: Artifact::new("application/vnd.oci.image.config.v1+json", b"cosign"),
            sbom,
            index,
        }
    }

    fn artifacts(&self) -> [&Artifact; 4] {
        [&self.sbom, &self.signature, &self.of_sbom, &self.of_image]
    }

    fn cosign_tag(&self) -> String {
        tag_of(self.index.digest()) + ".sig"
    }

    /// Puts all of it into a registry of ours, with or without the endpoint.
    fn add(&self, registry: &Registry, repository: &str, api: bool) {
        registry.configure(|settings| settings.referrers = api);
        registry.add(repository, "v1", &self.index);
        registry.add(repository, &self.cosign_tag(), &self.cosign);
        for artifact in self.artifacts() {
            registry.add_untagged(repository, artifact);
        }
        if !api {
            for subject in [
                self.index.digest(),
                self.sbom.digest(),
                self.index.images()[0].digest(),
            ] {
                let entries = registry.referrers(repository, subject);
                let list = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
                registry.add_manifest(
                    repository,
                    &tag_of(subject),
                    &Blob::new(INDEX, list.to_string().into_bytes()),
                );
            }
        }
    }

    #[track_caller]
    fn assert_in(&self, registry: &Registry, repository: &str, api: bool) {
        assert_holds(registry, repository, "v1", &self.index);
        assert_holds(registry, repository, &self.cosign_tag(), &self.cosign);
        for artifact in self.artifacts() {
            let there = registry.manifest(repository, artifact.digest());
            assert_eq!(there.as_ref(), Some(artifact.root()));
        }
        self.assert_found(&registry.reference(repository, "v1"));
        let lists = registry
            .tags(repository)
            .iter()
            .filter(|tag| tag.len() == 71)
            .count();
        assert_eq!(
            lists,
            if api { 0 } else { 3 },
            "fallback tags are written where they are needed only"
        );
    }

    /// Asserts what is found from the image on.
    #[track_caller]
    fn assert_found(&self, reference: &str) {
        let expected = [
            (
                self.index.digest(),
                vec![(&self.sbom, SBOM), (&self.signature, SIGNATURE)],
            ),
            (self.sbom.digest(), vec![(&self.of_sbom, SIGNATURE)]),
            (
                self.index.images()[0].digest(),
                vec![(&self.of_image, SBOM)],
            ),
            (self.index.images()[1].digest(), Vec::new()),
        ];
        for (subject, artifacts) in expected {
            let mut found: Vec<(String, Option<String>)> = referrers(reference, subject, None)
                .into_iter()
                .inspect(|entry| {
                    assert!(
                        entry
                            .annotations
                            .contains_key("org.opencontainers.image.created")
                    )
                })
                .map(|entry| (entry.digest.to_string(), entry.artifact_type))
                .collect();
            found.sort();
            let mut artifacts: Vec<_> = artifacts
                .into_iter()
                .map(|(artifact, kind)| (artifact.digest().to_owned(), Some(kind.to_owned())))
                .collect();
            artifacts.sort();
            assert_eq!(found, artifacts, "{subject} in {reference}");
        }
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn tag_of(digest: &str) -> String {
    digest.replace(':', "-")
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

fn referrers(reference: &str, subject: &str, kind: Option<&str>) -> Vec<Descriptor> {
    let reference: ImageRef = image(reference);
    block(async {
        let source = Source::open(&cx(), &reference, None).await.unwrap();
        source.referrers(&digest(subject), kind).await.unwrap()
    })
}

fn always(from: &str, to: &str) -> CopyReport {
    let options = CopyOptions {
        referrers: Referrers::Always,
        ..CopyOptions::default()
    };
    copy_with(&cx(), from, to, &options).unwrap()
}

#[test]
fn they_travel_between_registries_with_and_without_the_endpoint() {
    for (from_api, to_api) in [(true, true), (true, false), (false, true), (false, false)] {
        let (from, to) = (Registry::start(), Registry::start());
        let signed = Signed::new();
        signed.add(&from, "a", from_api);
        to.configure(|settings| settings.referrers = to_api);
        let report = copy(&cx(), &from.reference("a", "v1"), &to.reference("b", "v1")).unwrap();
        assert_eq!(report.referrers, 5, "{from_api} {to_api}");
        signed.assert_in(&to, "b", to_api);
        assert_eq!(to.open_uploads(), 0);
        // Nothing is sent again.
        from.forget_requests();
        to.forget_requests();
        let again = always(&from.reference("a", "v1"), &to.reference("b", "v1"));
        assert_eq!((again.referrers, again.unchanged), (0, true));
        assert_eq!(to.count("PUT", "*"), 0);
    }
}

#[test]
fn they_travel_through_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (Registry::start(), Registry::start());
    let signed = Signed::new();
    signed.add(&from, "a", true);
    let layout = format!("oci:{}", dir.path().join("layout").display());
    copy(&cx(), &from.reference("a", "v1"), &format!("{layout}:v1")).unwrap();
    signed.assert_found(&format!("{layout}:v1"));
    // Other tools find them in index.json, by their kind.
    let index = trimaran_testkit::Layout::open(&dir.path().join("layout")).index();
    let entries = index["manifests"].as_array().unwrap();
    let kinds = entries
        .iter()
        .filter(|entry| entry["artifactType"] == SBOM)
        .count();
    assert_eq!(kinds, 2);
    // A layout with one image still needs no tag.
    to.configure(|settings| settings.referrers = false);
    let report = copy(&cx(), &layout, &to.reference("b", "v1")).unwrap();
    assert_eq!(report.referrers, 5);
    signed.assert_in(&to, "b", false);
    assert_eq!(always(&layout, &to.reference("b", "v1")).referrers, 0);
}

#[test]
fn debians_registry_has_no_endpoint_and_keeps_them_in_tags() {
    let Some(debian) = DebianRegistry::start(&Options::default()) else {
        return skip("needs docker-registry");
    };
    let (from, to) = (Registry::start(), Registry::start());
    let signed = Signed::new();
    signed.add(&from, "a", true);
    let there = debian.reference("team/b", "v1");
    let report = copy(&cx(), &from.reference("a", "v1"), &there).unwrap();
    assert_eq!(report.referrers, 5);
    signed.assert_found(&there);
    assert_eq!(always(&from.reference("a", "v1"), &there).referrers, 0);
    copy(&cx(), &there, &to.reference("c", "v1")).unwrap();
    signed.assert_in(&to, "c", true);
}

#[test]
fn an_image_nobody_refers_to_costs_a_request_for_each_manifest_and_one_for_the_tags() {
    let index = Index::new(vec![single("amd64"), single("s390x"), single("riscv64")]);
    let without = CopyOptions {
        referrers: Referrers::Never,
        ..CopyOptions::default()
    };
    for (api, extra) in [(true, 4 + 1), (false, 1 + 1)] {
        let requests = |options: &CopyOptions| {
            let (from, to) = (Registry::start(), Registry::start());
            from.configure(|settings| settings.referrers = api);
            from.add("a", "v1", &index);
            let report = copy_with(
                &cx(),
                &from.reference("a", "v1"),
                &to.reference("b", "v1"),
                options,
            );
            assert_eq!(report.unwrap().referrers, 0);
            (from.requests().len(), to.requests().len())
        };
        let (plain, all) = (requests(&without), requests(&CopyOptions::default()));
        assert_eq!(all.0 - plain.0, extra, "at the source, endpoint: {api}");
        assert_eq!(all.1, plain.1, "the destination is not asked");
    }
}

#[test]
fn a_registry_is_found_out_once_in_a_run() {
    let (from, to) = (Registry::start(), Registry::start());
    from.configure(|settings| settings.referrers = false);
    let cx = cx();
    for tag in ["a", "b", "c"] {
        from.add("a", tag, &ImageMaker::sample().user(tag).make());
        copy(&cx, &from.reference("a", tag), &to.reference("b", tag)).unwrap();
    }
    assert_eq!(from.count("GET", "*/referrers/*"), 1);
}

#[test]
fn copies_of_one_run_share_the_list_of_tags() {
    let (from, to) = (Registry::start(), Registry::start());
    let options = CopyOptions {
        tag_lists: Some(TagLists::default()),
        ..CopyOptions::default()
    };
    for tag in ["a", "b", "c"] {
        from.add("a", tag, &ImageMaker::sample().user(tag).make());
        let (from, to) = (from.reference("a", tag), to.reference("b", tag));
        copy_with(&cx(), &from, &to, &options).unwrap();
    }
    assert_eq!(from.count("GET", "*/tags/list"), 1);
}

#[test]
fn many_tags_are_not_listed_but_asked_for() {
    let (from, to) = (Registry::start(), Registry::start());
    let signed = Signed::new();
    signed.add(&from, "a", true);
    from.tags_per_page(1);
    copy(&cx(), &from.reference("a", "v1"), &to.reference("b", "v1")).unwrap();
    signed.assert_in(&to, "b", true);
    assert_eq!(from.count("GET", "*/tags/list"), 1);
    // The three of the top, and as it is signed, of the two images.
    assert_eq!(from.count("HEAD", "*/manifests/sha256-*"), 9);
}

#[test]
fn lists_have_pages_and_filters() {
    let registry = Registry::start();
    let signed = Signed::new();
    signed.add(&registry, "a", true);
    let subject = signed.index.digest();
    let reference = registry.reference("a", "v1");
    registry.tags_per_page(1);
    assert_eq!(referrers(&reference, subject, None).len(), 2);
    for filters in [true, false] {
        registry.configure(|settings| settings.filters = filters);
        let found = referrers(&reference, subject, Some(SBOM));
        assert_eq!(found.len(), 1, "filtered by the registry: {filters}");
        assert_eq!(found[0].digest.as_str(), signed.sbom.digest());
    }
    assert!(referrers(&reference, subject, Some("text/plain")).is_empty());
}

#[test]
fn never_and_one_platform_leave_them_behind_always_brings_them() {
    let (from, to) = (Registry::start(), Registry::start());
    let signed = Signed::new();
    signed.add(&from, "a", true);
    let run = |tag: &str, referrers, platforms: &[&str]| {
        let recorder = Recorder::new();
        let cx = builder().progress(Arc::clone(&recorder) as _).build();
        let options = CopyOptions {
            referrers,
            platforms: platforms.iter().map(|text| text.parse().unwrap()).collect(),
            ..CopyOptions::default()
        };
        from.forget_requests();
        let report = copy_with(
            &cx,
            &from.reference("a", "v1"),
            &to.reference(tag, "v1"),
            &options,
        )
        .unwrap();
        (
            report.referrers,
            from.count("GET", "*/referrers/*"),
            recorder.count("Warning"),
        )
    };
    assert_eq!(run("never", Referrers::Never, &[]), (0, 0, 0));
    assert_eq!(
        run("one", Referrers::WithImage, &["linux/amd64"]),
        (0, 0, 0)
    );
    // Its own SBOM comes along; what refers to the index (two, and cosign's tag) does not apply.
    let (brought, _, warnings) = run("one-always", Referrers::Always, &["linux/amd64"]);
    assert_eq!((brought, warnings), (1, 1));
}

#[test]
fn what_the_destination_has_is_not_lost() {
    let (from, to) = (Registry::start(), Registry::start());
    let image = single("amd64");
    let (ours, theirs) = (
        Artifact::of(image.root(), SBOM, b"ours"),
        Artifact::of(image.root(), SBOM, b"theirs"),
    );
    from.add("a", "v1", &image);
    from.add_untagged("a", &ours);
    to.configure(|settings| settings.referrers = false);
    to.add("b", "other", &image);
    to.add_untagged("b", &theirs);
    let entries = to.referrers("b", image.digest());
    let mut list = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": {"kept": "yes"}});
    list["manifests"][0]["x-unknown"] = "kept too".into();
    to.add_manifest(
        "b",
        &tag_of(image.digest()),
        &Blob::new(INDEX, list.to_string().into_bytes()),
    );
    // Cosign's tags are different at both ends: somebody has signed there too.
    let cosign = tag_of(image.digest()) + ".sig";
    let signed_here = Artifact::new("application/vnd.oci.image.config.v1+json", b"here");
    from.add("a", &cosign, &signed_here);
    to.add(
        "b",
        &cosign,
        &Artifact::new("application/vnd.oci.image.config.v1+json", b"there"),
    );

    let recorder = Recorder::new();
    let cx = builder().progress(Arc::clone(&recorder) as _).build();
    copy(&cx, &from.reference("a", "v1"), &to.reference("b", "v1")).unwrap();
    assert_eq!(recorder.count("Warning"), 1, "the tag that differs is told");
    assert_ne!(to.manifest("b", &cosign).as_ref(), Some(signed_here.root()));
    let list = to.manifest("b", &tag_of(image.digest())).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.bytes).unwrap();
    assert_eq!(list["annotations"]["kept"], "yes");
    assert_eq!(list["manifests"][0]["x-unknown"], "kept too");
    assert_eq!(list["manifests"][1]["digest"], ours.digest());
    assert_eq!(list["manifests"][1]["artifactType"], SBOM);
}

#[test]
fn a_list_that_is_overwritten_meanwhile_is_written_again() {
    let (from, to) = (Registry::start(), Registry::start());
    let image = single("amd64");
    from.add("a", "v1", &image);
    let sbom = Artifact::of(image.root(), SBOM, b"sbom");
    from.add_untagged("a", &sbom);
    to.configure(|settings| settings.referrers = false);
    // What is found after the first writing is another list than the one written.
    let tag = tag_of(image.digest());
    let another = Digest::of(b"another list").to_string();
    let overwritten = Fault::Header("Docker-Content-Digest".to_owned(), another);
    to.fault(
        Rule::method("HEAD", &format!("*/manifests/{tag}"))
            .nth(1)
            .fault(overwritten),
    );
    copy(&cx(), &from.reference("a", "v1"), &to.reference("b", "v1")).unwrap();
    assert_eq!(
        to.count("GET", &format!("*/manifests/{tag}")),
        3,
        "the look at what is there, and one for each writing"
    );
    assert_eq!(
        referrers(&to.reference("b", "v1"), image.digest(), None).len(),
        1
    );
}

#[test]
fn lists_that_lie_do_no_harm() {
    let (from, to) = (Registry::start(), Registry::start());
    from.configure(|settings| settings.referrers = false);
    let image = single("amd64");
    let good = Artifact::of(image.root(), SBOM, b"good");
    let stranger = Artifact::of(single("s390x").root(), SBOM, b"of another image");
    let missing = Artifact::of(image.root(), SBOM, b"missing");
    from.add("a", "v1", &image);
    from.add_untagged("a", &good);
    from.add_untagged("a", &stranger);
    let entries: Vec<_> = [&good, &stranger, &missing]
        .map(|artifact| artifact.root().descriptor())
        .into();
    let list = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    from.add_manifest(
        "a",
        &tag_of(image.digest()),
        &Blob::new(INDEX, list.to_string().into_bytes()),
    );
    let recorder = Recorder::new();
    let cx = builder().progress(Arc::clone(&recorder) as _).build();
    let report = copy(&cx, &from.reference("a", "v1"), &to.reference("b", "v1")).unwrap();
    assert_eq!((report.referrers, recorder.count("Warning")), (1, 2));
    assert_eq!(to.referrers("b", image.digest()).len(), 1);
    assert!(to.manifest("b", stranger.digest()).is_none());
}

#[test]
fn answers_that_are_no_lists() {
    let image = single("amd64");
    // Old registries refuse the address in their own ways.
    let absent = [400, 401, 403, 404, 405, 501].map(Fault::Status);
    for fault in absent {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("a", "v1", &image);
        from.fault(Rule::get("*/referrers/*").fault(fault.clone()));
        copy(&cx(), &from.reference("a", "v1"), &to.reference("b", "v1"))
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }
    let (from, to) = (Registry::start(), Registry::start());
    from.add("a", "v1", &image);
    from.fault(Rule::get("*/referrers/*").fault(Fault::Replace(b"<html>welcome".to_vec())));
    let nonsense = copy(&cx(), &from.reference("a", "v1"), &to.reference("b", "v1"));
    assert_fails(nonsense, ErrorKind::Malformed, &["referrers", "no index"]);
    assert!(to.manifest("b", "v1").is_none(), "the name comes last");
}

#[test]
fn a_sparse_index_brings_what_refers_to_what_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", dir.path().join("layout").display());
    let from = Registry::start();
    let signed = Signed::new();
    signed.add(&from, "a", true);
    let of_other = Artifact::of(signed.index.images()[1].root(), SBOM, b"sbom of s390x");
    from.add_untagged("a", &of_other);
    let options = CopyOptions {
        platforms: vec![
            "linux/amd64".parse().unwrap(),
            "linux/amd64".parse().unwrap(),
        ],
        sparse: true,
        ..CopyOptions::default()
    };
    let report = copy_with(&cx(), &from.reference("a", "v1"), &layout, &options);
    // Two of the index, one of one of them, one of the image, and cosign's tag.
    assert_eq!(report.unwrap().referrers, 5);
    let layout = trimaran_testkit::Layout::open(&dir.path().join("layout"));
    assert!(layout.blob(of_other.digest()).is_none());
}

#[test]
fn a_conversion_leaves_them_behind_and_says_so() {
    let (from, to) = (Registry::start(), Registry::start());
    let image = ImageMaker::sample().docker().make();
    from.add("a", "v1", &image);
    from.add_untagged("a", &Artifact::of(image.root(), SBOM, b"sbom"));
    let recorder = Recorder::new();
    let cx = builder().progress(Arc::clone(&recorder) as _).build();
    let options = CopyOptions {
        format: Some(libimage::copy::Format::Oci),
        ..CopyOptions::default()
    };
    let report = copy_with(
        &cx,
        &from.reference("a", "v1"),
        &to.reference("b", "v1"),
        &options,
    );
    assert_eq!(report.unwrap().referrers, 0);
    assert_eq!(recorder.count("Warning { message: \"1 referrers"), 1);
}

#[test]
fn they_travel_through_an_archive_and_not_through_every_one() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (Registry::start(), Registry::start());
    let signed = Signed::new();
    signed.add(&from, "a", true);
    let archive = format!(
        "oci-archive:{}:v1",
        dir.path().join("archive.tar").display()
    );
    let report = copy(&cx(), &from.reference("a", "v1"), &archive).unwrap();
    assert_eq!(report.referrers, 5);
    let report = copy(&cx(), &archive, &to.reference("b", "v1")).unwrap();
    assert_eq!(report.referrers, 5);
    signed.assert_in(&to, "b", true);

    let image = single("amd64");
    from.add("single", "v1", &image);
    from.add_untagged("single", &Artifact::of(image.root(), SBOM, b"sbom"));
    for place in ["dir:", "docker-archive:"] {
        let recorder = Recorder::new();
        let cx = builder().progress(Arc::clone(&recorder) as _).build();
        let place = format!("{place}{}", dir.path().join(place).display());
        copy(&cx, &from.reference("single", "v1"), &place).unwrap();
        assert_eq!(
            recorder.count("Warning { message: \"1 referrers"),
            1,
            "{place}"
        );
    }
}

#[test]
fn an_artifact_copied_by_itself_is_entered_in_the_list() {
    let (from, to) = (Registry::start(), Registry::start());
    to.configure(|settings| settings.referrers = false);
    let subject = single("amd64");
    let sbom = Artifact::of(subject.root(), SBOM, b"sbom");
    from.add("a", "sbom", &sbom);
    copy(
        &cx(),
        &from.reference("a", "sbom"),
        &to.reference("b", "sbom"),
    )
    .unwrap();
    let found = referrers(&to.reference("b", "sbom"), subject.digest(), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].artifact_type.as_deref(), Some(SBOM));
}
