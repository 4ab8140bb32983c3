//! Ctrl-C: the process dies of the signal, and both ends are as before.

use crate::tool::{Home, PLAIN};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};
use trimaran_testkit::{Content, Fault, ImageMaker, Layout, Registry, Rule};

/// Starts a copy, waits for it to ask for a blob that will not come, interrupts it, and returns how it ended.
fn interrupted(
    home: &Home,
    registry: &Registry,
    to: &str,
    signal: &str,
) -> std::process::ExitStatus {
    let from = registry.reference("a", "v");
    let arguments = [&PLAIN[..], &[&from, to]].concat();
    let mut child = home
        .command(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while registry.count("GET", "*/blobs/*") < 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it does not end: {:#?}", registry.requests());
}

#[test]
fn both_ends_are_left_clean() {
    let image = ImageMaker::sample().make();
    let stalling = || {
        let registry = Registry::start();
        registry.add("a", "v", &image);
        registry.fault(Rule::get("*/blobs/*").fault(Fault::Stall(50)));
        registry
    };
    for (signal, number) in [("-INT", 2), ("-TERM", 15)] {
        let home = Home::new();
        let (from, to) = (stalling(), Registry::start());
        let status = interrupted(&home, &from, &to.reference("b", "v"), signal);
        assert_eq!(status.signal(), Some(number), "{status}");
        assert_eq!(to.manifest("b", "v"), None);

        let status = interrupted(&home, &stalling(), &home.layout("to", "v"), signal);
        assert_eq!(status.signal(), Some(number), "{status}");
        let layout = Layout::open(&home.path("to"));
        assert_eq!(layout.tag("v"), None);
        let known: Vec<&str> = image
            .blobs()
            .into_iter()
            .map(|blob| &*blob.digest)
            .collect();
        assert!(
            layout
                .digests()
                .iter()
                .all(|digest| known.contains(&&**digest)),
            "{:?}",
            layout.digests()
        );

        let status = interrupted(&home, &stalling(), "store:localhost/b:v", signal);
        assert_eq!(status.signal(), Some(number), "{status}");
        home.run(&["inspect", "store:localhost/b:v"])
            .expect_code(125);
        // What was cut off does not stand in the way of the next attempt.
        let healthy = Registry::start();
        healthy.add("a", "v", &image);
        assert_eq!(
            home.copy(&[], &healthy.reference("a", "v"), "store:localhost/b:v"),
            image.digest()
        );
        assert_eq!(
            home.copy(&[], &healthy.reference("a", "v"), &home.layout("to", "v")),
            image.digest()
        );
    }
}
