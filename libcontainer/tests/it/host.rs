//! Control groups and hooks: what a container leaves on the host while it lives, and nothing afterwards.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::path::{Path, PathBuf};

use libcontainer::bundle::Bundle;
use libcontainer::oci_spec::runtime::{
    HookBuilder, Hooks, LinuxPidsBuilder, LinuxResourcesBuilder, Spec,
};
use libcontainer::runtime::{CreateOptions, Runtime};
use libcontainer::{ErrorKind, Signal};

use serde_json::json;

use crate::bed::{Bed, id, run_to_end};
use crate::fields::with;

/// A name that no other test run uses.
fn parent() -> PathBuf {
    PathBuf::from(
        format!(
            "/trimaran-test-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        )
        .replace(['(', ')'], ""),
    )
}

#[test]
fn a_limit_holds_and_the_cgroup_is_gone_afterwards() {
    let Some(bed) = Bed::new() else { return };
    let parent = parent();
    let runtime = Runtime::builder()
        .state_dir(bed.directory.path().join("state"))
        .cgroup_parent(&parent)
        .build()
        .unwrap();
    let mut spec =
        bed.shell("cat /proc/self/cgroup; for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; echo all");
    let resources = LinuxResourcesBuilder::default()
        .pids(LinuxPidsBuilder::default().limit(4).build().unwrap())
        .build()
        .unwrap();
    spec.linux_mut()
        .as_mut()
        .unwrap()
        .set_resources(Some(resources));
    let outcome = match run_to_end(&runtime, bed.bundle(spec)) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unsupported { .. }
            ) =>
        {
            return trimaran_testkit::skip("no control group for processes can be made here");
        }
        other => other.unwrap(),
    };
    assert!(outcome.output.contains("can't fork"), "{outcome:?}");
    assert!(!outcome.output.contains("all\n"), "{outcome:?}");
    let name = parent.strip_prefix("/").unwrap();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        assert!(!hierarchy.unwrap().path().join(name).exists());
    }
}

#[test]
fn a_mebibyte_of_memory_is_enough_to_start() {
    let Some(bed) = Bed::new() else { return };
    let runtime = Runtime::builder()
        .state_dir(bed.directory.path().join("state"))
        .cgroup_parent(parent())
        .build()
        .unwrap();
    let file = "/proc/self/cgroup";
    let script = format!(
        "d=/sys/fs/cgroup$(awk -F: '$2 ~ /memory/ {{print \"/memory\" $3}}' {file}); cat $d/memory.limit_in_bytes"
    );
    let spec = with(
        &bed.shell(&script),
        &[("linux.resources.memory.limit", json!(1 << 20))],
    );
    if !Path::new("/sys/fs/cgroup/memory").exists() {
        return trimaran_testkit::skip(
            "the controller of memory is not one of version 1 (make test-vm has version 2)",
        );
    }
    match run_to_end(&runtime, bed.bundle(spec)) {
        Err(error) if *error.kind() == ErrorKind::PermissionDenied => {
            trimaran_testkit::skip("no control group for memory can be made here");
        }
        outcome => {
            let outcome = outcome.unwrap();
            assert_eq!(outcome.output, "1048576\n", "{outcome:?}");
        }
    }
}

#[test]
fn a_created_container_is_in_its_cgroup() {
    let Some(bed) = Bed::new() else { return };
    let parent = parent();
    let runtime = Runtime::builder()
        .state_dir(bed.directory.path().join("state"))
        .cgroup_parent(&parent)
        .build()
        .unwrap();
    let mut spec = bed.shell("sleep 100");
    let resources = LinuxResourcesBuilder::default()
        .pids(LinuxPidsBuilder::default().limit(40).build().unwrap())
        .build()
        .unwrap();
    spec.linux_mut()
        .as_mut()
        .unwrap()
        .set_resources(Some(resources));
    let plan = runtime
        .plan(&id("c"), &bed.bundle(spec), CreateOptions::default())
        .unwrap();
    assert!(plan.to_string().contains("cgroup"), "{plan}");
    let container = match runtime.create(plan) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unsupported { .. }
            ) =>
        {
            return trimaran_testkit::skip("no control group for processes can be made here");
        }
        other => other.unwrap(),
    };
    let pid = container.state().unwrap().pid;
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(own.contains(parent.join("c").to_str().unwrap()), "{own}");
    container.start().unwrap();
    container.kill(Signal::KILL).unwrap();
    container.delete(true).unwrap();
    assert!(
        !Path::new("/sys/fs/cgroup/pids")
            .join(parent.strip_prefix("/").unwrap())
            .exists()
    );
}

