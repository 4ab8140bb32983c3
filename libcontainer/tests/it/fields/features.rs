//! The list of what works, compared with what the plan accepts.

use libcontainer::Error;
use libcontainer::features::features;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::runtime::CreateOptions;
use serde_json::{Value, json};

use super::{mount, with};
use crate::bed::{Bed, id};

fn plan(bed: &Bed, spec: Spec) -> Result<String, Error> {
    bed.runtime
        .plan(&id("features"), &bed.bundle(spec), CreateOptions::default())
        .map(|plan| plan.to_string())
}

/// The words at a place of the list.
fn words(path: &str) -> Vec<String> {
    let whole = serde_json::to_value(features()).unwrap();
    serde_json::from_value(whole.pointer(path).cloned().unwrap_or_default()).unwrap()
}

#[test]
fn every_mount_option_is_accepted_and_does_something_or_needs_nothing_done() {
    let Some(bed) = Bed::new() else { return };
    let spec = bed.shell("true");
    let accepted = |one: Value| plan(&bed, with(&spec, &[("+mounts", one)])).is_ok();
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let listed = words("/mountOptions");
    assert!(listed.len() > 60, "{listed:?}");
    for word in &listed {
        let mut bind = mount("/vol", "bind", "/", &[word]);
        if word.ends_with("idmap") {
            (bind["uidMappings"], bind["gidMappings"]) = (map.clone(), map.clone());
        }
        assert!(
            accepted(bind) || accepted(mount("/vol", "tmpfs", "tmpfs", &[word])),
            "{word}"
        );
    }
    for word in ["remount", "rbogus", "nothing"] {
        assert!(!listed.iter().any(|known| known == word));
        assert!(!accepted(mount("/vol", "bind", "/", &[word])), "{word}");
    }
}

#[test]
fn namespaces_and_capabilities_are_those_of_plans() {
    let Some(bed) = Bed::new() else { return };
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let kinds: Vec<Value> = words("/linux/namespaces")
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    let spec = with(
        &bed.shell("true"),
        &[
            ("linux.namespaces", json!(kinds)),
            ("linux.uidMappings", map.clone()),
            ("linux.gidMappings", map),
            (
                "process.capabilities.bounding",
                json!(words("/linux/capabilities")),
            ),
        ],
    );
    let printed = plan(&bed, spec).unwrap();
    assert!(
        printed.contains("make a time namespace") && printed.contains("checkpoint_restore"),
        "{printed}"
    );
}

#[test]
fn the_filter_takes_what_is_listed_and_nothing_else() {
    let Some(bed) = Bed::new() else { return };
    if words("/linux/seccomp/archs").is_empty() {
        return trimaran_testkit::skip("no system call filters on this architecture");
    }
    let accepted = |seccomp: Value| {
        plan(
            &bed,
            with(&bed.shell("true"), &[("linux.seccomp", seccomp)]),
        )
        .is_ok()
    };
    let rule = |action: &str| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getcpu"], "action": action}]});
    let listed = words("/linux/seccomp/actions");
    for action in [
        "ALLOW",
        "ERRNO",
        "KILL",
        "KILL_PROCESS",
        "KILL_THREAD",
        "LOG",
        "NOTIFY",
        "TRACE",
        "TRAP",
    ] {
        let action = format!("SCMP_ACT_{action}");
        let mut profile = rule(&action);
        if action == "SCMP_ACT_NOTIFY" {
            profile["listenerPath"] = json!("/run/listener");
        }
        assert_eq!(accepted(profile), listed.contains(&action), "{action}");
    }
    for flag in words("/linux/seccomp/supportedFlags") {
        let mut profile = rule("SCMP_ACT_LOG");
        profile["flags"] = json!([flag]);
        assert!(accepted(profile), "{flag}");
    }
    for op in words("/linux/seccomp/operators") {
        let mut profile = rule("SCMP_ACT_LOG");
        profile["syscalls"][0]["args"] = json!([{"index": 0, "value": 1, "valueTwo": 1, "op": op}]);
        assert!(accepted(profile), "{op}");
    }
    let mut profile = rule("SCMP_ACT_LOG");
    profile["architectures"] = json!(words("/linux/seccomp/archs"));
    assert!(accepted(profile));
}

#[test]
fn what_is_switched_on_is_accepted_and_what_is_off_refused() {
    let Some(bed) = Bed::new() else { return };
    let whole = serde_json::to_value(features()).unwrap();
    let on = |path: &str| whole.pointer(path).and_then(Value::as_bool).unwrap();
    for (path, field, value) in [
        (
            "/linux/netDevices/enabled",
            "linux.netDevices",
            json!({"eth7": {}}),
        ),
        (
            "/linux/intelRdt/enabled",
            "linux.intelRdt",
            json!({"closID": "x"}),
        ),
    ] {
        assert_eq!(
            plan(&bed, with(&bed.shell("true"), &[(field, value)])).is_ok(),
            on(path),
            "{field}"
        );
    }
    let flags = words("/linux/memoryPolicy/flags");
    for mode in words("/linux/memoryPolicy/modes") {
        let policy = json!({"mode": mode, "nodes": "0", "flags": flags});
        plan(
            &bed,
            with(&bed.shell("true"), &[("linux.memoryPolicy", policy)]),
        )
        .expect(&mode);
    }
}
