//! Who is shown credentials, where they are from, and how many tokens they cost.

use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use libimage::{
    ErrorKind,
    auth::helper,
    config::{AuthFile, Credentials, Helpers, Registries, Secret},
    context::Side,
    name::Name,
    registry::Registry as Client,
};
use trimaran_testkit::{Auth, Fault, ImageMaker, Registry, Rule, image::Blob};

use crate::net::{Recorder, assert_fails, assert_holds, basic, block, builder, copy, cx, image};

fn with(auth: fn(String, String) -> Auth) -> Registry {
    Registry::with_auth(auth("me".to_owned(), "secret".to_owned()))
}

/// Asserts that nothing of ours was shown.
#[track_caller]
fn assert_shown_nothing(registry: &Registry) {
    let shown = registry
        .requests()
        .into_iter()
        .filter(|request| request.authorization.is_some());
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [],
        "credentials went to another host"
    );
}

fn challenged(registry: &Registry, challenge: String) {
    registry.fault(Rule::any("/v2/*").fault(Fault::Header("WWW-Authenticate".into(), challenge)));
}

#[test]
fn no_other_host_is_shown_credentials() {
    let made = ImageMaker::sample().make();
    for scheme in [Auth::Basic, Auth::Bearer] {
        // Where storage is redirected to, also if that asks for credentials; where an upload is to go.
        for asking in [Auth::Anonymous, Auth::Basic("me".into(), "secret".into())] {
            let (from, elsewhere, to) = (
                with(scheme),
                Registry::with_auth(asking.clone()),
                Registry::start(),
            );
            from.add("a", "v", &made);
            elsewhere.add("a", "v", &made);
            from.fault(
                Rule::get("*/blobs/*")
                    .fault(Fault::Redirect(format!("http://{}", elsewhere.host()))),
            );
            let cx = builder()
                .credentials(Side::Source, basic("me", "secret"))
                .build();
            let done = copy(&cx, &from.reference("a", "v"), &to.reference("a", "v"));
            assert_eq!(done.is_ok(), asking == Auth::Anonymous, "{done:?}");
            assert!(!elsewhere.requests().is_empty());
            assert_shown_nothing(&elsewhere);

            let (from, to) = (Registry::start(), with(scheme));
            from.add("a", "v", &made);
            elsewhere.forget_requests();
            let location = format!("http://{}/v2/a/blobs/uploads/x", elsewhere.host());
            to.fault(
                Rule::method("POST", "*/blobs/uploads/")
                    .fault(Fault::Header("Location".into(), location)),
            );
            let cx = builder()
                .credentials(Side::Destination, basic("me", "secret"))
                .build();
            copy(&cx, &from.reference("a", "v"), &to.reference("a", "v")).unwrap_err();
            assert_shown_nothing(&elsewhere);
        }
    }
}

/// The user's password, or an identity token in a body, would go wherever the token server points to.
#[test]
fn a_token_server_cannot_send_credentials_on() {
    let made = ImageMaker::new().make();
    let identity = || Credentials::Identity(Secret::new("secret"));
    for credentials in [basic("me", "secret"), identity()] {
        let (from, elsewhere, to) = (with(Auth::Bearer), with(Auth::Bearer), Registry::start());
        from.add("a", "v", &made);
        from.fault(
            Rule::any("/token*").fault(Fault::Redirect(format!("http://{}", elsewhere.host()))),
        );
        let cx = builder().credentials(Side::Source, credentials).build();
        let refused = copy(&cx, &from.reference("a", "v"), &to.reference("x", "v"));
        assert_fails(refused, ErrorKind::Denied, &["redirects elsewhere"]);
        assert_eq!(elsewhere.requests(), []);
    }
    // To itself it may, but not for ever.
    for (times, fine) in [(1, true), (usize::MAX, false)] {
        let (from, to) = (with(Auth::Bearer), Registry::start());
        from.add("a", "v", &made);
        let itself = format!("http://{}", from.host());
        from.fault(
            Rule::any("/token*")
                .first(times)
                .fault(Fault::Redirect(itself)),
        );
        let cx = builder()
            .credentials(Side::Source, basic("me", "secret"))
            .build();
        let done = copy(&cx, &from.reference("a", "v"), &to.reference("a", "v"));
        assert_eq!(done.is_ok(), fine, "{done:?}");
        assert!(from.count("GET", "/token*") <= 5);
    }
}

