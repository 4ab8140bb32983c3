//! Everything that goes wrong between two registries: what the user sees, and what the ends hold afterwards.

use std::time::Duration;

use libimage::{
    ErrorKind,
    context::{Context, Patience, Side},
    copy::{CopyOptions, CopyReport, Referrers},
};
use trimaran_testkit::{
    Auth, Content, Fault, Image, ImageMaker, Index, Packing, Registry, Rule,
    image::{Blob, Layer, noise},
};

use crate::net::{assert_fails, assert_holds, basic, builder, copy_with, patience};

const DROPPED: ErrorKind = ErrorKind::Network { transient: true };
/// Bytes of the layer that things happen to.
const SIZE: u64 = 600_000;

fn made() -> Image {
    ImageMaker::new()
        .tar_layer(&noise(usize::try_from(SIZE).unwrap()), Packing::Plain)
        .make()
}

fn layer(image: &Image) -> String {
    format!("*/blobs/{}", image.layers[0].blob.digest)
}

/// A context that gives up soon.
fn hasty() -> Context {
    context(Patience {
        attempts: 3,
        ..patience()
    })
}

/// A context that does not wait long for a word: only for cases that begin with "stalled", since a busy machine is silent too.
fn context_for(what: &str) -> Context {
    if !what.starts_with("stalled") {
        return hasty();
    }
    context(Patience {
        stall: Duration::from_secs(2),
        ..patience()
    })
}

fn context(patience: Patience) -> Context {
    builder()
        .patience(patience)
        .credentials(Side::Source, basic("me", "secret"))
        .credentials(Side::Destination, basic("me", "secret"))
        .build()
}

fn run(cx: &Context, from: &Registry, to: &Registry) -> Result<CopyReport, libimage::Error> {
    let options = CopyOptions {
        referrers: Referrers::Never,
        ..CopyOptions::default()
    };
    let ends = (from.reference("image", "v1"), to.reference("image", "v1"));
    copy_with(cx, &ends.0, &ends.1, &options)
}

/// Whose requests a rule is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    From,
    To,
}
use End::{From, To};

/// What the user sees.
enum Seen {
    /// Nothing: the image arrives.
    Arrives,
    /// An error of this kind, whose message has these words.
    Fails(ErrorKind, &'static [&'static str]),
}
use Seen::{Arrives, Fails};

/// Copies an image over an older one while something goes wrong, and looks at both ends.
#[track_caller]
fn check(what: &str, auth: &Auth, end: End, rules: &[Rule], seen: &Seen) {
    let (made, old) = (made(), ImageMaker::sample().make());
    let (from, to) = (
        Registry::with_auth(auth.clone()),
        Registry::with_auth(auth.clone()),
    );
    from.add("image", "v1", &made);
    to.add("image", "v1", &old);
    for rule in rules {
        let broken = if end == From { &from } else { &to };
        broken.fault(rule.clone());
    }
    let result = run(&context_for(what), &from, &to);
    assert_eq!(to.open_uploads(), 0, "{what}: {:?}", to.requests());
    assert_holds(&from, "image", "v1", &made);
    match seen {
        Arrives => {
            if let Err(error) = result {
                panic!("{what}: {error:?}: {:?}", to.requests());
            }
            assert_holds(&to, "image", "v1", &made);
        }
        Fails(kind, words) => {
            assert_fails(result, *kind, words);
            // What was there before is there still, whole; nothing of the new image can be named.
            assert_holds(&to, "image", "v1", &old);
            assert!(to.manifest("image", made.digest()).is_none(), "{what}");
            to.heal();
            from.heal();
            run(&hasty(), &from, &to).unwrap();
            assert_holds(&to, "image", "v1", &made);
        }
    }
}

