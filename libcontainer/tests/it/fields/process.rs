//! Attributes of the process.

use std::os::unix::fs::PermissionsExt;

use libcontainer::capability::CapabilitySet;
use libcontainer::oci_spec::runtime::{Capability, Process};
use libcontainer::runtime::{CreateOptions, ExecOptions, Stdio};
use libcontainer::{ErrorKind, ExitStatus};
use serde_json::{Value, json};

use super::{refused, user_namespace, with};
use crate::bed::{Bed, id, pipe};

fn output(bed: &Bed, command: &str, changes: &[(&str, Value)]) -> String {
    let outcome = bed.run(with(&bed.shell(command), changes)).unwrap();
    assert_eq!(
        outcome.status,
        ExitStatus::Exited(0),
        "{changes:?}: {outcome:?}"
    );
    outcome.output.trim().to_owned()
}

fn error(bed: &Bed, changes: &[(&str, Value)]) -> libcontainer::Error {
    bed.run(with(&bed.shell("true"), changes))
        .expect_err(&format!("{changes:?}"))
}

#[test]
fn the_scheduler() {
    let Some(bed) = Bed::new() else { return };
    // Fields of /proc/PID/stat: 18 priority, 19 nice, 40 real-time priority, 41 policy.
    let look = "awk '{print $19, $40, $41}' /proc/self/stat";
    for (scheduler, wanted) in [
        (json!({"policy": "SCHED_OTHER", "nice": 7}), "7 0 0"),
        (json!({"policy": "SCHED_BATCH", "nice": -3}), "-3 0 3"),
        (json!({"policy": "SCHED_IDLE"}), "0 0 5"),
        (json!({"policy": "SCHED_FIFO", "priority": 10}), "0 10 1"),
        (json!({"policy": "SCHED_RR", "priority": 5}), "0 5 2"),
    ] {
        assert_eq!(
            output(&bed, look, &[("process.scheduler", scheduler.clone())]),
            wanted,
            "{scheduler}"
        );
    }
    // What is forked afterwards is ordinary again; the first process itself is not.
    let reset = json!({"policy": "SCHED_RR", "priority": 5, "flags": ["SCHED_RESET_ON_FORK"]});
    assert_eq!(
        output(
            &bed,
            &format!("{look}; awk '{{print $40, $41}}' /proc/1/stat"),
            &[("process.scheduler", reset)]
        ),
        "0 0 0\n5 2"
    );
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 10_000_000, "flags": ["SCHED_RESET_ON_FORK"]});
    assert_eq!(
        output(
            &bed,
            "awk '{print $41}' /proc/1/stat",
            &[("process.scheduler", deadline)]
        ),
        "6"
    );
    for (scheduler, field) in [
        (
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            "process.scheduler.nice",
        ),
        (json!({"policy": "SCHED_ISO"}), "process.scheduler.policy"),
        (
            json!({"policy": "SCHED_FIFO", "priority": -1}),
            "process.scheduler.priority",
        ),
        (
            json!({"policy": "SCHED_FIFO", "priority": 100}),
            "process.scheduler",
        ),
        (json!({"policy": "SCHED_DEADLINE"}), "process.scheduler"),
    ] {
        assert_eq!(
            refused(&error(&bed, &[("process.scheduler", scheduler.clone())])),
            field,
            "{scheduler}"
        );
    }
}

#[test]
fn io_priority() {
    let Some(bed) = Bed::new() else { return };
    for (class, level, wanted) in [
        ("IOPRIO_CLASS_RT", 1, "realtime: prio 1"),
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        let asked = json!({"class": class, "priority": level});
        assert_eq!(
            output(&bed, "busybox ionice", &[("process.ioPriority", asked)]),
            wanted
        );
    }
    let asked = json!({"class": "IOPRIO_CLASS_BE", "priority": 8});
    assert_eq!(
        refused(&error(&bed, &[("process.ioPriority", asked)])),
        "process.ioPriority.priority"
    );
}

