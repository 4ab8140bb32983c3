//! What is executed, as whom, and how it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::os::unix::fs::PermissionsExt;

use libcontainer::oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, PosixRlimitBuilder, PosixRlimitType, Spec,
};
use libcontainer::spec::{RunOptions, SeccompChoice};
use libcontainer::{ErrorKind, ExitStatus, Signal};

use crate::bed::Bed;

fn process(spec: &mut Spec) -> &mut libcontainer::oci_spec::runtime::Process {
    spec.process_mut().as_mut().unwrap()
}

#[test]
fn exit_codes_and_signals_come_through() {
    let Some(bed) = Bed::new() else { return };
    for (command, wanted) in [
        ("exit 0", ExitStatus::Exited(0)),
        ("exit 7", ExitStatus::Exited(7)),
        ("exit 255", ExitStatus::Exited(255)),
        (
            "sleep 9 & kill -KILL $!; wait $!; exit $?",
            ExitStatus::Exited(137),
        ),
    ] {
        assert_eq!(
            bed.run(bed.shell(command)).unwrap().status,
            wanted,
            "{command}"
        );
    }
}

#[test]
fn a_signal_that_ends_the_first_process_is_its_status() {
    let Some(bed) = Bed::new() else { return };
    let plan = bed
        .runtime
        .plan(
            &crate::bed::id("x"),
            &bed.bundle(bed.spec(&["/bin/sleep", "100"])),
            Default::default(),
        )
        .unwrap();
    let process = bed.runtime.run(plan).unwrap();
    process.kill(Signal::KILL).unwrap();
    let status = process.wait().unwrap();
    assert_eq!(
        (status, status.shell_code()),
        (ExitStatus::Signaled(Signal::KILL), 137)
    );
    assert_eq!(
        process.wait().unwrap(),
        status,
        "later calls give the same answer"
    );
    assert_eq!(
        *process.kill(Signal::TERM).unwrap_err().kind(),
        ErrorKind::NotRunning
    );
}

#[test]
fn what_cannot_be_executed_is_told_apart() {
    let Some(bed) = Bed::new() else { return };
    let root = bed.root();
    for (name, text, mode) in [
        ("plain", "text", 0o644),
        ("noexec", "garbage", 0o755),
        ("lost", "#!/no/such/interpreter\n", 0o755),
    ] {
        let path = root.join("bin").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    for (program, wanted) in [
        ("nothing", ErrorKind::ExecNotFound),
        ("/bin/nothing", ErrorKind::ExecNotFound),
        ("/bin/lost", ErrorKind::ExecNotFound),
        ("/bin/plain", ErrorKind::ExecNotPermitted),
        ("plain", ErrorKind::ExecNotPermitted),
        ("/bin/noexec", ErrorKind::ExecNotPermitted),
        ("/etc", ErrorKind::ExecNotPermitted),
        ("/etc/passwd/x", ErrorKind::ExecNotFound),
    ] {
        let mut spec = bed.shell("");
        process(&mut spec).set_args(Some(vec![program.to_owned()]));
        let error = bed.run(spec).unwrap_err();
        assert_eq!(*error.kind(), wanted, "{program:?}: {error}");
        if program.starts_with('/') {
            assert_eq!(error.path().unwrap().to_str().unwrap(), program);
        }
    }
}

#[test]
fn the_user_is_who_the_specification_says() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.shell("id -u; id -g; id -G; umask; env | sort; cat /proc/self/status");
    process(&mut spec)
        .user_mut()
        .set_uid(1000)
        .set_gid(1001)
        .set_additional_gids(Some(vec![5, 7]))
        .set_umask(Some(0o027));
    process(&mut spec).set_env(Some(vec!["A=b c".into(), "PATH=/bin".into()]));
    let output = bed.run(spec).unwrap().output;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(&lines[..4], ["1000", "1001", "1001 5 7", "0027"]);
    for entry in ["A=b c", "HOME=/home/user", "PATH=/bin"] {
        assert!(lines.contains(&entry), "{entry}: {output}");
    }
    assert!(
        lines.contains(&"Groups:\t5 7 ") || output.contains("Groups:\t5 7"),
        "{output}"
    );
    assert!(
        output.contains("CapPrm:\t0000000000000000"),
        "a user who is not root holds nothing: {output}"
    );
}

#[test]
fn capabilities_are_the_default_eleven() {
    let Some(bed) = Bed::new() else { return };
    let status = bed.output("cat /proc/self/status");
    let set = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    let wanted = libcontainer::capability::CapabilitySet::container_default().bits();
    for name in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(set(name), wanted, "{name}");
    }
    assert_eq!((set("CapInh"), set("CapAmb")), (0, 0));
    assert!(status.contains("NoNewPrivs:\t0"));
}

