//! Working containers become images.

use crate::lab::{Lab, plain_image, sh, write};
use libbuild::{Base, Change, Commit, CopyFiles, ErrorKind};
use libimage::compress::Compression;
use libimage::store::Image;
use serde_json::{Value, json};

fn config(image: &Image) -> Value {
    serde_json::from_slice(image.raw_config()).unwrap()
}

fn manifest(image: &Image) -> Value {
    serde_json::from_slice(image.raw_manifest()).unwrap()
}

#[test]
fn the_same_steps_give_the_same_bytes() {
    let (Some(one), Some(two)) = (Lab::with_busybox(), Lab::with_busybox()) else {
        return;
    };
    let build = |lab: &Lab| {
        write(&lab.sources(), "site/index.html", "hello");
        write(&lab.sources(), "site/sub/page", "page");
        let container = lab.container();
        sh(
            &container,
            "mkdir -p /data/x; date > /dev/null; echo a > /data/x/a; ln /data/x/a /data/x/b; mkfifo /data/pipe; rm /etc/shadow",
        );
        container
            .copy(CopyFiles::new(
                "/",
                [lab.sources().join("site").to_str().unwrap()],
                "/site",
            ))
            .unwrap();
        sh(
            &container,
            "rm -r /home; mkdir /home; touch /home/x; chown -R app /site; for i in 9 8 7; do echo $i > /data/$i; done",
        );
        let changes = [
            Change::Cmd(vec!["x".into()]),
            Change::Label("b".into(), "1".into()),
            Change::Label("a".into(), "2".into()),
        ];
        container.config(changes).unwrap();
        lab.commit(&container, "localhost/same:1")
    };
    // The wall clock differs by more than a second between the two.
    let first = build(&one);
    let later = std::time::Instant::now();
    while later.elapsed() < std::time::Duration::from_millis(1100) {
        std::thread::yield_now();
    }
    let second = build(&two);
    assert_eq!(first.layer, second.layer);
    assert_eq!(first.image_id, second.image_id);
    assert_eq!(first.manifest_digest, second.manifest_digest);
}

#[test]
fn deletions_links_and_opaque_directories_survive() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let container = lab.container();
    sh(
        &container,
        "mkdir -p /d/old; echo 1 > /d/old/f; echo 2 > /gone; echo 3 > /first; ln /first /second",
    );
    lab.commit(&container, "localhost/below:1");
    let container = lab.session.from(Base::image("localhost/below:1")).unwrap();
    sh(
        &container,
        "rm /gone; rm -r /d; mkdir /d; echo new > /d/new; rm /etc/shadow; mkdir /etc/shadow; echo x >> /first",
    );
    let built = lab.commit(&container, "localhost/above:1");
    assert!(built.layer.unwrap().stats.whiteouts >= 1);
    assert_eq!(
        lab.look(
            "localhost/above:1",
            "ls /d; test -e /gone; echo $?; test -d /etc/shadow; echo $?"
        ),
        "new\n1\n0\n"
    );
    assert_eq!(
        lab.look(
            "localhost/below:1",
            "cat /d/old/f /gone; test /first -ef /second; echo $?"
        ),
        "1\n2\n0\n"
    );
    let container = lab.session.from(Base::image("localhost/above:1")).unwrap();
    sh(&container, "echo back > /gone; mkdir /d/old");
    lab.commit(&container, "localhost/top:1");
    assert_eq!(
        lab.look("localhost/top:1", "cat /gone; ls /d/old"),
        "back\n",
        "nothing of the lowest layer comes back"
    );
}

