use proptest::prelude::*;

use super::*;

const REJECT: &str = r#"{"type": "reject"}"#;

/// A policy whose default is this list.
fn default(entries: &str) -> Result<Policy, PolicyError> {
    Policy::parse(&format!(r#"{{"default": [{entries}]}}"#))
}

#[test]
fn the_most_specific_scope_decides() {
    let text = r#"{"default": [{"type": "reject"}], "transports": {
        "docker": {"": [{"type": "insecureAcceptAnything"}], "quay.io": [{"type": "reject"}],
            "quay.io/good": [{"type": "sigstoreSigned", "keyData": "eA=="}]},
        "oci": {"/srv": [{"type": "insecureAcceptAnything"}]}, "unheard-of": {"x": [{"type": "reject"}]}}}"#;
    let policy = Policy::parse(text).unwrap();
    let signed = Requirement::SigstoreSigned(SigstoreSigned {
        keys: vec![Keys::new("the policy's keyData", "x")],
        identity: SignedIdentity::MatchRepoDigestOrExact,
    });
    let cases: [(&str, &[&str], Requirement); 6] = [
        (
            "docker",
            &["docker.io/a:b", "docker.io/a", "docker.io"],
            Requirement::AcceptAnything,
        ),
        ("docker", &["quay.io/bad", "quay.io"], Requirement::Reject),
        ("docker", &["quay.io/good", "quay.io"], signed),
        ("oci", &["/srv/a", "/srv", "/"], Requirement::AcceptAnything),
        ("oci", &["/tmp", "/"], Requirement::Reject),
        ("containers-storage", &["x"], Requirement::Reject),
    ];
    for (transport, scopes, expected) in cases {
        assert_eq!(
            policy.requirements(transport, scopes.iter().copied()),
            [expected],
            "{transport} {scopes:?}"
        );
    }
}

