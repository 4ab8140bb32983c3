//! Against Debian's registry, which is not ours: passwords, TLS, and images as other tools left them.

use crate::tool::{Home, PLAIN};
use trimaran_testkit::debian::Options;
use trimaran_testkit::{Content, DebianRegistry, ImageMaker, Index, Layout, Registry, skip};

const MISSING: &str = "needs docker-registry, htpasswd and openssl";
const RIGHT: &str = "user:secret";

fn start(password: bool, tls: bool) -> Option<DebianRegistry> {
    let user = password.then(|| ("user".to_owned(), "secret".to_owned()));
    DebianRegistry::start(&Options {
        user,
        tls,
        ..Options::default()
    })
}

#[test]
fn there_and_back_again() {
    let (Some(open), Some(closed)) = (start(false, false), start(true, false)) else {
        return skip(MISSING);
    };
    let home = Home::new();
    let index = Index::new(vec![
        ImageMaker::sample().make(),
        ImageMaker::sample().platform("linux", "s390x", None).make(),
    ]);
    let docker = ImageMaker::sample().docker().make();
    for (name, content) in [("index", &index as &dyn Content), ("docker", &docker)] {
        let from = home.made(name, "v", content);
        let (first, second) = (
            open.reference(name, "v"),
            closed.reference("team/copy", name),
        );
        let back = home.layout(&format!("{name}-back"), "v");
        let password = ["--dest-creds", RIGHT];
        assert_eq!(home.copy(&[], &from, &first), content.digest());
        assert_eq!(home.copy(&password, &first, &second), content.digest());
        assert_eq!(
            home.copy(&["--src-creds", RIGHT], &second, &back),
            content.digest()
        );
        crate::tool::assert_layout_holds(
            &Layout::open(&home.path(&format!("{name}-back"))),
            "v",
            content,
        );
        // Within one registry, and once more for nothing.
        let mounted = home
            .run(
                &[
                    &PLAIN[..],
                    &["--output", "json", &first, &open.reference("mounted", name)],
                ]
                .concat(),
            )
            .expect_code(0);
        let report: serde_json::Value = serde_json::from_str(&mounted.stdout).unwrap();
        assert_eq!(
            (&report["blobs"]["copied"], &report["digest"]),
            (&0.into(), &content.digest().into())
        );
        home.copy(&[], &first, &open.reference("mounted", name));
    }
    let tags = home
        .run(&[
            "list-tags",
            "--tls-verify=false",
            "--creds",
            RIGHT,
            &closed.reference("team/copy", "x"),
        ])
        .expect_code(0);
    assert_eq!(tags.stdout, "docker\nindex\n");
    let refused = home.fail(
        &["--dest-creds", "user:wrong"],
        &home.layout("docker", "v"),
        &closed.reference("a", "v"),
    );
    assert!(refused.contains("hint: "), "{refused}");
    let unknown = home.fail(
        &["--src-creds", RIGHT],
        &closed.reference("nobody", "v"),
        &home.layout("x", "v"),
    );
    assert!(unknown.contains("nobody:v"), "{unknown}");
}

#[test]
fn a_registry_that_cannot_prove_who_it_is() {
    let Some(registry) = start(true, true) else {
        return skip(MISSING);
    };
    let home = Home::new();
    let image = ImageMaker::sample().make();
    let from = home.made("from", "v", &image);
    let to = registry.reference("a", "v");
    let refused = home
        .run(&["--dest-creds", RIGHT, "--retry-times", "0", &from, &to])
        .expect_code(125);
    assert!(
        refused.stderr.to_lowercase().contains("certificate"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        home.copy(&["--dest-creds", RIGHT], &from, &to),
        image.digest()
    );
    // Verification is switched off for one end alone.
    let refused = home.run(&[
        "--dest-tls-verify=false",
        "--src-creds",
        RIGHT,
        "--retry-times",
        "0",
        &to,
        &home.layout("x", "v"),
    ]);
    refused.expect_code(125);
    let ours = Registry::start();
    home.copy(&["--src-creds", RIGHT], &to, &ours.reference("b", "v"));
}
