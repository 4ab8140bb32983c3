//! Processes under a profile of AppArmor, which Debian's kernel has.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::bed::Bed;
use crate::sleeper::Sleeper;
use libcontainer::oci_spec::runtime::Spec;
use std::io::Write;
use std::process::{Command, Stdio};

const PROFILE: &str = "profile trimaran-test flags=(attach_disconnected,mediate_deleted) {
    file, capability, network, mount, signal, ptrace, umount, pivot_root, unix,
    deny /etc/secret r,
}
";

fn load() {
    let mut parser = Command::new("apparmor_parser")
        .args(["--replace", "--skip-cache"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = parser.stdin.take().unwrap();
    input.write_all(PROFILE.as_bytes()).unwrap();
    drop(input);
    assert!(parser.wait().unwrap().success());
}

fn under(bed: &Bed, profile: &str, command: &str) -> Spec {
    let mut spec = bed.shell(command);
    let mut process = spec.process().clone().unwrap();
    process.set_apparmor_profile(Some(profile.to_owned()));
    spec.set_process(Some(process));
    spec
}

#[test]
fn every_process_is_under_its_profile() {
    let Some(bed) = Bed::new() else { return };
    load();
    std::fs::write(bed.root().join("etc/secret"), "secret\n").unwrap();
    std::fs::write(bed.root().join("etc/open"), "open\n").unwrap();
    let look = "cat /proc/self/attr/current /etc/open /etc/secret 2>&1; true";
    let confined =
        "trimaran-test (enforce)\nopen\ncat: can't open '/etc/secret': Permission denied\n";
    let outcome = bed.run(under(&bed, "trimaran-test", look)).unwrap();
    assert_eq!(outcome.output, confined);
    let outcome = bed.run(under(&bed, "unconfined", look)).unwrap();
    assert_eq!(outcome.output, "unconfined\nopen\nsecret\n");
    // Further processes have the container's, or one of their own.
    let spec = under(&bed, "trimaran-test", "exec sleep 1000");
    let sleeper = Sleeper::start(&bed, &bed.runtime, spec);
    assert_eq!(sleeper.shell(look), confined);
    assert_eq!(
        sleeper.shell("cat /proc/1/attr/current"),
        "trimaran-test (enforce)\n"
    );
    let mut process = sleeper.describe(&["/bin/true"]);
    process.set_apparmor_profile(Some("nobody-loaded-this".to_owned()));
    let error = sleeper.exec(&process).unwrap_err();
    assert_eq!(error.hint(), Some("the profile is not loaded"));
}

#[test]
fn a_profile_that_is_not_loaded_is_told_of() {
    let Some(bed) = Bed::new() else { return };
    let error = bed
        .run(under(&bed, "nobody-loaded-this", "true"))
        .unwrap_err();
    assert_eq!(error.hint(), Some("the profile is not loaded"));
    assert!(error.to_string().contains("AppArmor"), "{error}");
}