#[test]
fn what_is_not_understood_is_an_error() {
    for bad in [
        "{}",
        "",
        "[]",
        r#"{"default": []}"#,
        r#"{"default": [{"type": "insecureAcceptAnythin"}]}"#,
        r#"{"default": [{"type": "reject"}], "transport": {}}"#,
        r#"{"default": [{"type": "reject"}], "default": [{"type": "reject"}]}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"docker": {"x": []}}}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"docker": {"x": [{"type": "reject"}], "x": [{"type": "reject"}]}}}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"docker": {}, "docker": {}}}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"oci": {"/": [{"type": "reject"}]}}}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"oci": {"/a/../b": [{"type": "reject"}]}}}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"docker-archive": {"/a.tar": [{"type": "reject"}]}}}"#,
        r#"{"default": [{"type": "reject"}], "transports": {"dir": {"a": [{"type": "reject"}]}}}"#,
    ] {
        assert!(Policy::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn requirements_are_read_strictly() {
    let good = [
        (
            r#"{"type": "insecureAcceptAnything"}"#,
            Requirement::AcceptAnything,
        ),
        (REJECT, Requirement::Reject),
        (
            r#"{"type": "sigstoreSigned", "keyDatas": ["eA==", "eQ=="], "signedIdentity": {"type": "matchRepository"}}"#,
            Requirement::SigstoreSigned(SigstoreSigned {
                keys: vec![
                    Keys::new("the policy's keyData", "x"),
                    Keys::new("the policy's keyData", "y"),
                ],
                identity: SignedIdentity::MatchRepository,
            }),
        ),
        (
            r#"{"type": "signedBy", "keyType": "GPGKeys", "keyData": "eA==", "signedIdentity": {"type": "exactRepository", "dockerRepository": "a.test/b"}}"#,
            Requirement::SignedBy(SignedBy {
                keys: vec![Keys::new("the policy's keyData", "x")],
                identity: SignedIdentity::ExactRepository("a.test/b".to_owned()),
            }),
        ),
        (
            r#"{"type": "sigstoreSigned", "fulcio": {"caData": "eA==", "oidcIssuer": "i", "subjectEmail": "e"}, "rekorPublicKeyData": "eA=="}"#,
            Requirement::Unsupported("sigstoreSigned with certificates (fulcio, pki)"),
        ),
        (
            r#"{"type": "sigstoreSigned", "keyData": "eA==", "rekorPublicKeyPath": "/r"}"#,
            Requirement::Unsupported("sigstoreSigned with a transparency log (rekorPublicKey…)"),
        ),
    ];
    for (text, expected) in good {
        let policy = default(text).unwrap();
        assert_eq!(policy.requirements("docker", []), [expected], "{text}");
    }
    let identity = |identity: &str| {
        format!(r#"{{"type": "sigstoreSigned", "keyData": "eA==", "signedIdentity": {identity}}}"#)
    };
    let bad = [
        r#"{"type": "reject", "x": 1}"#.to_owned(),
        r#"{"type": 1}"#.to_owned(),
        r#""reject""#.to_owned(),
        r#"{"type": "sigstoreSigned"}"#.to_owned(),
        r#"{"type": "sigstoreSigned", "keyData": "eA==", "keyPath": "/x"}"#.to_owned(),
        r#"{"type": "sigstoreSigned", "keyData": "eA==", "fulcio": {}}"#.to_owned(),
        r#"{"type": "sigstoreSigned", "keyData": "not base64!"}"#.to_owned(),
        r#"{"type": "sigstoreSigned", "keyDatas": []}"#.to_owned(),
        r#"{"type": "sigstoreSigned", "keyData": "eA==", "keyType": "GPGKeys"}"#.to_owned(),
        r#"{"type": "signedBy", "keyData": "eA=="}"#.to_owned(),
        r#"{"type": "signedBy", "keyType": "PGP", "keyData": "eA=="}"#.to_owned(),
        identity(r#"{"type": "matchEverything"}"#),
        identity(r#"{"type": "matchExact", "x": 1}"#),
        identity(r#"{"type": "exactReference", "dockerReference": "a.test/b"}"#),
        identity(r#"{"type": "exactRepository", "dockerRepository": "a.test/b:1"}"#),
        identity(r#"{"type": "exactRepository"}"#),
        identity(r#"{"type": "remapIdentity", "prefix": "busybox", "signedPrefix": "a.test"}"#),
        identity(r#"{"type": "remapIdentity", "prefix": "a.test", "signedPrefix": "b.test/x:1"}"#),
        identity(r#"{"type": "remapIdentity", "prefix": "", "signedPrefix": "b.test"}"#),
        identity("null"),
    ];
    for text in bad {
        // An explicit null is what Go calls an absent field.
        if text.contains("null") {
            assert!(default(&text).is_ok());
        } else {
            assert!(default(&text).is_err(), "{text}");
        }
    }
}

#[test]
fn a_key_file_that_is_missing_disables_only_its_requirement() {
    let text = r#"{"default": [{"type": "sigstoreSigned", "keyPaths": ["/good", "/bad"]}]}"#;
    let mut asked = Vec::new();
    let policy = Policy::parse_with(text, &mut |path| {
        asked.push(path.to_owned());
        match path == Path::new("/good") {
            true => Ok(b"key".to_vec()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        }
    })
    .unwrap();
    assert_eq!(asked, [Path::new("/good"), Path::new("/bad")]);
    let [Requirement::SigstoreSigned(signed)] = policy.requirements("docker", []) else {
        panic!("it is one requirement");
    };
    assert_eq!(signed.keys[0], Keys::new("/good", "key"));
    assert!(signed.keys[1].content.is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        drop(Policy::parse(&text));
    }

    #[test]
    fn one_more_field_anywhere_is_refused(key in "[a-z]{1,12}", at in 0usize..4) {
        prop_assume!(!["type", "default", "transports", "docker", "signedIdentity"].contains(&key.as_str()));
        let extra = |here: usize| if here == at { format!(r#", "{key}": []"#) } else { String::new() };
        let (top, transport, requirement, identity) = (extra(0), extra(1), extra(2), extra(3));
        let text = format!(
            r#"{{"default": [{{"type": "sigstoreSigned", "keyData": "eA==", "signedIdentity": {{"type": "matchExact"{identity}}}{requirement}}}],
                "transports": {{"docker": {{"": [{{"type": "reject"}}]{transport}}}}}{top}}}"#
        );
        prop_assert!(Policy::parse(&text).is_err());
    }

    #[test]
    fn the_longest_listed_parent_decides(listed in prop::collection::btree_set(0usize..4, 0..4)) {
        let scopes = ["r.test/a/b:v", "r.test/a/b", "r.test/a", "r.test"];
        let table: Vec<String> = listed.iter().map(|at| format!(r#""{}": [{{"type": "insecureAcceptAnything"}}]"#, scopes[*at])).collect();
        let text = format!(r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{{}}}}}}}"#, table.join(","));
        let policy = Policy::parse(&text).unwrap();
        for from in 0..4 {
            let accepted = policy.requirements("docker", scopes[from..].iter().copied()) == [Requirement::AcceptAnything];
            prop_assert_eq!(accepted, listed.iter().any(|at| *at >= from));
        }
    }
}
