//! Limits that the kernel really has, processes that are really killed, directories that are really gone.

use libcontainer::{
    Error, ErrorKind,
    cgroup::{Attach, Cgroup, CgroupRequest, Hierarchies, plan},
    oci_spec::runtime::LinuxResources,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A cgroup that is gone at the end, whatever happens.
pub(super) struct Fresh {
    path: PathBuf,
    pub(super) cgroup: Cgroup,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let ended = self.cgroup.kill_all().and_then(|()| self.cgroup.delete());
        if !std::thread::panicking() {
            ended.expect("the cgroup can be removed");
        }
    }
}

fn may_create() -> bool {
    let may = trimaran_testkit::is_root() && Hierarchies::detect().unwrap().may_create();
    if !may {
        trimaran_testkit::skip("cgroups can be made by root only, where they are mounted writable");
    }
    may
}

fn fresh_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "/trimaran-test-{}-{}/box",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
    .into()
}

fn try_make(path: &Path, resources: Value) -> Result<Cgroup, Error> {
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let request = CgroupRequest {
        path: Path::new(""),
        default_path: path,
        resources: Some(&resources),
        rootless: false,
        accounted: false,
    };
    Ok(plan(&request, &Hierarchies::detect().unwrap())?.apply()?)
}

pub(super) fn make(resources: Value) -> Fresh {
    let path = fresh_path();
    let cgroup = try_make(&path, resources).unwrap();
    Fresh { path, cgroup }
}

impl Fresh {
    /// The directory that holds `file`, and what is in it.
    fn read(&self, file: &str) -> Option<String> {
        let path = self
            .cgroup
            .directories()
            .into_iter()
            .map(|directory| directory.join(file))
            .find(|path| path.exists())?;
        Some(std::fs::read_to_string(path).unwrap().trim().to_owned())
    }

    /// Starts a shell that enters the cgroup, says so, and goes on with `script`.
    pub(super) fn shell(&self, script: &str) -> Child {
        let lists = self
            .cgroup
            .directories()
            .into_iter()
            .map(|directory| directory.join("cgroup.procs"));
        let enter: String = lists
            .map(|list| format!("echo $$ > {} && ", list.display()))
            .collect();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{enter} echo in && {script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "in\n");
        child
    }
}

#[test]
fn limits_reach_the_kernel() {
    if !may_create() {
        return;
    }
    let fresh = make(json!({
        "pids": {"limit": 17},
        "memory": {"limit": 67_108_864_i64},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"}],
    }));
    assert_eq!(fresh.read("pids.max").as_deref(), Some("17"));
    let either = |v1: &str, v2: &str| fresh.read(v1).or_else(|| fresh.read(v2));
    assert_eq!(
        either("memory.limit_in_bytes", "memory.max").as_deref(),
        Some("67108864")
    );
    assert_eq!(
        either("cpu.shares", "cpu.weight").map(|text| text == "512" || text == "59"),
        Some(true)
    );
    assert_eq!(fresh.read("cpuset.cpus").as_deref(), Some("0"));
    if let Some(devices) = fresh.read("devices.list") {
        assert!(
            devices.starts_with("c 10:200 rwm\n"),
            "the rule, then what every container may use: {devices}"
        );
    }
    let Attach { tasks, directory } = fresh.cgroup.attach().unwrap();
    assert!(
        tasks
            .iter()
            .all(|path| path.to_bytes().ends_with(b"/tasks"))
    );
    assert_eq!(tasks.len(), fresh.cgroup.v1.len());
    assert_eq!(directory.is_some(), fresh.cgroup.unified.is_some());
}

#[test]
fn only_what_is_needed_is_touched() {
    if !may_create() {
        return;
    }
    let fresh = make(json!({}));
    assert_eq!(
        fresh.cgroup.directories().len(),
        1,
        "one hierarchy to keep the processes together"
    );
    let limited = make(json!({"pids": {"limit": 5}}));
    assert!(limited.cgroup.directories().len() <= 2);
}

