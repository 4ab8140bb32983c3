//! A user's own systemd makes the cgroups of the user's containers.

use crate::bundle::{Bundle, check};
use serde_json::json;
use std::path::Path;
use trimaran_testkit::{User, run};

/// What is called so runs below the user's own manager, as in a terminal of a desktop.
const BELOW: [&str; 7] = [
    "systemd-run",
    "--user",
    "--scope",
    "--quiet",
    "--collect",
    "--property=Delegate=yes",
    "--",
];

fn user() -> User {
    let user = User::with_subids().unwrap();
    let unit = format!("user@{}.service", user.uid);
    let mut started = std::process::Command::new("systemctl");
    run(started.args(["start", &unit])).expect_code(0);
    user
}

#[track_caller]
fn a_life(name: &str, wrapper: &[&'static str]) {
    let user = user();
    let uid = user.uid;
    let limits =
        json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 33}, "cpu": {"shares": 2048}});
    let mut bundle = Bundle::new(Some(user), &format!("user.slice:tri:{name}"), limits);
    bundle.wrapper = wrapper.to_vec();
    bundle.start(name);
    let unit = format!("tri-{name}.scope");
    let directory = format!("user.slice/user-{uid}.slice/user@{uid}.service/user.slice/{unit}");
    let names = ["Slice", "MemoryMax", "TasksMax", "CPUWeight", "Delegate"];
    assert_eq!(
        bundle.show(&unit, &names),
        ["user.slice", "67108864", "33", "174", "yes"]
    );
    check(
        &directory,
        &[
            ("memory.max", "67108864"),
            ("pids.max", "33"),
            ("cpu.weight", "174"),
        ],
    );
    assert_eq!(
        bundle.inside(name, "cat /proc/self/cgroup"),
        format!("0::/{directory}")
    );
    bundle
        .oci(&["update", "--memory", "134217728", name])
        .expect_code(0);
    assert_eq!(bundle.show(&unit, &["MemoryMax"]), ["134217728"]);
    check(&directory, &[("memory.max", "134217728")]);
    bundle.oci(&["pause", name]).expect_code(0);
    assert_eq!(bundle.status(name), "paused");
    bundle.oci(&["resume", name]).expect_code(0);
    bundle.oci(&["delete", "--force", name]).expect_code(0);
    assert_eq!(bundle.show(&unit, &["ActiveState"]), ["inactive"]);
    assert!(!Path::new("/sys/fs/cgroup").join(directory).exists());
}

#[test]
fn below_the_users_manager() {
    a_life("below", &BELOW);
}

/// As after a login by ssh: in a scope of the machine's systemd, which the user may not take processes out of, so that systemd has to.
#[test]
fn beside_the_users_manager() {
    a_life("beside", &[]);
}

#[test]
fn without_a_session_the_error_says_so() {
    let user = User::without_subids().unwrap();
    let bundle = Bundle::new(Some(user), "", json!({"pids": {"limit": 5}}));
    let error = bundle
        .oci(&["create", "none"])
        .expect_code(1)
        .stderr
        .clone();
    assert!(error.contains("systemd"), "{error}");
}
