//! What an embedding program must be able to rely on.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use libcontainer::oci_spec::runtime::HookBuilder;
use libcontainer::runtime::CreateOptions;
use libcontainer::{ErrorKind, ExitStatus};

use crate::bed::{Bed, id};

/// How often a container is started beside threads that allocate and lock without pause.
const ROUNDS: usize = 120;

#[test]
fn starts_soundly_from_a_program_with_busy_threads() {
    let Some(bed) = Bed::new() else { return };
    let stop = AtomicBool::new(false);
    let shared = std::sync::Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (stop, shared) = (&stop, &shared);
            scope.spawn(move || {
                let mut round = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let text: Vec<String> = (0..50)
                        .map(|n| format!("{thread} {round} {n}").repeat(n))
                        .collect();
                    shared.lock().unwrap().insert(round % 64, text);
                    std::hint::black_box(std::env::var_os("PATH"));
                }
            });
        }
        for round in 0..ROUNDS {
            let outcome = bed.run(bed.shell("exit 3"));
            if !matches!(&outcome, Ok(outcome) if outcome.status == ExitStatus::Exited(3)) {
                stop.store(true, Ordering::Relaxed);
                panic!("round {round}: {outcome:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

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
    for file in ["oom_score_adj", "loginuid", "cgroup", "limits"] {
        state.push(std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default());
    }
    state.join("\n")
}

#[test]
fn the_caller_stays_as_it_was() {
    let Some(bed) = Bed::new() else { return };
    let before = own_state();
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
    assert_eq!(own_state(), before);
}

/// Runs one test of this binary alone, in a process of its own.
fn in_own_process(test: &str, prefix: &str) -> std::process::Output {
    let binary = std::env::current_exe().unwrap();
    let command = format!(
        "{prefix} exec {} --exact {test} --include-ignored --nocapture --test-threads=1",
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
    assert_eq!(
        *error.kind(),
        ErrorKind::Unsupported {
            feature: "process.apparmorProfile".into()
        }
    );
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