#[test]
fn personality_and_memory_policy() {
    let Some(bed) = Bed::new() else { return };
    let machine = |domain: &str| {
        output(
            &bed,
            "busybox uname -m",
            &[("linux.personality", json!({"domain": domain}))],
        )
    };
    assert_eq!(machine("LINUX"), output(&bed, "busybox uname -m", &[]));
    if cfg!(target_arch = "x86_64") {
        assert_eq!(machine("LINUX32"), "i686");
    }
    let flags = json!({"domain": "LINUX", "flags": ["X"]});
    assert_eq!(
        refused(&error(&bed, &[("linux.personality", flags)])),
        "linux.personality.flags"
    );

    let policy =
        |mode: &str, nodes: &str| [("linux.memoryPolicy", json!({"mode": mode, "nodes": nodes}))];
    match bed.run(with(
        &bed.shell("head -n 1 /proc/self/numa_maps"),
        &policy("MPOL_BIND", "0"),
    )) {
        Err(error) if error.errno() == Some(libc::ENOSYS) => {
            assert!(error.hint().unwrap().contains("memory nodes"));
            trimaran_testkit::skip("the kernel has no memory policies");
        }
        outcome => {
            let outcome = outcome.unwrap();
            assert!(outcome.output.contains("bind:0"), "{outcome:?}");
            assert_eq!(
                refused(&error(&bed, &policy("MPOL_BIND", "900"))),
                "linux.memoryPolicy"
            );
            assert_eq!(
                refused(&error(&bed, &policy("MPOL_BIND", ""))),
                "linux.memoryPolicy"
            );
        }
    }
    assert_eq!(
        refused(&error(&bed, &policy("MPOL_BIND", "x"))),
        "linux.memoryPolicy.nodes"
    );
    assert_eq!(
        refused(&error(&bed, &policy("MPOL_BIND", "5000"))),
        "linux.memoryPolicy.nodes"
    );
}

#[test]
fn labels_are_refused_where_nobody_would_enforce_them() {
    let Some(bed) = Bed::new() else { return };
    if std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with('Y'))
    {
        trimaran_testkit::skip("AppArmor is enabled");
    } else {
        let asked = error(&bed, &[("process.apparmorProfile", json!("box"))]);
        assert_eq!(refused(&asked), "process.apparmorProfile");
        assert_eq!(asked.hint(), Some("AppArmor is not enabled on this host"));
        assert_eq!(
            output(
                &bed,
                "echo ran",
                &[("process.apparmorProfile", json!("unconfined"))]
            ),
            "ran"
        );
        assert_eq!(
            output(&bed, "echo ran", &[("process.apparmorProfile", json!(""))]),
            "ran"
        );
    }
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return trimaran_testkit::skip("SELinux is enabled");
    }
    for field in ["process.selinuxLabel", "linux.mountLabel"] {
        let asked = error(&bed, &[(field, json!("system_u:system_r:container_t:s0"))]);
        assert_eq!(refused(&asked), field);
        assert_eq!(output(&bed, "echo ran", &[(field, json!(""))]), "ran");
    }
}