#[test]
fn downloads_that_break() {
    let (made, open) = (made(), Auth::Anonymous);
    let get = || Rule::get(&layer(&made));
    let once = |fault| vec![get().first(1).fault(fault)];
    let always = |fault| vec![get().fault(fault)];
    let resumed = |fault| {
        vec![
            get().nth(1).fault(Fault::ResetAt(200_000)),
            get().nth(2).fault(fault),
        ]
    };
    let cases: Vec<(&str, Vec<Rule>, Seen)> = vec![
        ("reset before a byte", once(Fault::ResetAt(0)), Arrives),
        ("reset at the first byte", once(Fault::ResetAt(1)), Arrives),
        (
            "reset at the last byte",
            once(Fault::ResetAt(SIZE - 1)),
            Arrives,
        ),
        (
            "reset again and again",
            vec![get().first(2).fault(Fault::ResetAt(70_000))],
            Arrives,
        ),
        (
            "reset for ever",
            always(Fault::ResetAt(10)),
            Fails(DROPPED, &["blob"]),
        ),
        ("closed in order", once(Fault::Truncate(1000)), Arrives),
        ("stalled", once(Fault::Stall(1000)), Arrives),
        (
            "stalled for ever",
            always(Fault::Stall(1000)),
            Fails(DROPPED, &["silent"]),
        ),
        (
            "slow",
            always(Fault::Drip(200_000, Duration::from_millis(20))),
            Arrives,
        ),
        ("no length", always(Fault::Chunked), Arrives),
        (
            "too short for ever",
            always(Fault::Shorten(1000)),
            Fails(DROPPED, &["bytes"]),
        ),
        (
            "too long",
            always(Fault::Lengthen(1)),
            Fails(ErrorKind::DigestMismatch, &["or more"]),
        ),
        (
            "one wrong byte",
            always(Fault::Flip),
            Fails(ErrorKind::DigestMismatch, &["sha256:"]),
        ),
        ("500", once(Fault::Status(500)), Arrives),
        (
            "404",
            always(Fault::Status(404)),
            Fails(ErrorKind::NotFound, &["blob"]),
        ),
        (
            "403",
            always(Fault::Status(403)),
            Fails(ErrorKind::Denied, &["403", "scripted"]),
        ),
        ("ranges ignored", resumed(Fault::IgnoreRange), Arrives),
        (
            "another range",
            resumed(Fault::WrongRange),
            Fails(ErrorKind::DigestMismatch, &[]),
        ),
        (
            "no range said",
            resumed(Fault::Without("Content-Range".into())),
            Arrives,
        ),
        ("416", resumed(Fault::Status(416)), Arrives),
        (
            "a range that begins later",
            resumed(Fault::Header(
                "Content-Range".into(),
                "bytes 300000-599999/600000".into(),
            )),
            Arrives,
        ),
        (
            "a range that makes no sense",
            resumed(Fault::Header("Content-Range".into(), "items -/x".into())),
            Arrives,
        ),
        (
            "wrong bytes after a break",
            resumed(Fault::Flip),
            Fails(ErrorKind::DigestMismatch, &[]),
        ),
    ];
    for (what, rules, seen) in cases {
        check(what, &open, From, &rules, &seen);
    }
}

#[test]
fn manifests_that_break() {
    let open = Auth::Anonymous;
    let get = || Rule::get("*/manifests/*");
    let head = || Rule::method("HEAD", "*/manifests/*");
    let cases: Vec<(&str, Vec<Rule>, Seen)> = vec![
        (
            "reset",
            vec![get().first(1).fault(Fault::ResetAt(5))],
            Arrives,
        ),
        (
            "cut off",
            vec![get().first(1).fault(Fault::Truncate(5))],
            Arrives,
        ),
        (
            "stalled",
            vec![get().first(1).fault(Fault::Stall(5))],
            Arrives,
        ),
        (
            "five megabytes",
            vec![get().fault(Fault::Replace(vec![b' '; 5 << 20]))],
            Fails(ErrorKind::LimitExceeded, &["4194304"]),
        ),
        (
            "five megabytes of unknown length",
            vec![get().fault(Fault::Lengthen(5 << 20))],
            Fails(ErrorKind::LimitExceeded, &[]),
        ),
        (
            "wrong",
            vec![get().fault(Fault::Flip)],
            Fails(ErrorKind::DigestMismatch, &["sha256:"]),
        ),
        (
            "cut, as a whole",
            vec![get().fault(Fault::Shorten(9))],
            Fails(ErrorKind::DigestMismatch, &[]),
        ),
        (
            "of unknown type",
            vec![get().fault(Fault::Header("Content-Type".into(), "text/html".into()))],
            Fails(ErrorKind::Malformed, &[]),
        ),
        (
            "HEAD unsupported",
            vec![head().fault(Fault::Status(405))],
            Fails(ErrorKind::Unsupported, &["405"]),
        ),
    ];
    for (what, rules, seen) in cases {
        check(what, &open, From, &rules, &seen);
    }
}

