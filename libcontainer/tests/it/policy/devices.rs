//! Device rules on cgroup v2: the kernel takes our program, and asks it.

use super::cgroups::{Fresh, make};
use libcontainer::cgroup::Hierarchies;
use libcontainer::oci_spec::runtime::LinuxResources;
use libcontainer::sys::bpf;
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

/// Set in a test that was started again with a view of its own.
const INSIDE: &str = "TRIMARAN_TEST_V2";

/// Whether this process sees version 2 alone; otherwise the test is run again, to its end, by one that does.
///
/// The view holds the controllers that no v1 hierarchy has taken, which may be none. Programs about devices need none.
fn sees_v2(test: &str) -> bool {
    if !trimaran_testkit::is_root() {
        trimaran_testkit::skip("programs about devices need root");
        return false;
    }
    if std::env::var_os(INSIDE).is_some() || Hierarchies::detect().unwrap().is_v2() {
        return true;
    }
    let script = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 77
        exec \"$0\" --exact \"$1\" --nocapture";
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1")
        .status()
        .unwrap();
    if status.code() == Some(77) {
        trimaran_testkit::skip("cgroup2 cannot be mounted here");
    } else {
        assert!(status.success(), "{test}: {status}");
    }
    false
}

fn resources(rules: Value) -> LinuxResources {
    serde_json::from_value(json!({ "devices": rules })).unwrap()
}

/// Whether a process in the cgroup can do it.
fn can(fresh: &Fresh, script: &str) -> bool {
    fresh
        .shell(&format!("exec 2>/dev/null; {script}"))
        .wait()
        .unwrap()
        .success()
}

fn directory(fresh: &Fresh) -> PathBuf {
    fresh.cgroup.unified.clone().unwrap()
}

#[test]
fn the_kernel_asks_our_program() {
    if !sees_v2("policy::devices::the_kernel_asks_our_program") {
        return;
    }
    let mut fresh = make(json!({"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]}));
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    let node = node.display();
    for (script, expected) in [
        ("exec 3</dev/zero".to_owned(), true),
        ("exec 3<>/dev/null".to_owned(), true),
        ("exec 3</dev/kmsg".to_owned(), true),
        ("exec 3>/dev/kmsg".to_owned(), false),
        ("exec 3<>/dev/kmsg".to_owned(), false),
        ("exec 3</dev/mem".to_owned(), false),
        // Making a node is allowed, using it is not.
        (format!("mknod {node} b 7 77"), true),
        (format!("exec 3<{node}"), false),
    ] {
        assert_eq!(can(&fresh, &script), expected, "{script}");
    }
    let before = resources(json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]));
    let host = Hierarchies::detect().unwrap();
    let mut last = before;
    // The kernel has room for 64 programs: the old one goes each time.
    for round in 0..70 {
        let access = if round % 2 == 0 { "rw" } else { "r" };
        let next = resources(json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": access},
        ]));
        fresh.cgroup.update(&last, &next, &host).unwrap();
        last = next;
        let cgroup = std::fs::File::open(directory(&fresh)).unwrap();
        assert_eq!(bpf::attached(cgroup.as_fd()).unwrap().len(), 1);
        assert_eq!(can(&fresh, "exec 3<>/dev/kmsg"), access == "rw");
    }
    let everything = resources(json!([{"allow": true, "access": "rwm"}]));
    fresh.cgroup.update(&last, &everything, &host).unwrap();
    assert!(can(&fresh, "exec 3<>/dev/kmsg"));
}

/// A program is refused as a whole if the kernel cannot follow it: many rules of all kinds.
#[test]
fn the_kernel_verifies_long_programs() {
    if !sees_v2("policy::devices::the_kernel_verifies_long_programs") {
        return;
    }
    let mut rules = vec![json!({"allow": false})];
    for number in 0..200 {
        for (kind, access) in [("b", "r"), ("c", "rw"), ("b", "m"), ("c", "rwm")] {
            rules.push(json!({
                "allow": number % 3 != 0, "type": kind, "access": access,
                "major": if number % 5 == 0 { -1 } else { number }, "minor": if number % 2 == 0 { -1 } else { number },
            }));
        }
    }
    let fresh = make(json!({ "devices": rules }));
    let cgroup = std::fs::File::open(directory(&fresh)).unwrap();
    assert_eq!(bpf::attached(cgroup.as_fd()).unwrap().len(), 1);
}