#[test]
fn the_base_is_continued_and_not_touched() {
    let Some(lab) = Lab::empty() else { return };
    let base = plain_image();
    lab.put("localhost/plain:1", &base);
    let container = lab.session.from(Base::image("localhost/plain:1")).unwrap();
    write(&lab.sources(), "f", "x");
    container
        .copy(CopyFiles::new(lab.sources(), ["f"], "/f"))
        .unwrap();
    container
        .config([
            Change::Author("me".into()),
            Change::Annotation("k".into(), "v".into()),
        ])
        .unwrap();
    let built = lab.commit(&container, "localhost/new:1");
    let (old, new) = (
        config(&lab.store.find("localhost/plain:1").unwrap()),
        config(&built.image),
    );
    assert_eq!(
        new["history"].as_array().unwrap()[..2],
        old["history"].as_array().unwrap()[..]
    );
    let entry =
        json!({"author": "me", "created": "2025-01-01T00:00:00Z", "created_by": "COPY f /f"});
    assert_eq!(new["history"][2], entry);
    assert_eq!(new["created"], "2025-01-01T00:00:00Z", "the base's moment");
    assert_eq!(new["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    let manifest = manifest(&built.image);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
    assert_eq!(manifest["annotations"]["k"], "v");
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.base.name"],
        "localhost/plain:1"
    );
    assert_eq!(built.image_id, *built.image.id());
}

#[test]
fn nothing_changed_means_no_layer() {
    let Some(lab) = Lab::empty() else { return };
    let empty = lab.session.from(Base::scratch()).unwrap();
    empty.config([Change::Cmd(vec!["/x".into()])]).unwrap();
    let built = lab.commit(&empty, "localhost/nothing:1");
    assert!(built.layer.is_none());
    assert_eq!(manifest(&built.image)["layers"], json!([]));
    assert_eq!(
        config(&built.image)["history"][0]["empty_layer"],
        json!(true)
    );
    assert_eq!(config(&built.image)["created"], "1970-01-01T00:00:00Z");
    let again = lab
        .session
        .from(Base::image("localhost/nothing:1"))
        .unwrap();
    assert!(lab.commit(&again, "localhost/again:1").layer.is_none());
}

#[test]
fn layers_are_packed_as_asked_and_mean_the_same() {
    let Some(lab) = Lab::empty() else { return };
    write(&lab.sources(), "f", &"content ".repeat(1000));
    let container = lab.session.from(Base::scratch()).unwrap();
    container
        .copy(CopyFiles::new(lab.sources(), ["f"], "/f"))
        .unwrap();
    let mut diff_ids = Vec::new();
    for (packing, media_type) in [
        (
            Compression::Zstd,
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        (
            Compression::Gzip,
            "application/vnd.oci.image.layer.v1.tar+gzip",
        ),
        (Compression::None, "application/vnd.oci.image.layer.v1.tar"),
    ] {
        let commit = || Commit::named("localhost/f:1".parse().unwrap()).compression(packing, None);
        let built = container.commit(commit()).unwrap();
        assert_eq!(manifest(&built.image)["layers"][0]["mediaType"], media_type);
        assert_eq!(
            container.commit(commit()).unwrap().manifest_digest,
            built.manifest_digest,
            "again the same"
        );
        lab.store
            .unpack(&built.image, &libimage::progress::Silent)
            .unwrap();
        diff_ids.push(built.layer.unwrap().diff_id);
    }
    assert!(diff_ids.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(lab.store.check(false).unwrap().findings.is_empty());
    let later = container.commit(Commit::unnamed().epoch(86_400)).unwrap();
    assert_eq!(config(&later.image)["created"], "1970-01-02T00:00:00Z");
}

#[test]
fn a_base_is_kept_and_told_if_it_is_gone() {
    let Some(lab) = Lab::empty() else { return };
    lab.put("localhost/plain:1", &plain_image());
    let container = lab.session.from(Base::image("localhost/plain:1")).unwrap();
    let live = lab.session.live().unwrap();
    assert_eq!(live.len(), 3, "two layers and the manifest");
    lab.store.remove("localhost/plain:1", true).unwrap();
    lab.store.gc(&[]).unwrap();
    container.commit(Commit::unnamed()).unwrap();
    // As if somebody had tidied up by hand.
    lab.store
        .unpin(&format!("build-{}", container.id()))
        .unwrap();
    for image in lab.store.images().unwrap() {
        let name = image.manifest_digest.as_str();
        lab.store.remove(name, true).unwrap();
    }
    lab.store.gc(&[]).unwrap();
    let error = container.commit(Commit::unnamed()).unwrap_err();
    assert_eq!(
        *error.kind(),
        ErrorKind::Image(libimage::ErrorKind::NotFound),
        "{error}"
    );
    assert!(error.to_string().contains("localhost/plain:1") && error.hint().is_some());
    lab.session.remove(&container).unwrap();
}
