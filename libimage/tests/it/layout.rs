//! OCI layouts: foreign ones keep what we do not understand, ours hold what was put in byte for byte.

use std::{fs, io::Write, thread};

use libimage::{
    ErrorKind,
    digest::Digest,
    layout::{Layout, LayoutError},
};
use serde_json::json;
use trimaran_testkit::{Content, ImageMaker, Layout as Made};

/// Puts everything of an image into a layout.
fn put(layout: &Layout, content: &dyn Content, tag: Option<&str>) -> Result<(), LayoutError> {
    for blob in content.blobs().into_iter().chain(content.manifests()) {
        let mut writer = layout.blob_writer()?;
        writer.write_all(&blob.bytes).unwrap();
        writer.finish(Some((
            &blob.digest.parse().unwrap(),
            blob.bytes.len() as u64,
        )))?;
    }
    layout
        .put_manifest(&content.root().bytes, &content.root().media_type, tag)
        .map(drop)
}

#[test]
fn what_is_put_in_is_read_by_others_byte_for_byte() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("layout");
    let image = ImageMaker::sample().docker().make();
    let layout = Layout::create(&path).unwrap();
    put(&layout, &image, Some("v1")).unwrap();
    let other = Made::open(&path);
    assert_eq!(other.tag("v1").as_deref(), Some(image.digest()));
    for blob in image.blobs().into_iter().chain([image.root()]) {
        assert_eq!(other.blob(&blob.digest).as_ref(), Some(&blob.bytes));
    }
    let names: Vec<_> = fs::read_dir(path.join("blobs/sha256")).unwrap().collect();
    assert_eq!(names.len(), image.blobs().len() + 1, "no litter");
}

#[test]
fn what_we_do_not_understand_survives() {
    let base = tempfile::tempdir().unwrap();
    let image = ImageMaker::sample().make();
    Made::create(base.path()).add("theirs", &image);
    let index = base.path().join("index.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    value["x-unknown"] = json!({ "a": [1, 2.5] });
    value["manifests"][0]["x-other"] = json!("kept");
    value["manifests"][0]["annotations"]["org.example"] = json!("kept");
    fs::write(&index, value.to_string()).unwrap();
    let layout = Layout::open(base.path()).unwrap();
    put(&layout, &ImageMaker::new().make(), Some("ours")).unwrap();
    assert!(layout.untag("ours").unwrap());
    assert!(!layout.untag("ours").unwrap());
    let after: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    assert_eq!(after, value);
}

#[test]
fn tags_and_digests_resolve_and_the_only_image_needs_none() {
    let base = tempfile::tempdir().unwrap();
    let layout = Layout::create(&base.path().join("l")).unwrap();
    assert!(matches!(
        layout.resolve(None),
        Err(LayoutError::Empty { .. })
    ));
    let (one, two) = (ImageMaker::sample().make(), ImageMaker::new().make());
    put(&layout, &one, Some("one")).unwrap();
    put(&layout, &one, Some("alias")).unwrap();
    assert_eq!(
        layout.resolve(None).unwrap().digest.as_str(),
        one.digest(),
        "one image under two names is the only one"
    );
    put(&layout, &two, Some("two")).unwrap();
    assert!(matches!(
        layout.resolve(None),
        Err(LayoutError::Ambiguous { .. })
    ));
    assert_eq!(
        layout.resolve(Some("two")).unwrap().digest.as_str(),
        two.digest()
    );
    assert_eq!(
        layout.resolve(Some(one.digest())).unwrap().digest.as_str(),
        one.digest()
    );
    assert_eq!(
        layout.resolve(Some("three")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    // A tag moves, and the entry it leaves goes.
    put(&layout, &two, Some("one")).unwrap();
    assert_eq!(
        layout.resolve(Some("one")).unwrap().digest.as_str(),
        two.digest()
    );
    assert_eq!(layout.entries().unwrap().len(), 3);
}

#[test]
fn a_manifest_needs_its_blobs() {
    let base = tempfile::tempdir().unwrap();
    let layout = Layout::create(&base.path().join("l")).unwrap();
    let image = ImageMaker::sample().make();
    let error = layout
        .put_manifest(&image.root().bytes, &image.root().media_type, Some("x"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(layout.entries().unwrap().is_empty());
    put(&layout, &image, None).unwrap();
    fs::write(
        base.path()
            .join("l/blobs/sha256")
            .join(&image.config.digest[7..]),
        "other",
    )
    .unwrap();
    let error = layout
        .put_manifest(&image.root().bytes, &image.root().media_type, Some("x"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
}

#[test]
fn lies_are_found_when_a_blob_is_finished_or_read() {
    let base = tempfile::tempdir().unwrap();
    let layout = Layout::create(base.path()).unwrap();
    let digest = Digest::of(b"abc");
    let attempt = |content: &[u8], size| {
        let mut writer = layout.blob_writer().unwrap();
        writer.write_all(content).unwrap();
        writer
            .finish(Some((&digest, size)))
            .map_err(|error| error.kind())
    };
    assert_eq!(attempt(b"abd", 3), Err(ErrorKind::DigestMismatch));
    assert_eq!(attempt(b"abc", 4), Err(ErrorKind::DigestMismatch));
    assert_eq!(layout.blob_size(&digest).unwrap(), None);
    assert_eq!(attempt(b"abc", 3), Ok((digest.clone(), 3)));
    assert_eq!(
        layout.read_blob(&digest, 2).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
    let path = base.path().join("blobs/sha256").join(digest.hex());
    fs::write(&path, "xyz").unwrap();
    assert_eq!(
        layout.read_blob(&digest, 3).unwrap_err().kind(),
        ErrorKind::DigestMismatch
    );
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert_eq!(
        layout.open_blob(&digest).unwrap_err().kind(),
        ErrorKind::Malformed
    );
}

#[test]
fn other_directories_are_no_layouts() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("thesis.txt"), "").unwrap();
    assert_eq!(
        Layout::open(base.path()).unwrap_err().kind(),
        ErrorKind::Malformed
    );
    assert_eq!(
        Layout::create(base.path()).unwrap_err().kind(),
        ErrorKind::Malformed
    );
    assert_eq!(
        Layout::open(&base.path().join("nothing"))
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    for (marker, index) in [
        ("{}", "{\"manifests\":[]}"),
        ("{\"imageLayoutVersion\":\"1.0.0\"}", "[]"),
        ("{\"imageLayoutVersion\":\"1.0.0\"}", "{\"manifests\":[{}]}"),
    ] {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("blobs/sha256")).unwrap();
        fs::write(base.path().join("oci-layout"), marker).unwrap();
        fs::write(base.path().join("index.json"), index).unwrap();
        let result = Layout::open(base.path()).and_then(|layout| layout.entries());
        assert_eq!(
            result.unwrap_err().kind(),
            ErrorKind::Malformed,
            "{marker} {index}"
        );
    }
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("l");
    Layout::create(&path).unwrap();
    let image = ImageMaker::sample().make();
    thread::scope(|scope| {
        for writer in 0..8 {
            let (path, image) = (&path, &image);
            scope.spawn(move || {
                let layout = Layout::open(path).unwrap();
                for at in 0..5 {
                    put(&layout, image, Some(&format!("w{writer}-{at}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(Layout::open(&path).unwrap().entries().unwrap().len(), 40);
}

#[test]
fn many_at_once_make_one_layout() {
    for _ in 0..40 {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("shared");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Layout::create(&path).unwrap());
            }
        });
        assert!(Layout::open(&path).unwrap().entries().unwrap().is_empty());
    }
}
