//! Registries that break, lie or stall: a clear error, and nothing wrong at the destination.

use std::time::Duration;

use libimage::{
    ErrorKind,
    config::Policy,
    context::{Context, Patience},
};
use trimaran_testkit::{Content, Fault, Image, ImageMaker, Packing, Registry, Rule, image::noise};

use crate::net::{Recorder, assert_fails, assert_holds, builder, copy, cx, patience};

/// One layer of a megabyte, so that a connection can break in its middle.
fn megabyte() -> Image {
    ImageMaker::new()
        .tar_layer(&noise(1 << 20), Packing::Plain)
        .make()
}

fn layer_path(image: &Image) -> String {
    format!("*/blobs/{}", image.layers[0].blob.digest)
}

/// A source with the image under `image:latest`, and an empty destination.
fn ends(image: &Image) -> (Registry, Registry) {
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", image);
    (from, to)
}

fn copied(from: &Registry, to: &Registry) -> Result<libimage::copy::CopyReport, libimage::Error> {
    copy(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
}

#[test]
fn broken_downloads_go_on_where_they_broke() {
    let made = megabyte();
    for fault in [
        Fault::ResetAt(300_000),
        Fault::Truncate(300_000),
        Fault::Shorten(300_000),
    ] {
        let (from, to) = ends(&made);
        from.fault(Rule::get(&layer_path(&made)).first(2).fault(fault.clone()));
        copied(&from, &to).unwrap();
        assert_holds(&to, "image", "latest", &made);
        let ranges: Vec<_> = from
            .requests()
            .into_iter()
            .filter(|request| request.path.contains(&made.layers[0].blob.digest))
            .collect();
        assert_eq!(ranges.len(), 3, "{fault:?}");
        assert!(
            ranges[1..].iter().all(|request| request
                .range
                .as_deref()
                .is_some_and(|range| range != "bytes=0-")),
            "{fault:?}: {ranges:?}"
        );
        let sent: u64 = ranges.iter().map(|request| request.sent).sum();
        assert!(
            sent < (2 << 20),
            "{fault:?} fetched {sent} bytes of {}",
            1 << 20
        );
        assert_eq!(
            to.count("PUT", "*/uploads/*"),
            2,
            "the upload waits for the download to go on"
        );
    }
}

#[test]
fn a_server_without_ranges_starts_again_from_the_beginning() {
    let made = megabyte();
    let (from, to) = ends(&made);
    from.fault(
        Rule::get(&layer_path(&made))
            .nth(1)
            .fault(Fault::ResetAt(300_000)),
    );
    from.fault(Rule::get(&layer_path(&made)).fault(Fault::IgnoreRange));
    copied(&from, &to).unwrap();
    assert_holds(&to, "image", "latest", &made);
}

#[test]
fn wrong_content_never_becomes_a_blob() {
    let made = megabyte();
    let cases = [
        (Fault::Flip, ErrorKind::DigestMismatch),
        (Fault::Lengthen(10), ErrorKind::DigestMismatch),
        (
            Fault::Replace(b"something else".to_vec()),
            ErrorKind::Network { transient: true },
        ),
        (Fault::Shorten(10), ErrorKind::Network { transient: true }),
        (Fault::Truncate(10), ErrorKind::Network { transient: true }),
    ];
    for (fault, kind) in cases {
        let (from, to) = ends(&made);
        from.fault(Rule::get(&layer_path(&made)).fault(fault.clone()));
        assert_fails(copied(&from, &to), kind, &[&made.layers[0].blob.digest]);
        assert!(
            to.blob("image", &made.layers[0].blob.digest).is_none(),
            "{fault:?}"
        );
        assert!(to.manifest("image", "latest").is_none(), "{fault:?}");
        assert_eq!(to.open_uploads(), 0, "{fault:?}: the upload is cancelled");
    }
}

#[test]
fn a_range_of_something_else_is_noticed() {
    let made = megabyte();
    let (from, to) = ends(&made);
    from.fault(
        Rule::get(&layer_path(&made))
            .nth(1)
            .fault(Fault::ResetAt(300_000)),
    );
    from.fault(Rule::get(&layer_path(&made)).fault(Fault::Replace(noise((1 << 20) - 300_000))));
    let kind = copied(&from, &to).unwrap_err().kind();
    assert!(
        matches!(kind, ErrorKind::DigestMismatch | ErrorKind::Network { .. }),
        "{kind:?}"
    );
    assert!(to.blob("image", &made.layers[0].blob.digest).is_none());
}

#[test]
fn broken_uploads_are_begun_again() {
    let made = megabyte();
    let (from, to) = ends(&made);
    to.fault(
        Rule::method("PUT", "*/uploads/*")
            .first(2)
            .fault(Fault::ResetUpload(100_000)),
    );
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    copy(
        &cx,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &made);
    assert!(recorder.count("Retry") >= 1);
}

#[test]
fn passing_failures_are_tried_again_and_lasting_ones_are_not() {
    let made = megabyte();
    let (from, to) = ends(&made);
    from.fault(
        Rule::method("HEAD", "*/manifests/*")
            .first(2)
            .fault(Fault::Status(503)),
    );
    from.fault(
        Rule::get("*/manifests/*")
            .nth(1)
            .fault(Fault::RetryAfter(429, 0)),
    );
    to.fault(Rule::method("POST", "*").nth(1).fault(Fault::Status(500)));
    to.fault(
        Rule::method("PUT", "*/manifests/*")
            .nth(1)
            .fault(Fault::Status(502)),
    );
    copied(&from, &to).unwrap();
    assert_holds(&to, "image", "latest", &made);

    let (from, to) = ends(&made);
    to.fault(Rule::method("POST", "*").fault(Fault::Status(403)));
    assert_fails(copied(&from, &to), ErrorKind::Denied, &[&to.host(), "403"]);
    assert!(
        to.count("POST", "*") <= 2,
        "one for each blob under way, none again"
    );
}

#[test]
fn patience_ends() {
    let made = megabyte();
    let (from, to) = ends(&made);
    from.fault(Rule::get("*/manifests/*").fault(Fault::Status(503)));
    assert_fails(
        copied(&from, &to),
        ErrorKind::Network { transient: true },
        &["503"],
    );
    assert_eq!(
        from.count("GET", "*/manifests/*"),
        4,
        "as many attempts as patience has"
    );

    from.heal();
    from.fault(Rule::get("*/manifests/*").fault(Fault::RetryAfter(429, 3600)));
    let wanted = ErrorKind::RateLimited {
        retry_after: Some(Duration::from_secs(3600)),
    };
    assert_fails(copied(&from, &to), wanted, &["429"]);
}

#[test]
fn silence_is_an_error() {
    let made = megabyte();
    let (from, to) = ends(&made);
    from.fault(Rule::get(&layer_path(&made)).fault(Fault::Stall(1000)));
    let patience = Patience {
        stall: Duration::from_secs(2),
        attempts: 2,
        ..patience()
    };
    let cx = builder().patience(patience).build();
    let result = copy(
        &cx,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    );
    assert_fails(
        result,
        ErrorKind::Network { transient: true },
        &[&from.host()],
    );
    assert_eq!(to.open_uploads(), 0);
}

#[test]
fn slow_but_steady_is_not_silence() {
    let made = megabyte();
    let (from, to) = ends(&made);
    from.fault(
        Rule::get(&layer_path(&made)).fault(Fault::Drip(25_000, Duration::from_millis(100))),
    );
    let cx = builder()
        .patience(Patience {
            stall: Duration::from_secs(3),
            attempts: 1,
            ..patience()
        })
        .build();
    copy(
        &cx,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &made);
}

#[test]
fn manifests_that_lie_are_refused() {
    let made = ImageMaker::sample().make();
    let cases = [
        (Fault::Flip, ErrorKind::DigestMismatch),
        (Fault::Replace(b"{}".to_vec()), ErrorKind::DigestMismatch),
        (
            Fault::Header(
                "Content-Type".into(),
                "application/vnd.oci.image.index.v1+json".into(),
            ),
            ErrorKind::Malformed,
        ),
        (
            Fault::Replace(vec![b' '; 5 << 20]),
            ErrorKind::LimitExceeded,
        ),
    ];
    for (fault, kind) in cases {
        let (from, to) = ends(&made);
        from.fault(Rule::get("*/manifests/*").fault(fault));
        assert_fails(copied(&from, &to), kind, &[]);
        assert_eq!(to.count("POST", "*"), 0, "nothing is uploaded");
    }
}

#[test]
fn a_registry_without_lengths_or_digests_is_good_enough() {
    let made = ImageMaker::sample().make();
    let (from, to) = ends(&made);
    from.fault(Rule::get("*/blobs/*").fault(Fault::Chunked));
    from.fault(Rule::any("*/manifests/*").fault(Fault::Without("Docker-Content-Digest".into())));
    to.fault(Rule::any("*/manifests/*").fault(Fault::Without("Docker-Content-Digest".into())));
    copied(&from, &to).unwrap();
    assert_holds(&to, "image", "latest", &made);
}

#[test]
fn a_destination_that_stores_another_manifest_is_an_error() {
    let made = ImageMaker::sample().make();
    let (from, to) = ends(&made);
    let other = ImageMaker::new().make();
    to.fault(Rule::method("PUT", "*/manifests/*").fault(Fault::Header(
        "Docker-Content-Digest".into(),
        other.digest().into(),
    )));
    assert_fails(
        copied(&from, &to),
        ErrorKind::DigestMismatch,
        &[other.digest()],
    );
}

#[test]
fn an_unknown_image_is_not_found() {
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &ImageMaker::new().make());
    for reference in [
        from.reference("image", "nope"),
        from.reference("nope", "latest"),
    ] {
        assert_fails(
            copy(&cx(), &reference, &to.reference("image", "latest")),
            ErrorKind::NotFound,
            &[&reference],
        );
    }
}

