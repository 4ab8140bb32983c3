//! Containers on cgroup v2 with all its controllers, which only the virtual machine of `make test-vm` has for sure.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::bed::{Bed, pipe};
use crate::sleeper::Sleeper;
use libcontainer::ErrorKind;
use libcontainer::cgroup::Hierarchies;
use libcontainer::oci_spec::runtime::{LinuxResources, Spec};
use libcontainer::runtime::{ExecOptions, Runtime, Stdio};
use rustix::event::{PollFd, Timespec, poll};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A runtime as engines configure it, and the directory of its only container's cgroup.
fn runtime(bed: &Bed) -> (Runtime, PathBuf) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    assert!(
        Hierarchies::detect().unwrap().is_v2(),
        "run by make test-vm"
    );
    let parent = format!(
        "/trimaran-v2-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let runtime = Runtime::builder()
        .state_dir(bed.directory.path().join("state"))
        .cgroup_parent(&parent)
        .cgroup_accounting(true)
        .build()
        .unwrap();
    (
        runtime,
        Path::new("/sys/fs/cgroup")
            .join(&parent[1..])
            .join("sleeper"),
    )
}

fn resources(value: Value) -> LinuxResources {
    serde_json::from_value(value).unwrap()
}

fn spec(bed: &Bed, command: &str, limits: Value) -> Spec {
    let mut spec = bed.shell(command);
    let linux = spec.linux_mut().as_mut().unwrap();
    linux.set_resources(Some(resources(limits)));
    spec
}

#[track_caller]
fn check(directory: &Path, files: &[(&str, &str)]) {
    for (file, expected) in files {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!(text.trim(), *expected, "{file}");
    }
}

/// The number of the disk that the virtual machine has.
fn disk() -> (i64, i64) {
    let text = std::fs::read_to_string("/sys/block/vda/dev").unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

#[test]
fn every_limit_reaches_its_file_and_can_be_changed() {
    let Some(bed) = Bed::new() else { return };
    let (runtime, directory) = runtime(&bed);
    let (major, minor) = disk();
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let limits = json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 40_000, "period": 80_000, "burst": 1000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 33},
        "blockIO": {
            "weight": 500, "throttleReadBpsDevice": rate(1 << 20), "throttleWriteIOPSDevice": rate(77),
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
        "unified": {"memory.high": "50331648", "cgroup.max.depth": "5"},
    });
    let sleeper = Sleeper::start(&bed, &runtime, spec(&bed, "sleep 1000", limits));
    check(
        &directory,
        &[
            ("memory.max", "67108864"),
            ("memory.swap.max", "33554432"),
            ("memory.low", "33554432"),
            ("memory.high", "50331648"),
            ("cpu.weight", "59"),
            ("cpu.max", "40000 80000"),
            ("cpu.max.burst", "1000"),
            ("cpuset.cpus", "0"),
            ("cpuset.mems", "0"),
            ("pids.max", "33"),
            ("io.bfq.weight", "default 500"),
            (
                "io.max",
                &format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=77"),
            ),
            ("hugetlb.2MB.max", "4194304"),
            ("hugetlb.2MB.rsvd.max", "4194304"),
            ("cgroup.max.depth", "5"),
        ],
    );
    let root = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    check(&directory, &[("cgroup.controllers", root.trim())]);
    let update = |change: Value| sleeper.container().update(&resources(change));
    // Memory and swap both grow beyond what they were together, the quota beyond its period.
    update(json!({"memory": {"limit": 128 << 20, "swap": 256 << 20}, "cpu": {"quota": 90_000}}))
        .unwrap();
    check(
        &directory,
        &[
            ("memory.max", "134217728"),
            ("memory.swap.max", "134217728"),
            ("memory.low", "33554432"),
            ("cpu.max", "90000 80000"),
        ],
    );
    update(
        json!({"memory": {"limit": -1}, "cpu": {"quota": -1, "burst": 0}, "pids": {"limit": -1}}),
    )
    .unwrap();
    check(
        &directory,
        &[
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("cpu.max", "max 80000"),
            ("cpu.max.burst", "0"),
            ("pids.max", "max"),
        ],
    );
    update(json!({"cpu": {"idle": 1}})).unwrap();
    check(&directory, &[("cpu.idle", "1")]);
    update(json!({"unified": {"memory.high": "max"}})).unwrap();
    check(&directory, &[("memory.high", "max")]);
    for (change, words) in [
        (json!({"cpu": {"cpus": "nonsense"}}), "cpuset.cpus"),
        (
            json!({"unified": {"memory.nothing": "1"}}),
            "memory.nothing",
        ),
        (
            json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}}),
            "in use",
        ),
        (json!({"network": {"classID": 5}}), "net_cls"),
    ] {
        let error = update(change).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(words), "{cause}");
    }
}

