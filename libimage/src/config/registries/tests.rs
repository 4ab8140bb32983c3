//! Tables of the manual page, and texts nobody would write.

use proptest::prelude::*;

use super::*;
use crate::name::{ImageRef, Name};

/// The manual page's example, and more.
const FILE: &str = r#"
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
location = "internal-registry-for-example.com/bar"
[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"
[[registry.mirror]]
location = "mirror.registry.com"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.registry.com"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "registry.com/bad"
blocked = true

[[registry]]
prefix = "*.wild.com"
insecure = true

[[registry]]
prefix = "*.moved.com"
location = "here.net/there"

[[registry]]
prefix = "docker.io"
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.gcr.io"

[[registry]]
prefix = "pinned.org/a:1"
location = "elsewhere.org/b:2"

[[registry]]
prefix = "nonsense.org"
location = "nohost/x"
[[registry.mirror]]
location = "nohost"
"#;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn endpoints(registries: &Registries, name: &str) -> Vec<String> {
    let place = registries.place(&name.parse().unwrap()).unwrap();
    let all = place.mirrors.iter().chain([&place.location]);
    all.map(|endpoint| {
        let mark = if endpoint.insecure { " insecure" } else { "" };
        format!("{}{mark}", endpoint.name)
    })
    .collect()
}

#[test]
fn the_longest_prefix_decides_where_an_image_is() {
    let registries = Registries::parse(FILE).unwrap();
    let by_digest = format!("registry.com/image@{DIGEST}");
    let moved_digest = format!("mirror.registry.com/image@{DIGEST}");
    let hub = format!("debian@{DIGEST}");
    let (hub_mirror, hub_itself) = (
        format!("mirror.gcr.io/library/{hub}"),
        format!("docker.io/library/{hub}"),
    );
    let cases: &[(&str, &[&str])] = &[
        (
            "example.com/foo/image:latest",
            &[
                "example-mirror-0.local/mirror-for-foo/image:latest",
                "example-mirror-1.local/mirrors/foo/image:latest insecure",
                "internal-registry-for-example.com/bar/image:latest",
            ],
        ),
        (
            "example.com/foobar/image:1",
            &["example.com/foobar/image:1"],
        ),
        ("example.com/image:1", &["example.com/image:1"]),
        (
            "registry.com/image:1",
            &["tags.registry.com/image:1", "registry.com/image:1"],
        ),
        (&by_digest, &[&moved_digest, &by_digest]),
        ("registry.com:5000/image:1", &["registry.com:5000/image:1"]),
        (
            "registry.com/badly/x:1",
            &["tags.registry.com/badly/x:1", "registry.com/badly/x:1"],
        ),
        ("a.b.wild.com/x:1", &["a.b.wild.com/x:1 insecure"]),
        ("a.wild.com:5000/x:1", &["a.wild.com:5000/x:1 insecure"]),
        ("wild.com/x:1", &["wild.com/x:1"]),
        ("a.wild.com.evil.org/x:1", &["a.wild.com.evil.org/x:1"]),
        ("evil.org/a.wild.com/x:1", &["evil.org/a.wild.com/x:1"]),
        ("a.moved.com/x:1", &["here.net/there/x:1"]),
        ("a.moved.com:5000/x:1", &["here.net/there/x:1"]),
        ("debian:12", &["docker.io/library/debian:12"]),
        (&hub, &[&hub_mirror, &hub_itself]),
        ("pinned.org/a:1", &["elsewhere.org/b:2"]),
        ("pinned.org/a:12", &["pinned.org/a:12"]),
    ];
    for (name, expected) in cases {
        assert_eq!(endpoints(&registries, name), *expected, "{name}");
    }
}

#[test]
fn what_is_blocked_or_leads_nowhere_is_refused() {
    let registries = Registries::parse(FILE).unwrap();
    for name in ["registry.com/bad:1", "registry.com/bad/image:1"] {
        let error = registries.place(&name.parse().unwrap()).unwrap_err();
        assert!(
            matches!(&error, PlaceError::Blocked { prefix, .. } if prefix == "registry.com/bad"),
            "{error}"
        );
    }
    let error = registries
        .place(&"nonsense.org/a:1".parse().unwrap())
        .unwrap_err();
    assert!(
        matches!(error, PlaceError::Moved { .. }),
        "never docker.io/nohost: {error}"
    );
}