#[test]
fn the_oom_score() {
    let Some(bed) = Bed::new() else { return };
    let look = "cat /proc/self/oom_score_adj";
    let may = CapabilitySet::effective()
        .unwrap()
        .contains(Capability::SysResource);
    if !may {
        // Lowering it is then a failure, as in other runtimes, and not a process that is less protected than it was to be: one half
        // of this test is for callers without the capability, the other for those with it.
        let error = error(&bed, &[("process.oomScoreAdj", json!(-500))]);
        assert_eq!(error.hint(), Some("lowering it needs CAP_SYS_RESOURCE"));
    }
    for score in [-500, 0, 700]
        .into_iter()
        .filter(|score| may || *score >= 0)
    {
        assert_eq!(
            output(&bed, look, &[("process.oomScoreAdj", json!(score))]),
            score.to_string()
        );
        // Lowering is the caller's right, also for a container in a user namespace, whose root has it not.
        std::fs::set_permissions(bed.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let spec = user_namespace(
            &with(&bed.shell(look), &[("process.oomScoreAdj", json!(score))]),
            100_000,
        );
        assert_eq!(bed.run(spec).unwrap().output.trim(), score.to_string());
        // Not the caller's own.
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        assert_ne!(own.trim(), "700");
    }
}

#[test]
fn who_the_process_is() {
    let Some(bed) = Bed::new() else { return };
    let user = json!({"uid": 1000, "gid": 1000, "umask": 0o027, "additionalGids": [5, 6]});
    let look =
        "id -u; id -G; umask; echo $HOME; grep NoNewPrivs /proc/self/status | awk '{print $2}'";
    let changes = [
        ("process.user", user),
        ("process.env", json!(["PATH=/bin", "HOME="])),
        ("process.noNewPrivileges", json!(false)),
    ];
    assert_eq!(
        output(&bed, look, &changes),
        "1000\n1000 5 6\n0027\n/home/user\n0"
    );
    let changes = [
        ("process.noNewPrivileges", json!(true)),
        ("process.env", json!(["PATH=/bin", "HOME=/here"])),
    ];
    assert_eq!(output(&bed, look, &changes), "0\n0\n0022\n/here\n1");
}

#[test]
fn processors_of_a_container_and_of_a_further_process() {
    let Some(bed) = Bed::new() else { return };
    let look = "grep Cpus_allowed_list /proc/self/status | awk '{print $2}'";
    // A container has not inherited the choice of its caller, who is another thread here.
    let all = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let pinned = std::thread::scope(|scope| {
        let pinned = || {
            let mut one = rustix::thread::CpuSet::new();
            one.set(0);
            rustix::thread::sched_setaffinity(None, &one).unwrap();
            output(&bed, look, &[])
        };
        scope.spawn(pinned).join().unwrap()
    });
    assert_eq!(pinned, all.trim());
    let container = || {
        let plan = bed
            .runtime
            .plan(
                &id("affinity"),
                &bed.bundle(bed.spec(&["/bin/sleep", "1000"])),
                CreateOptions::default(),
            )
            .unwrap();
        let container = bed.runtime.create(plan).unwrap();
        container.start().unwrap();
        container
    };
    let container = container();
    let exec = |affinity: Value| {
        let mut process: Value = serde_json::to_value(container.process().unwrap()).unwrap();
        process["args"] = json!(["/bin/sh", "-c", look]);
        process["execCPUAffinity"] = affinity;
        let process: Process = serde_json::from_value(process).unwrap();
        let (mut read, write) = pipe();
        let stdio = Stdio::Streams {
            stdin: None,
            stdout: Some(write),
            stderr: None,
        };
        let started = container.exec(
            &process,
            ExecOptions {
                stdio,
                ..ExecOptions::default()
            },
        )?;
        let mut said = String::new();
        std::io::Read::read_to_string(&mut read, &mut said).unwrap();
        started.wait()?;
        Ok::<_, libcontainer::Error>(said.trim().to_owned())
    };
    assert_eq!(exec(json!(null)).unwrap(), all.trim());
    assert_eq!(exec(json!({"final": "0"})).unwrap(), "0");
    assert_eq!(exec(json!({"initial": "0"})).unwrap(), "0");
    if all.trim() == "0-1" {
        assert_eq!(exec(json!({"initial": "0", "final": "1"})).unwrap(), "1");
        assert_eq!(exec(json!({"final": "0-1"})).unwrap(), "0-1");
    }
    assert_eq!(
        refused(&exec(json!({"final": "5000"})).unwrap_err()),
        "process.execCPUAffinity"
    );
    let error = exec(json!({"final": "1000"})).unwrap_err();
    assert_eq!(
        (error.errno(), error.kind()),
        (Some(libc::EINVAL), &ErrorKind::Io),
        "{error}"
    );
    container.delete(true).unwrap();
}
