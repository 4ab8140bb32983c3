//! What is a manifest, and what only looks like one.

use serde_json::json;

use super::*;

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": DIGEST, "size": 3})
}

fn image(media_type: Option<&str>) -> Value {
    let config = descriptor(media::OCI_CONFIG);
    let mut value = json!({"schemaVersion": 2, "config": config, "layers": [descriptor(media::OCI_LAYER_GZIP)]});
    if let Some(media_type) = media_type {
        value["mediaType"] = json!(media_type);
    }
    value
}

fn index(media_type: &str) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [descriptor(media::OCI_MANIFEST)]})
}

fn parse(value: &Value, outer: Option<&str>) -> Result<Manifest, ManifestError> {
    Manifest::parse(serde_json::to_vec(value).unwrap(), outer)
}

#[test]
fn manifests_of_the_field_are_read() {
    // The document, what it came as, and what it is.
    let cases = [
        (image(None), None, media::OCI_MANIFEST),
        (image(None), Some(media::OCI_MANIFEST), media::OCI_MANIFEST),
        (
            image(None),
            Some(media::DOCKER_MANIFEST),
            media::DOCKER_MANIFEST,
        ),
        (
            image(Some(media::DOCKER_MANIFEST)),
            Some(media::DOCKER_MANIFEST),
            media::DOCKER_MANIFEST,
        ),
        (
            image(Some(media::OCI_MANIFEST)),
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            media::OCI_MANIFEST,
        ),
        (
            image(Some(media::OCI_MANIFEST)),
            Some("application/json"),
            media::OCI_MANIFEST,
        ),
        (
            index(media::OCI_INDEX),
            Some(media::OCI_INDEX),
            media::OCI_INDEX,
        ),
        (
            index(media::DOCKER_LIST),
            Some(media::DOCKER_LIST),
            media::DOCKER_LIST,
        ),
    ];
    for (document, outer, expected) in cases {
        let manifest =
            parse(&document, outer).unwrap_or_else(|error| panic!("{document}: {error}"));
        assert_eq!(manifest.media_type(), expected);
        assert_eq!(
            manifest.raw(),
            serde_json::to_vec(&document).unwrap(),
            "the bytes are kept"
        );
        assert_eq!(*manifest.digest(), Digest::of(manifest.raw()));
    }
}

#[test]
fn what_two_readers_would_read_differently_is_refused() {
    let mut both = image(None);
    both["manifests"] = json!([]);
    let mut layers_only = index(media::OCI_INDEX);
    layers_only["layers"] = json!([]);
    let schema1 = json!({"schemaVersion": 1, "fsLayers": [], "history": []});
    let mut smuggled = image(None);
    smuggled["fsLayers"] = json!([]);
    let mut future = image(None);
    future["schemaVersion"] = json!(3);
    let mut escaping = image(None);
    escaping["config"]["digest"] = json!("sha256:../../etc/passwd");
    let mut negative = image(None);
    negative["config"]["size"] = json!(-1);
    let mut many = image(None);
    many["layers"] = json!(vec![descriptor(media::OCI_LAYER_GZIP); 128]);
    let cases = [
        (both, None, "both layers and manifests"),
        (layers_only, None, "both layers and manifests"),
        (schema1, None, "schema 1"),
        (smuggled, None, "both"),
        (future, None, "schemaVersion 3"),
        (escaping, None, "not valid"),
        (negative, None, "not valid"),
        (many, None, "127"),
        (json!({"schemaVersion": 2}), None, "neither"),
        (json!([]), None, "not valid"),
        (image(Some(media::OCI_INDEX)), None, "calls itself"),
        (
            image(Some(media::OCI_MANIFEST)),
            Some(media::DOCKER_MANIFEST),
            "came as",
        ),
        (image(None), Some(media::OCI_INDEX), "came as"),
        (
            index(media::OCI_INDEX),
            Some(media::OCI_MANIFEST),
            "came as",
        ),
        (image(Some("text/html")), None, "calls itself"),
    ];
    for (document, outer, word) in cases {
        let error = parse(&document, outer).expect_err(word).to_string();
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
    assert!(matches!(
        Manifest::parse(vec![b' '; (4 << 20) + 1], None),
        Err(ManifestError::TooLarge)
    ));
}

#[test]
fn filtering_keeps_everything_else() {
    let mut document = index(media::OCI_INDEX);
    document["annotations"] = json!({"a": "b"});
    document["unheardOf"] = json!(1);
    document["manifests"] = json!([descriptor("one"), descriptor("two"), descriptor("three")]);
    let filtered = parse(&document, None)
        .unwrap()
        .filter(|at| at != 1)
        .unwrap();
    let mut expected = document.clone();
    expected["manifests"].as_array_mut().unwrap().remove(1);
    assert_eq!(
        serde_json::from_slice::<Value>(filtered.raw()).unwrap(),
        expected
    );
    assert!(parse(&image(None), None).unwrap().filter(|_| true).is_err());
    // Where nothing is left out, the bytes stay.
    let spaced = format!(" {document} ").into_bytes();
    let whole = Manifest::parse(spaced.clone(), None).unwrap();
    assert_eq!(whole.filter(|_| true).unwrap().raw(), spaced);
}

proptest::proptest! {
    #[test]
    fn a_filtered_index_has_what_is_kept_and_nothing_else(kept in proptest::collection::vec(proptest::bool::ANY, 0..20)) {
        let mut document = index(media::OCI_INDEX);
        let entry = |at: usize| {
            let mut entry = descriptor(media::OCI_MANIFEST);
            entry["unheardOf"] = json!(at);
            entry["annotations"] = json!({"at": at.to_string()});
            entry
        };
        document["manifests"] = (0..kept.len()).map(entry).collect();
        let before = parse(&document, None).unwrap();
        let after = before.filter(|at| kept[at]).unwrap();
        let mut expected = document.clone();
        expected["manifests"] = (0..kept.len()).filter(|at| kept[*at]).map(entry).collect();
        proptest::prop_assert_eq!(serde_json::from_slice::<Value>(after.raw()).unwrap(), expected);
        // Filtering in two steps is filtering in one, and filtering again changes nothing.
        let again = after.filter(|_| true).unwrap();
        proptest::prop_assert_eq!(again.raw(), after.raw());
        let odd = before.filter(|at| kept[at] && at % 2 == 1).unwrap();
        let positions: Vec<usize> = (0..kept.len()).filter(|at| kept[*at]).collect();
        let twice = after.filter(|at| positions[at] % 2 == 1).unwrap();
        proptest::prop_assert_eq!(twice.content(), odd.content());
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), text in "[\\[\\]{}\",:a-zA-Z0-9 ]{0,200}") {
        drop(Manifest::parse(bytes, None));
        drop(Manifest::parse(text.into_bytes(), Some(media::OCI_MANIFEST)));
    }
}
