//! Policies, signatures and keys, as a user meets them.

use crate::tool::{Home, assert_holds};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use trimaran_testkit::debian::Options;
use trimaran_testkit::{Content, DebianRegistry, ImageMaker, Registry, run, skip};

/// A home with a pair of keys, `k.key` (with a passphrase in the file `pass`) and `k.pub`.
fn with_keys() -> Home {
    let home = Home::new();
    std::fs::write(home.path("pass"), "secret\nnot this line\n").unwrap();
    let made = generate(&home, "k").expect_code(0);
    assert_eq!(made.stdout, format!("{0}.key\n{0}.pub\n", of(&home, "k")));
    home
}

fn generate(home: &Home, name: &str) -> trimaran_testkit::Outcome {
    let (prefix, pass) = (of(home, name), of(home, "pass"));
    home.run(&[
        "sign",
        "--generate-key",
        &prefix,
        "--sign-passphrase-file",
        &pass,
    ])
}

fn of(home: &Home, name: &str) -> String {
    home.path(name).display().to_string()
}

/// Writes a policy that wants what `requirement` says of everything in registries.
fn policy(home: &Home, requirement: &str) -> String {
    let text = format!(
        r#"{{"default": [{{"type": "insecureAcceptAnything"}}], "transports": {{"docker": {{"": [{requirement}]}}}}}}"#
    );
    std::fs::write(home.path("policy.json"), text).unwrap();
    of(home, "policy.json")
}

fn by_key(home: &Home) -> String {
    format!(
        r#"{{"type": "sigstoreSigned", "keyPath": "{}"}}"#,
        of(home, "k.pub")
    )
}