/// A layer's `urls` are what whoever made the image likes: they are not asked at all.
#[test]
fn foreign_layer_addresses_are_never_asked() {
    let (from, elsewhere, to) = (with(Auth::Basic), Registry::start(), Registry::start());
    let made = ImageMaker::sample().make();
    from.add("a", "v", &made);
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&trimaran_testkit::Content::root(&made).bytes).unwrap();
    let url = format!("http://{}/v2/a/blobs/x", elsewhere.host());
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer["urls"] = serde_json::json!([url]);
    }
    let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
    from.add_manifest(
        "a",
        "foreign",
        &Blob::new(&media_type, manifest.to_string().into_bytes()),
    );
    let cx = builder()
        .credentials(Side::Source, basic("me", "secret"))
        .build();
    copy(
        &cx,
        &from.reference("a", "foreign"),
        &to.reference("a", "v"),
    )
    .unwrap();
    assert_eq!(elsewhere.requests(), []);
}

#[test]
fn a_challenge_gets_tokens_for_its_own_repository_only() {
    let (from, to) = (with(Auth::Bearer), Registry::start());
    let made = ImageMaker::new().make();
    from.add("team/a", "v", &made);
    let scope =
        "repository:team/secret:pull,push registry:catalog:* repository:team/a:pull,metadata";
    challenged(
        &from,
        format!(
            "Bearer realm=\"http://{}/token\",service=\"s\",scope=\"{scope}\"",
            from.host()
        ),
    );
    let cx = builder()
        .credentials(Side::Source, basic("me", "secret"))
        .build();
    copy(&cx, &from.reference("team/a", "v"), &to.reference("a", "v")).unwrap();
    let tokens: Vec<_> = from
        .requests()
        .into_iter()
        .filter(|request| request.path == "/token")
        .collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert!(
        tokens[0].query.contains("metadata")
            && !tokens[0].query.contains("secret")
            && !tokens[0].query.contains("catalog"),
        "{}",
        tokens[0].query
    );
}

#[test]
fn one_token_an_end_does_for_everything() {
    let made = ImageMaker::sample().make();
    let (from, to) = (with(Auth::Bearer), with(Auth::Bearer));
    from.add("a", "v", &made);
    let cx = builder()
        .credentials(Side::Source, basic("me", "secret"))
        .credentials(Side::Destination, basic("me", "secret"))
        .build();
    // Several copies in one context share it, whoever asks.
    for tag in ["1", "2", "3"] {
        copy(&cx, &from.reference("a", "v"), &to.reference("b", tag)).unwrap();
    }
    assert_holds(&to, "b", "3", &made);
    for registry in [&from, &to] {
        assert_eq!(
            registry.count("GET", "/token*"),
            1,
            "{:#?}",
            registry.requests()
        );
        let refused = registry
            .requests()
            .into_iter()
            .filter(|request| request.status == 401)
            .count();
        assert_eq!(refused, 1, "only the very first request has to be refused");
    }
}

#[test]
fn many_at_once_wait_for_one_token() {
    let registry = with(Auth::Bearer);
    let made = ImageMaker::new().make();
    for number in 0..20 {
        registry.add("a", &format!("v{number}"), &made);
    }
    let cx = builder()
        .credentials(Side::Source, basic("me", "secret"))
        .build();
    let name: Name = format!("{}/a:v0", registry.host()).parse().unwrap();
    block(async {
        let client = Client::new(&cx, Side::Source, &name, Vec::new()).unwrap();
        let heads = (0..20).map(|number| {
            let client = client.with_name(&name.with_tag(&format!("v{number}")).unwrap());
            tokio::spawn(async move { client.head_manifest(client.name().reference()).await })
        });
        for head in heads.collect::<Vec<_>>() {
            assert!(head.await.unwrap().unwrap().is_some());
        }
        assert!(client.requests() >= 20, "renamed ones count together");
    });
    assert_eq!(registry.count("GET", "/token*"), 1);
}

#[test]
fn identity_and_registry_tokens_are_used_as_such() {
    let made = ImageMaker::new().make();
    let (from, to) = (with(Auth::Bearer), Registry::start());
    from.add("a", "v", &made);
    let there = from.reference("a", "v");
    let cx = builder()
        .credentials(Side::Source, Credentials::Identity(Secret::new("secret")))
        .build();
    copy(&cx, &there, &to.reference("a", "v")).unwrap();
    assert_eq!(
        (from.count("POST", "/token"), from.count("GET", "/token*")),
        (1, 0)
    );

    // A token that was had elsewhere is sent as it is: nobody is asked for another.
    from.forget_requests();
    let token = Credentials::Bearer(Secret::new("token-0"));
    let cx = builder().credentials(Side::Source, token).build();
    copy(&cx, &there, &to.reference("b", "v")).unwrap();
    assert_eq!(from.count("*", "/token*"), 0);
    from.expire_tokens();
    let cx = builder()
        .credentials(Side::Source, Credentials::Bearer(Secret::new("token-0")))
        .build();
    assert_fails(
        copy(&cx, &there, &to.reference("c", "v")),
        ErrorKind::Unauthorized,
        &["registry token"],
    );
}

