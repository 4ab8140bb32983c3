//! `pull`, `images`, `rmi`: the store as a user sees it.

use crate::support::{Home, IMAGE};
use trimaran_testkit::{Registry, skip};

#[test]
fn an_image_comes_shows_and_goes() {
    let Some(home) = Home::empty(None) else {
        return;
    };
    assert_eq!(home.call(&["images", "-q"]).expect_code(0).stdout, "");
    let pulled = home.call(&["pull", &home.source()]).expect_code(0);
    let id = pulled.stdout.trim();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id:?}");
    assert_eq!(
        home.call(&["images", "-q"]).expect_code(0).stdout.trim(),
        &id[7..19]
    );
    assert_eq!(
        home.call(&["images", "-q", "--no-trunc"])
            .expect_code(0)
            .stdout
            .trim(),
        id
    );
    let table = home.call(&["images", "--digests"]).expect_code(0).stdout;
    for word in [
        "REPOSITORY",
        "DIGEST",
        "localhost/images",
        "busybox",
        &id[7..19],
    ] {
        assert!(table.contains(word), "{word} is missing in\n{table}");
    }
    let json = home
        .call(&["images", "--format", "json"])
        .expect_code(0)
        .stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["name"], IMAGE);
    assert_eq!(json[0]["id"], id);
    // By id, by prefix, by name.
    for name in [id, &id[7..], &id[7..19], IMAGE, &format!("store:{IMAGE}")] {
        home.call(&[name, "true"]).expect_code(0);
    }
    let removed = home.call(&["rmi", "no-such-image", IMAGE]).expect_code(125);
    assert!(
        removed.stdout.contains(IMAGE) && removed.stderr.contains("no-such-image"),
        "{removed:?}"
    );
    assert_eq!(home.call(&["images", "-q"]).expect_code(0).stdout, "");
    home.call(&["rmi", "-f", IMAGE]).expect_code(0);
}

#[test]
fn an_image_in_use_is_not_removed() {
    let Some(home) = Home::ready() else { return };
    let mut child = home.start(&[IMAGE, "sh", "-c", "echo up; exec sleep 1000"]);
    crate::signals::wait_for(&mut child, "up");
    home.call(&["rmi", "-f", IMAGE]);
    // Whatever it said: what runs goes on, with its files.
    let id = std::fs::read_dir(home.store().join("containers"))
        .unwrap()
        .count();
    assert_eq!(id, 1);
    crate::signals::kill(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_job_pulls_what_is_missing() {
    let Some(home) = Home::empty(None) else {
        return;
    };
    let Some(maker) = trimaran_testkit::ImageMaker::busybox() else {
        return skip("needs busybox-static");
    };
    let registry = Registry::start();
    registry.add("made/busybox", "1", &maker.make());
    let image = format!("{}/made/busybox:1", registry.host());
    let first = home
        .call(&["--tls-verify=false", &image, "echo", "pulled"])
        .expect_code(0);
    assert_eq!(first.stdout, "pulled\n");
    assert!(
        first.stderr.contains("layer"),
        "progress is told: {}",
        first.stderr
    );
    drop(registry);
    // The registry is gone: what the store has is enough.
    assert_eq!(
        home.call(&["-q", &image, "echo", "again"])
            .expect_code(0)
            .stderr,
        ""
    );
    home.call(&["--pull", "always", "--tls-verify=false", &image, "true"])
        .expect_code(125);
    home.call(&["rmi", &image]).expect_code(0);
}

#[test]
fn a_layout_is_run_directly() {
    let Some(home) = Home::empty(None) else {
        return;
    };
    let outcome = home
        .call(&["-q", &home.source(), "echo", "ok"])
        .expect_code(0);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("ok\n", "")
    );
    home.call(&["rmi", IMAGE]).expect_code(0);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let Some(home) = Home::ready() else { return };
    let line = format!(
        "{} images --no-trunc | true; echo ${{PIPESTATUS[0]}}",
        crate::support::program().display()
    );
    let mut shell = trimaran_testkit::command("bash", home.path());
    shell.env("TRIMARAN_ROOT", home.store()).args(["-c", &line]);
    let outcome = trimaran_testkit::run(&mut shell).expect_code(0);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("0\n", "")
    );
}
