//! Policies are enforced before anything is fetched, and signatures are looked for where they may be.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libimage::{
    Error, ErrorKind,
    config::{Policy, RegistriesD, SignedIdentity},
    context::{Context, Side},
    copy::{CopyOptions, CopyReport},
    trust::{PrivateKey, PublicKey},
};
use serde_json::{Value, json};
use trimaran_testkit::{Content, ImageMaker, Index, Registry, image::Blob, skip};

use crate::{
    net::{assert_fails, assert_holds, block, copy, copy_with, cx, image, patience},
    trust::{by_pem, by_ring, fixture},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

fn context(policy: Policy) -> Context {
    Context::builder(policy)
        .tls_verify(Side::Source, false)
        .tls_verify(Side::Destination, false)
        .patience(patience())
        .build()
}

fn key() -> PrivateKey {
    PrivateKey::parse(&fixture("ed25519.key"), None).unwrap()
}

/// Wants a signature by [`key`].
fn wanted(identity: SignedIdentity) -> Context {
    context(by_pem(key().public().to_pem(), identity))
}

fn payload(name: &str, digest: &str) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
    .into_bytes()
}

fn sig_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// A signature manifest as cosign makes it; the signatures are good.
fn attachment(registry: &Registry, repository: &str, payloads: &[Vec<u8>], more: Value) -> Blob {
    let config = Blob::new(CONFIG, b"{}".to_vec());
    registry.add_blob(repository, &config);
    let layers: Vec<Value> = payloads
        .iter()
        .map(|payload| {
            let blob = Blob::new(PAYLOAD, payload.clone());
            registry.add_blob(repository, &blob);
            let mut layer = blob.descriptor();
            let signature = STANDARD.encode(key().sign(payload).unwrap());
            layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
            layer
        })
        .collect();
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers});
    for (key, value) in more.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    Blob::new(MANIFEST, manifest.to_string().into_bytes())
}

/// Attaches signatures with these payloads to a digest.
fn attach(registry: &Registry, repository: &str, digest: &str, payloads: &[Vec<u8>]) {
    let manifest = attachment(registry, repository, payloads, json!({}));
    registry.add_manifest(repository, &sig_tag(digest), &manifest);
}

/// Signs what a tag has, with the name it has.
fn sign(registry: &Registry, repository: &str, tag: &str, digest: &str) {
    let name = format!("{}/{repository}:{tag}", registry.host());
    attach(registry, repository, digest, &[payload(&name, digest)]);
}

/// Tells whether anything was asked about a digest's blob.
fn asked(registry: &Registry, digest: &str) -> bool {
    let end = format!("/blobs/{digest}");
    let requests = registry.requests();
    requests.iter().any(|request| request.path.ends_with(&end))
}

/// Asserts that a copy is refused, that not a byte of the image was fetched, and that nothing was even asked of the destination.
#[track_caller]
fn assert_refused(
    cx: &Context,
    source: &Registry,
    content: &dyn Content,
    options: &CopyOptions,
    words: &[&str],
) {
    let target = Registry::start();
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    for to in [
        target.reference("copy", "v1"),
        format!("oci:{}:v1", layout.display()),
    ] {
        source.forget_requests();
        assert_fails(
            copy_with(cx, &source.reference("app", "v1"), &to, options),
            ErrorKind::Denied,
            words,
        );
        for blob in content.blobs() {
            assert!(!asked(source, &blob.digest), "{to}");
        }
    }
    assert!(target.requests().is_empty() && target.tls_probes() == 0);
    assert!(!layout.exists());
}

#[test]
fn a_rejected_image_is_not_asked_for_at_all() {
    let source = Registry::start();
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    let text = format!(
        r#"{{"default": [{{"type": "insecureAcceptAnything"}}], "transports": {{"docker": {{"{}/app": [{{"type": "reject"}}]}}}}}}"#,
        source.host()
    );
    let cx = context(Policy::parse(&text).unwrap());
    assert_refused(
        &cx,
        &source,
        &content,
        &CopyOptions::default(),
        &["rejects"],
    );
    assert!(source.requests().is_empty());
}