#[test]
fn keys_are_made_once_and_for_their_owner_only() {
    let home = with_keys();
    let mode = |name: &str| {
        std::fs::metadata(home.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("k.key"), 0o600);
    let private = std::fs::read_to_string(home.path("k.key")).unwrap();
    assert!(private.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
    let public = std::fs::read_to_string(home.path("k.pub")).unwrap();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    let again = generate(&home, "k").expect_code(125);
    assert!(again.stderr.contains("k.key"), "{}", again.stderr);
    assert_eq!(
        std::fs::read_to_string(home.path("k.key")).unwrap(),
        private
    );
    // Without a passphrase it says what that means.
    let open = home
        .run(&["sign", "--generate-key", &of(&home, "open")])
        .expect_code(0);
    assert!(open.stderr.contains("not encrypted"), "{}", open.stderr);
}

#[test]
fn what_is_signed_is_verified() {
    let (home, registry) = (with_keys(), Registry::start());
    let content = ImageMaker::sample().make();
    let from = home.made("layout", "v", &content);
    let to = registry.reference("team/app", "v1");
    let (key, public, pass) = (of(&home, "k.key"), of(&home, "k.pub"), of(&home, "pass"));
    let signing = [
        "--sign-by-sigstore-private-key",
        &key,
        "--sign-passphrase-file",
        &pass,
    ];
    assert_eq!(home.copy(&signing, &from, &to), content.digest());
    assert_holds(&registry, "team/app", "v1", &content);
    let verify = |more: &[&str]| {
        home.run(
            &[
                &["verify", "--tls-verify=false", "--key", &public, &to],
                more,
            ]
            .concat(),
        )
    };
    let good = verify(&[]).expect_code(0);
    assert_eq!(good.stdout.trim_end(), content.digest());
    let json = verify(&["--format", "json"]).expect_code(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let name = to.strip_prefix("docker://").unwrap();
    assert_eq!(json["digest"], content.digest());
    assert_eq!(json["signatures"][0]["identity"], name);
    verify(&["--identity", name]).expect_code(0);
    verify(&["--identity", name.strip_suffix(":v1").unwrap()]).expect_code(0);
    verify(&["--any-identity"]).expect_code(0);
    let other = verify(&["--identity", "registry.test/other:v1"]).expect_code(125);
    assert!(other.stderr.contains("it is for"), "{}", other.stderr);
    assert_eq!(other.stdout, "");
    // By the policy, and by one that wants nothing.
    let by_policy = policy(&home, &by_key(&home));
    let run = |policy: &str| home.run(&["verify", "--tls-verify=false", "--policy", policy, &to]);
    assert_eq!(
        run(&by_policy).expect_code(0).stdout.trim_end(),
        content.digest()
    );
    let nothing = policy(&home, r#"{"type": "insecureAcceptAnything"}"#);
    assert!(
        run(&nothing)
            .expect_code(125)
            .stderr
            .contains("asks for none")
    );
}

#[test]
fn signing_in_place_says_what_is_missing() {
    let (home, registry) = (with_keys(), Registry::start());
    registry.add("app", "v1", &ImageMaker::sample().make());
    let (at, key) = (registry.reference("app", "v1"), of(&home, "k.key"));
    let sign = ["sign", "--tls-verify=false", &at, "--key", &key];
    let locked = home.run(&sign).expect_code(125);
    assert!(
        locked.stderr.contains("hint: give --sign-passphrase-file"),
        "{}",
        locked.stderr
    );
    let with = |password: &str| run(home.command(&sign).env("COSIGN_PASSWORD", password));
    let wrong = with("wrong").expect_code(125);
    assert!(
        wrong.stderr.contains("passphrase is wrong"),
        "{}",
        wrong.stderr
    );
    assert!(registry.requests().is_empty(), "keys come first");
    let right = with("secret").expect_code(0);
    assert!(!right.stderr.contains("already"), "{}", right.stderr);
    assert!(with("secret").expect_code(0).stderr.contains("already"));
    for (arguments, code) in [
        (&["sign", &at][..], 2),
        (&["sign", "--key", &key], 2),
        (&["sign", "--generate-key", "x", "--key", &key], 2),
        (&["verify", &at, "--key", &key], 125),
        (&["verify", &at, "--key", &of(&home, "nothing")], 125),
        (&["verify", &at, "--identity", "a.test/x"], 2),
        (&["verify", &at, "--key", &key, "--insecure-policy"], 2),
        (&["--sign-identity", "a.test/x", &at, "oci:x"], 2),
        (&["--policy", "x", "--insecure-policy", &at, "oci:x"], 2),
        (&["--require-signed", "--insecure-policy", &at, "oci:x"], 2),
    ] {
        let outcome = home.run(arguments).expect_code(code);
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
}

#[test]
fn the_policy_decides_about_every_verb() {
    let (home, registry) = (with_keys(), Registry::start());
    let content = ImageMaker::sample().make();
    registry.add("app", "v1", &content);
    let from = registry.reference("app", "v1");
    let to = home.layout("copy", "v");
    let strict = policy(&home, &by_key(&home));
    let refused = home.fail(&["--policy", &strict], &from, &to);
    assert!(refused.contains("no signature was found"), "{refused}");
    assert!(!home.path("copy").exists());
    assert_eq!(registry.count("GET", "*/blobs/*"), 0);
    let inspected = home.run(&["inspect", "--tls-verify=false", "--policy", &strict, &from]);
    assert!(inspected.expect_code(125).stderr.contains("no signature"));
    let unsigned = home.fail(&["--require-signed"], &from, &to);
    assert!(unsigned.contains("asks for none"), "{unsigned}");
    // The user's own policy is overruled only by the flag.
    let own = home.path(".config/containers/policy.json");
    std::fs::write(&own, r#"{"default": [{"type": "reject"}]}"#).unwrap();
    assert!(home.fail(&[], &from, &to).contains("rejects"));
    home.copy(&["--insecure-policy"], &from, &to);
}

#[test]
fn a_policy_that_is_not_understood_stops_everything() {
    let (home, registry) = (with_keys(), Registry::start());
    registry.add("app", "v1", &ImageMaker::sample().make());
    let (from, to) = (registry.reference("app", "v1"), home.layout("copy", "v"));
    let files = home.path("registries.d");
    std::fs::create_dir(&files).unwrap();
    let files = files.display().to_string();
    for (requirement, yaml, words) in [
        (
            r#"{"type": "signedByMe"}"#,
            "",
            &["policy.json", "signedByMe"][..],
        ),
        (
            r#"{"type": "reject", "keyPath": "x"}"#,
            "",
            &["policy.json", "keyPath"],
        ),
        (r#"{"type": "reject"}, "#, "", &["policy.json"]),
        (
            r#"{"type": "sigstoreSigned", "keyPath": "/nonexistent.pub"}"#,
            "",
            &["/nonexistent.pub", "No such file"],
        ),
        (
            r#"{"type": "sigstoreSigned", "fulcio": {}}"#,
            "",
            &["fulcio"],
        ),
        (
            r#"{"type": "insecureAcceptAnything"}"#,
            "docker: {x: {lookasid: y}}",
            &["bad.yaml", "lookasid"],
        ),
    ] {
        let strict = policy(&home, requirement);
        std::fs::write(home.path("registries.d/bad.yaml"), yaml).unwrap();
        let told = home.fail(&["--policy", &strict, "--registries.d", &files], &from, &to);
        for word in words {
            assert!(told.contains(word), "{word} {told}");
        }
    }
    assert!(
        home.fail(&["--policy", "/nonexistent.json"], &from, &to)
            .contains("/nonexistent.json")
    );
    assert_eq!(registry.count("GET", "*/blobs/*"), 0);
}

/// A key of gpg in a directory of its own.
struct Gpg(Home);

impl Gpg {
    fn new() -> Option<Gpg> {
        let gpg = Gpg(Home::new());
        std::fs::set_permissions(gpg.0.path(""), PermissionsExt::from_mode(0o700)).unwrap();
        let flags = [
            "--passphrase",
            "",
            "--quick-generate-key",
            "t@test",
            "ed25519",
            "sign",
            "never",
        ];
        gpg.run("gpg", &[&["--batch", "--quiet"], &flags[..]].concat())?;
        Some(gpg)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("GNUPGHOME", self.0.path(""))
            .stdin(Stdio::null());
        let done = command.output().ok()?;
        done.status.success().then_some(done.stdout)
    }
}

impl Gpg {
    /// Returns what skopeo knows the key by.
    fn fingerprint(&self) -> String {
        let listed = self.run("gpg", &["--list-keys", "--with-colons"]).unwrap();
        let listed = String::from_utf8(listed).unwrap();
        let line = listed
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // The agent would outlive its directory for a while.
        drop(self.run("gpgconf", &["--kill", "all"]));
    }
}

#[test]
fn what_skopeo_signs_with_gpg_is_verified() {
    let (Some(gpg), Some(registry)) = (Gpg::new(), DebianRegistry::start(&Options::default()))
    else {
        return skip("needs gpg and docker-registry");
    };
    let home = Home::new();
    let content = ImageMaker::sample().make();
    let from = home.made("layout", "v", &content);
    let files = home.path("registries.d");
    std::fs::create_dir(&files).unwrap();
    let yaml = format!(
        "docker:\n  {}:\n    lookaside: file://{}\n",
        registry.host(),
        of(&home, "lookaside")
    );
    std::fs::write(files.join("x.yaml"), yaml).unwrap();
    let files = files.display().to_string();
    let to = registry.reference("team/app", "v1");
    let fingerprint = gpg.fingerprint();
    let skopeo = [
        "--insecure-policy",
        "--registries.d",
        &files,
        "copy",
        "--dest-tls-verify=false",
        "--sign-by",
        &fingerprint,
        &from,
        &to,
    ];
    if gpg.run("skopeo", &skopeo).is_none() {
        return skip("needs skopeo that can sign");
    }
    std::fs::write(
        home.path("ring.asc"),
        gpg.run("gpg", &["--armor", "--export"]).unwrap(),
    )
    .unwrap();
    let wanted = |ring: &str| {
        let ring = of(&home, ring);
        policy(
            &home,
            &format!(r#"{{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "{ring}"}}"#),
        )
    };
    let flags = ["--policy", &wanted("ring.asc"), "--registries.d", &files];
    assert_eq!(
        home.copy(&flags, &to, &home.layout("copy", "v")),
        content.digest()
    );
    // Under another tag it has no signature.
    let other = registry.reference("team/app", "v2");
    home.copy(&[], &to, &other);
    let told = home.fail(&flags, &other, &home.layout("other", "v"));
    assert!(
        told.contains("it is for") && !home.path("other").exists(),
        "{told}"
    );
    // With another ring neither.
    let stranger = Gpg::new().unwrap();
    std::fs::write(
        home.path("other.asc"),
        stranger.run("gpg", &["--armor", "--export"]).unwrap(),
    )
    .unwrap();
    let flags = ["--policy", &wanted("other.asc"), "--registries.d", &files];
    assert!(
        home.fail(&flags, &to, &home.layout("other", "v"))
            .contains("another key")
    );
}

#[test]
fn signatures_travel_through_a_registry_that_is_not_ours() {
    let Some(registry) = DebianRegistry::start(&Options::default()) else {
        return skip("needs docker-registry");
    };
    let home = with_keys();
    let from = home.made("layout", "v", &ImageMaker::sample().make());
    let (key, public, pass) = (of(&home, "k.key"), of(&home, "k.pub"), of(&home, "pass"));
    let (first, second) = (registry.reference("a", "v"), registry.reference("b", "v"));
    let identity = "registry.test/app:v";
    let signing = [
        "--sign-by-sigstore-private-key",
        &key,
        "--sign-passphrase-file",
        &pass,
        "--sign-identity",
        identity,
    ];
    home.copy(&signing, &from, &first);
    home.copy(&[], &first, &second);
    let layout = home.layout("back", "v");
    home.copy(&[], &second, &layout);
    for at in [&first, &second, &layout] {
        let arguments = [
            "verify",
            "--tls-verify=false",
            at,
            "--key",
            &public,
            "--identity",
            identity,
        ];
        home.run(&arguments).expect_code(0);
    }
    let removed = registry.reference("c", "v");
    home.copy(&["--remove-signatures"], &second, &removed);
    let arguments = [
        &["verify", "--tls-verify=false"],
        &[removed.as_str(), "--key", &public, "--any-identity"][..],
    ]
    .concat();
    assert!(
        home.run(&arguments)
            .expect_code(125)
            .stderr
            .contains("no signature was found")
    );
}
