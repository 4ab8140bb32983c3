//! How much is asked of the kernel for a container: counts do not depend on the machine, as times do.

use crate::support::program;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use trimaran_testkit::image::Tree;
use trimaran_testkit::{run, skip};

/// System calls from the beginning of `main` to the program's `execve`, of all processes. crun needs 685, runc 5150. It may only fall:
/// 25 of them are the hierarchies of version 1 that a container joins although nothing is asked of them, as runc's does. About 256 are
/// made; how many mounts, hierarchies and capabilities there are moves that a little.
const CALLS: usize = 270;

/// The same where cgroups are of version 2: about 211.
const CALLS_OF_2: usize = 225;

/// Shows version 2 alone to a command, which is in the directory of its hierarchy then.
const VERSION_2: &str = "
    grep -o ' /sys/fs/cgroup[^ ]*' /proc/self/mountinfo | sort -r | xargs -r -n 1 umount -l
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 77
    exec \"$@\"";

/// The lines of a trace that are calls of ours: from where Rust's runtime begins (the loader is not counted) to the program.
fn calls(trace: &str) -> Vec<&str> {
    let begins = trace.lines().position(|line| line.contains("poll([{fd=0"));
    // The line may be cut in two by one of the other process, so how it ended is not looked for: the container's exit code tells.
    let program = "execve(\"/bin/true\"";
    let ends = trace.lines().position(|line| line.contains(program));
    let (begins, ends) = (begins.unwrap(), ends.unwrap());
    let all = trace.lines().take(ends + 1).skip(begins);
    // The second half of a call that was interrupted is no call, nor is a signal; and debug builds look at a descriptor before they close it.
    all.filter(|line| !line.contains("resumed>") && !line.contains("F_GETFD"))
        .filter(|line| line.contains('('))
        .filter(|line| !line.contains("--- SIG") && !line.contains("+++ "))
        .collect()
}

#[test]
fn a_container_costs_few_system_calls() {
    bounded(CALLS, &mut |strace| Command::new(strace));
}

#[test]
fn with_cgroups_of_version_2_it_costs_fewer() {
    bounded(CALLS_OF_2, &mut |strace| {
        let mut alone = Command::new("unshare");
        alone.args(["-m", "sh", "-c", VERSION_2, "sh", strace]);
        alone
    });
}

fn bounded(most: usize, strace: &mut dyn FnMut(&str) -> Command) {
    if !trimaran_testkit::is_root() {
        return skip("needs root");
    }
    let (Some(tree), true) = (Tree::busybox(), Path::new("/usr/bin/strace").exists()) else {
        return skip("needs busybox-static and strace");
    };
    let dir = tempfile::tempdir().unwrap();
    let (tar, rootfs) = (dir.path().join("root.tar"), dir.path().join("rootfs"));
    std::fs::write(&tar, tree.tar()).unwrap();
    std::fs::create_dir(&rootfs).unwrap();
    let mut unpack = Command::new("tar");
    run(unpack.arg("-xpf").arg(&tar).arg("-C").arg(&rootfs)).expect_code(0);
    run(Command::new(program())
        .args(["oci", "spec", "-b"])
        .arg(dir.path()))
    .expect_code(0);
    let config = dir.path().join("config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = Value::from(vec!["/bin/true"]);
    // How many hierarchies there are to be shown is the host's matter.
    let without = |list: &mut Value, key: &str| {
        let list = list.as_array_mut().unwrap();
        list.retain(|one| one[key] != "cgroup");
    };
    without(&mut spec["mounts"], "type");
    without(&mut spec["linux"]["namespaces"], "type");
    std::fs::write(&config, spec.to_string()).unwrap();
    let log = dir.path().join("trace");
    let mut traced = strace("strace");
    traced
        .args(["-f", "-qq", "-o"])
        .arg(&log)
        .arg(program())
        .args(["oci", "--root"])
        .arg(dir.path().join("state"))
        .args(["run", "-b"])
        .arg(dir.path())
        .arg(format!("counted-{}-{most}", std::process::id()));
    let outcome = run(&mut traced);
    if outcome.stderr.contains("ptrace") {
        return skip("processes cannot be traced here");
    }
    if outcome.code() == 77 {
        return skip("cgroup version 2 cannot be mounted here");
    }
    outcome.expect_code(0);
    let trace = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    let calls = calls(&trace);
    let count = calls.len();
    assert!(count <= most, "{count} calls:\n{}", calls.join("\n"));
}