#[test]
fn an_image_without_a_good_signature_is_not_fetched() {
    let content = ImageMaker::sample().make();
    let digest = content.digest();
    let name = |registry: &Registry| format!("{}/app:v1", registry.host());
    type Prepare<'a> = &'a dyn Fn(&Registry);
    let cases: [(&str, Prepare<'_>, &str); 8] = [
        ("no signature", &|_| {}, "no signature was found"),
        (
            "for another digest",
            &|registry| {
                let other = format!("sha256:{}", "0".repeat(64));
                attach(registry, "app", digest, &[payload(&name(registry), &other)]);
            },
            "it is for the digest",
        ),
        (
            "for another name",
            &|registry| {
                attach(
                    registry,
                    "app",
                    digest,
                    &[payload(&format!("{}/app:v2", registry.host()), digest)],
                );
            },
            "it is for 127",
        ),
        (
            "a payload that is missing",
            &|registry| {
                let manifest = attachment(
                    &Registry::start(),
                    "app",
                    &[payload(&name(registry), digest)],
                    json!({}),
                );
                registry.add_manifest("app", &sig_tag(digest), &manifest);
            },
            "cannot be read",
        ),
        (
            "a payload whose bytes are others",
            &|registry| {
                attach(registry, "app", digest, &[payload(&name(registry), digest)]);
                let mut wrong = Blob::new(PAYLOAD, payload(&name(registry), digest));
                wrong.bytes.reverse();
                registry.add_blob("app", &wrong);
            },
            "cannot be read",
        ),
        (
            "an index where signatures are",
            &|registry| {
                registry.add(
                    "app",
                    &sig_tag(digest),
                    &Index::new(vec![ImageMaker::sample().make()]),
                );
            },
            "an index",
        ),
        (
            "an image where signatures are",
            &|registry| {
                registry.add("app", &sig_tag(digest), &ImageMaker::sample().make());
            },
            "no signature was found",
        ),
        (
            "a signature of another key",
            &|registry| {
                let good = payload(&name(registry), digest);
                let text = attachment(registry, "app", &[good], json!({}));
                let mut manifest: Value = serde_json::from_slice(&text.bytes).unwrap();
                manifest["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"] =
                    json!(STANDARD.encode([7; 64]));
                let text = Blob::new(MANIFEST, manifest.to_string().into_bytes());
                registry.add_manifest("app", &sig_tag(digest), &text);
            },
            "another key",
        ),
    ];
    for (what, prepare, why) in cases {
        let source = Registry::start();
        source.add("app", "v1", &content);
        prepare(&source);
        let cx = wanted(SignedIdentity::MatchRepoDigestOrExact);
        eprintln!("{what}");
        assert_refused(&cx, &source, &content, &CopyOptions::default(), &[why]);
    }
}

#[test]
fn a_signed_image_is_copied_at_the_price_of_its_signature() {
    let (source, target) = (Registry::start(), Registry::start());
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    sign(&source, "app", "v1", content.digest());
    let cx = wanted(SignedIdentity::MatchRepoDigestOrExact);
    let (from, to) = (source.reference("app", "v1"), target.reference("app", "v1"));
    let report = copy(&cx, &from, &to).unwrap();
    assert_eq!(report.referrers, 1, "the signature comes along");
    assert_holds(&target, "app", "v1", &content);
    // The tag is resolved once: what was verified is what was copied, whoever moves the tag.
    assert_eq!(source.count("GET", "*/manifests/v1"), 1);
    assert_eq!(source.count("HEAD", "*/manifests/v1"), 0);
    // The copy is signed for its old name.
    let by_old_name = wanted(SignedIdentity::ExactReference(
        from.strip_prefix("docker://").unwrap().parse().unwrap(),
    ));
    let third = Registry::start();
    copy(&by_old_name, &to, &third.reference("app", "v1")).unwrap();
    assert_refused(
        &cx,
        &target,
        &content,
        &CopyOptions::default(),
        &["it is for"],
    );
    // What is there already is checked too, at the price of three requests.
    source.forget_requests();
    let again = copy(&cx, &from, &to).unwrap();
    assert!(again.unchanged);
    assert_eq!(source.requests().len(), 3);
    source.add("app", "v1", &ImageMaker::new().make());
    assert_fails(
        copy(&cx, &from, &to),
        ErrorKind::Denied,
        &["no signature was found"],
    );
}

#[test]
fn a_digest_only_needs_its_repository() {
    let source = Registry::start();
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    sign(&source, "app", "v9", content.digest());
    let cx = wanted(SignedIdentity::MatchRepoDigestOrExact);
    let by_digest = format!("docker://{}/app@{}", source.host(), content.digest());
    copy(&cx, &by_digest, &Registry::start().reference("app", "v1")).unwrap();
    assert_refused(
        &cx,
        &source,
        &content,
        &CopyOptions::default(),
        &["it is for"],
    );
}

#[test]
fn an_index_is_covered_by_its_own_signature_or_by_those_of_what_is_chosen() {
    let arm = ImageMaker::sample().platform("linux", "arm64", None).make();
    let amd = ImageMaker::sample().platform("linux", "amd64", None).make();
    let ppc = ImageMaker::sample()
        .platform("linux", "ppc64le", None)
        .make();
    let index = Index::new(vec![amd.clone(), arm.clone(), ppc.clone()]);
    let cx = wanted(SignedIdentity::MatchRepoDigestOrExact);
    let options = |platforms: &[&str], sparse| CopyOptions {
        platforms: platforms.iter().map(|text| text.parse().unwrap()).collect(),
        sparse,
        ..CopyOptions::default()
    };
    let tried = |signed: &[&str], platforms: &[&str], sparse| -> Result<CopyReport, Error> {
        let source = Registry::start();
        source.add("app", "v1", &index);
        signed
            .iter()
            .for_each(|digest| sign(&source, "app", "v1", digest));
        let to = Registry::start();
        copy_with(
            &cx,
            &source.reference("app", "v1"),
            &to.reference("app", "v1"),
            &options(platforms, sparse),
        )
    };
    let (of_index, of_arm, of_amd) = (index.digest(), arm.digest(), amd.digest());
    for platforms in [&[][..], &["linux/arm64"], &["linux/arm64", "linux/amd64"]] {
        tried(&[of_index], platforms, false).unwrap();
    }
    assert_eq!(
        tried(&[of_arm], &["linux/arm64"], false)
            .unwrap()
            .digest
            .as_str(),
        of_arm
    );
    tried(&[of_arm, of_amd], &["linux/arm64", "linux/amd64"], false).unwrap();
    for (signed, platforms, sparse) in [
        (&[of_arm][..], &["linux/amd64"][..], false),
        (&[of_arm], &["linux/arm64", "linux/amd64"], false),
        (&[of_arm, of_amd], &[], false),
        (&[of_arm, of_amd], &["linux/arm64", "linux/amd64"], true),
        (&[], &["linux/arm64"], false),
    ] {
        assert_fails(
            tried(signed, platforms, sparse),
            ErrorKind::Denied,
            &["no signature was found"],
        );
    }
    let source = Registry::start();
    source.add("app", "v1", &index);
    sign(&source, "app", "v1", of_arm);
    assert_refused(
        &cx,
        &source,
        &index,
        &options(&["linux/amd64"], false),
        &[of_amd],
    );
}

#[test]
fn a_pull_checks_as_a_copy_does() {
    use libimage::{
        pull::{PullOptions, pull},
        store::{IdMode, Store, StoreOptions},
    };
    let source = Registry::start();
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        ids: IdMode::Single,
        privileged: false,
    };
    let store = std::sync::Arc::new(Store::open(directory.path(), &options).unwrap());
    let cx = wanted(SignedIdentity::MatchRepoDigestOrExact);
    let options = PullOptions {
        unpack: false,
        ..PullOptions::default()
    };
    let from = image(&source.reference("app", "v1"));
    let pulled = || block(pull(&cx, &from, std::sync::Arc::clone(&store), &options));
    assert_fails(pulled(), ErrorKind::Denied, &["no signature was found"]);
    assert_eq!(source.count("GET", "*/blobs/*"), 0);
    sign(&source, "app", "v1", content.digest());
    pulled().unwrap();
}