#[test]
fn uploads_that_break() {
    let open = Auth::Anonymous;
    let put = || Rule::method("PUT", "*/uploads/*");
    let post = || Rule::method("POST", "*/uploads/");
    let manifest = || Rule::method("PUT", "*/manifests/*");
    let location = |to: &str| Fault::Header("Location".into(), to.to_owned());
    let cases: Vec<(&str, Vec<Rule>, Seen)> = vec![
        (
            "reset in the middle",
            vec![put().first(2).fault(Fault::ResetUpload(100_000))],
            Arrives,
        ),
        (
            "stalled",
            vec![put().first(1).fault(Fault::StallUpload(1000))],
            Arrives,
        ),
        (
            "stalled for ever",
            vec![Rule::method("PUT", "*/uploads/*").fault(Fault::StallUpload(100))],
            Fails(DROPPED, &["silent"]),
        ),
        (
            "answer lost",
            vec![put().first(1).fault(Fault::ResetAt(0))],
            Arrives,
        ),
        (
            "500",
            vec![put().first(1).fault(Fault::Status(500))],
            Arrives,
        ),
        (
            "500 for ever",
            vec![put().fault(Fault::Status(500))],
            Fails(DROPPED, &["500"]),
        ),
        (
            "403",
            vec![put().fault(Fault::Status(403))],
            Fails(ErrorKind::Denied, &["403"]),
        ),
        (
            "no place for it",
            vec![post().fault(Fault::Without("Location".into()))],
            Fails(ErrorKind::Malformed, &["location"]),
        ),
        (
            "a place that is none",
            vec![post().fault(location("http://"))],
            Fails(ErrorKind::Malformed, &["location"]),
        ),
        (
            "another scheme",
            vec![post().fault(location("ftp://x/y"))],
            Fails(ErrorKind::Malformed, &["location"]),
        ),
        (
            "created already",
            vec![post().fault(Fault::Status(201))],
            Fails(ErrorKind::Malformed, &["created"]),
        ),
        (
            "the manifest is refused",
            vec![manifest().fault(Fault::Status(400))],
            Fails(ErrorKind::Malformed, &["400"]),
        ),
        (
            "the manifest's answer is lost",
            vec![manifest().first(1).fault(Fault::ResetAt(0))],
            Arrives,
        ),
    ];
    for (what, rules, seen) in cases {
        // An upload that nobody can name cannot be cancelled either: the registry's own housekeeping is for that.
        if what.starts_with("no place")
            || what.starts_with("a place")
            || what.starts_with("another")
        {
            let (from, to) = (Registry::start(), Registry::start());
            from.add("image", "v1", &made());
            to.fault(rules[0].clone());
            if let Fails(kind, words) = seen {
                assert_fails(run(&hasty(), &from, &to), kind, words);
            }
            assert!(to.manifest("image", "v1").is_none());
            continue;
        }
        check(what, &open, To, &rules, &seen);
    }
}

#[test]
fn tokens_that_end_in_the_middle() {
    let bearer = Auth::Bearer("me".to_owned(), "secret".to_owned());
    for (end, method, pattern) in [
        (From, "GET", "*/manifests/*"),
        (From, "GET", "*/blobs/*"),
        (To, "HEAD", "*/blobs/*"),
        (To, "POST", "*/uploads/"),
        (To, "PUT", "*/uploads/*"),
        (To, "PUT", "*/manifests/*"),
    ] {
        for number in [1, 2] {
            let rule = Rule::method(method, pattern)
                .nth(number)
                .fault(Fault::ExpireTokens);
            let what = format!("{method} {pattern} number {number}");
            check(&what, &bearer, end, &[rule], &Arrives);
        }
    }
}

#[test]
fn redirects_in_circles_end() {
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v1", &made());
    from.fault(Rule::get("*/blobs/*").fault(Fault::Redirect(format!("http://{}", from.host()))));
    assert_fails(run(&hasty(), &from, &to), ErrorKind::Denied, &["redirects"]);
    assert!(to.manifest("image", "v1").is_none());
    assert_eq!(to.open_uploads(), 0);
}

/// An image whose layer does not fit into one chunk.
fn large() -> Image {
    ImageMaker::new()
        .tar_layer(&noise(18 << 20), Packing::Plain)
        .make()
}

/// Another one.
fn made_again() -> Image {
    let mut tar = noise(18 << 20);
    tar[0] ^= 1;
    ImageMaker::new().tar_layer(&tar, Packing::Plain).make()
}

fn patches(to: &Registry) -> Vec<u64> {
    let requests = to.requests();
    let patches = requests.iter().filter(|request| request.method == "PATCH");
    patches.map(|request| request.received).collect()
}

