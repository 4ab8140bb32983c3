//! Nothing is left behind: not after a good end, not after a bad one, and not for long after SIGKILL.

use crate::signals::wait_for;
use crate::support::{Home, IMAGE};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Directories called `name` anywhere in the cgroup hierarchies.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == name {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

/// The id of the only container.
pub(crate) fn only_container(store: &Path) -> String {
    let mut entries = std::fs::read_dir(store.join("containers")).unwrap();
    let id = entries
        .next()
        .unwrap()
        .unwrap()
        .file_name()
        .into_string()
        .unwrap();
    assert!(entries.next().is_none());
    id
}

#[test]
fn a_running_container_mounts_nothing_on_the_host() {
    let Some(home) = Home::ready() else { return };
    let mut child = home.start(&[IMAGE, "sh", "-c", "echo up; exec sleep 1000"]);
    wait_for(&mut child, "up");
    let id = only_container(&home.store());
    assert!(!mounts().contains(&id) && !mounts().contains(home.path().to_str().unwrap()));
    crate::signals::kill(&child, "TERM");
    child.wait().unwrap();
    assert_eq!(cgroups(&id), Vec::<PathBuf>::new());
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn a_killed_tool_takes_its_container_along_and_the_next_one_tidies_up() {
    let Some(home) = Home::ready() else { return };
    let mut child = home.start(&[
        "--name",
        "lost",
        IMAGE,
        "sh",
        "-c",
        "echo up; echo x > /file; exec sleep 1000",
    ]);
    wait_for(&mut child, "up");
    let id = only_container(&home.store());
    let pid = recorded_pid(&home.store(), &id);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !home.leftovers().is_empty(),
        "SIGKILL leaves its traces, or this test tests nothing"
    );
    home.call(&["--name", "lost", IMAGE, "true"]).expect_code(0);
    assert_eq!(home.leftovers(), Vec::<String>::new());
    assert_eq!(cgroups(&id), Vec::<PathBuf>::new());
    assert!(!is_alive(pid), "process {pid} of a killed tool still runs");
}

/// The first process's id, as soon as the tool has written it down.
pub(crate) fn recorded_pid(store: &Path, id: &str) -> i64 {
    let path = store.join("containers").join(id).join("record.json");
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if let Some(pid) = record["process"]["pid"].as_i64() {
            return pid;
        }
        assert!(Instant::now() < end, "the process is never written down");
        std::thread::yield_now();
    }
}

/// Whether the process exists and is no zombie that waits for somebody else's reaper.
fn is_alive(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim().starts_with(['Z', 'X']))
    })
}

#[test]
fn a_program_that_drops_its_death_signal_is_ended_by_the_next_one() {
    let Some(home) = Home::ready_as_root() else {
        return;
    };
    // Becoming another user clears the parent death signal.
    let mut child = home.start(&[
        IMAGE,
        "sh",
        "-c",
        "exec su app -c 'echo up; exec sleep 1000'",
    ]);
    wait_for(&mut child, "up");
    let id = only_container(&home.store());
    let pid = recorded_pid(&home.store(), &id);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_alive(pid), "nothing is left to end");
    home.call(&[IMAGE, "true"]).expect_code(0);
    assert_eq!(home.leftovers(), Vec::<String>::new());
    assert_eq!(cgroups(&id), Vec::<PathBuf>::new());
}

#[test]
fn descriptors_of_the_caller_do_not_leak_in() {
    let Some(home) = Home::ready() else { return };
    let outcome = home.shell(&[], "ls /proc/self/fd").expect_code(0);
    // 3 is the directory that `ls` reads.
    assert_eq!(outcome.stdout, "0\n1\n2\n3\n");
}
