//! What hooks are given, and what their failures do.

use std::path::PathBuf;

use libcontainer::bundle::Bundle;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::runtime::{Container, CreateOptions};
use libcontainer::state::Status;
use libcontainer::{Error, ErrorKind};
use serde_json::{Value, json};

use super::with;
use crate::bed::{Bed, id};

/// A bed whose hooks write down that they ran.
struct Hooked {
    bed: Bed,
    log: PathBuf,
}

impl Hooked {
    fn new() -> Option<Self> {
        let bed = Bed::new()?;
        let log = bed.directory.path().join("log");
        std::fs::write(&log, "").unwrap();
        Some(Self { bed, log })
    }

    /// A hook that writes a word, and then does something more.
    fn hook(&self, word: &str, more: &str) -> Value {
        let script = format!("echo {word} >> {}; {more}", self.log.display());
        json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
    }

    fn spec(&self, hooks: &[(&str, Value)]) -> Spec {
        let log = self.log.to_str().unwrap();
        let mut spec = with(
            &self.bed.spec(&["/bin/sleep", "1000"]),
            &[
                ("hooks", json!({})),
                ("root.path", json!("rootfs")),
                ("+mounts", super::mount(log, "bind", log, &["bind"])),
            ],
        );
        for (kind, hook) in hooks {
            spec = with(&spec, &[(&format!("hooks.+{kind}"), hook.clone())]);
        }
        spec
    }

    fn create(&self, spec: &Spec) -> Result<Container, Error> {
        std::fs::write(&self.log, "").unwrap();
        let config = self.bed.directory.path().join("config.json");
        std::fs::write(config, serde_json::to_vec(spec).unwrap()).unwrap();
        let bundle = Bundle::open(self.bed.directory.path())?;
        let plan = self
            .bed
            .runtime
            .plan(&id("hooked"), &bundle, CreateOptions::default())?;
        drop(bundle);
        self.bed.runtime.create(plan)
    }

