//! Who may what: passwords, tokens, and to whom they are shown.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use libimage::{
    ErrorKind,
    config::{AuthFile, Credentials},
    context::Side,
    progress::{Event, Progress},
};
use trimaran_testkit::{Auth, Fault, ImageMaker, Packing, Registry, Rule, image::noise};

use crate::net::{assert_fails, assert_holds, basic, builder, copy, cx};

fn user(auth: fn(String, String) -> Auth) -> Auth {
    auth("me".to_owned(), "secret".to_owned())
}

#[test]
fn both_schemes_let_the_right_password_through() {
    for scheme in [Auth::Basic, Auth::Bearer] {
        let made = ImageMaker::sample().make();
        let (from, to) = (
            Registry::with_auth(user(scheme)),
            Registry::with_auth(user(scheme)),
        );
        from.add("a/image", "latest", &made);
        let cx = builder()
            .credentials(Side::Source, basic("me", "secret"))
            .credentials(Side::Destination, basic("me", "secret"))
            .build();
        copy(
            &cx,
            &from.reference("a/image", "latest"),
            &to.reference("b/image", "latest"),
        )
        .unwrap();
        assert_holds(&to, "b/image", "latest", &made);
        assert!(
            from.count("*", "/token*") <= 1 && to.count("*", "/token*") <= 2,
            "a token for each scope: {:?}",
            to.requests()
        );
    }
}

#[test]
fn a_wrong_password_says_so() {
    for scheme in [Auth::Basic, Auth::Bearer] {
        let made = ImageMaker::new().make();
        let (locked, open) = (Registry::with_auth(user(scheme)), Registry::start());
        for registry in [&locked, &open] {
            registry.add("image", "latest", &made);
        }
        let (there, here) = (
            locked.reference("image", "latest"),
            open.reference("image", "latest"),
        );
        for side in [Side::Source, Side::Destination] {
            let cx = builder().credentials(side, basic("me", "wrong")).build();
            let result = if side == Side::Source {
                copy(&cx, &there, &here)
            } else {
                copy(&cx, &here, &there)
            };
            assert_fails(
                result,
                ErrorKind::Unauthorized,
                &[&locked.host(), "\"me\"", "password"],
            );
        }
        assert_fails(
            copy(&cx(), &there, &here),
            ErrorKind::Unauthorized,
            &[&locked.host(), "credentials"],
        );
        let asked = locked.requests().len();
        assert!(
            asked < 20,
            "a refused password is not tried again and again: {asked} requests"
        );
    }
}

#[test]
fn anybody_may_read_where_tokens_are_free() {
    let made = ImageMaker::sample().make();
    let (from, to) = (
        Registry::with_auth(Auth::BearerAnonymous),
        Registry::start(),
    );
    from.add("image", "latest", &made);
    copy(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &made);
}

#[test]
fn a_download_and_an_upload_survive_one_forgotten_token() {
    let made = ImageMaker::new()
        .tar_layer(&noise(200_000), Packing::Plain)
        .tar_layer(&noise(100_000), Packing::Plain)
        .make();
    struct Once(Arc<Registry>, AtomicBool);
    impl Progress for Once {
        fn event(&self, event: &Event<'_>) {
            if matches!(event, Event::Started { .. }) && !self.1.swap(true, Ordering::Relaxed) {
                self.0.expire_tokens();
            }
        }
    }
    for forgetting in 0..2 {
        let ends = [(); 2].map(|()| Arc::new(Registry::with_auth(user(Auth::Bearer))));
        ends[0].add("image", "latest", &made);
        let cx = builder()
            .credentials(Side::Source, basic("me", "secret"))
            .credentials(Side::Destination, basic("me", "secret"))
            .progress(Arc::new(Once(
                Arc::clone(&ends[forgetting]),
                AtomicBool::new(false),
            )))
            .build();
        copy(
            &cx,
            &ends[0].reference("image", "latest"),
            &ends[1].reference("image", "latest"),
        )
        .unwrap();
        assert_holds(&ends[1], "image", "latest", &made);
        assert!(
            ends[forgetting]
                .requests()
                .iter()
                .filter(|request| request.status == 401)
                .count()
                >= 2,
            "the first, and the forgotten one"
        );
        assert_eq!(ends[1].open_uploads(), 0);
    }
}

#[test]
fn mounting_asks_for_both_repositories() {
    let made = ImageMaker::sample().make();
    let registry = Registry::with_auth(user(Auth::Bearer));
    registry.add("a", "latest", &made);
    let cx = builder()
        .credentials(Side::Source, basic("me", "secret"))
        .credentials(Side::Destination, basic("me", "secret"))
        .build();
    let report = copy(
        &cx,
        &registry.reference("a", "latest"),
        &registry.reference("b", "latest"),
    )
    .unwrap();
    assert_eq!(report.mounted, 4, "{:?}", registry.requests());
    assert_holds(&registry, "b", "latest", &made);
}

#[test]
fn files_are_asked_by_the_longest_path() {
    let made = ImageMaker::new().make();
    let (from, to) = (Registry::with_auth(user(Auth::Basic)), Registry::start());
    from.add("team/image", "latest", &made);
    let encoded = |text: &str| trimaran_base64(text);
    let file = format!(
        r#"{{"auths": {{"{0}": {{"auth": "{1}"}}, "{0}/team": {{"auth": "{2}"}}}}}}"#,
        from.host(),
        encoded("me:wrong"),
        encoded("me:secret")
    );
    let cx = builder().auth_file(AuthFile::parse(&file).unwrap()).build();
    copy(
        &cx,
        &from.reference("team/image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    let refused = builder()
        .auth_file(AuthFile::parse(&file).unwrap())
        .credentials(Side::Source, Credentials::Anonymous)
        .build();
    assert_fails(
        copy(
            &refused,
            &from.reference("team/image", "latest"),
            &to.reference("image", "two"),
        ),
        ErrorKind::Unauthorized,
        &[],
    );
}

/// `me:wrong` and the like; the crate under test has its own decoder.
fn trimaran_base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63] as char;
            out.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    out
}

#[test]
fn credentials_are_shown_to_no_other_server() {
    let made = ImageMaker::new().make();
    let hostile = Registry::start();
    for realm in [
        // Another address, not a name: a registry that wants to reach into its user's network.
        "http://127.0.0.2:1/token".to_owned(),
        "ftp://example.org/token".to_owned(),
        "http://user:word@example.org/token".to_owned(),
        "nonsense".to_owned(),
    ] {
        let from = Registry::with_auth(user(Auth::Bearer));
        from.add("image", "latest", &made);
        from.fault(Rule::any("/v2/*").fault(Fault::Header(
            "WWW-Authenticate".into(),
            format!("Bearer realm=\"{realm}\""),
        )));
        let cx = builder()
            .credentials(Side::Source, basic("me", "secret"))
            .build();
        assert_fails(
            copy(
                &cx,
                &from.reference("image", "latest"),
                &hostile.reference("image", "latest"),
            ),
            ErrorKind::Denied,
            &[&realm],
        );
    }
    assert!(
        hostile
            .requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
}