#[test]
fn registries_that_want_chunks_get_chunks() {
    let made = large();
    // How the registry wants it, and the sizes of the chunks that it then takes, in MiB; the last is what is left.
    type Change = fn(&mut trimaran_testkit::registry::Settings);
    let cases: [(&str, Change, &[u64]); 5] = [
        (
            "405",
            |settings| settings.refuse_monolithic = Some(405),
            &[8, 8, 2],
        ),
        (
            "413",
            |settings| settings.largest_request = Some((413, 9 << 20)),
            &[8, 8, 2],
        ),
        (
            "small requests",
            |settings| settings.largest_request = Some((413, 3 << 20)),
            &[8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2],
        ),
        (
            "a least size",
            |settings| {
                settings.refuse_monolithic = Some(501);
                settings.smallest_chunk = Some(10 << 20);
            },
            &[10, 8],
        ),
        (
            "ranges",
            |settings| {
                settings.refuse_monolithic = Some(416);
                settings.ranges_required = true;
            },
            &[8, 8, 2],
        ),
    ];
    for (what, change, expected) in cases {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("image", "v1", &made);
        to.configure(change);
        let context = hasty();
        run(&context, &from, &to).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_holds(&to, "image", "v1", &made);
        assert_eq!(to.open_uploads(), 0, "{what}");
        let sizes: Vec<u64> = patches(&to)
            .into_iter()
            .filter(|size| *size >= 1 << 20)
            .map(|size| size >> 20)
            .collect();
        assert_eq!(sizes, expected, "{what}");
        // It is known now: nothing is tried as a whole that would be refused.
        let again = made_again();
        from.add("image", "v1", &again);
        to.forget_requests();
        run(&context, &from, &to).unwrap();
        assert_holds(&to, "image", "v1", &again);
        let requests = to.requests();
        let refused = requests
            .iter()
            .filter(|request| request.status >= 400 && request.method != "HEAD");
        assert_eq!(refused.count(), 0, "{what}: {requests:?}");
    }
}

#[test]
fn a_registry_that_refuses_every_size_is_an_error() {
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v1", &large());
    to.configure(|settings| settings.largest_request = Some((413, 1000)));
    assert_fails(
        run(&hasty(), &from, &to),
        ErrorKind::LimitExceeded,
        &["413"],
    );
    assert_eq!(to.open_uploads(), 0);
    assert!(to.manifest("image", "v1").is_none());
}

#[test]
fn chunks_go_on_where_they_broke() {
    let made = large();
    for (what, fault, asked) in [
        ("a part arrived", Fault::CutUpload(5 << 20), 1),
        ("nothing arrived", Fault::ResetUpload(5 << 20), 1),
        ("all arrived, and the answer was lost", Fault::ResetAt(0), 1),
        ("stalled", Fault::StallUpload(1 << 20), 1),
        ("503", Fault::Status(503), 1),
        ("416", Fault::Status(416), 1),
    ] {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("image", "v1", &made);
        to.configure(|settings| settings.refuse_monolithic = Some(405));
        to.fault(Rule::method("PATCH", "*").nth(2).fault(fault));
        run(&context_for(what), &from, &to).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_holds(&to, "image", "v1", &made);
        assert_eq!(to.open_uploads(), 0, "{what}");
        assert_eq!(
            to.count("GET", "*/uploads/*"),
            asked,
            "{what}: {:?}",
            to.requests()
        );
        let sent: u64 = patches(&to).iter().sum();
        assert!(
            sent <= (18 << 20) + (9 << 20),
            "{what}: {sent} bytes were sent"
        );
        let digest = &made.layers[0].blob.digest;
        let fetched = from.count("GET", &format!("*/blobs/{digest}"));
        assert!(
            (2..=3).contains(&fetched),
            "{what}: for the refused try, and for the chunks"
        );
    }
}

#[test]
fn an_upload_the_registry_forgot_is_begun_again() {
    let made = large();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v1", &made);
    to.configure(|settings| settings.refuse_monolithic = Some(405));
    to.fault(Rule::method("PATCH", "*").nth(2).fault(Fault::Status(404)));
    run(&hasty(), &from, &to).unwrap();
    assert_holds(&to, "image", "v1", &made);
    assert_eq!(to.open_uploads(), 0);
}

#[test]
fn a_large_upload_that_breaks_twice_goes_on_in_chunks() {
    let made = large();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v1", &made);
    to.fault(
        Rule::method("PUT", "*/uploads/*digest=*")
            .first(3)
            .fault(Fault::ResetUpload(9 << 20)),
    );
    let patient = builder()
        .patience(Patience {
            attempts: 5,
            ..patience()
        })
        .build();
    run(&patient, &from, &to).unwrap();
    assert_holds(&to, "image", "v1", &made);
    assert_eq!(to.open_uploads(), 0);
}