#[test]
fn the_filter_is_loaded_before_and_after_no_new_privs() {
    let Some(bed) = Bed::new() else { return };
    for no_new_privileges in [false, true] {
        let spec = bed.spec_with(RunOptions {
            args: ["/bin/cat", "/proc/self/status"].map(str::to_owned).into(),
            seccomp: SeccompChoice::Default,
            no_new_privileges,
            ..RunOptions::default()
        });
        let status = bed.run(spec).unwrap().output;
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(
            status.contains(&format!("NoNewPrivs:\t{}", u8::from(no_new_privileges))),
            "{status}"
        );
    }
}

#[test]
fn limits_are_set_or_cut_down_with_a_warning() {
    let Some(bed) = Bed::new() else { return };
    let limit = |soft: u64, hard: u64| {
        PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitNofile)
            .soft(soft)
            .hard(hard)
            .build()
            .unwrap()
    };
    let mut spec = bed.shell("ulimit -Sn; ulimit -Hn");
    process(&mut spec).set_rlimits(Some(vec![limit(100, 200)]));
    let outcome = bed.run(spec).unwrap();
    assert_eq!(
        (outcome.output.as_str(), outcome.warnings.len()),
        ("100\n200\n", 0)
    );
    let mut spec = bed.shell("true");
    process(&mut spec).set_rlimits(Some(vec![limit(1 << 40, 1 << 40)]));
    // Above /proc/sys/fs/nr_open nobody may raise it.
    let outcome = bed.run(spec).unwrap();
    assert!(
        outcome.warnings[0].contains("resource limit"),
        "{outcome:?}"
    );
    // Fewer than the descriptors that starting it takes.
    let mut spec = bed.spec(&["/bin/true"]);
    process(&mut spec).set_rlimits(Some(vec![limit(3, 3)]));
    assert_eq!(bed.run(spec).unwrap().status, ExitStatus::Exited(0));
    let mut spec = bed.shell("true");
    process(&mut spec).set_rlimits(Some(vec![limit(20, 10)]));
    bed.run(spec).unwrap_err();
}

#[test]
fn the_working_directory_is_made_and_stays_inside() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.shell("pwd; stat -c %a .");
    process(&mut spec).set_cwd("/srv/new/place".into());
    assert_eq!(bed.run(spec).unwrap().output, "/srv/new/place\n755\n");
    // CVE-2024-21626: a descriptor of the host as working directory.
    for bad in [
        "/proc/self/fd/3",
        "/proc/self/fd/7",
        "/proc/1/cwd",
        "/etc/passwd",
    ] {
        let mut spec = bed.shell("pwd");
        process(&mut spec).set_cwd(bad.into());
        bed.run(spec).expect_err(bad);
    }
    let mut spec = bed.shell("pwd");
    process(&mut spec).set_cwd("relative".into());
    assert!(matches!(
        bed.run(spec).unwrap_err().kind(),
        ErrorKind::InvalidSpec { .. }
    ));
}

#[test]
fn ignored_signals_and_the_mask_of_the_caller_do_not_travel() {
    let Some(bed) = Bed::new() else { return };
    // The test harness ignores SIGPIPE, as every Rust program does.
    let status = bed
        .run(bed.spec(&["/bin/cat", "/proc/self/status"]))
        .unwrap()
        .output;
    for name in ["SigIgn:\t", "SigBlk:\t"] {
        assert!(
            status.contains(&format!("{name}0000000000000000")),
            "{status}"
        );
    }
}

/// A filter may refuse what comes after it, execve and exit_group among it: nobody may be left behind, calling in vain for ever.
#[test]
fn a_filter_that_refuses_everything_leaves_nobody_behind() {
    let Some(bed) = Bed::new() else { return };
    for no_new_privileges in [false, true] {
        let mut spec = bed.spec(&["true"]);
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(LinuxSeccompAction::ScmpActErrno);
        spec.linux_mut()
            .as_mut()
            .unwrap()
            .set_seccomp(Some(profile));
        spec.process_mut()
            .as_mut()
            .unwrap()
            .set_no_new_privileges(Some(no_new_privileges));
        let outcome = bed.run(spec);
        // With the report refused too, all that is heard is the end.
        assert!(
            outcome
                .as_ref()
                .map_or(true, |outcome| outcome.status != ExitStatus::Exited(0)),
            "{outcome:?}"
        );
    }
}