#[test]
fn an_unreachable_registry_is_named() {
    // A port that nobody listens on: it was given to us, and given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let gone = format!("docker://127.0.0.1:{port}/image:latest");
    let to = Registry::start();
    let kind = ErrorKind::Network { transient: true };
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    let words = [&format!("127.0.0.1:{port}")[..], "refused"];
    assert_fails(
        copy(&cx, &gone, &to.reference("image", "latest")),
        kind,
        &words,
    );
    let retries = recorder.count("Retry");
    assert_eq!(retries, 0, "a person who waits is told at once");
}

#[test]
fn plain_http_is_never_tried_unless_asked_for() {
    let (from, to) = ends(&megabyte());
    let strict = Context::builder(Policy::accept_anything())
        .patience(Patience {
            attempts: 1,
            ..patience()
        })
        .build();
    let result = copy(
        &strict,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    );
    assert!(matches!(
        result.unwrap_err().kind(),
        ErrorKind::Network { .. }
    ));
    assert_eq!(
        from.requests().len() + to.requests().len(),
        0,
        "no request went out in the clear"
    );
    // Whichever side fails first ends the other.
    assert!(from.tls_probes() + to.tls_probes() > 0);
}

#[test]
fn a_policy_that_rejects_asks_nobody() {
    let (from, to) = ends(&megabyte());
    let cases = [
        (r#"{"default": [{"type": "reject"}]}"#, "rejects", 0),
        // What a signature is looked for is the manifest's digest.
        (
            r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/key"}]}"#,
            "signedBy",
            1,
        ),
        (
            r#"{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"127.0.0.1": [{"type": "insecureAcceptAnything"}], "": [{"type": "reject"}]}}}"#,
            "rejects",
            0,
        ),
    ];
    for (policy, word, requests) in cases {
        let policy = Policy::parse(policy).unwrap();
        let cx = Context::builder(policy)
            .tls_verify(libimage::context::Side::Source, false)
            .build();
        assert_fails(
            copy(
                &cx,
                &from.reference("image", "latest"),
                &to.reference("image", "latest"),
            ),
            ErrorKind::Denied,
            &[word],
        );
        assert_eq!(from.requests().len(), requests, "{:?}", from.requests());
        from.forget_requests();
    }
}

#[test]
fn a_redirect_is_followed_without_credentials() {
    let made = megabyte();
    let storage = Registry::start();
    storage.add("image", "latest", &made);
    let from = Registry::with_auth(trimaran_testkit::Auth::Basic("me".into(), "secret".into()));
    from.add("image", "latest", &made);
    from.fault(Rule::get("*/blobs/*").fault(Fault::Redirect(format!("http://{}", storage.host()))));
    let to = Registry::start();
    let cx = builder()
        .credentials(
            libimage::context::Side::Source,
            crate::net::basic("me", "secret"),
        )
        .build();
    copy(
        &cx,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &made);
    let redirected = storage.requests();
    assert!(!redirected.is_empty());
    assert!(
        redirected
            .iter()
            .all(|request| request.authorization.is_none()),
        "{redirected:?}"
    );
}

#[test]
fn an_upload_location_elsewhere_gets_no_credentials() {
    let made = megabyte();
    let elsewhere = Registry::start();
    let from = Registry::start();
    from.add("image", "latest", &made);
    let to = Registry::with_auth(trimaran_testkit::Auth::Basic("me".into(), "secret".into()));
    let location = format!("http://{}/v2/image/blobs/uploads/stolen", elsewhere.host());
    to.fault(Rule::method("POST", "*/uploads/").fault(Fault::Header("Location".into(), location)));
    let cx = builder()
        .credentials(
            libimage::context::Side::Destination,
            crate::net::basic("me", "secret"),
        )
        .build();
    copy(
        &cx,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    )
    .unwrap_err();
    let asked = elsewhere.requests();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|request| request.authorization.is_none()),
        "{asked:?}"
    );
}

#[test]
fn a_machine_without_ca_certificates_can_use_plain_http() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // The certificates are read once per process: another one looks for them where there are none.
    let outcome = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "net_copy::images_of_all_kinds_arrive_byte_for_byte",
        ])
        .env("SSL_CERT_FILE", file.path())
        .env("SSL_CERT_DIR", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout);
    assert!(
        outcome.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