#[test]
fn an_index_inside_an_index_arrives() {
    let inner = Index::new(vec![made(), ImageMaker::sample().make()]);
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "inner", &inner);
    let mut newest = inner.root().clone();
    // Twice more.
    for _ in 0..2 {
        let outer = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": newest.media_type,
            "manifests": [newest.descriptor()],
        });
        newest = Blob::new(&newest.media_type, outer.to_string().into_bytes());
        from.add_manifest("image", "v1", &newest);
    }
    run(&hasty(), &from, &to).unwrap();
    assert_eq!(to.manifest("image", "v1"), Some(newest));
    assert_eq!(
        to.manifest("image", inner.digest()).as_ref(),
        Some(inner.root())
    );
    for blob in inner.blobs() {
        assert!(to.blob("image", &blob.digest).is_some());
    }
}

#[test]
fn indexes_that_never_end_are_refused() {
    let (from, to) = (Registry::start(), Registry::start());
    let mut newest = ImageMaker::sample().make().manifest;
    from.add("image", "image", &ImageMaker::sample().make());
    for _ in 0..12 {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let outer = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "manifests": [newest.descriptor()],
        });
        newest = Blob::new(media_type, outer.to_string().into_bytes());
        from.add_manifest("image", "v1", &newest);
    }
    assert_fails(run(&hasty(), &from, &to), ErrorKind::LimitExceeded, &[]);
    assert_eq!(to.count("POST", "*"), 0);
}

#[test]
fn what_nobody_knows_arrives_as_it_is() {
    let layer = |media: &str, bytes: &[u8]| Blob::new(media, bytes.to_vec());
    let config = layer("application/vnd.example.thing.v1+json", b"{}");
    let parts = [
        layer("application/vnd.example.part", b"part"),
        layer("text/plain; charset=utf-8", b"text"),
        layer("application/vnd.example.empty", b""),
    ];
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.thing",
        "config": config.descriptor(),
        "layers": parts.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        "unknown": {"field": [1, 2.50, null]},
    });
    let manifest = Blob::new(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().into_bytes(),
    );
    let (from, to) = (Registry::start(), Registry::start());
    for blob in parts.iter().chain([&config]) {
        from.add_blob("image", blob);
    }
    from.add_manifest("image", "v1", &manifest);
    run(&hasty(), &from, &to).unwrap();
    assert_eq!(to.manifest("image", "v1"), Some(manifest));
    for blob in parts.iter().chain([&config]) {
        assert_eq!(to.blob("image", &blob.digest).as_ref(), Some(&blob.bytes));
    }
}

/// An image all of whose blobs are known by their sha512.
fn long_digests() -> Image {
    let tar = noise(100_000);
    let layer = Layer {
        blob: Blob::sha512("application/vnd.oci.image.layer.v1.tar", tar.clone()),
        diff_id: Blob::sha512("", tar).digest,
    };
    ImageMaker::new().raw_layer(layer).make()
}

#[test]
fn sha512_is_verified_and_kept() {
    let made = long_digests();
    let digest = &made.layers[0].blob.digest;
    assert!(digest.starts_with("sha512:"));
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v1", &made);
    run(&hasty(), &from, &to).unwrap();
    assert_holds(&to, "image", "v1", &made);

    // A manifest in an index under its sha512.
    let child = Blob::sha512(&made.manifest.media_type, made.manifest.bytes.clone());
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "manifests": [child.descriptor()],
    });
    let index = Blob::new(media_type, index.to_string().into_bytes());
    let to = Registry::start();
    from.add_manifest("image", "child", &child);
    from.add_manifest("image", "v1", &index);
    run(&hasty(), &from, &to).unwrap();
    assert_eq!(to.manifest("image", "v1"), Some(index));
    assert_eq!(to.manifest("image", &child.digest), Some(child));

    // Through a layout, and back.
    let dir = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}/layout:v1", dir.path().display());
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v1", &made);
    let options = CopyOptions::default();
    copy_with(&hasty(), &from.reference("image", "v1"), &layout, &options).unwrap();
    let blob = dir.path().join("layout/blobs/sha512").join(&digest[7..]);
    assert_eq!(std::fs::read(blob).unwrap(), made.layers[0].blob.bytes);
    copy_with(&hasty(), &layout, &to.reference("image", "v1"), &options).unwrap();
    assert_holds(&to, "image", "v1", &made);

    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "v1", &made);
    from.fault(Rule::get(&format!("*/blobs/{digest}")).fault(Fault::Flip));
    assert_fails(
        run(&hasty(), &from, &to),
        ErrorKind::DigestMismatch,
        &["sha512:"],
    );
    assert!(to.blob("image", digest).is_none());
}