#[test]
fn limits_hold() {
    let source = Registry::start();
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    let cx = wanted(SignedIdentity::Any);
    let to = Registry::start();
    let tried = || {
        copy(
            &cx,
            &source.reference("app", "v1"),
            &to.reference("app", "v1"),
        )
    };
    let many: Vec<Vec<u8>> = (0..65)
        .map(|number| format!("payload {number}").into_bytes())
        .collect();
    attach(&source, "app", content.digest(), &many);
    source.forget_requests();
    assert_fails(tried(), ErrorKind::LimitExceeded, &["at most 64"]);
    assert_eq!(
        source.count("GET", "*/blobs/*"),
        0,
        "it is said before they are fetched"
    );
    // One that is too large is no signature, and is not fetched.
    attach(&source, "app", content.digest(), &[vec![b' '; 200 << 10]]);
    source.forget_requests();
    assert_fails(tried(), ErrorKind::Denied, &["no signature was found"]);
    assert_eq!(source.count("GET", "*/blobs/*"), 0);
    assert!(to.requests().is_empty());
}

#[test]
fn signatures_that_refer_to_the_image_are_found() {
    for endpoint in [true, false] {
        let source = Registry::start();
        source.configure(|settings| settings.referrers = endpoint);
        let content = ImageMaker::sample().make();
        source.add("app", "v1", &content);
        let name = format!("{}/app:v1", source.host());
        let subject = content.root().descriptor();
        let more = json!({"subject": subject, "artifactType": ARTIFACT});
        let artifact = attachment(&source, "app", &[payload(&name, content.digest())], more);
        source.add_manifest("app", &artifact.digest.replace(':', "-"), &artifact);
        if !endpoint {
            let mut entry = artifact.descriptor();
            entry["artifactType"] = json!(ARTIFACT);
            let list = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]});
            let list = Blob::new(
                "application/vnd.oci.image.index.v1+json",
                list.to_string().into_bytes(),
            );
            source.add_manifest("app", &content.digest().replace(':', "-"), &list);
        }
        let cx = wanted(SignedIdentity::MatchRepoDigestOrExact);
        let to = Registry::start();
        copy(
            &cx,
            &source.reference("app", "v1"),
            &to.reference("app", "v1"),
        )
        .unwrap();
    }
}