#[test]
fn drop_ins_prevail() {
    let registries = Registries::parse(FILE)
        .unwrap()
        .with("unqualified-search-registries = []\n[[registry]]\nprefix = 'example.com/foo'\nlocation = 'example.com/foo'\nblocked = true\n[aliases]\na = 'a.org/a'\nb = 'b.org/b'")
        .unwrap()
        .with("[aliases]\na = ''\nb = 'c.org/b'")
        .unwrap();
    assert!(
        registries
            .place(&"example.com/foo:1".parse().unwrap())
            .is_err()
    );
    assert_eq!(
        names(&registries, "a").unwrap(),
        ["docker.io/library/a:latest"]
    );
    assert_eq!(names(&registries, "b:2").unwrap(), ["c.org/b:2"]);
}

fn names(registries: &Registries, bare: &str) -> Result<Vec<String>, ShortNameError> {
    let found = registries.candidates(&ImageRef::Bare(bare.to_owned()))?;
    Ok(found
        .iter()
        .map(|image| image.to_string().replace("docker://", ""))
        .collect())
}

#[test]
fn short_names_mean_an_alias_or_the_registries_searched() {
    let none = Registries::default();
    let aliases = "[aliases]\n'debian' = 'docker.io/library/debian'\n'team/app' = 'quay.io/team/application'\n";
    let one = Registries::parse(&format!(
        "unqualified-search-registries = ['a.org']\n{aliases}"
    ))
    .unwrap();
    let two = |mode: &str| {
        let text = format!(
            "unqualified-search-registries = ['a.org', 'b.org:5000']\nshort-name-mode = '{mode}'\n{aliases}"
        );
        Registries::parse(&text).unwrap()
    };
    let by_digest = format!("team/app@{DIGEST}");
    let resolved = format!("quay.io/team/application@{DIGEST}");
    let cases: &[(&Registries, &str, &[&str])] = &[
        (&none, "debian", &["docker.io/library/debian:latest"]),
        (&none, "team/app:1", &["docker.io/team/app:1"]),
        (&one, "debian:12", &["docker.io/library/debian:12"]),
        (&one, &by_digest, &[&resolved]),
        (&one, "app", &["a.org/app:latest"]),
        (&one, "team/other", &["a.org/team/other:latest"]),
        (&one, "c.org/app", &["c.org/app:latest"]),
        (&one, "localhost/app", &["localhost/app:latest"]),
        (&one, "localhost:5000/app", &["localhost:5000/app:latest"]),
        (
            &two("permissive"),
            "app",
            &["a.org/app:latest", "b.org:5000/app:latest"],
        ),
        (
            &two("disabled"),
            "app:1",
            &["a.org/app:1", "b.org:5000/app:1"],
        ),
        (
            &two("enforcing"),
            "debian",
            &["docker.io/library/debian:latest"],
        ),
    ];
    for (registries, bare, expected) in cases {
        assert_eq!(names(registries, bare).unwrap(), *expected, "{bare}");
    }
    for mode in ["enforcing", ""] {
        let error = names(&two(mode), "app").unwrap_err().to_string();
        assert!(
            error.contains("a.org/app:latest, b.org:5000/app:latest"),
            "{error}"
        );
    }
}

