//! Namespaces that are new, joined by path, or refused.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use libcontainer::ExitStatus;
use libcontainer::oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::{refused, with};
use crate::bed::Bed;

/// A process in namespaces of its own.
struct Elsewhere(Child);

impl Elsewhere {
    fn new(flags: &[&str]) -> Self {
        let child = Command::new("unshare")
            .arg("--kill-child")
            .args(flags)
            .args(["sh", "-c", "echo ready; exec sleep 1000"])
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Self(child)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{name}", self.0.id()))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A specification whose namespace of one kind is replaced.
fn joining(spec: &Spec, kind: &str, path: &Path) -> Spec {
    let mut list: Vec<Value> =
        serde_json::from_value(serde_json::to_value(spec).unwrap()["linux"]["namespaces"].clone())
            .unwrap();
    list.retain(|one| one["type"] != kind);
    list.push(json!({"type": kind, "path": path}));
    with(spec, &[("linux.namespaces", json!(list))])
}

#[test]
fn each_kind_can_be_joined() {
    let Some(bed) = Bed::new() else { return };
    let elsewhere = Elsewhere::new(&["--uts", "--ipc", "--net", "--cgroup", "--mount", "--time"]);
    for (kind, file) in [
        ("uts", "uts"),
        ("ipc", "ipc"),
        ("network", "net"),
        ("cgroup", "cgroup"),
        ("mount", "mnt"),
        ("time", "time"),
    ] {
        let wanted = std::fs::read_link(elsewhere.path(file)).unwrap();
        let spec = joining(
            &bed.shell(&format!("readlink /proc/self/ns/{file}")),
            kind,
            &elsewhere.path(file),
        );
        let outcome = bed.run(spec).unwrap();
        assert_eq!(
            outcome.output.trim(),
            wanted.to_str().unwrap(),
            "{kind}: {outcome:?}"
        );
    }
    let elsewhere = Elsewhere::new(&["--pid", "--fork", "--mount-proc"]);
    let inside = elsewhere.path("pid_for_children");
    let wanted = std::fs::read_link(&inside).unwrap();
    let outcome = bed
        .run(joining(
            &bed.shell("readlink /proc/self/ns/pid"),
            "pid",
            &inside,
        ))
        .unwrap();
    assert_eq!(outcome.output.trim(), wanted.to_str().unwrap());
    let elsewhere = Elsewhere::new(&["--user", "--map-root-user"]);
    let wanted = std::fs::read_link(elsewhere.path("user")).unwrap();
    let spec = bed.shell("readlink /proc/self/ns/user");
    // The group 5 of its terminals does not exist there.
    let kept = spec
        .mounts()
        .iter()
        .flatten()
        .filter(|mount| mount.typ().as_deref() != Some("devpts"));
    let spec = with(
        &spec,
        &[(
            "mounts",
            serde_json::to_value(kept.collect::<Vec<_>>()).unwrap(),
        )],
    );
    let outcome = bed
        .run(joining(&spec, "user", &elsewhere.path("user")))
        .unwrap();
    assert_eq!(outcome.output.trim(), wanted.to_str().unwrap());
}

#[test]
fn what_is_no_such_namespace_is_refused() {
    let Some(bed) = Bed::new() else { return };
    for (kind, path) in [
        ("network", "/proc/self/ns/uts"),
        ("time", "/proc/self/ns/net"),
        ("pid", "/etc/passwd"),
        // The caller's own would be changed.
        ("mount", "/proc/self/ns/mnt"),
    ] {
        let error = bed
            .run(joining(&bed.shell("true"), kind, Path::new(path)))
            .unwrap_err();
        assert_eq!(
            refused(&error),
            "linux.namespaces",
            "{kind} {path}: {error}"
        );
    }
    let spec = joining(
        &bed.shell("true"),
        "network",
        Path::new("/proc/self/ns/net"),
    );
    let sysctl = with(
        &spec,
        &[("linux.sysctl", json!({"net.ipv4.ip_forward": "1"}))],
    );
    assert_eq!(refused(&bed.run(sysctl).unwrap_err()), "linux.namespaces");
    let spec = joining(&bed.shell("true"), "uts", Path::new("/proc/self/ns/uts"));
    let named = with(&spec, &[("hostname", json!("other"))]);
    assert_eq!(refused(&bed.run(named).unwrap_err()), "linux.namespaces");
    assert_eq!(
        bed.run(with(&spec, &[("hostname", json!(""))]))
            .unwrap()
            .status,
        ExitStatus::Exited(0)
    );
}

#[test]
fn clocks_of_a_time_namespace() {
    let Some(bed) = Bed::new() else { return };
    let uptime = || {
        std::fs::read_to_string("/proc/uptime")
            .unwrap()
            .split('.')
            .next()
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    let base = with(
        &bed.shell(
            "cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets | awk '{print $1, $2, $3}'",
        ),
        &[("linux.+namespaces", json!({"type": "time"}))],
    );
    std::os::unix::fs::symlink("busybox", bed.root().join("bin/cut")).unwrap();
    let offsets = json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 7}});
    let spec = with(&base, &[("linux.timeOffsets", offsets.clone())]);
    let before = uptime();
    let outcome = bed.run(spec.clone()).unwrap();
    let lines: Vec<&str> = outcome.output.lines().collect();
    let inside: i64 = lines[0].parse().unwrap();
    assert!(
        (before + 1_000_000..=uptime() + 1_000_000).contains(&inside),
        "{outcome:?}"
    );
    assert_eq!(&lines[1..], ["monotonic 5 7", "boottime 1000000 0"]);
    // With a user namespace, whose root may set the clocks of its own.
    let spec = super::user_namespace(&spec, 100_000);
    std::fs::set_permissions(
        bed.directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    assert!(bed.run(spec).unwrap().output.contains("boottime 1000000 0"));
    // Without offsets, without a namespace, and nonsense.
    assert!(
        bed.run(base.clone())
            .unwrap()
            .output
            .contains("boottime 0 0")
    );
    for (spec, offsets, field) in [
        (&bed.shell("true"), offsets, "linux.timeOffsets"),
        (
            &base,
            json!({"realtime": {"secs": 1}}),
            "linux.timeOffsets.realtime",
        ),
        (
            &base,
            json!({"boottime": {"nanosecs": 1_000_000_000}}),
            "linux.timeOffsets.boottime",
        ),
    ] {
        let error = bed
            .run(with(spec, &[("linux.timeOffsets", offsets)]))
            .unwrap_err();
        assert_eq!(refused(&error), field);
    }
    let error = bed
        .run(with(
            &base,
            &[(
                "linux.timeOffsets",
                json!({"boottime": {"secs": -1_000_000_000_000_i64}}),
            )],
        ))
        .unwrap_err();
    assert_eq!(
        error.hint(),
        Some("a clock must not be before zero"),
        "{error}"
    );
}
