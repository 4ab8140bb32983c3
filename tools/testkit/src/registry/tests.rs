//! The registry as a client sees it, over a real connection.

use super::{Auth, Fault, Registry, Rule};
use crate::image::{Blob, Content, Index};
use crate::{ImageMaker, image::sha256};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// What a client got: status, lower-case headers as text, body; or why not.
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
    error: Option<ErrorKind>,
}

fn ask(registry: &Registry, line: &str, headers: &[&str], body: &[u8]) -> Got {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    let mut text = format!(
        "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        registry.host()
    );
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(text.as_bytes()).unwrap();
    // The registry may have cut the connection already.
    drop(stream.write_all(body));
    let mut all = Vec::new();
    let error = stream.read_to_end(&mut all).err().map(|error| error.kind());
    let cut = all
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(all.len());
    let head = String::from_utf8_lossy(&all[..cut]).to_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    Got {
        status,
        head,
        body: all.split_off((cut + 4).min(all.len())),
        error,
    }
}

fn header<'a>(got: &'a Got, name: &str) -> Option<&'a str> {
    got.head
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn an_image_is_read_back_byte_for_byte() {
    let registry = Registry::start();
    let image = ImageMaker::sample().make();
    let index = Index::new(vec![
        image.clone(),
        ImageMaker::new().platform("linux", "s390x", None).make(),
    ]);
    registry.add("a/b", "v1", &index);
    let root = ask(&registry, "GET /v2/a/b/manifests/v1", &[], b"");
    assert_eq!((root.status, root.body), (200, index.root().bytes.clone()));
    let child = ask(
        &registry,
        &format!("HEAD /v2/a/b/manifests/{}", image.digest()),
        &[],
        b"",
    );
    assert_eq!(
        (child.status, header(&child, "docker-content-digest")),
        (200, Some(image.digest()))
    );
    assert_eq!(
        header(&child, "content-length").unwrap(),
        image.manifest.bytes.len().to_string()
    );
    assert!(child.body.is_empty());
    let wrong = ask(
        &registry,
        "GET /v2/a/b/manifests/v1",
        &["Accept: application/json"],
        b"",
    );
    assert_eq!(wrong.status, 404);
    let blob = &image.layers[0].blob;
    let part = ask(
        &registry,
        &format!("GET /v2/a/b/blobs/{}", blob.digest),
        &["Range: bytes=5-9"],
        b"",
    );
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &blob.bytes[5..10])
    );
    assert_eq!(
        ask(
            &registry,
            &format!("GET /v2/other/blobs/{}", blob.digest),
            &[],
            b""
        )
        .status,
        404
    );
    assert_eq!(registry.count("GET", "*/manifests/*"), 2);
}

