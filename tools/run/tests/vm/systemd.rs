//! The machine's systemd makes the cgroups of containers.

use crate::bundle::{Bundle, check};
use serde_json::{Value, json};
use std::path::Path;
use trimaran_testkit::run;

fn reload(bundle: &Bundle) {
    run(&mut bundle.call(Path::new("/usr/bin/systemctl"), &["daemon-reload"])).expect_code(0);
}

/// systemd needs a moment to notice that the last process of a unit has ended.
#[track_caller]
fn ends(bundle: &Bundle, unit: &str) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while bundle.show(unit, &["ActiveState"]) != ["inactive"] {
        if std::time::Instant::now() >= end {
            let status = run(&mut bundle.call(Path::new("/usr/bin/systemctl"), &["status", unit]));
            panic!("{unit} stays: {}", status.stdout);
        }
    }
}

#[test]
fn limits_are_properties_and_files_and_stay() {
    let limits = json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "pids": {"limit": 33},
        "cpu": {"shares": 2048, "quota": 33_333, "period": 100_000, "cpus": "0"},
        "unified": {"memory.high": "50331648", "memory.oom.group": "1"},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
    });
    let bundle = Bundle::new(None, "machine-vm.slice:tri:limits", limits);
    bundle.start("limits");
    let directory = "machine.slice/machine-vm.slice/tri-limits.scope";
    let shown = |names: &[&str]| bundle.show("tri-limits.scope", names);
    for (name, value) in [
        ("Slice", "machine-vm.slice"),
        ("ActiveState", "active"),
        ("Transient", "yes"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("MemorySwapMax", "33554432"),
        ("MemoryLow", "33554432"),
        ("MemoryHigh", "50331648"),
        ("TasksMax", "33"),
        ("CPUWeight", "174"),
        ("CPUQuotaPerSecUSec", "340ms"),
        ("AllowedCPUs", "0"),
    ] {
        assert_eq!(shown(&[name]), [value], "{name}");
    }
    let files = [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("pids.max", "33"),
        ("cpu.weight", "174"),
        ("cpuset.cpus", "0"),
        ("hugetlb.2MB.max", "4194304"),
        ("cpu.max", "33333 100000"),
    ];
    check(directory, &files);
    // systemd, which writes this file itself, sets it back when it reloads.
    check(directory, &[("memory.oom.group", "1")]);
    // Further processes join it.
    assert_eq!(
        bundle.inside("limits", "cat /proc/self/cgroup"),
        format!("0::/{directory}")
    );
    reload(&bundle);
    // Of quotas it keeps whole hundredths.
    check(directory, &files[..files.len() - 1]);
    check(directory, &[("cpu.max", "34000 100000")]);
    bundle
        .oci(&[
            "update",
            "--memory",
            "134217728",
            "--memory-swap",
            "268435456",
            "--pids-limit",
            "-1",
            "limits",
        ])
        .expect_code(0);
    let names = ["MemoryMax", "MemorySwapMax", "TasksMax", "MemoryHigh"];
    let expected = ["134217728", "134217728", "infinity", "50331648"];
    assert_eq!(shown(&names), expected);
    let files = [
        ("memory.max", "134217728"),
        ("memory.swap.max", "134217728"),
        ("memory.high", "50331648"),
        ("pids.max", "max"),
        ("cpu.max", "33333 100000"),
        ("cpu.weight", "174"),
    ];
    check(directory, &files);
    reload(&bundle);
    check(directory, &files[..4]);
    bundle
        .oci(&["update", "--cpu-quota", "-1", "limits"])
        .expect_code(0);
    check(directory, &[("cpu.max", "max 100000")]);
}

#[test]
fn devices_are_those_of_the_rules_also_after_a_reload() {
    let rules = json!({"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "access": "r"},
    ]});
    let bundle = Bundle::new(None, ":tri:devices", rules);
    bundle.configure(|config| {
        config["linux"]["devices"] = json!([
            {"path": "/dev/control", "type": "c", "major": 10, "minor": 237},
            {"path": "/dev/message", "type": "c", "major": 1, "minor": 11},
        ]);
    });
    bundle.start("devices");
    let looked = || {
        let open = "for n in control message null zero; do head -c 0 < /dev/$n && echo $n; done 2>/dev/null; true";
        bundle.inside("devices", open)
    };
    let policy = || bundle.show("tri-devices.scope", &["Slice", "DevicePolicy"]);
    assert_eq!(policy(), ["system.slice", "strict"]);
    assert_eq!(looked(), "control\nnull\nzero");
    reload(&bundle);
    assert_eq!(looked(), "control\nnull\nzero");
    bundle
        .oci(&["update", "--pids-limit", "40", "devices"])
        .expect_code(0);
    assert_eq!(looked(), "control\nnull\nzero");
    reload(&bundle);
    assert_eq!(looked(), "control\nnull\nzero");
}