#[test]
fn everything_is_killed_and_nothing_stays() {
    if !may_create() {
        return;
    }
    let fresh = make(json!({"pids": {"limit": 40}}));
    let mut child = fresh.shell("(setsid sleep 1000 &) ; sleep 1000");
    assert!(
        fresh
            .cgroup
            .processes()
            .unwrap()
            .contains(&(child.id() as i32))
    );
    // The payload's own cgroups go too.
    for directory in fresh.cgroup.directories() {
        std::fs::create_dir_all(directory.join("inner/innermost")).unwrap();
    }
    fresh.cgroup.kill_all().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    fresh.cgroup.delete().unwrap();
    for directory in fresh.cgroup.directories() {
        assert!(
            !directory.exists() && !directory.parent().unwrap().exists(),
            "{} stays",
            directory.display()
        );
    }
    assert_eq!(fresh.cgroup.processes().unwrap(), [0; 0]);
}

/// Without `cgroup.kill`, as on older kernels and on v1: processes that fork all the time, with and without a freezer.
#[test]
fn a_fork_storm_is_killed_without_help_of_the_kernel() {
    if !may_create() {
        return;
    }
    let fresh = make(json!({"pids": {"limit": 60}}));
    let host = Hierarchies::detect().unwrap();
    let freezer = (!host.is_v2()).then(|| {
        PathBuf::from("/sys/fs/cgroup/freezer").join(fresh.path.strip_prefix("/").unwrap())
    });
    for freezer in [None, freezer] {
        let mut directories = fresh.cgroup.v1.clone();
        if let Some(freezer) = &freezer {
            std::fs::create_dir_all(freezer).unwrap();
            directories.push(freezer.clone());
        }
        if directories.is_empty() {
            return trimaran_testkit::skip("this host has no v1 hierarchy");
        }
        let storm = Fresh {
            path: fresh.path.clone(),
            cgroup: Cgroup {
                v1: directories,
                ..Cgroup::default()
            },
        };
        let mut child = storm.shell("while :; do sleep 100 & done 2>/dev/null");
        storm.cgroup.kill_all().unwrap();
        // Killed, or ended by itself a moment before, at the limit: a shell that cannot fork gives up. What it started does not.
        child.wait().unwrap();
        if let Some(freezer) = freezer {
            Cgroup {
                v1: vec![freezer.clone()],
                ..Cgroup::default()
            }
            .delete()
            .unwrap();
            std::fs::remove_dir(freezer.parent().unwrap()).unwrap();
        }
        assert_eq!(storm.cgroup.processes().unwrap(), [0; 0]);
        // The directories belong to `fresh`.
        std::mem::forget(storm);
    }
}

#[test]
fn a_place_in_use_is_not_taken() {
    if !may_create() {
        return;
    }
    let fresh = make(json!({}));
    // An empty one was left behind by a crash.
    try_make(&fresh.path, json!({})).unwrap();
    let mut child = fresh.shell("exec sleep 1000");
    let error = try_make(&fresh.path, json!({})).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Running);
    assert!(
        child.try_wait().unwrap().is_none(),
        "the other's process lives"
    );
    fresh.cgroup.kill_all().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_refused_value_is_named_and_leaves_nothing() {
    if !may_create() {
        return;
    }
    let path = fresh_path();
    let error = try_make(
        &path,
        json!({"pids": {"limit": 5}, "cpu": {"cpus": "4000"}}),
    )
    .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("\"4000\"") && cause.contains("cpuset.cpus"),
        "{cause}"
    );
    let host = Hierarchies::detect().unwrap();
    let plan = plan(
        &CgroupRequest {
            path: &path,
            default_path: &path,
            resources: None,
            rootless: false,
            accounted: false,
        },
        &host,
    )
    .unwrap();
    let left = plan.apply().unwrap();
    for directory in left.directories() {
        assert_eq!(
            std::fs::read_dir(directory.parent().unwrap())
                .unwrap()
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .count(),
            1
        );
    }
    left.delete().unwrap();
    for directory in left.directories() {
        // An explicit path's parents are the caller's.
        std::fs::remove_dir(directory.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_cgroup_fits_into_a_record() {
    if !may_create() {
        return;
    }
    let fresh = make(json!({"pids": {"limit": 5}}));
    let text = serde_json::to_string(&fresh.cgroup).unwrap();
    assert_eq!(serde_json::from_str::<Cgroup>(&text).unwrap(), fresh.cgroup);
    let again = Cgroup::from_directories(
        fresh
            .cgroup
            .directories()
            .into_iter()
            .chain(["/nonexistent".into()]),
    );
    assert_eq!(
        (again.v1, again.unified),
        (fresh.cgroup.v1.clone(), fresh.cgroup.unified.clone())
    );
}
