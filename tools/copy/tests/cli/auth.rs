//! Credentials: where they come from, and where they go.

use crate::tool::{Home, assert_holds};
use trimaran_testkit::{Auth, Fault, ImageMaker, Registry, Rule};

const RIGHT: &str = "user:se:cret";

fn basic() -> Registry {
    Registry::with_auth(Auth::Basic("user".into(), "se:cret".into()))
}

fn bearer() -> Registry {
    Registry::with_auth(Auth::Bearer("user".into(), "se:cret".into()))
}

#[test]
fn basic_and_bearer_at_both_ends() {
    let home = Home::new();
    let image = ImageMaker::sample().make();
    for (from, to) in [(basic(), bearer()), (bearer(), basic())] {
        from.add("a", "v", &image);
        let digest = home.copy(
            &["--src-creds", RIGHT, "--dest-creds", RIGHT],
            &from.reference("a", "v"),
            &to.reference("b", "v"),
        );
        assert_eq!(digest, trimaran_testkit::Content::digest(&image));
        assert_holds(&to, "b", "v", &image);
    }
}

#[test]
fn one_registry_with_tokens_mounts_between_its_repositories() {
    let home = Home::new();
    let registry = bearer();
    let image = ImageMaker::sample().make();
    registry.add("a", "v", &image);
    home.copy(
        &["--src-creds", RIGHT, "--dest-creds", RIGHT],
        &registry.reference("a", "v"),
        &registry.reference("b", "v"),
    );
    assert_holds(&registry, "b", "v", &image);
    assert_eq!(registry.count("PUT", "*/blobs/*"), 0);
}

#[test]
fn public_images_need_a_token_but_no_password() {
    let home = Home::new();
    let registry = Registry::with_auth(Auth::BearerAnonymous);
    let image = ImageMaker::sample().make();
    registry.add("a", "v", &image);
    home.copy(&[], &registry.reference("a", "v"), &home.layout("to", "v"));
    let tokens = registry.count("GET", "/token");
    assert!(tokens <= 2, "{tokens} tokens for one repository");
    let refused = home.fail(
        &["--retry-times", "0"],
        &home.layout("to", "v"),
        &registry.reference("b", "v"),
    );
    assert!(refused.contains(&registry.host()), "{refused}");
}

#[test]
fn wrong_and_missing_passwords_are_told() {
    let home = Home::new();
    let image = ImageMaker::sample().make();
    for registry in [basic(), bearer()] {
        registry.add("a", "v", &image);
        for flags in [&["--src-creds", "user:wrong"][..], &[]] {
            let message = home.fail(
                flags,
                &registry.reference("a", "v"),
                &home.layout("to", "v"),
            );
            assert!(
                message.contains("hint: ") && message.contains(&registry.host()),
                "{message}"
            );
            assert!(
                !message.contains("wrong"),
                "a password is in the message: {message}"
            );
        }
        // A refusal is no accident: it is not tried again and again.
        assert!(registry.requests().len() <= 8, "{:#?}", registry.requests());
    }
}

#[test]
fn credentials_are_found_in_files() {
    let home = Home::new();
    let image = ImageMaker::sample().make();
    let registry = bearer();
    registry.add("team/a", "v", &image);
    // "user:se:cret"
    let auth = "dXNlcjpzZTpjcmV0";
    let file = |key: &str| format!(r#"{{"auths": {{"{key}": {{"auth": "{auth}"}}}}}}"#);
    let from = registry.reference("team/a", "v");

    let named = home.path("named.json");
    std::fs::write(&named, file(&registry.host())).unwrap();
    home.copy(
        &["--authfile", named.to_str().unwrap()],
        &from,
        &home.layout("1", "v"),
    );

    std::fs::write(
        home.path(".config/containers/auth.json"),
        file(&format!("{}/team", registry.host())),
    )
    .unwrap();
    home.copy(&[], &from, &home.layout("2", "v"));

    std::fs::write(&named, file("elsewhere.example")).unwrap();
    home.fail(
        &["--authfile", named.to_str().unwrap()],
        &from,
        &home.layout("3", "v"),
    );
    std::fs::write(&named, "{").unwrap();
    let broken = home.fail(
        &["--authfile", named.to_str().unwrap()],
        &from,
        &home.layout("3", "v"),
    );
    assert!(broken.contains("named.json"), "{broken}");
    let missing = home.fail(
        &["--authfile", "/nonexistent/auth.json"],
        &from,
        &home.layout("3", "v"),
    );
    assert!(missing.contains("/nonexistent/auth.json"), "{missing}");
}

#[test]
fn credentials_stay_with_their_registry() {
    let home = Home::new();
    let image = ImageMaker::sample().make();
    let (front, storage) = (basic(), Registry::start());
    front.add("a", "v", &image);
    storage.add("a", "v", &image);
    front
        .fault(Rule::get("*/blobs/*").fault(Fault::Redirect(format!("http://{}", storage.host()))));
    home.copy(
        &["--src-creds", RIGHT],
        &front.reference("a", "v"),
        &home.layout("to", "v"),
    );
    let seen = storage.requests();
    assert_eq!(seen.len(), 4);
    assert!(
        seen.iter().all(|request| request.authorization.is_none()),
        "{seen:#?}"
    );

    // An upload location elsewhere is not given them either.
    let target = basic();
    let elsewhere = format!("http://{}/v2/b/blobs/uploads/x", storage.host());
    target.fault(
        Rule::method("POST", "*/blobs/uploads/").fault(Fault::Header("Location".into(), elsewhere)),
    );
    storage.forget_requests();
    home.fail(
        &["--dest-creds", RIGHT, "--retry-times", "0"],
        &home.layout("to", "v"),
        &target.reference("b", "v"),
    );
    assert!(
        storage
            .requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
}

/// A body that was streamed is gone when the refusal comes: the upload is then repeated as one that failed is.
#[test]
fn a_token_that_expires_is_renewed() {
    let home = Home::new();
    let image = ImageMaker::sample().make();
    for number in 1..=4 {
        let (from, to) = (bearer(), bearer());
        from.add("a", "v", &image);
        from.fault(
            Rule::get("*/blobs/*")
                .nth(number)
                .fault(Fault::ExpireTokens),
        );
        to.fault(
            Rule::method("PUT", "*/blobs/uploads/*")
                .nth(number)
                .fault(Fault::ExpireTokens),
        );
        let flags = ["--src-creds", RIGHT, "--dest-creds", RIGHT];
        home.copy(&flags, &from.reference("a", "v"), &to.reference("b", "v"));
        assert_holds(&to, "b", "v", &image);
        assert!(from.count("GET", "/token") >= 2, "{:#?}", from.requests());
    }
}