#[test]
fn limits_hold_and_are_counted() {
    let Some(bed) = Bed::new() else { return };
    let (runtime, directory) = runtime(&bed);
    let limits = json!({
        "memory": {"limit": 16 << 20, "swap": 16 << 20}, "pids": {"limit": 9}, "cpu": {"quota": 20_000, "period": 100_000},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 237, "access": "r"}],
    });
    let mut spec = spec(&bed, "sleep 1000", limits);
    let (major, minor) = disk();
    let nodes = json!([
        {"path": "/dev/control", "type": "c", "major": 10, "minor": 237},
        {"path": "/dev/disk", "type": "b", "major": major, "minor": minor},
    ]);
    let linux = spec.linux_mut().as_mut().unwrap();
    linux.set_devices(Some(serde_json::from_value(nodes).unwrap()));
    let sleeper = Sleeper::start(&bed, &runtime, spec);
    let mut watch = sleeper.container().watch_oom().unwrap();
    assert!(!watch.happened());
    // Half the memory for one program, then more than all of it.
    assert_eq!(
        sleeper.shell("head -c 4000000 /dev/zero | wc -c").trim(),
        "4000000"
    );
    let process = sleeper.describe(&[
        "/bin/sh",
        "-c",
        "dd if=/dev/zero of=/dev/null bs=64M count=1",
    ]);
    let (_, status) = sleeper.exec(&process).unwrap();
    assert_ne!(status.shell_code(), 0);
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let events = watch.events();
    assert_eq!(
        poll(&mut [PollFd::new(&watch, events)], Some(&patience)).unwrap(),
        1
    );
    assert!(watch.happened());
    // Work until it is too much.
    let stats = loop {
        sleeper.shell("i=0; while [ $i -lt 300 ]; do i=$((i+1)); done");
        let stats = sleeper.container().stats().unwrap();
        assert!(stats.cpu.usage_ns > 0, "{stats:?}");
        if stats.cpu.throttled_periods > 0 {
            break stats;
        }
    };
    assert_eq!(stats.memory.memory.limit, Some(16 << 20));
    assert!(
        stats.memory.memory.usage > 0 && stats.memory.memory.failures > 0,
        "{stats:?}"
    );
    assert_eq!(stats.pids.limit, Some(9));
    assert!(stats.pids.current >= 1);
    // A node may be there and not be used. The first is that of loop devices, which asks for no privilege itself.
    for (command, allowed) in [
        ("head -c 0 < /dev/control", true),
        ("head -c 1 < /dev/disk", false),
        ("echo x > /dev/control", false),
    ] {
        let process = sleeper.describe(&["/bin/sh", "-c", command]);
        let (output, status) = sleeper.exec(&process).unwrap();
        assert_eq!(status.shell_code() == 0, allowed, "{command}: {output}");
        assert!(
            allowed || output.contains("Operation not permitted"),
            "{output}"
        );
    }
    // Last: what was forked stays for a while.
    let forked = sleeper.describe(&[
        "/bin/sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo all",
    ]);
    let (output, _) = sleeper.exec(&forked).unwrap();
    assert!(
        output.contains("can't fork") && !output.contains("all\n"),
        "{output}"
    );
    sleeper.container().pause().unwrap();
    check(&directory, &[("cgroup.freeze", "1")]);
    sleeper.container().resume().unwrap();
    check(&directory, &[("cgroup.freeze", "0")]);
    drop(sleeper);
    assert!(!directory.exists());
}

#[test]
fn a_mebibyte_of_memory_is_enough_to_start() {
    let Some(bed) = Bed::new() else { return };
    let (runtime, directory) = runtime(&bed);
    let limits = json!({"memory": {"limit": 1 << 20, "swap": 1 << 20}});
    let sleeper = Sleeper::start(&bed, &runtime, spec(&bed, "sleep 1000", limits));
    check(&directory, &[("memory.max", "1048576")]);
    drop(sleeper);
}

#[test]
fn further_processes_join_the_place_they_are_told() {
    let Some(bed) = Bed::new() else { return };
    let (runtime, directory) = runtime(&bed);
    let sleeper = Sleeper::start(&bed, &runtime, spec(&bed, "sleep 1000", json!({})));
    let inside = |cgroups: &[&str]| {
        let (mut read, write) = pipe();
        let options = ExecOptions {
            stdio: Stdio::Streams {
                stdin: None,
                stdout: Some(write),
                stderr: None,
            },
            cgroups: cgroups.iter().map(|one| (*one).to_owned()).collect(),
            ..ExecOptions::default()
        };
        let process = sleeper.describe(&["/bin/cat", "/proc/self/cgroup"]);
        let process = sleeper.container().exec(&process, options)?;
        let mut output = String::new();
        read.read_to_string(&mut output).unwrap();
        process.wait()?;
        Ok::<_, libcontainer::Error>(output.trim().to_owned())
    };
    let own = inside(&[]).unwrap();
    let own = own.as_str();
    for name in ["first", "second"] {
        std::fs::create_dir(directory.join(name)).unwrap();
    }
    assert_eq!(inside(&["/"]).unwrap(), own);
    let first = inside(&["first"]).unwrap();
    assert!(first.ends_with("/first"), "{own} {first}");
    assert!(inside(&["memory:second"]).unwrap().ends_with("/second"));
    // The container moves into a cgroup below its own, and hands a controller down: its own takes nobody any more.
    let list = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap();
    for pid in list.lines() {
        std::fs::write(directory.join("first/cgroup.procs"), pid).unwrap();
    }
    std::fs::write(directory.join("cgroup.subtree_control"), "+memory").unwrap();
    assert!(inside(&[]).unwrap().ends_with("/first"));
    let error = inside(&["/"]).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBUSY));
    assert!(error.to_string().contains("adding pid"), "{error}");
    assert_eq!(
        *inside(&["nowhere"]).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(inside(&["../x"]).unwrap_err().errno(), None);
}
