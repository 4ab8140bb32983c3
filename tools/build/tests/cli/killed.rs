//! SIGKILL in the middle: the store and the container are sound afterwards.

use crate::actor::{Actor, Who};
use libimage::store::{IdMode, Store, StoreOptions};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Enough that a commit takes a while, and that nothing of it compresses away.
const NOISE_BYTES: usize = 48 << 20;

#[test]
fn a_killed_commit_leaves_a_sound_store() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let container = actor.ok(&["from", "oci:base:1"]);
    actor.write("noise", trimaran_testkit::image::noise(NOISE_BYTES));
    actor
        .run(&["copy", &container, "noise", "/"])
        .expect_code(0);
    let before = std::fs::read(actor.home().join("root/index.json")).unwrap();
    let whole = {
        let begin = Instant::now();
        actor.ok(&["commit", &container, "localhost/measured:1"]);
        begin.elapsed()
    };
    let with_one = std::fs::read(actor.home().join("root/index.json")).unwrap();
    assert_ne!(before, with_one);
    for part in 0..8 {
        let mut child = actor
            .build(&[
                "commit",
                "--source-date-epoch",
                &part.to_string(),
                &container,
                "localhost/x:1",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The moment of the kill is the variable of this test; wherever it strikes, the rule holds.
        std::thread::sleep(whole * part / 8 + Duration::from_millis(1));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let store = Store::open(
            &actor.home().join("root"),
            &StoreOptions {
                ids: IdMode::Full,
                privileged: true,
            },
        )
        .unwrap();
        let findings = store.check(false).unwrap().findings;
        assert!(
            findings.is_empty(),
            "after {part}/8 ({status}): {findings:?}"
        );
        let names: Vec<_> = store
            .images()
            .unwrap()
            .into_iter()
            .filter_map(|image| image.name)
            .collect();
        assert!(
            names.contains(&"localhost/measured:1".to_owned()),
            "{names:?}"
        );
        if names.contains(&"localhost/x:1".to_owned()) {
            store.find("localhost/x:1").unwrap();
        }
    }
    let first = actor.ok(&["commit", &container, "localhost/x:1"]);
    assert_eq!(first, actor.ok(&["commit", &container, "localhost/y:1"]));
    let again = actor.ok(&["from", "localhost/x:1"]);
    assert_eq!(
        actor.ok(&["run", &again, "stat", "-c", "%s", "/noise"]),
        NOISE_BYTES.to_string()
    );
}

#[test]
fn a_killed_step_ends_and_leaves_a_usable_container() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let container = actor.ok(&["from", "oci:base:1"]);
    let step = "echo begun > /begun; trap '' TERM INT; while :; do sleep 1; done";
    let mut child = actor
        .build(&["run", &container, "--", "sh", "-c", step])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let working = actor.home().join("root/working");
    let begun = || {
        let mut entries = std::fs::read_dir(&working).unwrap().flatten();
        entries.any(|entry| {
            std::fs::read(entry.path().join("upper/begun")).is_ok_and(|text| text == b"begun\n")
        })
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !begun() {
        assert!(Instant::now() < deadline, "the step never began");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The kernel kills the step with its parent; the lock is free at once, and the container works.
    assert_eq!(actor.ok(&["run", &container, "cat", "/begun"]), "begun");
    let layer = actor.ok(&["commit", &container, "localhost/x:1"]);
    assert!(layer.starts_with("sha256:"));
    actor.run(&["rm", &container]).expect_code(0);
}

#[test]
fn a_signal_ends_the_step_and_the_tool() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let Some(actor) = Actor::with_base(Who::Root) else {
            return;
        };
        let container = actor.ok(&["from", "oci:base:1"]);
        let mut child = actor
            .build(&[
                "run",
                &container,
                "--",
                "sh",
                "-c",
                "echo begun > /tmp/begun; exec tail -f /tmp/begun",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "begun\n");
        actor
            .sh(&format!("kill -{signal} {}", child.id()))
            .expect_code(0);
        let outcome = trimaran_testkit::Outcome {
            status: child.wait().unwrap(),
            stdout: line,
            stderr: String::new(),
        };
        assert_eq!(outcome.code(), code, "{signal}");
        actor.run(&["rm", &container]).expect_code(0);
    }
}
