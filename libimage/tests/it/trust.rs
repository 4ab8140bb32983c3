//! What is accepted as signed, by signatures and keys that other tools made (see `tests/fixtures/trust/make.sh`).

use std::path::{Path, PathBuf};

use libimage::{
    Error, ErrorKind,
    config::{Keys, Policy, Requirement, SignedBy, SignedIdentity, SigstoreSigned},
    name::ImageRef,
    trust::{self, KeyError, Material, PrivateKey, PublicKey, Resolved, SigstoreSignature},
};
use proptest::prelude::*;
use trimaran_testkit::skip;

use crate::net;

/// Where the fixtures say that the image comes from.
const IMAGE: &str = "docker://registry.test/app:v1";

/// Reads a fixture.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trust");
    std::fs::read(directory.join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

/// A policy that wants a signature by a key of the fixtures.
pub(crate) fn by_key(key: &str, identity: SignedIdentity) -> Policy {
    by_pem(fixture(key), identity)
}

pub(crate) fn by_pem(pem: impl Into<Vec<u8>>, identity: SignedIdentity) -> Policy {
    Policy::requiring(vec![Requirement::SigstoreSigned(SigstoreSigned {
        keys: vec![Keys::new("the key", pem)],
        identity,
    })])
}

/// A policy that wants an OpenPGP signature; `None` where there is no gpgv.
pub(crate) fn by_ring(ring: &str, identity: SignedIdentity) -> Option<Policy> {
    let program = PathBuf::from("/usr/bin/gpgv");
    if !program.exists() {
        return None;
    }
    let wanted = SignedBy {
        keys: vec![Keys::new("the ring", fixture(ring))],
        identity,
    };
    let policy = Policy::requiring(vec![Requirement::SignedBy(wanted)]);
    Some(policy.with_openpgp(program))
}

fn verify(policy: &Policy, image: &str, material: &Material) -> Result<trust::Verified, Error> {
    let resolved = Resolved {
        image: net::image(image),
        media_type: None,
        raw: fixture("manifest.json"),
        expected: None,
    };
    Ok(trust::verify(policy, resolved, material)?)
}

fn sigstore(payload: impl Into<Vec<u8>>, signature: &str) -> Material {
    Material {
        sigstore: vec![SigstoreSignature {
            payload: payload.into(),
            signature: signature.to_owned(),
        }],
        ..Material::default()
    }
}

#[test]
fn signatures_of_openssl_over_the_payload_of_cosign_are_accepted() {
    let payload = fixture("payload.json");
    for kind in ["p256", "ed25519"] {
        let policy = by_key(&format!("{kind}.pub"), SignedIdentity::MatchRepository);
        let material = sigstore(payload.clone(), &text(&format!("{kind}.sig")));
        let verified = verify(&policy, IMAGE, &material).unwrap();
        assert_eq!(verified.signatures()[0].name, "registry.test/app");
        let other = if kind == "p256" { "ed25519" } else { "p256" };
        let swapped = by_key(&format!("{other}.pub"), SignedIdentity::MatchRepository);
        net::assert_fails(
            verify(&swapped, IMAGE, &material),
            ErrorKind::Denied,
            &["another key"],
        );
    }
}

#[test]
fn a_signature_for_anything_else_is_refused() {
    let (payload, signature) = (text("payload.json"), text("p256.sig"));
    let altered = payload.replace("registry.test/app", "registry.test/apq");
    let spaced = payload.replace(":{", ": {");
    let nothing = |signature: &str| sigstore(payload.clone(), signature);
    let lenient = SignedIdentity::MatchRepository;
    let cases = [
        (
            "no signature",
            &lenient,
            IMAGE,
            Material::default(),
            "no signature was found",
        ),
        (
            "altered payload",
            &lenient,
            IMAGE,
            sigstore(altered, &signature),
            "another key",
        ),
        (
            "the same JSON in other bytes",
            &lenient,
            IMAGE,
            sigstore(spaced, &signature),
            "another key",
        ),
        (
            "truncated signature",
            &lenient,
            IMAGE,
            nothing(&signature[..40]),
            "another key",
        ),
        ("no base64", &lenient, IMAGE, nothing("***"), "base64"),
        (
            "empty signature",
            &lenient,
            IMAGE,
            nothing(""),
            "another key",
        ),
        (
            "a tag that nobody signed",
            &SignedIdentity::MatchRepoDigestOrExact,
            IMAGE,
            nothing(&signature),
            "it is for registry.test/app",
        ),
        (
            "another repository",
            &lenient,
            "docker://registry.test/other:v1",
            nothing(&signature),
            "it is for registry.test/app",
        ),
        (
            "an image without a name",
            &lenient,
            "oci:/tmp/x:v1",
            nothing(&signature),
            "it is for registry.test/app",
        ),
    ];
    for (what, identity, image, material, why) in cases {
        let policy = by_key("p256.pub", identity.clone());
        let result = verify(&policy, image, &material);
        net::assert_fails(
            result.map_err(|error| Error::new(error.kind(), format!("{what}: {error}"))),
            ErrorKind::Denied,
            &[why],
        );
    }
    let elsewhere = by_key(
        "p256.pub",
        SignedIdentity::ExactRepository("registry.test/app".to_owned()),
    );
    verify(&elsewhere, "oci:/tmp/x:v1", &nothing(&signature)).unwrap();
}

#[test]
fn a_payload_for_other_bytes_is_refused_though_its_signature_is_good() {
    let key = PrivateKey::parse(&fixture("p256.key"), None).unwrap();
    let policy = by_pem(key.public().to_pem(), SignedIdentity::Any);
    let signed = |payload: String| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
        verify(&policy, IMAGE, &sigstore(payload, &signature))
    };
    let good = text("payload.json");
    signed(good.clone()).unwrap();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let digest = good
        .split('"')
        .find(|word| word.starts_with("sha256:"))
        .unwrap()
        .to_owned();
    let twice = format!(r#""docker-manifest-digest":"{zeros}","docker-manifest-digest""#);
    for (bad, why) in [
        (good.replace(&digest, &zeros), "it is for the digest"),
        (good.replace(r#""docker-manifest-digest""#, &twice), "twice"),
        (
            good.replace("cosign container", "atomic container"),
            "of the type",
        ),
        (
            good.replace(r#""optional":null"#, r#""optional":null,"more":1"#),
            "unknown field",
        ),
        (good.replace(r#","optional":null"#, ""), "missing field"),
        (format!("{good}x"), "trailing"),
        (good.replace("registry.test/app", ""), "empty"),
    ] {
        net::assert_fails(signed(bad), ErrorKind::Denied, &[why]);
    }
}

#[test]
fn keys_of_another_kind_are_named() {
    for (name, found) in [
        ("rsa.pub", "another algorithm"),
        ("p384.pub", "another algorithm or curve"),
        ("p256-compressed.pub", "another algorithm or curve"),
        ("p256.key", "PRIVATE KEY"),
        ("ring.asc", "base64"),
    ] {
        let told = PublicKey::parse(&fixture(name)).unwrap_err();
        assert!(told.to_string().contains(found), "{name}: {told}");
        // Such a key in a policy fulfils nothing, whatever else there is.
        let policy = by_key(name, SignedIdentity::Any);
        let material = sigstore(fixture("payload.json"), &text("p256.sig"));
        net::assert_fails(
            verify(&policy, IMAGE, &material),
            ErrorKind::Denied,
            &["cannot be checked"],
        );
    }
    let told = |name: &str, passphrase| PrivateKey::parse(&fixture(name), passphrase).unwrap_err();
    assert!(told("sec1.key", None).to_string().contains("openssl pkcs8"));
    assert!(matches!(told("p256.pub", None), KeyError::Kind { .. }));
    assert_eq!(told("cosign.key", None), KeyError::NoPassphrase);
    assert_eq!(told("cosign.key", Some(b"Secret")), KeyError::Passphrase);
    for name in ["p256.key", "ed25519.key", "cosign.key", "p256.pub"] {
        let whole = fixture(name);
        for cut in 0..whole.len() - 1 {
            assert!(
                PrivateKey::parse(&whole[..cut], None).is_err(),
                "{name} {cut}"
            );
            assert!(PublicKey::parse(&whole[..cut]).is_err(), "{name} {cut}");
        }
    }
}

#[test]
fn a_key_of_cosign_opens_with_its_passphrase() {
    let key = PrivateKey::parse(&fixture("cosign.key"), Some(b"secret")).unwrap();
    assert_eq!(
        key.public(),
        PublicKey::parse(&fixture("p256.pub")).unwrap()
    );
    let ed25519 = PrivateKey::parse(&fixture("ed25519.key"), None).unwrap();
    assert_eq!(ed25519.public().to_pem(), text("ed25519.pub"));
    assert_eq!(
        ed25519.sign(b"x").unwrap(),
        ed25519.sign(b"x").unwrap(),
        "Ed25519 always makes the same signature"
    );
    let (made, pem) = PrivateKey::generate(Some(b"x")).unwrap();
    let again = PrivateKey::parse(pem.as_bytes(), Some(b"x")).unwrap();
    assert_eq!(made.public(), again.public());
    assert!(again.public().verifies(b"m", &made.sign(b"m").unwrap()));
    assert!(!format!("{made:?}").contains("P256"), "a key does not show");
}

#[test]
fn simple_signing_as_gpg_does_it() {
    let exact = SignedIdentity::MatchRepoDigestOrExact;
    let (Some(policy), Some(armored)) = (
        by_ring("ring.gpg", exact.clone()),
        by_ring("ring.asc", exact.clone()),
    ) else {
        return skip("needs gpgv");
    };
    let with = |name: &str| Material {
        simple: vec![fixture(name)],
        ..Material::default()
    };
    for good in ["good.gpg", "plain.gpg"] {
        for policy in [&policy, &armored] {
            let verified = verify(policy, IMAGE, &with(good)).unwrap();
            assert_eq!(verified.signatures()[0].name, "registry.test/app:v1");
        }
    }
    for (bad, why) in [
        ("stranger.gpg", "another key"),
        ("expired.gpg", "expired"),
        ("altered.gpg", "not made of this text"),
        ("literal.gpg", "no OpenPGP signature"),
        ("two.gpg", ""),
        ("two-reversed.gpg", ""),
        ("detached.gpg", ""),
        ("bomb.gpg", ""),
        ("cosign-type.gpg", "of the type"),
        ("payload.json", ""),
        ("ring.gpg", ""),
    ] {
        let words = ["one does not fit", why];
        net::assert_fails(
            verify(&policy, IMAGE, &with(bad)),
            ErrorKind::Denied,
            &words,
        );
    }
    let other = "docker://registry.test/app:v2";
    net::assert_fails(
        verify(&policy, other, &with("good.gpg")),
        ErrorKind::Denied,
        &["it is for registry.test/app:v1"],
    );
    let foreign = by_ring("p256.pub", exact).unwrap();
    net::assert_fails(
        verify(&foreign, IMAGE, &with("good.gpg")),
        ErrorKind::Denied,
        &[],
    );
    // One good signature among bad ones is enough.
    let mut several = with("stranger.gpg");
    several.simple.push(fixture("good.gpg"));
    verify(&policy, IMAGE, &several).unwrap();
}

#[test]
fn every_requirement_has_to_be_fulfilled() {
    let both = |first: &str, second: &str| {
        let requirement = |key: &str| {
            Requirement::SigstoreSigned(SigstoreSigned {
                keys: vec![Keys::new(key, fixture(key))],
                identity: SignedIdentity::Any,
            })
        };
        Policy::requiring(vec![
            requirement(first),
            Requirement::AcceptAnything,
            requirement(second),
        ])
    };
    let payload = fixture("payload.json");
    let one = sigstore(payload.clone(), &text("p256.sig"));
    let mut two = one.clone();
    two.sigstore
        .extend(sigstore(payload, &text("ed25519.sig")).sigstore);
    let wanted = both("p256.pub", "ed25519.pub");
    assert_eq!(verify(&wanted, IMAGE, &two).unwrap().signatures().len(), 2);
    net::assert_fails(
        verify(&wanted, IMAGE, &one),
        ErrorKind::Denied,
        &["another key"],
    );
    verify(&both("p256.pub", "p256.pub"), IMAGE, &one).unwrap();
}

#[test]
fn what_cannot_be_checked_is_a_no_before_anything_is_asked() {
    let image: ImageRef = net::image(IMAGE);
    for (text, kind, word) in [
        (r#"{"type": "reject"}"#, ErrorKind::Denied, "rejects"),
        (
            r#"{"type": "sigstoreSigned", "fulcio": {}}"#,
            ErrorKind::Denied,
            "fulcio",
        ),
        (
            r#"{"type": "sigstoreSigned", "keyData": "eA==", "rekorPublicKeyData": "eA=="}"#,
            ErrorKind::Denied,
            "transparency log",
        ),
        (
            r#"{"type": "signedBy", "keyType": "X509Certificates", "keyData": "eA=="}"#,
            ErrorKind::Denied,
            "X.509",
        ),
    ] {
        let policy = Policy::parse(&format!(r#"{{"default": [{text}]}}"#)).unwrap();
        net::assert_fails(
            trust::admit(&policy, &image).map_err(Error::from),
            kind,
            &[word],
        );
    }
    let anything = Policy::accept_anything();
    trust::admit(&anything, &image).unwrap();
    let strict = anything.requiring_signatures();
    net::assert_fails(
        trust::admit(&strict, &image).map_err(Error::from),
        ErrorKind::Denied,
        &["asks for none"],
    );
    trust::admit(
        &by_key("p256.pub", SignedIdentity::Any).requiring_signatures(),
        &image,
    )
    .unwrap();
    // A program that is missing checks nothing.
    let signed = SignedBy {
        keys: vec![Keys::new("r", fixture("ring.gpg"))],
        identity: SignedIdentity::Any,
    };
    let policy = Policy::requiring(vec![Requirement::SignedBy(signed)]);
    let material = Material {
        simple: vec![fixture("good.gpg")],
        ..Material::default()
    };
    net::assert_fails(
        verify(&policy, IMAGE, &material),
        ErrorKind::Denied,
        &["gpgv"],
    );
    let policy = policy.with_openpgp("/nonexistent/gpgv");
    net::assert_fails(
        verify(&policy, IMAGE, &material),
        ErrorKind::Denied,
        &["cannot be run"],
    );
    // A program that says yes to everything and shows no signature is not believed.
    let policy = policy.with_openpgp("/bin/true");
    net::assert_fails(verify(&policy, IMAGE, &material), ErrorKind::Denied, &[]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..10_000, name in 0usize..6) {
        drop(PublicKey::parse(&bytes));
        drop(PrivateKey::parse(&bytes, Some(b"x")));
        let files = ["cosign.key", "p256.pub", "ed25519.key", "payload.json", "manifest.json", "ring.asc"];
        let mut damaged = fixture(files[name]);
        let at = at % damaged.len();
        damaged.splice(at..at, bytes);
        // A key that reads in spite of it is that key: base64 has one meaning.
        if let Ok(key) = PublicKey::parse(&damaged) {
            prop_assert_eq!(key, PublicKey::parse(&fixture("p256.pub")).unwrap());
        }
        let policy = by_key("p256.pub", SignedIdentity::Any);
        let material = sigstore(damaged, &text("p256.sig"));
        if let Ok(verified) = verify(&policy, IMAGE, &material) {
            prop_assert_eq!(verified.signatures().len(), 1);
            prop_assert_eq!(&material.sigstore[0].payload, &fixture("payload.json"));
        }
    }

    #[test]
    fn only_the_signed_name_fits_exactly(host in "[a-c]", path in "[a-c](/[a-c])?", tag in "[a-c]", other in "[a-c]") {
        let name = format!("{host}.test/{path}:{tag}");
        let claimed = libimage::config::SignedName::parse(&name).unwrap();
        let image: libimage::name::Name = format!("{host}.test/{path}:{other}").parse().unwrap();
        let accepts = |identity: SignedIdentity| identity.accepts(Some(&image), &claimed);
        prop_assert!(accepts(SignedIdentity::MatchRepository));
        prop_assert_eq!(accepts(SignedIdentity::MatchExact), tag == other);
        prop_assert_eq!(accepts(SignedIdentity::MatchRepoDigestOrExact), tag == other);
        let remap = |prefix: &str| SignedIdentity::RemapIdentity { prefix: prefix.to_owned(), signed_prefix: "signed.test/x".to_owned() };
        // Where the prefix does not fit nothing is remapped, and where it does the old name is none any more.
        prop_assert_eq!(accepts(remap("z.test")), tag == other);
        let ours = format!("{host}.test");
        prop_assert!(!accepts(remap(&ours)));
        let moved = libimage::config::SignedName::parse(&format!("signed.test/x/{path}:{other}")).unwrap();
        prop_assert!(remap(&ours).accepts(Some(&image), &moved));
    }
}
