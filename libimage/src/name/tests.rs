//! The grammar of names, by table and by property.

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn names_are_normalised_as_docker_does() {
    let with_digest = format!("docker.io/library/debian@{DIGEST}");
    let both = format!("quay.io/a/b:v1@{DIGEST}");
    let cases = [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("me/app", "docker.io/me/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("REGISTRY/app", "REGISTRY/app:latest"),
        (
            "quay.io/a/b_c__d-e---f.g",
            "quay.io/a/b_c__d-e---f.g:latest",
        ),
        (&format!("debian@{DIGEST}"), &with_digest),
        (&both, &both),
    ];
    for (input, expected) in cases {
        assert_eq!(
            input
                .parse::<Name>()
                .map(|name| name.to_string())
                .as_deref(),
            Ok(expected),
            "{input}"
        );
    }
}

#[test]
fn the_digest_decides() {
    let name: Name = format!("debian:12@{DIGEST}").parse().unwrap();
    assert_eq!((name.tag(), name.reference()), (Some("12"), DIGEST));
    assert_eq!(
        name.with_tag("13").unwrap().to_string(),
        "docker.io/library/debian:13"
    );
    assert!(name.with_tag("no/tag").is_err());
}

#[test]
fn what_is_no_name_is_refused_with_a_reason() {
    let long = "a".repeat(256);
    let long_tag = format!("debian:{}", "t".repeat(129));
    let cases = [
        ("", "empty"),
        ("Debian", "lower-case"),
        ("docker.io/Me/app", "lower-case"),
        ("debian:", "tag"),
        ("debian:-x", "tag"),
        ("debian:a b", "tag"),
        ("debian@sha256:123", "digest"),
        ("debian@md5:d41d8cd98f00b204e9800998ecf8427e", "digest"),
        ("-debian", "repository"),
        ("a//b", "repository"),
        ("a/b/", "repository"),
        ("a..b", "repository"),
        ("a___b", "repository"),
        ("../etc/passwd", "registry"),
        ("exa mple.org/a", "registry"),
        ("host:port/a", "registry"),
        ("host:70000/a", "registry"),
        ("-host.org/a", "registry"),
        ("[::1/a", "registry"),
        (&long, "255"),
        (&long_tag, "128"),
        (&DIGEST[7..], "image id"),
    ];
    for (input, word) in cases {
        let error = input.parse::<Name>().expect_err(input);
        assert!(error.to_string().contains(word), "{input}: {error}");
        assert_eq!(error.kind(), crate::ErrorKind::InvalidReference);
    }
}

#[test]
fn references_name_a_transport() {
    let oci = |path: &str, tag: Option<&str>| ImageRef::Oci {
        path: path.into(),
        tag: tag.map(str::to_owned),
    };
    let docker_archive = |name: Option<&str>, index| ImageRef::DockerArchive {
        path: "/a.tar".into(),
        name: name.map(|name| name.parse().unwrap()),
        index,
    };
    let daemon_id = format!("docker-daemon:{DIGEST}");
    let cases = [
        (
            "docker://debian",
            ImageRef::Docker("debian".parse().unwrap()),
        ),
        ("oci:/srv/images", oci("/srv/images", None)),
        ("oci:/srv/images:v1", oci("/srv/images", Some("v1"))),
        ("oci:dir:localhost/a:v1", oci("dir", Some("localhost/a:v1"))),
        ("oci:dir:", oci("dir", None)),
        (
            "oci-archive:a.tar:v1",
            ImageRef::OciArchive {
                path: "a.tar".into(),
                tag: Some("v1".to_owned()),
            },
        ),
        (
            "oci-archive:-",
            ImageRef::OciArchive {
                path: "-".into(),
                tag: None,
            },
        ),
        ("docker-archive:/a.tar", docker_archive(None, None)),
        (
            "docker-archive:/a.tar:busybox",
            docker_archive(Some("docker.io/library/busybox:latest"), None),
        ),
        ("docker-archive:/a.tar:@3", docker_archive(None, Some(3))),
        (
            "dir:/a:b",
            ImageRef::Dir {
                path: "/a:b".into(),
            },
        ),
        (
            "docker-daemon:busybox:1",
            ImageRef::DockerDaemon("busybox:1".to_owned()),
        ),
        (&daemon_id, ImageRef::DockerDaemon(DIGEST.to_owned())),
        ("store:debian", ImageRef::Store("debian".to_owned())),
        (
            "containers-storage:debian",
            ImageRef::Store("debian".to_owned()),
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(input.parse(), Ok(expected), "{input}");
    }
    let archive_digest = format!("docker-archive:a.tar:busybox@{DIGEST}");
    let bad = [
        ("", "empty"),
        ("debian", "no transport"),
        ("debian:12", "no transport"),
        ("docker:debian/x", "slashes"),
        ("docker://", "nothing"),
        ("oci:", "nothing"),
        ("store:", "nothing"),
        ("dir:", "nothing"),
        ("oci-archive::v1", "nothing"),
        ("docker-archive:", "nothing"),
        ("docker-archive:a.tar:@-1", "index"),
        ("docker-archive:a.tar:@x", "index"),
        (&archive_digest, "tag"),
        ("docker-archive:a.tar:Upper", "lower-case"),
        ("docker-daemon:", "nothing"),
        ("docker-daemon:../x", "registry"),
        ("sif:/tmp/x", "docker://NAME, oci:PATH[:TAG], oci-archive"),
    ];
    for (input, word) in bad {
        let error = input.parse::<ImageRef>().expect_err(input);
        assert!(error.to_string().contains(word), "{input}: {error}");
    }
}

#[test]
fn bare_words_are_names_ids_or_mistakes() {
    let bare = |input: &str| ImageRef::parse_or_bare(input);
    for input in [
        "debian",
        "debian:12",
        "docker:20",
        "quay.io/a/b",
        "3fa1",
        DIGEST,
        &DIGEST[7..],
    ] {
        assert_eq!(bare(input), Ok(ImageRef::Bare(input.to_owned())));
    }
    assert!(matches!(bare("oci:/srv"), Ok(ImageRef::Oci { .. })));
    assert!(matches!(
        bare("ostree:/srv"),
        Err(NameError::UnsupportedTransport { .. })
    ));
    assert!(matches!(bare("Debian"), Err(NameError::Uppercase { .. })));
}

proptest! {
    #[test]
    fn a_name_is_what_it_displays(
        registry in "([a-z]{1,8}\\.[a-z]{2,3}|localhost)(:[1-9][0-9]{0,3})?",
        path in "[a-z0-9]{1,8}((\\.|_|__|-{1,3}|/)[a-z0-9]{1,8}){0,4}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        digest in any::<bool>(),
    ) {
        let tag = tag.map_or_else(String::new, |tag| format!(":{tag}"));
        let digest = if digest { format!("@{DIGEST}") } else { String::new() };
        let name: Name = format!("{registry}/{path}{tag}{digest}").parse().unwrap();
        let shown = name.to_string();
        prop_assert_eq!(shown.parse::<Name>().unwrap(), name.clone());
        let image = ImageRef::Docker(name);
        prop_assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
    }

    #[test]
    fn a_layout_is_what_it_displays(rest in "[a-z:/.@0-9]{1,12}") {
        for transport in ["oci", "oci-archive", "docker-archive", "dir", "docker-daemon"] {
            if let Ok(image) = format!("{transport}:{rest}").parse::<ImageRef>() {
                prop_assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,300}") {
        // Whatever is accepted is shown in a form that means the same.
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
        }
        if let Ok(image) = text.parse::<ImageRef>() {
            prop_assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
        }
        let bare = ImageRef::parse_or_bare(&text);
        prop_assert!(bare.is_ok() || text.parse::<Name>().is_err());
    }

    #[test]
    fn nothing_in_a_name_can_leave_its_url(text in "[a-z0-9./:@_%?#-]{1,40}") {
        if let Ok(name) = text.parse::<Name>() {
            let path = format!("{}{}", name.repository(), name.tag().unwrap_or_default());
            prop_assert!(!path.contains("..") || !path.contains("/.."));
            prop_assert!(!path.contains(['?', '#', '%', '@', ':']));
        }
    }
}
