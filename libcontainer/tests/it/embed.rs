//! What an embedding program must be able to rely on.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::process::Command;

use libcontainer::oci_spec::runtime::HookBuilder;
use libcontainer::runtime::{CreateOptions, ExecOptions};
use libcontainer::{ErrorKind, ExitStatus};

use crate::bed::{Bed, id};

/// What a library must not change.
fn own_state() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let kept = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "NSpid",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp:",
        "SigBlk",
        "SigIgn",
    ];
    let mut state: Vec<String> = status
        .lines()
        .filter(|line| kept.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect();
    state.push(format!("{:?}", std::env::current_dir().unwrap()));
    state.extend(std::env::vars().map(|(key, value)| format!("{key}={value}")));
    for name in ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        state.push(format!(
            "{:?}",
            std::fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap()
        ));
    }
    state.push(format!(
        "{:?} {:?}",
        rustix::process::dumpable_behavior().unwrap(),
        rustix::process::parent_process_death_signal().unwrap()
    ));
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let children: Vec<String> = threads
        .map(|thread| thread.unwrap().path().join("children"))
        .map(|path| std::fs::read_to_string(path).unwrap_or_default())
        .collect();
    state.push(format!("{fds} descriptors, children {children:?}"));
    for file in [
        "oom_score_adj",
        "loginuid",
        "cgroup",
        "limits",
        "sessionid",
        "timerslack_ns",
    ] {
        state.push(std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default());
    }
    state.join("\n")
}

#[test]
fn the_caller_stays_as_it_was() {
    if std::env::var_os("TRIMARAN_INNER_TEST").is_none() {
        // Beside other tests the number of descriptors and of children would not be ours alone.
        let output = in_own_process("embed::the_caller_stays_as_it_was", "umask 027;");
        let shown = String::from_utf8_lossy(&output.stdout);
        return assert!(output.status.success(), "{shown}");
    }
    let Some(bed) = Bed::new() else { return };
    let plan = |command: &str| {
        let bundle = bed.bundle(bed.shell(command));
        let plan = bed
            .runtime
            .plan(&id("x"), &bundle, CreateOptions::default());
        plan.unwrap()
    };
    let before = own_state();
    type Deed<'d> = (&'d str, &'d dyn Fn());
    let deeds: [Deed<'_>; 6] = [
        ("run", &|| drop(bed.output("true"))),
        ("a run that fails", &|| {
            bed.run(bed.spec(&["/bin/nothing"])).unwrap_err();
        }),
        ("create", &|| {
            bed.runtime
                .create(plan("true"))
                .unwrap()
                .delete(true)
                .unwrap();
        }),
        ("a create that fails", &|| {
            let bundle = bed.bundle(bed.spec(&["/bin/nothing"]));
            let plan = bed
                .runtime
                .plan(&id("x"), &bundle, CreateOptions::default());
            bed.runtime.create(plan.unwrap()).unwrap_err();
        }),
        ("exec", &|| {
            let container = bed.runtime.create(plan("sleep 100")).unwrap();
            container.start().unwrap();
            let mut process = container.process().unwrap();
            process.set_oom_score_adj(Some(500));
            process.set_args(Some(vec!["/bin/true".into()]));
            let further = container.exec(&process, ExecOptions::default()).unwrap();
            assert_eq!(further.wait().unwrap(), ExitStatus::Exited(0));
            process.set_args(Some(vec!["/bin/nothing".into()]));
            container
                .exec(&process, ExecOptions::default())
                .unwrap_err();
            container.delete(true).unwrap();
        }),
        ("a plan that fails", &|| {
            let mut spec = bed.shell("true");
            spec.process_mut()
                .as_mut()
                .unwrap()
                .set_cwd("relative".into());
            bed.run(spec).unwrap_err();
        }),
    ];
    for (name, deed) in deeds {
        deed();
        assert_eq!(own_state(), before, "{name}");
    }
}

/// Runs one test of this binary alone, in a process of its own.
fn in_own_process(test: &str, prefix: &str) -> std::process::Output {
    let binary = std::env::current_exe().unwrap();
    let command = format!(
        "{prefix} exec {} --exact {test} --nocapture --test-threads=1",
        binary.display()
    );
    Command::new("sh")
        .args(["-c", &command])
        .env("TRIMARAN_INNER_TEST", "1")
        .output()
        .unwrap()
}

#[test]
fn no_descriptor_is_leaked() {
    if std::env::var_os("TRIMARAN_INNER_TEST").is_none() {
        let output = in_own_process("embed::no_descriptor_is_leaked", "");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        return;
    }
    let Some(bed) = Bed::new() else { return };
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    for _ in 0..5 {
        bed.output("true");
        bed.run(bed.spec(&["/bin/nothing"])).unwrap_err();
        let plan = bed
            .runtime
            .plan(
                &id("x"),
                &bed.bundle(bed.shell("true")),
                CreateOptions::default(),
            )
            .unwrap();
        bed.runtime.create(plan).unwrap().delete(true).unwrap();
    }
    assert_eq!(count(), before);
    assert_eq!(
        bed.output("ls /proc/self/fd | wc -l").trim(),
        "4",
        "the three streams, and the directory that ls reads"
    );
}

#[test]
fn the_login_user_inside_is_the_callers() {
    if std::env::var_os("TRIMARAN_INNER_TEST").is_none() {
        if !std::path::Path::new("/proc/self/loginuid").exists() {
            return trimaran_testkit::skip("the kernel keeps no login user");
        }
        // It can be set once in a family of processes.
        let output = in_own_process(
            "embed::the_login_user_inside_is_the_callers",
            "echo 1234 > /proc/self/loginuid 2>/dev/null;",
        );
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        return;
    }
    let Some(bed) = Bed::new() else { return };
    let outside = std::fs::read_to_string("/proc/self/loginuid").unwrap();
    assert_eq!(bed.output("cat /proc/self/loginuid"), outside);
    if outside.trim() != "1234" {
        trimaran_testkit::skip("the login user cannot be set here");
    }
}

#[test]
fn what_is_not_done_is_refused() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.shell("true");
    spec.process_mut()
        .as_mut()
        .unwrap()
        .set_apparmor_profile(Some("docker-default".into()));
    let error = bed.run(spec).unwrap_err();
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.is_ok_and(|text| text.starts_with('Y')) {
        // Where profiles are known, this one is not.
        assert_eq!(error.hint(), Some("the profile is not loaded"), "{error}");
    } else {
        let feature = "process.apparmorProfile".into();
        assert_eq!(*error.kind(), ErrorKind::Unsupported { feature });
    }
    let mut spec = bed.shell("true");
    let mut hooks = libcontainer::oci_spec::runtime::Hooks::default();
    hooks.set_poststop(Some(vec![
        HookBuilder::default().path("/bin/true").build().unwrap(),
    ]));
    spec.set_hooks(Some(hooks));
    assert!(matches!(
        bed.run(spec).unwrap_err().kind(),
        ErrorKind::Unsupported { .. }
    ));
}
