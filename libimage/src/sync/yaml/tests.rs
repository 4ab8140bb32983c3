//! Files as people write them, and as they should not.

use super::*;

fn below(prefix: &str) -> SyncTarget {
    SyncTarget::Below {
        place: Place::Registry(prefix.to_owned()),
        scoped: false,
    }
}

fn read(yaml: &str) -> Result<SyncPlan, SyncError> {
    read_plan("sync.yml", yaml, Some(&below("mirror.example.com")))
}

#[track_caller]
fn fails(yaml: &str, at: &str, words: &[&str]) {
    let message = read(yaml)
        .map(drop)
        .expect_err("it makes no sense")
        .to_string();
    assert!(message.starts_with(&format!("sync.yml:{at}")), "{message}");
    for word in words {
        assert!(message.contains(word), "{word} is not in {message}");
    }
}

/// The shape of the example in skopeo's manual page.
const SKOPEO: &str = r#"
registry.example.com:
    images:
        busybox: []
        redis:
            - "1.0"
            - 2.10
            - "sha256:0000000000000000000000000000000011111111111111111111111111111111"
        empty:
    images-by-tag-regex:
        nginx: ^1\.13\.[12]-alpine-perl$
    images-by-semver:
        alpine: ">= 3.12.0"
    credentials:
        username: john
        password: this is a secret
    tls-verify: true
    cert-dir: /home/john/certs
x-notes: [whatever, {a: b}]
quay.io:
    tls-verify: false
    images:
        coreos/etcd:
            - latest
nothing.example.com:
"#;

#[test]
fn skopeos_file_is_read_as_it_is() {
    let plan = read(SKOPEO).unwrap();
    let found: Vec<(String, String, bool)> = plan
        .entries
        .iter()
        .map(|entry| {
            let named: Vec<String> = entry
                .selection
                .named()
                .iter()
                .map(ToString::to_string)
                .collect();
            (
                entry.source.to_string(),
                named.join(" "),
                entry.selection.needs_list(),
            )
        })
        .collect();
    let digest = "sha256:0000000000000000000000000000000011111111111111111111111111111111";
    let expected = [
        ("docker://registry.example.com/busybox", String::new(), true),
        (
            "docker://registry.example.com/redis",
            format!("1.0 2.10 {digest}"),
            false,
        ),
        ("docker://registry.example.com/empty", String::new(), true),
        ("docker://registry.example.com/nginx", String::new(), true),
        ("docker://registry.example.com/alpine", String::new(), true),
        ("docker://quay.io/coreos/etcd", "latest".to_owned(), false),
    ];
    let expected: Vec<_> = expected
        .map(|(source, named, list)| (source.to_owned(), named, list))
        .into();
    assert_eq!(found, expected);
    let access = &plan.entries[0].access;
    assert_eq!(
        access.credentials,
        Credentials::parse("john:this is a secret")
    );
    assert_eq!(
        (access.tls_verify, access.cert_dir.as_deref()),
        (Some(true), Some("/home/john/certs".as_ref()))
    );
    assert_eq!(plan.entries[5].access.tls_verify, Some(false));
    assert_eq!(
        plan.entries[3]
            .selection
            .regex
            .as_ref()
            .unwrap()
            .to_string(),
        r"/^1\.13\.[12]-alpine-perl$/"
    );
    assert_eq!(
        plan.entries[4]
            .selection
            .range
            .as_ref()
            .unwrap()
            .to_string(),
        ">= 3.12.0"
    );
    assert!(
        plan.entries
            .iter()
            .all(|entry| entry.target == below("mirror.example.com"))
    );
}

#[test]
fn our_own_file_says_more() {
    let plan = read(
        r#"
version: 1
x-stable: &stable ["*-rc*", /beta/]
registries:
  registry.example.com: {tls-verify: false}
sync:
  - source: docker://registry.example.com/team/app
    target: docker://mirror.example.com/apps/app
    tags: [1.0, "2.0"]
    digests: [sha256:0000000000000000000000000000000011111111111111111111111111111111]
    tag-regex: ^v
    semver: ">=1.2 <2"
    allow: ["v1.*"]
    deny: *stable
    newest: 5
    newest-by: created
    platforms: [linux/amd64, linux/arm64/v8]
    suffix: -mirror
  - source: docker://other.example.com
    repositories: ["team/*"]
    into: dir:/srv/images
    scoped: true
  - source: debian:12
    scoped: true
  - source: oci:/srv/layouts
"#,
    )
    .unwrap();
    let [app, all, debian, layouts] = &plan.entries[..] else {
        panic!("four entries")
    };
    assert_eq!(
        app.target,
        SyncTarget::Repository("mirror.example.com/apps/app".parse().unwrap())
    );
    assert_eq!(app.selection.tags, ["1.0", "2.0"]);
    assert_eq!(app.selection.digests.len(), 1);
    assert_eq!(
        app.selection
            .deny
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["*-rc*", "/beta/"]
    );
    assert_eq!(
        app.selection.newest,
        Some(Newest {
            count: 5,
            age: Age::Created
        })
    );
    assert_eq!(
        (
            app.platforms.len(),
            app.suffix.as_str(),
            app.access.tls_verify
        ),
        (2, "-mirror", Some(false))
    );
    assert_eq!(
        all.source,
        SyncSource::Registry {
            host: "other.example.com".into(),
            repositories: vec!["team/*".parse().unwrap()]
        }
    );
    assert_eq!(
        all.target,
        SyncTarget::Below {
            place: Place::Dirs("/srv/images".into()),
            scoped: true
        }
    );
    assert_eq!(
        debian.source.to_string(),
        "docker://docker.io/library/debian"
    );
    assert_eq!(debian.selection.tags, ["12"]);
    let scoped = SyncTarget::Below {
        place: Place::Registry("mirror.example.com".into()),
        scoped: true,
    };
    assert_eq!(debian.target, scoped);
    assert_eq!(layouts.source, SyncSource::Layouts("/srv/layouts".into()));
}