#[test]
fn registries_d_can_forbid_attachments() {
    let source = Registry::start();
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    sign(&source, "app", "v1", content.digest());
    let files = |attachments: bool| {
        let text = format!(
            "docker:\n  {}:\n    use-sigstore-attachments: {attachments}\n",
            source.host()
        );
        RegistriesD::parse([("x.yaml", text)]).unwrap()
    };
    let policy =
        |files| by_pem(key().public().to_pem(), SignedIdentity::Any).with_registries_d(files);
    let to = Registry::start();
    copy(
        &context(policy(files(true))),
        &source.reference("app", "v1"),
        &to.reference("app", "v1"),
    )
    .unwrap();
    let forbidden = context(policy(files(false)));
    assert_refused(
        &forbidden,
        &source,
        &content,
        &CopyOptions::default(),
        &["use-sigstore-attachments: false"],
    );
}

/// An image whose manifest the simple signing fixtures are for.
struct Fixed(Blob, Blob);

impl Content for Fixed {
    fn root(&self) -> &Blob {
        &self.0
    }

    fn manifests(&self) -> Vec<&Blob> {
        Vec::new()
    }

    fn blobs(&self) -> Vec<&Blob> {
        vec![&self.1]
    }
}

fn fixed() -> Fixed {
    Fixed(
        Blob::new(MANIFEST, fixture("manifest.json")),
        Blob::new(CONFIG, b"{}".to_vec()),
    )
}

fn lookaside(source: &Registry, base: &str) -> Option<Context> {
    let identity = SignedIdentity::ExactReference("registry.test/app:v1".parse().unwrap());
    let text = format!("docker:\n  {}:\n    lookaside: {base}\n", source.host());
    let files = RegistriesD::parse([("x.yaml", text)]).unwrap();
    Some(context(
        by_ring("ring.asc", identity)?.with_registries_d(files),
    ))
}