    fn ran(&self) -> String {
        std::fs::read_to_string(&self.log)
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[test]
fn a_failed_hook_stops_the_container_and_runs_poststop() {
    let Some(hooked) = Hooked::new() else { return };
    let after = || ("poststop", hooked.hook("after", "true"));
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let spec = hooked.spec(&[
            (kind, hooked.hook("one", "true")),
            (kind, hooked.hook("two", "exit 1")),
            (kind, hooked.hook("three", "true")),
            after(),
        ]);
        let error = hooked.create(&spec).unwrap_err();
        assert_eq!(
            (error.kind(), error.step()),
            (
                &ErrorKind::Hook { kind, index: 1 },
                format!("{kind} hook #1").as_str()
            )
        );
        assert_eq!(hooked.ran(), "one two after", "{kind}");
        assert!(hooked.bed.runtime.list().unwrap().is_empty(), "{kind}");
    }
    for kind in ["startContainer", "poststart"] {
        let spec = hooked.spec(&[
            (kind, hooked.hook("one", "exit 1")),
            (kind, hooked.hook("two", "true")),
            after(),
        ]);
        let container = hooked.create(&spec).unwrap();
        assert_eq!(
            *container.start().unwrap_err().kind(),
            ErrorKind::Hook { kind, index: 0 },
            "{kind}"
        );
        assert_eq!(container.state().unwrap().status, Status::Stopped, "{kind}");
        container.delete(false).unwrap();
        assert_eq!(hooked.ran(), "one after", "{kind}");
    }
}

#[test]
fn a_failed_poststop_hook_changes_nothing() {
    let Some(hooked) = Hooked::new() else { return };
    let spec = hooked.spec(&[
        ("poststop", hooked.hook("one", "exit 1")),
        ("poststop", hooked.hook("two", "true")),
    ]);
    let mut told = Vec::new();
    let container = hooked.create(&spec).unwrap();
    container
        .delete_telling(true, &mut |error| told.push(error.kind().clone()))
        .unwrap();
    assert_eq!(hooked.ran(), "one two");
    let kind = "poststop";
    assert_eq!(told, [ErrorKind::Hook { kind, index: 0 }]);
    assert!(hooked.bed.runtime.list().unwrap().is_empty());
}

#[test]
fn a_hook_has_the_arguments_and_the_environment_it_is_given() {
    let Some(hooked) = Hooked::new() else { return };
    let log = hooked.log.display();
    let script = format!(
        "tr '\\0' ' ' < /proc/$$/cmdline >> {log}; tr '\\0' ' ' < /proc/$$/environ >> {log}"
    );
    for (env, said) in [(json!(["A=b", "C="]), "A=b C="), (json!([]), "")] {
        let hook = json!({"path": "/bin/sh", "args": ["name", "-c", script, "x y"], "env": env});
        hooked
            .create(&hooked.spec(&[("createRuntime", hook)]))
            .unwrap()
            .delete(true)
            .unwrap();
        let ran = hooked.ran();
        assert!(
            ran.starts_with("name -c tr") && ran.ends_with(format!("x y {said}").trim()),
            "{ran}"
        );
    }
}

#[test]
fn a_hook_begins_where_runc_begins_it_with_the_environment_that_is_there() {
    let Some(hooked) = Hooked::new() else { return };
    let bundle = hooked.bed.directory.path().canonicalize().unwrap();
    let (root, bundle) = (bundle.join("rootfs"), bundle.as_path());
    let own = std::env::var("PATH").unwrap();
    for (kind, directory, path) in [
        ("prestart", bundle, own.as_str()),
        ("createRuntime", bundle, &own),
        ("createContainer", &root, &own),
        (
            "startContainer",
            std::path::Path::new("/"),
            "/of/the/process",
        ),
    ] {
        let log = hooked.log.display();
        let script = format!("pwd -P >> {log}; /bin/echo \"$PATH\" >> {log}");
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let spec = with(
            &hooked.spec(&[(kind, hook)]),
            &[("process.env", json!(["PATH=/of/the/process"]))],
        );
        let container = hooked.create(&spec).unwrap();
        container.start().ok();
        container.delete(true).unwrap();
        assert_eq!(
            hooked.ran(),
            format!("{} {path}", directory.display()),
            "{kind}"
        );
    }
}

/// Whoever writes an image must not get more rights by a hook's path than its program has.
#[test]
fn the_hooks_before_the_start_are_processes_of_the_container() {
    let Some(hooked) = Hooked::new() else { return };
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&hooked.log, everyone).unwrap();
    let log = hooked.log.display();
    let script = format!(
        "{{ id -u; id -g; id -G; pwd; umask; ulimit -n; mkdir /tmp/x 2>&1; \
         grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; }} >> {log}"
    );
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]});
    let forbidden = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]});
    for privileged in [true, false] {
        let spec = with(
            &hooked.spec(&[("startContainer", hook.clone())]),
            &[
                (
                    "process.user",
                    json!({"uid": 7, "gid": 8, "umask": 0o27, "additionalGids": [9]}),
                ),
                ("process.cwd", json!("/tmp")),
                ("process.capabilities", json!({"bounding": ["CAP_KILL"]})),
                ("process.noNewPrivileges", json!(!privileged)),
                (
                    "process.rlimits",
                    json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]),
                ),
                ("linux.seccomp", forbidden.clone()),
            ],
        );
        let container = hooked.create(&spec).unwrap();
        container.start().unwrap();
        container.delete(true).unwrap();
        let privileges = u8::from(!privileged);
        assert_eq!(
            hooked.ran(),
            format!(
                "7 8 8 9 /tmp 0027 99 mkdir: can't create directory '/tmp/x': Disk quota exceeded \
                 CapEff: 0000000000000000 CapBnd: 0000000000000020 NoNewPrivs: {privileges} Seccomp: 2"
            )
        );
    }
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_nothing_left() {
    let Some(hooked) = Hooked::new() else { return };
    let mut hook = hooked.hook("$$", "exec sleep 1000");
    hook["timeout"] = json!(1);
    let error = hooked
        .create(&hooked.spec(&[("createContainer", hook)]))
        .unwrap_err();
    assert!(error.hint().unwrap().contains("in time"), "{error}");
    assert!(hooked.bed.runtime.list().unwrap().is_empty());
}

#[test]
fn hooks_find_their_programs_where_they_run() {
    let Some(hooked) = Hooked::new() else { return };
    trimaran_testkit::copy_program("/bin/busybox", hooked.bed.directory.path().join("busybox"));
    // Only in the container, only outside of it.
    let inside = json!({"path": "/bin/awk", "args": ["awk", "BEGIN { exit 0 }"]});
    std::os::unix::fs::symlink("busybox", hooked.bed.root().join("bin/only-here")).unwrap();
    let only_inside = json!({"path": "/bin/only-here"});
    let outside = json!({"path": hooked.bed.directory.path().join("busybox"), "args": ["true"]});
    for (kind, hook, found) in [
        ("createRuntime", &outside, true),
        ("createContainer", &outside, true),
        ("createContainer", &only_inside, false),
        ("startContainer", &inside, true),
        ("startContainer", &outside, false),
        ("poststart", &outside, true),
    ] {
        let started = hooked
            .create(&hooked.spec(&[(kind, hook.clone())]))
            .and_then(|container| {
                let started = container.start();
                container.delete(true)?;
                started
            });
        assert_eq!(started.is_ok(), found, "{kind} {hook}: {started:?}");
    }
}