#[test]
fn a_life_leaves_no_unit() {
    let bundle = Bundle::new(None, ":tri:life", json!({}));
    let state = || bundle.show("tri-life.scope", &["LoadState", "ActiveState"]);
    bundle.start("life");
    assert_eq!(state(), ["loaded", "active"]);
    // The name is taken.
    bundle.configure(|config| config["linux"]["resources"] = json!({"pids": {"limit": 9}}));
    let error = bundle
        .oci(&["create", "second"])
        .expect_code(1)
        .stderr
        .clone();
    assert!(
        error.contains("already exists") && error.contains("tri-life.scope"),
        "{error}"
    );
    assert_eq!(state(), ["loaded", "active"]);
    bundle.oci(&["pause", "life"]).expect_code(0);
    assert_eq!(bundle.status("life"), "paused");
    bundle.oci(&["resume", "life"]).expect_code(0);
    bundle.oci(&["kill", "life", "KILL"]).expect_code(0);
    while bundle.status("life") != "stopped" {
        std::thread::yield_now();
    }
    bundle.oci(&["delete", "life"]).expect_code(0);
    assert_eq!(state(), ["not-found", "inactive"]);
    assert!(!Path::new("/sys/fs/cgroup/system.slice/tri-life.scope").exists());
    // And the name is free again; a running container goes with all it started.
    bundle.start("life");
    // They must not hold our pipes.
    bundle.inside("life", "(sleep 1000 & sleep 1000 &) >/dev/null 2>&1");
    bundle.oci(&["delete", "--force", "life"]).expect_code(0);
    assert_eq!(state(), ["not-found", "inactive"]);
}

#[test]
fn a_container_that_failed_leaves_no_unit() {
    let bundle = Bundle::new(None, ":tri:failed", json!({}));
    bundle.configure(|config| config["process"]["args"] = json!(["/bin/nothing"]));
    bundle.oci(&["create", "failed"]).expect_code(1);
    ends(&bundle, "tri-failed.scope");
    bundle.configure(|config| {
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["resources"] = json!({"unified": {"memory.nothing": "1"}});
    });
    bundle.oci(&["create", "failed"]).expect_code(1);
    ends(&bundle, "tri-failed.scope");
}

#[test]
fn without_a_path_the_scope_is_named_after_the_container_and_annotations_are_properties() {
    let bundle = Bundle::new(None, "", Value::Null);
    bundle.configure(|config| {
        config["linux"]["cgroupsPath"].take();
        config["linux"]["resources"].take();
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.TasksMax": "uint64 44",
        });
    });
    bundle.start("plain");
    let names = ["Slice", "TimeoutStopUSec", "CollectMode", "TasksMax"];
    assert_eq!(
        bundle.show("trimaran-plain.scope", &names),
        ["system.slice", "7s", "inactive-or-failed", "44"]
    );
    check("system.slice/trimaran-plain.scope", &[("pids.max", "44")]);
    bundle.configure(|config| {
        config["annotations"] = json!({"org.systemd.property.NoSuch": "true"});
    });
    let error = bundle
        .oci(&["create", "wrong"])
        .expect_code(1)
        .stderr
        .clone();
    assert!(error.contains("NoSuch"), "{error}");
}

#[test]
fn a_container_that_comes_back_has_a_scope_again() {
    let limits = json!({"pids": {"limit": 33}, "memory": {"limit": 64 << 20}});
    let bundle = Bundle::new(None, ":tri:saved", limits);
    bundle.start("saved");
    bundle
        .oci(&["checkpoint", "--image-path", "images", "saved"])
        .expect_code(0);
    assert_eq!(bundle.status("saved"), "stopped");
    ends(&bundle, "tri-saved.scope");
    bundle.oci(&["delete", "saved"]).expect_code(0);
    // Its scope has another name now, and other limits.
    bundle.configure(|config| {
        config["linux"]["cgroupsPath"] = ":tri:back".into();
        config["linux"]["resources"]["pids"]["limit"] = 44.into();
    });
    bundle.leave(&["restore", "--detach", "--image-path", "images", "back"]);
    assert_eq!(bundle.status("back"), "running");
    assert_eq!(
        bundle.show("tri-back.scope", &["ActiveState", "TasksMax", "MemoryMax"]),
        ["active", "44", "67108864"]
    );
    check("system.slice/tri-back.scope", &[("pids.max", "44")]);
    assert_eq!(
        bundle.inside("back", "cat /proc/1/cgroup"),
        "0::/system.slice/tri-back.scope"
    );
    reload(&bundle);
    bundle.oci(&["pause", "back"]).expect_code(0);
    bundle.oci(&["resume", "back"]).expect_code(0);
    bundle.oci(&["delete", "--force", "back"]).expect_code(0);
    assert_eq!(
        bundle.show("tri-back.scope", &["LoadState", "ActiveState"]),
        ["not-found", "inactive"]
    );
}