#[test]
fn simple_signatures_are_found_in_a_directory() {
    let source = Registry::start();
    source.add("app", "v1", &fixed());
    let directory = tempfile::tempdir().unwrap();
    let Some(cx) = lookaside(&source, &format!("file://{}", directory.path().display())) else {
        return skip("needs gpgv");
    };
    assert_refused(
        &cx,
        &source,
        &fixed(),
        &CopyOptions::default(),
        &["no signature was found"],
    );
    let place = directory
        .path()
        .join(format!("app@{}", fixed().digest().replace(':', "=")));
    std::fs::create_dir(&place).unwrap();
    let put = |number: usize, name: &str| {
        std::fs::write(place.join(format!("signature-{number}")), fixture(name)).unwrap()
    };
    put(1, "stranger.gpg");
    put(3, "good.gpg");
    assert_refused(
        &cx,
        &source,
        &fixed(),
        &CopyOptions::default(),
        &["another key"],
    );
    put(2, "expired.gpg");
    let to = Registry::start();
    copy(
        &cx,
        &source.reference("app", "v1"),
        &to.reference("app", "v1"),
    )
    .unwrap();
    std::fs::write(place.join("signature-1"), vec![0x90; 300 << 10]).unwrap();
    let result = copy(
        &cx,
        &source.reference("app", "v1"),
        &to.reference("app", "v1"),
    );
    assert_fails(result, ErrorKind::LimitExceeded, &["too much"]);
    for number in 1..=65 {
        put(number, "stranger.gpg");
    }
    let result = copy(
        &cx,
        &source.reference("app", "v1"),
        &to.reference("app", "v1"),
    );
    assert_fails(result, ErrorKind::LimitExceeded, &["at most 64"]);
}

/// Serves files to as many requests as `answers`, and returns the paths that were asked for.
fn serve(answers: Vec<Option<Vec<u8>>>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/signatures/", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut paths = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            assert!(!request.to_lowercase().contains("authorization"));
            paths.push(request.split(' ').nth(1).unwrap().to_owned());
            let (status, body) = match answer {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
        paths
    });
    (address, serving)
}

#[test]
fn simple_signatures_are_found_on_a_web_server() {
    let source = Registry::start();
    source.add("team/app", "v1", &fixed());
    let (base, serving) = serve(vec![Some(fixture("good.gpg")), None]);
    let Some(cx) = lookaside(&source, &base) else {
        return skip("needs gpgv");
    };
    let to = Registry::start();
    copy(
        &cx,
        &source.reference("team/app", "v1"),
        &to.reference("app", "v1"),
    )
    .unwrap();
    let directory = format!(
        "/signatures/team/app@{}",
        fixed().digest().replace(':', "=")
    );
    let expected = [1, 2].map(|number| format!("{directory}/signature-{number}"));
    assert_eq!(serving.join().unwrap(), expected);
}

#[test]
fn no_name_leaves_the_storage() {
    for name in [
        "a.test/../x:v",
        "a.test/x/..:v",
        "a.test/x/./y:v",
        "a.test//x:v",
        "a.test/x%2e%2e:v",
        "a.test/x@sha256:../../x",
    ] {
        assert!(name.parse::<libimage::name::Name>().is_err(), "{name}");
    }
}

#[test]
fn directories_keep_signatures_beside_the_image() {
    let source = Registry::start();
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    let directory = tempfile::tempdir().unwrap();
    let dir = format!("dir:{}", directory.path().join("image").display());
    let mut signer = libimage::trust::Signer::new(key());
    signer.identity = Some("registry.test/app:v1".parse().unwrap());
    let options = CopyOptions {
        sign: vec![signer],
        ..CopyOptions::default()
    };
    copy_with(&cx(), &source.reference("app", "v1"), &dir, &options).unwrap();
    let file =
        std::fs::read(Path::new(dir.strip_prefix("dir:").unwrap()).join("signature-1")).unwrap();
    assert!(file.starts_with(b"\0sigstore-json\n"));
    let exact = SignedIdentity::ExactReference("registry.test/app:v1".parse().unwrap());
    let to = Registry::start();
    copy(&wanted(exact), &dir, &to.reference("app", "v1")).unwrap();
    let other = wanted(SignedIdentity::ExactReference(
        "registry.test/app:v2".parse().unwrap(),
    ));
    assert_fails(
        copy(&other, &dir, &to.reference("app", "v2")),
        ErrorKind::Denied,
        &["it is for"],
    );
    assert!(PublicKey::parse(key().public().to_pem().as_bytes()).is_ok());
}