/// A bundle on disk whose hooks write to `log`.
fn bundle_with_hooks(bed: &Bed, spec: &mut Spec, log: &Path) -> Bundle {
    let hook = |kind: &str, place: &str| {
        let script = format!(
            "printf '{kind} ' >> {0}; cat >> {0}; printf ' %s\\n' \"{place}\" >> {0}",
            log.display()
        );
        vec![
            HookBuilder::default()
                .path("/bin/sh")
                .args(vec!["sh".to_owned(), "-c".to_owned(), script])
                .build()
                .unwrap(),
        ]
    };
    let mut hooks = Hooks::default();
    hooks.set_prestart(Some(hook("prestart", "$(readlink /proc/self/ns/mnt)")));
    hooks.set_create_runtime(Some(hook("createRuntime", "$(readlink /proc/self/ns/mnt)")));
    hooks.set_create_container(Some(hook("createContainer", "$(hostname)")));
    // This one runs in the container's root, where the log is bound.
    hooks.set_start_container(Some(hook("startContainer", "$(hostname) $$")));
    hooks.set_poststart(Some(hook("poststart", "$(readlink /proc/self/ns/mnt)")));
    hooks.set_poststop(Some(hook("poststop", "$(readlink /proc/self/ns/mnt)")));
    spec.set_hooks(Some(hooks));
    write_bundle(bed, spec)
}

fn write_bundle(bed: &Bed, spec: &mut Spec) -> Bundle {
    spec.root_mut().as_mut().unwrap().set_path("rootfs".into());
    std::fs::write(
        bed.directory.path().join("config.json"),
        serde_json::to_vec(spec).unwrap(),
    )
    .unwrap();
    Bundle::open(bed.directory.path()).unwrap()
}

#[test]
fn hooks_run_in_their_order_and_place() {
    let Some(bed) = Bed::new() else { return };
    let log = bed.directory.path().join("log");
    std::fs::write(&log, "").unwrap();
    let mut spec = bed.shell("sleep 100");
    spec.set_hostname(Some("inside".into()));
    let mount = libcontainer::oci_spec::runtime::MountBuilder::default()
        .destination(&log)
        .typ("bind")
        .source(&log)
        .options(vec!["bind".to_owned()])
        .build()
        .unwrap();
    spec.mounts_mut().as_mut().unwrap().push(mount);
    let bundle = bundle_with_hooks(&bed, &mut spec, &log);
    let plan = bed
        .runtime
        .plan(&id("h"), &bundle, CreateOptions::default())
        .unwrap();
    drop(bundle);
    let container = bed.runtime.create(plan).unwrap();
    container.start().unwrap();
    container.kill(Signal::KILL).unwrap();
    container.delete(true).unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let outside = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    let outside = outside.to_str().unwrap();
    let wanted = [
        ("prestart", "created", outside),
        ("createRuntime", "creating", outside),
        ("createContainer", "creating", "inside"),
        ("startContainer", "created", "inside"),
        ("poststart", "running", outside),
        ("poststop", "stopped", outside),
    ];
    assert_eq!(text.lines().count(), wanted.len(), "{text}");
    for (line, (kind, status, place)) in text.lines().zip(wanted) {
        assert!(
            line.starts_with(kind)
                && line.contains(&format!("\"status\":\"{status}\""))
                && line.contains(place),
            "{kind}: {line}"
        );
        assert!(line.contains("\"id\":\"h\""));
    }
}

#[test]
fn a_failed_hook_undoes_the_container() {
    let Some(bed) = Bed::new() else { return };
    for (program, args, timeout, wanted) in [
        (
            "/bin/sh",
            vec!["sh", "-c", "echo words >&2; exit 3"],
            None,
            "words",
        ),
        ("/no/such/hook", vec![], None, "not found"),
        ("/bin/sleep", vec!["sleep", "60"], Some(1), "in time"),
    ] {
        let mut hook = HookBuilder::default().path(program);
        if !args.is_empty() {
            hook = hook.args(args.into_iter().map(str::to_owned).collect::<Vec<_>>());
        }
        if let Some(timeout) = timeout {
            hook = hook.timeout(timeout);
        }
        let mut spec = bed.shell("true");
        let mut hooks = Hooks::default();
        hooks.set_create_runtime(Some(vec![hook.build().unwrap()]));
        spec.set_hooks(Some(hooks));
        let bundle = write_bundle(&bed, &mut spec);
        let plan = bed
            .runtime
            .plan(&id("f"), &bundle, CreateOptions::default())
            .unwrap();
        drop(bundle);
        let error = bed.runtime.create(plan).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Hook { .. }), "{error}");
        assert!(error.hint().unwrap().contains(wanted), "{error:?}");
        assert!(bed.runtime.list().unwrap().is_empty());
    }
}