#[test]
fn mistakes_are_named_with_line_and_key() {
    fails(
        "a.example.com:\n  images:\n    Redis: []\n",
        "3:5: ",
        &["Redis", "lower-case"],
    );
    fails(
        "a.example.com:\n  images:\n    redis:1: []\n",
        "3:5: ",
        &["redis:1", "without a tag"],
    );
    fails(
        "a.example.com:\n  images:\n    redis:\n    - 'a b'\n",
        "4:7: ",
        &["redis", "a b"],
    );
    fails(
        "a.example.com:\n  images-by-semver:\n    redis: newest\n",
        "3:12: ",
        &["redis", "newest"],
    );
    fails(
        "a.example.com:\n  images-by-tag-regex:\n    redis: '('\n",
        "3:12: ",
        &["redis"],
    );
    fails(
        "a.example.com:\n  image:\n    redis: []\n",
        "2:3: ",
        &["image", "images"],
    );
    fails(
        "a.example.com:\n  credentials: {username: x, passwort: y}\n",
        "2:",
        &["passwort"],
    );
    fails("version: 2\nsync: []\n", "1:10: ", &["version"]);
    fails("version: 1\nsink: []\n", "2:1: ", &["sink"]);
    fails(
        "version: 1\nsync:\n- source: docker://a.example.com/x\n  semver: latest\n",
        "4:11: ",
        &["semver"],
    );
    fails(
        "version: 1\nsync:\n- source: a\n  target: b\n  into: dir:c\n",
        "4:11: ",
        &["target"],
    );
    fails(
        "version: 1\nsync:\n- source: a\n  newest-by: size\n",
        "4:14: ",
        &["newest-by"],
    );
    fails("version: 1\nsync:\n- source: ''\n", "3:11: ", &["source"]);
    fails("version: 1\nsync:\n- {}\n", "3:", &["source"]);
    fails("a: [1\n", "", &[]);
    fails("- a\n", "1:1: ", &["map"]);
    let none = read_plan("sync.yml", SKOPEO, None).unwrap_err();
    assert!(matches!(none, SyncError::NoTarget { .. }), "{none}");
}

#[test]
fn messages_do_not_show_secrets() {
    for yaml in [
        "a.example.com:\n  credentials: {username: me, password: [hunter2]}\n",
        "a.example.com:\n  credentials: {username: me, password: hunter2, x: 1}\n",
        "a.example.com:\n  credentials: {username: me, password: hunter2\n",
        "a.example.com:\n  credentials: hunter2\n",
    ] {
        let message = format!("{:?}", read(yaml).unwrap_err());
        assert!(!message.contains("hunter2"), "{message}");
    }
    let plan = format!("{:?}", read(SKOPEO).unwrap());
    assert!(!plan.contains("this is a secret"), "{plan}");
}

#[test]
fn hostile_files_are_refused_soon() {
    let deep = format!("{}x{}", "[".repeat(1000), "]".repeat(1000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let many = "a.example.com:\n  images:\n".to_owned() + &"    r: []\n".repeat(300_000);
    let documents = "version: 1\nsync: []\n---\nversion: 1\n".to_owned();
    for yaml in [
        deep,
        bomb.to_owned(),
        many,
        documents,
        "\0".to_owned(),
        "x".repeat(FILE_BYTES + 1),
    ] {
        let error = read(&yaml).expect_err("it is refused");
        assert!(error.to_string().len() < 1000, "{error}");
    }
    assert!(read("").is_err() || read("").unwrap().entries.is_empty());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9:\\-\\[\\]{}&* \n'\"|>]{0,80}") {
        drop(read(&text));
        drop(read(&format!("version: 1\nsync:\n{text}")));
    }
}