#[test]
fn mistakes_in_a_file_are_named() {
    let cases = [
        (
            "[[registry]]\ninsecure = true",
            "neither prefix nor location",
        ),
        (
            "[[registry]]\nprefix = 'a.*.com'\nlocation='x.org'",
            "a.*.com",
        ),
        ("[[registry]]\nprefix = '*.a.com/x'", "*.a.com/x"),
        ("[[registry]]\nprefix = '*.a.com:5000'", "*.a.com:5000"),
        ("[[registry]]\nlocation = 'https://a.org'", "https://a.org"),
        (
            "[[registry]]\nlocation = 'a.org'\n[[registry.mirror]]\ninsecure=true",
            "mirror has no location",
        ),
        (
            "[[registry]]\nlocation='a.org'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='b.org'\npull-from-mirror='all'",
            "mirror-by-digest-only",
        ),
        (
            "[[registry]]\nlocation='a.org'\n[[registry.mirror]]\nlocation='b.org'\npull-from-mirror='often'",
            "often",
        ),
        ("short-name-mode = 'asking'", "asking"),
        ("[aliases]\n'a.org/x' = 'b.org/x'", "a.org/x"),
        ("[aliases]\n'a:1' = 'b.org/x'", "a:1"),
        ("[aliases]\n'a' = 'b/x'", "b/x"),
        ("[aliases]\n'a' = 'b.org/x:1'", "b.org/x:1"),
        ("[registries.search]\nregistries = ['a.org']", "version 1"),
        ("x = ", "registries.conf"),
    ];
    for (text, expected) in cases {
        let error = Registries::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let unknown = "future = 1\n[[registry]]\nlocation='a.org'\nnew-key=true\n[[registry.mirror]]\nlocation='b.org'\nx=1";
    assert!(
        Registries::parse(unknown).is_ok(),
        "what newer versions add is ignored"
    );
    let large = "#".repeat(file::FILE_BYTES + 1);
    assert!(matches!(
        Registries::parse(&large),
        Err(RegistriesError::TooLarge)
    ));
}

/// Texts near the format: lines that mean something, in any order.
fn near() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("[[registry]]".to_owned()),
        Just("[[registry.mirror]]".to_owned()),
        Just("[aliases]".to_owned()),
        Just("unqualified-search-registries = ['a.org', 'b.org']".to_owned()),
        "(prefix|location|short-name-mode|pull-from-mirror|x) = '[a-z*./:@]{0,12}'",
        "(insecure|blocked|mirror-by-digest-only) = (true|false)",
        "'[a-z/]{1,6}' = '[a-z./]{0,9}'",
        ".*",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in prop_oneof![near(), "(?s).*"]) {
        if let Ok(registries) = Registries::parse(&text) {
            drop(registries.place(&"a.org/b/c:1".parse::<Name>().unwrap()));
            drop(registries.candidates(&ImageRef::Bare("app".to_owned())));
        }
    }

    /// Whatever is configured, an image is fetched from hosts that are configured, or from its own.
    #[test]
    fn an_image_goes_to_a_named_host_only(
        prefix in "[a-c]\\.org(/[a-b]){0,2}",
        location in "[a-e]\\.net(/[a-b]){0,2}",
        mirror in "[a-e]\\.com(/[a-b]){0,2}",
        name in "[a-c]\\.org(/[a-c]){1,3}:1",
    ) {
        let text = format!("[[registry]]\nprefix='{prefix}'\nlocation='{location}'\n[[registry.mirror]]\nlocation='{mirror}'");
        let registries = Registries::parse(&text).unwrap();
        let name: Name = name.parse().unwrap();
        let full = name.without_reference();
        let hit = full == prefix || full.starts_with(&format!("{prefix}/"));
        match registries.place(&name) {
            Ok(place) if hit => {
                let rest = &full[prefix.len()..];
                prop_assert_eq!(place.location.name.without_reference(), format!("{location}{rest}"));
                prop_assert_eq!(place.location.name.tag(), name.tag());
                let mirrored = format!("{mirror}{rest}");
                let right = |endpoint: &Endpoint| endpoint.name.without_reference() == mirrored;
                prop_assert!(place.mirrors.iter().all(right));
            }
            Ok(place) => {
                prop_assert_eq!(&place.location.name, &name);
                prop_assert!(place.mirrors.is_empty());
            }
            // A bare host is no name of an image.
            Err(error) => prop_assert!(matches!(error, PlaceError::Moved { .. }) && full == prefix, "{}", error),
        }
    }

    #[test]
    fn the_longer_prefix_wins(shorter in "a\\.org(/[a-b]){0,2}", more in "(/[a-b]){1,2}") {
        let longer = format!("{shorter}{more}");
        let text = format!("[[registry]]\nprefix='{shorter}'\nlocation='s.org/x'\n[[registry]]\nprefix='{longer}'\nlocation='l.org/x'");
        let place = Registries::parse(&text).unwrap().place(&format!("{longer}/i:1").parse().unwrap()).unwrap();
        prop_assert_eq!(place.location.name.registry(), "l.org");
    }
}
