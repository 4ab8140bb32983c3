//! Signatures that are made: where they go, what they keep, and who accepts them.

use libimage::{
    Error, ErrorKind,
    config::{Policy, RegistriesD},
    context::{Context, Side},
    copy::{CopyOptions, CopyReport, Referrers},
    sign::{self, SignOptions, Signed, Verification, VerifyOptions},
    trust::{PrivateKey, Signer},
};
use serde_json::Value;
use trimaran_testkit::{Content, Fault, ImageMaker, Index, Layout, Registry, Rule};

use crate::{
    net::{assert_fails, assert_holds, block, copy, copy_with, cx, image, patience},
    trust::fixture,
};

fn ed25519() -> PrivateKey {
    PrivateKey::parse(&fixture("ed25519.key"), None).unwrap()
}

fn p256() -> PrivateKey {
    PrivateKey::parse(&fixture("cosign.key"), Some(b"secret")).unwrap()
}

fn signer(key: PrivateKey, identity: &str) -> Signer {
    Signer {
        key,
        identity: (!identity.is_empty()).then(|| identity.parse().unwrap()),
    }
}

fn signing(signers: Vec<Signer>) -> CopyOptions {
    CopyOptions {
        sign: signers,
        ..CopyOptions::default()
    }
}

fn sign_in_place(at: &str, signers: Vec<Signer>) -> Result<Signed, Error> {
    let options = SignOptions {
        signers,
        ..SignOptions::default()
    };
    block(sign::sign(&cx(), &image(at), &options))
}

fn verify(at: &str, key: &PrivateKey) -> Result<Verification, Error> {
    let options = VerifyOptions::by_key("the key", key.public().to_pem());
    block(sign::verify(&cx(), &image(at), &options))
}

fn sig_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

fn layers(registry: &Registry, repository: &str, digest: &str) -> Vec<Value> {
    let manifest = registry.manifest(repository, &sig_tag(digest)).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap().clone();
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config: Value =
        serde_json::from_slice(&registry.blob(repository, config).unwrap()).unwrap();
    let listed: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let diff_ids: Vec<&Value> = config["rootfs"]["diff_ids"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(
        diff_ids, listed,
        "the configuration lists what the manifest has"
    );
    layers
}

#[test]
fn a_copy_is_signed_for_its_new_name() {
    let (source, target) = (Registry::start(), Registry::start());
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    let (from, to) = (source.reference("app", "v1"), target.reference("app", "v2"));
    let report = copy_with(&cx(), &from, &to, &signing(vec![signer(p256(), "")])).unwrap();
    assert_eq!((report.signatures, report.unchanged), (1, false));
    assert_holds(&target, "app", "v2", &content);
    let found = verify(&to, &p256()).unwrap();
    assert_eq!(found.digest.as_str(), content.digest());
    assert_eq!(
        found.signatures[0].name,
        format!("{}/app:v2", target.host())
    );
    assert_fails(verify(&to, &ed25519()), ErrorKind::Denied, &["another key"]);
    // Not again what is signed so already, though the signature of ECDSA would be another.
    target.forget_requests();
    let again = copy_with(&cx(), &from, &to, &signing(vec![signer(p256(), "")])).unwrap();
    assert_eq!((again.signatures, again.unchanged), (0, true));
    assert_eq!(target.count("PUT", "*") + target.count("POST", "*"), 0);
    // Another key is added to the first, also where there is nothing to copy.
    let more = copy_with(&cx(), &from, &to, &signing(vec![signer(ed25519(), "")])).unwrap();
    assert_eq!((more.signatures, more.unchanged), (1, true));
    assert_eq!(layers(&target, "app", content.digest()).len(), 2);
    verify(&to, &p256()).unwrap();
    verify(&to, &ed25519()).unwrap();
}

#[test]
fn the_name_comes_after_the_signature() {
    let (source, target) = (Registry::start(), Registry::start());
    source.add("app", "v1", &ImageMaker::sample().make());
    let (from, to) = (source.reference("app", "v1"), target.reference("app", "v1"));
    target.fault(Rule::method("PUT", "*.sig").fault(Fault::Status(403)));
    let result = copy_with(&cx(), &from, &to, &signing(vec![signer(p256(), "")]));
    assert_fails(result, ErrorKind::Denied, &[]);
    assert!(target.manifest("app", "v1").is_none());
    assert_eq!(target.open_uploads(), 0);
}

#[test]
fn every_image_of_an_index_is_signed() {
    let target = Registry::start();
    let images =
        ["amd64", "arm64"].map(|arch| ImageMaker::sample().platform("linux", arch, None).make());
    let index = Index::new(images.to_vec());
    target.add("app", "v1", &index);
    let at = target.reference("app", "v1");
    let signed = sign_in_place(&at, vec![signer(ed25519(), ""), signer(p256(), "")]).unwrap();
    assert_eq!(
        (signed.digest.as_str(), signed.signatures),
        (index.digest(), 6)
    );
    for digest in [index.digest(), images[0].digest(), images[1].digest()] {
        assert_eq!(layers(&target, "app", digest).len(), 2);
        let by_digest = format!("docker://{}/app@{digest}", target.host());
        verify(&by_digest, &p256()).unwrap();
    }
    assert_eq!(
        sign_in_place(&at, vec![signer(ed25519(), "")])
            .unwrap()
            .signatures,
        0
    );
    let of_platform = VerifyOptions {
        platform: Some("linux/arm64".parse().unwrap()),
        ..VerifyOptions::by_key("the key", p256().public().to_pem())
    };
    let found = block(sign::verify(&cx(), &image(&at), &of_platform)).unwrap();
    assert_eq!(found.digest.as_str(), images[1].digest());
    assert_eq!(found.signatures.len(), 1);
}

#[test]
fn the_same_key_makes_the_same_bytes() {
    let content = ImageMaker::sample().make();
    let made = || {
        let registry = Registry::start();
        registry.add("app", "v1", &content);
        let signers = vec![signer(ed25519(), "registry.test/app:v1")];
        sign_in_place(&registry.reference("app", "v1"), signers).unwrap();
        registry
            .manifest("app", &sig_tag(content.digest()))
            .unwrap()
    };
    assert_eq!(made(), made());
}

#[test]
fn a_layout_keeps_signatures_under_their_tag() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let content = ImageMaker::sample().make();
    Layout::create(&path).add("v1", &content);
    let at = format!("oci:{}:v1", path.display());
    assert_fails(
        sign_in_place(&at, vec![signer(p256(), "")]),
        ErrorKind::InvalidReference,
        &["sign identity"],
    );
    sign_in_place(&at, vec![signer(p256(), "registry.test/app:v1")]).unwrap();
    sign_in_place(&at, vec![signer(ed25519(), "registry.test/app:v1")]).unwrap();
    let wanted = |identity| {
        let mut options = VerifyOptions::by_key("the key", p256().public().to_pem());
        if let libimage::config::Requirement::SigstoreSigned(wanted) = &mut options.requirements[0]
        {
            wanted.identity = identity;
        }
        block(sign::verify(&cx(), &image(&at), &options))
    };
    use libimage::config::SignedIdentity as Identity;
    wanted(Identity::ExactRepository("registry.test/app".to_owned())).unwrap();
    wanted(Identity::Any).unwrap();
    assert_fails(
        wanted(Identity::MatchRepository),
        ErrorKind::Denied,
        &["it is for"],
    );
    // They travel with the image.
    let target = Registry::start();
    copy(&cx(), &at, &target.reference("app", "v1")).unwrap();
    assert_eq!(layers(&target, "app", content.digest()).len(), 2);
}