#[test]
fn uploads_are_verified_and_manifests_complete() {
    let registry = Registry::start();
    let image = ImageMaker::sample().make();
    let media = format!("Content-Type: {}", image.manifest.media_type);
    let early = ask(
        &registry,
        "PUT /v2/x/manifests/v1",
        &[&media],
        &image.manifest.bytes,
    );
    assert_eq!(early.status, 400);
    for blob in image.blobs() {
        let opened = ask(&registry, "POST /v2/x/blobs/uploads/", &[], b"");
        let place = header(&opened, "location").unwrap().to_owned();
        let half = blob.bytes.len() / 2;
        assert_eq!(
            ask(
                &registry,
                &format!("PATCH {place}"),
                &[],
                &blob.bytes[..half]
            )
            .status,
            202
        );
        let range = format!("Content-Range: 7-{}", blob.bytes.len());
        assert_eq!(
            ask(&registry, &format!("PATCH {place}"), &[&range], b"x").status,
            416
        );
        let put = format!("PUT {place}&digest={}", blob.digest.replace(':', "%3A"));
        assert_eq!(ask(&registry, &put, &[], &blob.bytes[half..]).status, 201);
        let lie = format!("POST /v2/x/blobs/uploads/?digest={}", sha256(b"other"));
        assert_eq!(ask(&registry, &lie, &[], &blob.bytes).status, 400);
        let mount = format!("POST /v2/y/blobs/uploads/?mount={}&from=x", blob.digest);
        assert_eq!(ask(&registry, &mount, &[], b"").status, 201);
    }
    let done = ask(
        &registry,
        "PUT /v2/y/manifests/v1",
        &[&media],
        &image.manifest.bytes,
    );
    assert_eq!(done.status, 201);
    assert_eq!(registry.manifest("y", "v1").unwrap(), image.manifest);
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn tags_come_in_pages() {
    let registry = Registry::start();
    let blob = Blob::new("application/vnd.oci.image.index.v1+json", b"{}".to_vec());
    for tag in ["a", "b", "c"] {
        registry.add_manifest("x", tag, &blob);
    }
    registry.tags_per_page(2);
    let first = ask(&registry, "GET /v2/x/tags/list", &[], b"");
    assert_eq!(
        header(&first, "link"),
        Some("</v2/x/tags/list?n=2&last=b>; rel=\"next\"")
    );
    let second = ask(&registry, "GET /v2/x/tags/list?n=2&last=b", &[], b"");
    assert_eq!(
        (second.body.as_slice(), header(&second, "link")),
        (&br#"{"name":"x","tags":["c"]}"#[..], None)
    );
    assert_eq!(
        ask(&registry, "GET /v2/unknown/tags/list", &[], b"").status,
        404
    );
}

#[test]
fn credentials_open_what_their_scope_covers() {
    // "user:secret" in base64.
    const RIGHT: &str = "Authorization: Basic dXNlcjpzZWNyZXQ=";
    let basic = Registry::with_auth(Auth::Basic("user".into(), "secret".into()));
    assert_eq!(ask(&basic, "GET /v2/", &[], b"").status, 401);
    assert_eq!(ask(&basic, "GET /v2/", &[RIGHT], b"").status, 200);

    let bearer = Registry::with_auth(Auth::Bearer("user".into(), "secret".into()));
    bearer.add("x", "v", &ImageMaker::new().make());
    let asked = ask(&bearer, "GET /v2/x/manifests/v", &[], b"");
    let scope = "scope=\"repository:x:pull\"";
    assert!(asked.status == 401 && header(&asked, "www-authenticate").unwrap().contains(scope));
    assert_eq!(
        ask(&bearer, "GET /token?scope=repository:x:pull", &[], b"").status,
        401
    );
    let given = ask(
        &bearer,
        "GET /token?scope=repository%3Ax%3Apull",
        &[RIGHT],
        b"",
    );
    let given: serde_json::Value = serde_json::from_slice(&given.body).unwrap();
    let token = format!("Authorization: Bearer {}", given["token"].as_str().unwrap());
    assert_eq!(
        ask(&bearer, "GET /v2/x/manifests/v", &[&token], b"").status,
        200
    );
    assert_eq!(
        ask(&bearer, "GET /v2/z/manifests/v", &[&token], b"").status,
        401
    );
    assert_eq!(
        ask(&bearer, "POST /v2/x/blobs/uploads/", &[&token], b"").status,
        401
    );
    bearer.expire_tokens();
    assert_eq!(
        ask(&bearer, "GET /v2/x/manifests/v", &[&token], b"").status,
        401
    );
    assert_eq!(
        bearer.requests().last().unwrap().authorization.as_deref(),
        Some("Bearer")
    );
}

#[test]
fn faults_happen_as_scripted() {
    let registry = Registry::start();
    let bytes = crate::image::noise(10_000);
    registry.add_blob("x", &Blob::new("application/octet-stream", bytes.clone()));
    let line = format!("GET /v2/x/blobs/{}", sha256(&bytes));
    let get = |fault: Fault| {
        registry.heal();
        registry.fault(Rule::get("*/blobs/*").fault(fault));
        ask(&registry, &line, &["Range: bytes=4-"], b"")
    };
    let got = get(Fault::ResetAt(100));
    assert!(got.error == Some(ErrorKind::ConnectionReset) && got.body.len() <= 100);
    let got = get(Fault::Truncate(100));
    assert_eq!(
        (got.error, got.body.len(), header(&got, "content-length")),
        (None, 100, Some("9996"))
    );
    let got = get(Fault::Shorten(100));
    assert_eq!(
        (got.body.len(), header(&got, "content-length")),
        (100, Some("100"))
    );
    assert_eq!(get(Fault::Lengthen(7)).body.len(), 10_003);
    assert_ne!(get(Fault::Flip).body, bytes[4..]);
    assert_eq!(get(Fault::IgnoreRange).body, bytes);
    assert_eq!(
        header(&get(Fault::WrongRange), "content-range"),
        Some("bytes 0-9995/9996")
    );
    assert_eq!(
        header(&get(Fault::RetryAfter(429, 3)), "retry-after"),
        Some("3")
    );
    assert_eq!(get(Fault::Status(500)).status, 500);
    assert!(
        header(&get(Fault::Redirect("http://h:1".into())), "location")
            .unwrap()
            .starts_with("http://h:1/v2/x/")
    );
    assert!(get(Fault::Chunked).body.starts_with(b"1000\r\n"));
    assert_eq!(
        header(
            &get(Fault::Without("Docker-Content-Digest".into())),
            "docker-content-digest"
        ),
        None
    );
    assert_eq!(
        get(Fault::Drip(5_000, std::time::Duration::from_millis(1))).body,
        bytes[4..]
    );
    registry.fault(Rule::method("PUT", "*").fault(Fault::ResetUpload(10)));
    let cut = ask(&registry, "PUT /v2/x/blobs/uploads/1", &[], &bytes);
    assert_eq!(
        (cut.status, registry.requests().last().unwrap().received),
        (0, 10)
    );
}

#[test]
fn dropping_the_registry_ends_stalled_and_idle_connections() {
    let registry = Registry::start();
    registry.add("x", "v", &ImageMaker::new().make());
    registry.fault(Rule::get("*/manifests/*").fault(Fault::Stall(3)));
    let mut stalled = TcpStream::connect(registry.host()).unwrap();
    let mut idle = TcpStream::connect(registry.host()).unwrap();
    stalled
        .write_all(b"GET /v2/x/manifests/v HTTP/1.1\r\n\r\n")
        .unwrap();
    let mut first = [0; 20];
    stalled.read_exact(&mut first).unwrap();
    drop(registry);
    let mut rest = Vec::new();
    // Either end of a connection is fine: the point is that reading comes back.
    drop(stalled.read_to_end(&mut rest));
    drop(idle.read_to_end(&mut rest));
}

#[test]
fn a_client_that_tries_tls_is_told_off() {
    let registry = Registry::start();
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 5]).unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert!(answer.starts_with(b"HTTP/1.0 400") || answer.is_empty());
    assert_eq!((registry.tls_probes(), registry.requests().len()), (1, 0));
}
