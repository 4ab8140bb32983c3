//! Archives made to deceive: what is refused, and with which words.

use libimage::ErrorKind;
use trimaran_testkit::{
    ImageMaker, Packing, Registry, Tree,
    tar::{RawMember, raw_tar},
};

use crate::{
    net::{copy, cx},
    transports::{Places, Saved},
};

#[test]
fn archives_that_lie_are_refused() {
    let saved = Saved::new(&["one"]);
    let config = || RawMember::file(saved.config_name(), &saved.config);
    let layer = || RawMember::file("a.tar", &saved.layers[0]);
    let list = || saved.manifest(&["app:v1"], &["a.tar"]);
    let other = Tree::new().file("other", 0o644, "x").tar();
    let many_layers = saved.manifest(&["app:v1"], &["a.tar"; 200]);
    let huge = RawMember {
        size: 1 << 40,
        ..RawMember::file("a.tar", "")
    };
    let large = RawMember {
        size: 1 << 30,
        ..RawMember::file("manifest.json", "")
    };
    use ErrorKind::{DigestMismatch, LimitExceeded, Malformed, NotFound};
    let cases: Vec<(&str, Vec<RawMember>, ErrorKind)> = vec![
        (
            "a name leads out",
            vec![config(), RawMember::file("../a.tar", "x"), list()],
            Malformed,
        ),
        (
            "a link leads out",
            vec![
                config(),
                RawMember::symlink("a.tar", "../../etc/passwd"),
                list(),
            ],
            Malformed,
        ),
        (
            "a link to nothing",
            vec![config(), RawMember::symlink("a.tar", "/etc/passwd"), list()],
            NotFound,
        ),
        (
            "a link to itself",
            vec![config(), RawMember::symlink("a.tar", "a.tar"), list()],
            NotFound,
        ),
        (
            "a fifo",
            vec![config(), RawMember::new(b'6', "a.tar"), list()],
            NotFound,
        ),
        (
            "a device",
            vec![config(), RawMember::new(b'3', "a.tar"), list()],
            NotFound,
        ),
        (
            "two lists",
            vec![config(), layer(), list(), list()],
            Malformed,
        ),
        (
            "another layer",
            vec![config(), RawMember::file("a.tar", &other), list()],
            DigestMismatch,
        ),
        ("no layer", vec![config(), list()], NotFound),
        ("no configuration", vec![layer(), list()], NotFound),
        (
            "more layers than the configuration",
            vec![config(), layer(), saved.manifest(&[], &["a.tar", "a.tar"])],
            Malformed,
        ),
        (
            "too many layers",
            vec![config(), layer(), many_layers],
            LimitExceeded,
        ),
        ("a lying size", vec![config(), list(), huge], Malformed),
        ("a lying list", vec![config(), layer(), large], Malformed),
        (
            "a list of something else",
            vec![config(), layer(), RawMember::file("manifest.json", "{}")],
            Malformed,
        ),
        ("no list", vec![config(), layer()], Malformed),
        (
            "an empty list",
            vec![config(), layer(), RawMember::file("manifest.json", "[]")],
            NotFound,
        ),
        (
            "a wrong checksum",
            vec![
                RawMember {
                    checksum_error: 1,
                    ..config()
                },
                layer(),
                list(),
            ],
            Malformed,
        ),
        (
            "a negative size",
            vec![
                config(),
                list(),
                RawMember {
                    size_field: Some([0xff; 12]),
                    ..layer()
                },
            ],
            Malformed,
        ),
        (
            "a circle of parents",
            vec![
                RawMember::file("a/json", r#"{"parent": "b"}"#),
                RawMember::file("b/json", r#"{"parent": "a"}"#),
                RawMember::file("repositories", r#"{"x": {"y": "a"}}"#),
            ],
            LimitExceeded,
        ),
    ];
    let places = Places::new();
    let cx = cx();
    for (what, members, kind) in cases {
        let path = places.path("hostile.tar");
        std::fs::write(&path, raw_tar(&members)).unwrap();
        let from = format!("docker-archive:{}", path.display());
        let result = copy(&cx, &from, &places.registry.reference("a", "v1"));
        let error = result.map(drop).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(places.registry.manifest("a", "v1").is_none(), "{what}");
    }
}

#[test]
fn layouts_in_archives_that_lie_are_refused() {
    let (places, cx) = (Places::new(), cx());
    let made = ImageMaker::sample().make();
    places.registry.add("good", "v1", &made);
    let good = places.fresh("oci-archive", "good");
    copy(&cx, &places.registry.reference("good", "v1"), &good).unwrap();
    let path = places.path("oci-archive-good");
    let archive = std::fs::read(&path).unwrap();
    let find = |wanted: &[u8]| {
        archive
            .windows(wanted.len())
            .position(|window| window == wanted)
            .unwrap()
    };
    let flipped = |at: usize| {
        let mut archive = archive.clone();
        archive[at] ^= 1;
        archive
    };
    let raw = |members: &[(&str, &str)]| {
        let members: Vec<RawMember> = members
            .iter()
            .map(|(name, content)| RawMember::file(name, content))
            .collect();
        raw_tar(&members)
    };
    let marker = ("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#);
    use ErrorKind::{DigestMismatch, Malformed, NotFound};
    let layer = &made.layers[0].blob.bytes;
    let cases: Vec<(&str, Vec<u8>, ErrorKind)> = vec![
        (
            "a damaged layer",
            flipped(find(layer) + layer.len() / 2),
            DigestMismatch,
        ),
        (
            "a damaged manifest",
            flipped(find(&made.manifest.bytes) + 20),
            DigestMismatch,
        ),
        (
            "the first half",
            archive[..archive.len() / 2].to_vec(),
            Malformed,
        ),
        ("nothing", Vec::new(), Malformed),
        ("no tar", b"hello".repeat(1000), Malformed),
        ("no marker", raw(&[("index.json", "{}")]), Malformed),
        (
            "another version",
            raw(&[
                ("oci-layout", r#"{"imageLayoutVersion": "2"}"#),
                ("index.json", "{}"),
            ]),
            Malformed,
        ),
        ("no index", raw(&[marker]), NotFound),
        (
            "an empty index",
            raw(&[marker, ("index.json", "{}")]),
            NotFound,
        ),
        (
            "no descriptor",
            raw(&[
                marker,
                ("index.json", r#"{"manifests": [{"digest": "../../x"}]}"#),
            ]),
            Malformed,
        ),
        (
            "a truncated pack",
            Packing::Gzip.pack(&archive)[..5000.min(archive.len() / 3)].to_vec(),
            Malformed,
        ),
    ];
    for (what, archive, kind) in cases {
        std::fs::write(&path, archive).unwrap();
        let from = format!("oci-archive:{}", path.display());
        // A registry that knows nothing: another one would find the right layer among its own.
        let to = Registry::start();
        let result = copy(&cx, &from, &to.reference("a", "v1"));
        let error = result.map(drop).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
}