#[test]
fn signatures_can_stay_behind() {
    let source = Registry::start();
    let content = ImageMaker::sample().make();
    source.add("app", "v1", &content);
    let from = source.reference("app", "v1");
    sign_in_place(&from, vec![signer(p256(), "")]).unwrap();
    let copied = |options: CopyOptions| -> (CopyReport, bool) {
        let target = Registry::start();
        let report = copy_with(&cx(), &from, &target.reference("app", "v1"), &options).unwrap();
        (
            report,
            target.manifest("app", &sig_tag(content.digest())).is_some(),
        )
    };
    assert!(copied(CopyOptions::default()).1);
    let removed = CopyOptions {
        remove_signatures: true,
        ..CopyOptions::default()
    };
    assert!(!copied(removed.clone()).1);
    assert!(
        !copied(CopyOptions {
            referrers: Referrers::Never,
            ..CopyOptions::default()
        })
        .1
    );
    // Removing those of others and making one's own go together.
    let (report, there) = copied(CopyOptions {
        sign: vec![signer(ed25519(), "")],
        ..removed
    });
    assert_eq!((report.signatures, there), (1, true));
}

#[test]
fn what_is_no_list_of_signatures_is_not_overwritten() {
    let target = Registry::start();
    let content = ImageMaker::sample().make();
    target.add("app", "v1", &content);
    let other = Index::new(vec![ImageMaker::sample().make()]);
    target.add("app", &sig_tag(content.digest()), &other);
    let at = target.reference("app", "v1");
    let result = sign_in_place(&at, vec![signer(p256(), "")]);
    assert_fails(result, ErrorKind::Malformed, &["something else", "index"]);
    let there = target.manifest("app", &sig_tag(content.digest())).unwrap();
    assert_eq!(there, *other.root());
}

#[test]
fn where_signatures_cannot_be_kept_nothing_is_copied() {
    let source = Registry::start();
    source.add("app", "v1", &ImageMaker::sample().make());
    let from = source.reference("app", "v1");
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("layout");
    let result = copy_with(
        &cx(),
        &from,
        &format!("oci:{}:v1", to.display()),
        &signing(vec![signer(p256(), "")]),
    );
    assert_fails(result, ErrorKind::InvalidReference, &["sign identity"]);
    assert!(!to.exists());
    let target = Registry::start();
    let text = format!(
        "docker:\n  {}:\n    use-sigstore-attachments: false\n",
        target.host()
    );
    let policy =
        Policy::accept_anything().with_registries_d(RegistriesD::parse([("x", text)]).unwrap());
    let forbidden = Context::builder(policy)
        .tls_verify(Side::Source, false)
        .tls_verify(Side::Destination, false)
        .patience(patience())
        .build();
    let result = copy_with(
        &forbidden,
        &from,
        &target.reference("app", "v1"),
        &signing(vec![signer(p256(), "")]),
    );
    assert_fails(
        result,
        ErrorKind::Unsupported,
        &["use-sigstore-attachments: false"],
    );
    assert!(source.requests().is_empty() && target.requests().is_empty());
}