/// A directory with a credential helper in it, and what to call it with.
struct Program(tempfile::TempDir);

impl Program {
    /// `script` is run by sh with the verb as `$1`; what was asked is appended to a log.
    fn new(script: &str) -> Self {
        let program = Self(tempfile::tempdir().unwrap());
        let path = program.0.path().join("docker-credential-test");
        let log = program.log().display().to_string();
        std::fs::write(
            &path,
            format!("#!/bin/sh\nread -r server\necho \"$1 $server\" >> {log}\n{script}\n"),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn log(&self) -> std::path::PathBuf {
        self.0.path().join("log")
    }

    fn asked(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn helpers(&self) -> Helpers {
        let mut helpers = Helpers::in_path(self.0.path().as_os_str());
        helpers.patience = Duration::from_secs(20);
        helpers
    }
}

const RIGHT: &str = r#"printf '{"ServerURL":"x","Username":"me","Secret":"secret"}'"#;

fn file(text: &str) -> AuthFile {
    AuthFile::parse(text).unwrap()
}

#[test]
fn helpers_are_asked_once_and_only_when_needed() {
    let made = ImageMaker::sample().make();
    let (from, open, to) = (with(Auth::Bearer), Registry::start(), Registry::start());
    from.add("a", "v", &made);
    open.add("a", "v", &made);
    let program = Program::new(RIGHT);
    let assigned = format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, from.host());
    let base = builder()
        .auth_file(file(&assigned))
        .auth_file(file(r#"{"credsStore": "test"}"#));
    let cx = base.helpers(program.helpers()).build();
    copy(&cx, &open.reference("a", "v"), &to.reference("a", "v")).unwrap();
    assert_eq!(
        program.asked(),
        Vec::<String>::new(),
        "a registry that asks for nothing needs no credentials"
    );
    copy(&cx, &from.reference("a", "v"), &to.reference("b", "v")).unwrap();
    copy(&cx, &from.reference("a", "v"), &to.reference("c", "v")).unwrap();
    assert_eq!(program.asked(), [format!("get {}", from.host())]);
}

#[test]
fn helpers_are_not_executed_unasked() {
    let made = ImageMaker::new().make();
    let (from, to) = (with(Auth::Bearer), Registry::start());
    from.add("a", "v", &made);
    let recorder = Arc::new(Recorder::default());
    let cx = builder()
        .auth_file(file(r#"{"credsStore": "test"}"#))
        .progress(Arc::clone(&recorder) as _)
        .build();
    assert_fails(
        copy(&cx, &from.reference("a", "v"), &to.reference("a", "v")),
        ErrorKind::Unauthorized,
        &["none were given"],
    );
    let told = recorder.0.lock().unwrap().join("\n");
    assert!(told.contains("docker-credential-test"), "{told}");
}

#[test]
fn what_a_helper_does_not_know_is_looked_up_further_on() {
    let made = ImageMaker::new().make();
    let program = Program::new("echo 'credentials not found in native keychain'; exit 1");
    for keeper in [r#""credsStore": "test""#, r#""credsStore": "missing""#] {
        let (from, to) = (with(Auth::Basic), Registry::start());
        from.add("a", "v", &made);
        let stored = format!(
            r#"{{{keeper}, "auths": {{"{}": {{"username": "me", "password": "secret"}}}}}}"#,
            from.host()
        );
        let cx = builder()
            .auth_file(file(&stored))
            .helpers(program.helpers())
            .build();
        copy(&cx, &from.reference("a", "v"), &to.reference("a", "v")).unwrap();
    }
    assert_eq!(program.asked().len(), 1);
    // Helpers in registries.conf come before, between or after the files.
    let (from, to) = (with(Auth::Basic), Registry::start());
    from.add("a", "v", &made);
    let registries =
        Registries::parse("credential-helpers = ['test', 'containers-auth.json']").unwrap();
    let stored = format!(
        r#"{{"auths": {{"{}": {{"username": "me", "password": "secret"}}}}}}"#,
        from.host()
    );
    let cx = builder()
        .auth_file(file(&stored))
        .helpers(program.helpers())
        .registries(registries)
        .build();
    copy(&cx, &from.reference("a", "v"), &to.reference("a", "v")).unwrap();
    assert_eq!(program.asked().len(), 2);
}

#[test]
fn a_helper_that_fails_is_an_error() {
    let cases: [(&str, ErrorKind, &[&str]); 5] = [
        (
            "echo 'the keyring is locked' >&2; exit 3",
            ErrorKind::Unauthorized,
            &["the keyring is locked", "exit status: 3"],
        ),
        (
            "echo 'no such session'; exit 1",
            ErrorKind::Unauthorized,
            &["no such session"],
        ),
        (
            "echo '{\"Secret\": \"hunter2\"}'; exit 1",
            ErrorKind::Unauthorized,
            &[],
        ),
        (
            "echo 'hunter2'",
            ErrorKind::Malformed,
            &["something else than JSON"],
        ),
        ("exec sleep 600", ErrorKind::Io, &["has not answered"]),
    ];
    for (script, kind, words) in cases {
        let program = Program::new(script);
        let mut helpers = program.helpers();
        if script.contains("sleep") {
            helpers.patience = Duration::from_millis(300);
        }
        let failed = helper::get(&helpers, "test", "a.org").map_err(libimage::Error::from);
        let text = format!("{failed:?}");
        assert!(!text.contains("hunter2"), "a secret is shown: {text}");
        assert_fails(failed, kind, words);

        // In a transfer it is told, not taken for an image that is not there.
        let (from, to) = (with(Auth::Bearer), Registry::start());
        let assigned = format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, from.host());
        let cx = builder()
            .auth_file(file(&assigned))
            .helpers(helpers)
            .build();
        assert_fails(
            copy(&cx, &from.reference("a", "v"), &to.reference("a", "v")),
            kind,
            words,
        );
    }
    let program = Program::new(RIGHT);
    for name in ["", "../test", "test;id", "a/b", "te st", "test\n"] {
        let failed = helper::get(&program.helpers(), name, "a.org").map_err(libimage::Error::from);
        assert_fails(
            failed,
            ErrorKind::Malformed,
            &["no name of a credential helper"],
        );
    }
    let missing = helper::get(
        &Helpers::in_path(Path::new("/nonexistent:.").as_os_str()),
        "test",
        "a.org",
    );
    assert_fails(
        missing.map_err(libimage::Error::from),
        ErrorKind::Io,
        &["docker-credential-test is not installed"],
    );
    assert_eq!(program.asked(), Vec::<String>::new());
}

#[test]
fn helpers_store_list_and_erase() {
    let program = Program::new(
        r#"case $1 in
           list) printf '{"https://index.docker.io/v1/": "me"}';;
           get) [ "$server" = docker.io ] && printf '{"Username":"<token>","Secret":"t"}' || { echo 'credentials not found in native keychain'; exit 1; };;
        esac"#,
    );
    let helpers = program.helpers();
    helper::store(&helpers, "test", "docker.io", &basic("me", "secret")).unwrap();
    helper::erase(&helpers, "test", "a.org:5000").unwrap();
    assert_eq!(
        program.asked(),
        [
            r#"store {"ServerURL":"https://index.docker.io/v1/","Username":"me","Secret":"secret"}"#,
            "erase a.org:5000"
        ]
    );
    assert_eq!(
        helper::list(&helpers, "test").unwrap()["https://index.docker.io/v1/"],
        "me"
    );
    let found = helper::get(&helpers, "test", "docker.io").unwrap();
    assert_eq!(
        found,
        Some(Credentials::Identity(Secret::new("t"))),
        "docker's name for it, then ours"
    );
}

#[test]
fn a_registry_checks_credentials_before_they_are_stored() {
    for scheme in [Auth::Basic, Auth::Bearer] {
        let registry = with(scheme);
        for (password, fine) in [("secret", true), ("wrong", false)] {
            let cx = builder()
                .credentials(Side::Destination, basic("me", password))
                .build();
            let client = Client::of_host(&cx, Side::Destination, &registry.host()).unwrap();
            let asked = block(client.login());
            assert_eq!(asked.is_ok(), fine, "{asked:?}");
            assert!(asked.is_err() || asked.is_ok_and(|asked| asked));
        }
    }
    let open = Registry::start();
    let client = Client::of_host(&cx(), Side::Destination, &open.host()).unwrap();
    assert!(
        !block(client.login()).unwrap(),
        "it did not want to see any"
    );
}

#[test]
fn settings_that_change_are_not_served_from_what_is_kept() {
    let (from, to) = (with(Auth::Bearer), Registry::start());
    from.add("a", "v", &ImageMaker::new().make());
    let cx = builder()
        .credentials(Side::Source, basic("me", "secret"))
        .build();
    copy(&cx, &from.reference("a", "v"), &to.reference("a", "v")).unwrap();
    let anonymous = cx
        .to_builder()
        .credentials(Side::Source, Credentials::Anonymous)
        .build();
    assert_fails(
        copy(
            &anonymous,
            &from.reference("a", "v"),
            &to.reference("b", "v"),
        ),
        ErrorKind::Unauthorized,
        &["none were given"],
    );
    assert_eq!(image(&from.reference("a", "v")).transport(), "docker");
}
