//! What runc's integration tests look for, and other tests here do not.

use super::oci::{Bundle, wait_until_stopped};
use serde_json::{Value, json};
use std::path::Path;
use trimaran_testkit::skip;

const HIERARCHIES: [&str; 9] = [
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd",
];

fn is_v1() -> bool {
    let there = Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists();
    if !there {
        skip("needs cgroup version 1");
    }
    there
}

fn with_pts(config: &mut Value) {
    config["process"]["terminal"] = json!(true);
}

#[test]
fn a_container_joins_every_hierarchy_and_may_use_the_default_devices_only() {
    let Some(bundle) = Bundle::new() else { return };
    if !is_v1() {
        return;
    }
    let script = "cat /proc/self/cgroup; mknod /dev/kmsg c 1 11; cat /dev/zero | head -c 1 >/dev/null && head -c 1 /dev/kmsg";
    bundle.configure(&["sh", "-c", script], |config| {
        let all = json!(["CAP_MKNOD", "CAP_SYSLOG"]);
        config["process"]["capabilities"] =
            json!({"bounding": all, "permitted": all, "effective": all});
        config["linux"]["cgroupsPath"] = json!("/suites-joined");
    });
    let outcome = bundle.oci(&["run", "joined"]);
    let places: Vec<_> = outcome.stdout.lines().collect();
    assert!(places.len() >= HIERARCHIES.len(), "{}", outcome.stdout);
    for place in places {
        assert!(place.ends_with(":/suites-joined"), "{place}");
    }
    assert!(
        outcome
            .stderr
            .contains("/dev/kmsg: Operation not permitted"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_frozen_cgroup_and_limits_of_another_version_are_refused() {
    let Some(bundle) = Bundle::new() else { return };
    if !is_v1() {
        return;
    }
    bundle.configure(&["true"], |config| {
        config["linux"]["resources"] = json!({"unified": {"memory.min": "131072"}});
    });
    let error = bundle.oci(&["run", "unified"]).expect_code(1).stderr;
    assert!(error.contains("invalid configuration"), "{error}");
    bundle.configure(&["true"], |config| {
        config["linux"]["cgroupsPath"] = json!("/runc-frozen");
    });
    let frozen = Path::new("/sys/fs/cgroup/freezer/runc-frozen");
    std::fs::create_dir_all(frozen).unwrap();
    std::fs::write(frozen.join("freezer.state"), "FROZEN").unwrap();
    let outcome = bundle.oci(&["run", "runc-frozen"]);
    std::fs::write(frozen.join("freezer.state"), "THAWED").unwrap();
    std::fs::remove_dir(frozen).unwrap();
    let error = outcome.expect_code(1).stderr;
    assert!(
        error.contains("container's cgroup unexpectedly frozen"),
        "{error}"
    );
}

#[test]
fn what_waits_for_its_start_ends_when_it_is_asked_to() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["true"], |_| {});
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        assert!(
            bundle
                .quiet(&["create", "asked"])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(bundle.state("asked")["status"], "created");
        bundle.oci(&["kill", "asked", signal]).expect_code(0);
        wait_until_stopped(&bundle, "asked");
        bundle.oci(&["delete", "asked"]).expect_code(0);
    }
    // It is not handed on to the program.
    bundle.configure(&["sh", "-c", "kill -TERM $$; echo alive"], |_| {});
    assert_eq!(
        bundle.oci(&["run", "asked"]).expect_code(0).stdout,
        "alive\n"
    );
}

#[test]
fn a_terminal_in_the_foreground_adds_no_carriage_returns() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["sh", "-c", "echo one; echo two"], with_pts);
    let outcome = bundle.oci(&["run", "plain"]).expect_code(0);
    assert_eq!(outcome.stdout, "one\ntwo\n");
}

#[test]
fn capabilities_become_ambient_only_where_the_container_hands_them_on() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["sleep", "1000"], |config| {
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_SYSLOG"],
            "inheritable": ["CAP_SYSLOG"],
            "permitted": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        });
    });
    let said = bundle.plain(&["create", "--help"]);
    said.expect_code(0);
    assert!(
        bundle
            .quiet(&["run", "--detach", "ambient"])
            .status()
            .unwrap()
            .success()
    );
    let exec = [
        "exec",
        "--cap",
        "CAP_SYSLOG",
        "--cap",
        "CAP_KILL",
        "ambient",
    ];
    let outcome = bundle.plain(&[&exec[..], &["grep", "CapAmb", "/proc/self/status"]].concat());
    bundle.oci(&["delete", "--force", "ambient"]).expect_code(0);
    assert!(
        outcome.stdout.ends_with("0000000400000000\n"),
        "{}",
        outcome.stdout
    );
    // CAP_KILL was not handed on.
    assert!(
        outcome
            .stderr
            .contains("can't raise ambient capability CAP_KILL")
            || outcome.stderr.is_empty(),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_source_in_the_root_shows_what_was_mounted_there_before() {
    let Some(bundle) = Bundle::new() else { return };
    let below = bundle.path().join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::create_dir(below.join("inner")).unwrap();
    std::fs::write(below.join("inner/word"), "seen").unwrap();
    bundle.configure(&["cat", "/second/word"], |config| {
        let source = |path: &str| bundle.path().join(path);
        config["mounts"].as_array_mut().unwrap().extend([
            json!({"destination": "/first", "type": "bind", "source": source("below"), "options": ["rbind"]}),
            json!({"destination": "/second", "type": "bind", "source": source("rootfs/first/inner"), "options": ["bind"]}),
        ]);
    });
    let outcome = bundle.oci(&["run", "order"]).expect_code(0);
    assert_eq!(outcome.stdout, "seen");
}

#[test]
fn without_pivot_root_no_procfs_of_the_host_is_left() {
    let Some(bundle) = Bundle::new() else { return };
    let script = "unshare -mrpf mount -t proc none /proc; echo $?";
    bundle.configure(&["sh", "-c", script], |config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        config["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    });
    for pivot in [&["run"][..], &["run", "--no-pivot"]] {
        let outcome = bundle.oci(&[pivot, &["bare"]].concat()).expect_code(0);
        assert_ne!(outcome.stdout, "0\n", "{pivot:?}");
        assert!(outcome.stderr.contains("mount"), "{}", outcome.stderr);
    }
}
