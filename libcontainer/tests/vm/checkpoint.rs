//! Checkpoints with the true CRIU, which does not work on every kernel.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;

use libcontainer::criu::{CheckpointOptions, RestoreOptions};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::runtime::{Container, CreateOptions, Runtime, Stdio};
use libcontainer::state::Status;
use serde_json::json;

use crate::bed::{Bed, id, pipe};

/// Counts in memory, and says the numbers.
const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done";

fn runtime(bed: &Bed) -> Runtime {
    Runtime::builder()
        .state_dir(bed.directory.path().join("state"))
        // The containers of all tests have the same names.
        .cgroup_parent(Path::new("/trimaran-criu").join(bed.directory.path().file_name().unwrap()))
        .build()
        .unwrap()
}

/// Where a container says its numbers: the next one, whatever it was before.
struct Numbers(BufReader<std::fs::File>);

impl Numbers {
    fn next(&mut self) -> u64 {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

/// Options with streams that lead to us.
fn streams() -> (CreateOptions, Numbers) {
    let (read, write) = pipe();
    let options = CreateOptions {
        stdio: Stdio::Streams {
            stdin: None,
            stdout: Some(write.try_clone().unwrap()),
            stderr: Some(write),
        },
        ..CreateOptions::default()
    };
    (options, Numbers(BufReader::new(read)))
}

fn saved(container: &Container, images: &Path, leave_running: bool) {
    let options = CheckpointOptions {
        leave_running,
        ..CheckpointOptions::default()
    };
    container.checkpoint(images, options).unwrap();
}

/// A container is saved twice, comes back under another name, and counts on.
fn counts_on(change: impl Fn(Spec) -> Spec) {
    let Some(bed) = Bed::new() else { return };
    let runtime = runtime(&bed);
    let spec = change(bed.shell(COUNTS));
    let images = bed.directory.path().join("images");
    let (options, mut numbers) = streams();
    let plan = runtime.plan(&id("before"), &bed.bundle(spec.clone()), options);
    let container = runtime.create(plan.unwrap()).unwrap();
    container.start().unwrap();
    assert_eq!([(); 5].map(|()| numbers.next()), [1, 2, 3, 4, 5]);
    saved(&container, &bed.directory.path().join("first"), true);
    assert_eq!(container.state().unwrap().status, Status::Running);
    let before = numbers.next();
    saved(&container, &images, false);
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    container.delete(false).unwrap();

    let (options, mut numbers) = streams();
    let plan = runtime.plan(&id("after"), &bed.bundle(spec), options);
    let restored = runtime.restore(plan.unwrap(), &images, RestoreOptions::default());
    let mut container = restored.unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);
    let (first, second) = (numbers.next(), numbers.next());
    assert!(
        first > before && second == first + 1,
        "{before} {first} {second}"
    );
    // It is in its own cgroup, and nowhere else.
    let pid = container.init().unwrap().pid();
    let place = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(place.trim().ends_with("/after"), "{place}");
    container.pause().unwrap();
    container.resume().unwrap();
    container.delete(true).unwrap();
    let left = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!left.contains("criu-root"), "{left}");
}

#[test]
fn a_container_counts_on() {
    counts_on(|spec| spec);
}

#[test]
fn a_container_with_volumes_counts_on() {
    let volume = tempfile::tempdir().unwrap();
    std::fs::create_dir(volume.path().join("sub")).unwrap();
    std::fs::write(volume.path().join("file"), "").unwrap();
    counts_on(|mut spec| {
        let mounts = spec.mounts_mut().as_mut().unwrap();
        for (destination, source) in [("/mnt/volume", ""), ("/etc/one", "file")] {
            let source = volume.path().join(source);
            let bind = json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "ro"]});
            mounts.push(serde_json::from_value(bind).unwrap());
        }
        spec
    });
}

fn mapped(mut spec: Spec, host: u32) -> Spec {
    let linux = spec.linux_mut().as_mut().unwrap();
    let user = serde_json::from_value(json!({"type": "user"})).unwrap();
    linux.namespaces_mut().as_mut().unwrap().push(user);
    let map = json!([{"containerID": 0, "hostID": host, "size": 65_536}]);
    linux
        .set_uid_mappings(serde_json::from_value(map.clone()).unwrap())
        .set_gid_mappings(serde_json::from_value(map).unwrap());
    spec
}

#[test]
fn a_container_with_a_user_namespace_counts_on() {
    counts_on(|spec| mapped(spec, 0));
}

#[test]
fn a_root_that_cannot_read_the_images_is_refused_before_anything_is_saved() {
    let Some(bed) = Bed::new() else { return };
    let runtime = runtime(&bed);
    let (options, mut numbers) = streams();
    let bundle = bed.bundle(mapped(bed.shell(COUNTS), 100_000));
    let container = runtime.create(runtime.plan(&id("before"), &bundle, options).unwrap());
    let container = container.unwrap();
    container.start().unwrap();
    let images = bed.directory.path().join("images");
    let error = container
        .checkpoint(&images, CheckpointOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("user namespace"), "{error}");
    let before = numbers.next();
    assert_eq!(numbers.next(), before + 1);
    container.delete(true).unwrap();
}

#[test]
fn a_container_with_a_terminal_counts_on() {
    let Some(bed) = Bed::new() else { return };
    let runtime = runtime(&bed);
    let mut spec = bed.shell(COUNTS);
    spec.process_mut()
        .as_mut()
        .unwrap()
        .set_terminal(Some(true));
    let images = bed.directory.path().join("images");
    let plan = |name: &str| {
        let options = CreateOptions::default();
        runtime.plan(&id(name), &bed.bundle(spec.clone()), options)
    };
    let mut container = runtime.create(plan("before").unwrap()).unwrap();
    let master = container.init().unwrap().take_terminal().unwrap();
    container.start().unwrap();
    let mut numbers = Numbers(BufReader::new(master.into()));
    assert_eq!([(); 3].map(|()| numbers.next()), [1, 2, 3]);
    saved(&container, &images, false);
    container.delete(false).unwrap();
    let restored = runtime.restore(plan("after").unwrap(), &images, RestoreOptions::default());
    let mut container = restored.unwrap();
    let master = container.init().unwrap().take_terminal().unwrap();
    let mut numbers = Numbers(BufReader::new(master.into()));
    let (first, second) = (numbers.next(), numbers.next());
    assert!(first > 3 && second == first + 1, "{first} {second}");
    container.delete(true).unwrap();
}
