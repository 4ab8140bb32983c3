//! Descriptors of the runtime that the container could reach the host by (CVE-2024-21626).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;

use libcontainer::ExitStatus;
use libcontainer::runtime::CreateOptions;

use super::{Witness, process};
use crate::bed::{Bed, id};
use crate::sleeper::Sleeper;

/// A directory of the host, open without close-on-exec as a careless caller has it.
fn leaked(witness: &Witness) -> OwnedFd {
    let directory = std::fs::File::open(&witness.path).unwrap();
    // Far from the numbers that the runtime itself uses.
    let leaked = rustix::io::fcntl_dupfd_cloexec(&directory, 40).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    leaked
}

/// Every number that may be a descriptor of ours.
const NUMBERS: std::ops::Range<u32> = 3..14;

#[test]
fn the_program_has_the_standard_streams_and_no_other() {
    let Some(bed) = Bed::new() else { return };
    let witness = Witness::new(&bed);
    let leaked = leaked(&witness);
    // The last one is the shell's own, of the directory it lists.
    let list = "echo /proc/self/fd/*; test ! -e /proc/1/fd/3";
    let expected = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n";
    assert_eq!(bed.output(list), expected);
    let sleeper = Sleeper::start(&bed, &bed.runtime, bed.spec(&["/bin/sleep", "1000"]));
    assert_eq!(sleeper.shell(list), expected);
    drop(leaked);
}

#[test]
fn a_working_directory_behind_a_descriptor() {
    let Some(bed) = Bed::new() else { return };
    let witness = Witness::new(&bed);
    let leaked = leaked(&witness);
    let sleeper = Sleeper::start(&bed, &bed.runtime, bed.spec(&["/bin/sleep", "1000"]));
    symlink("/proc/self/fd", bed.root().join("fds")).unwrap();
    for number in NUMBERS.chain([leaked.as_raw_fd() as u32]) {
        for cwd in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/.."),
            format!("/proc/self/fd/{number}/deep"),
            format!("/proc/thread-self/fd/{number}"),
            format!("/proc/1/fd/{number}"),
            format!("/fds/{number}"),
        ] {
            let mut spec = bed.shell("pwd; ls; cat deep/file; touch here; true");
            process(&mut spec).set_cwd(cwd.clone().into());
            let outcome = bed.run(spec);
            assert!(outcome.is_err(), "create in {cwd}: {outcome:?}");
            let mut description = sleeper.describe(&["/bin/sh", "-c", "pwd; ls; touch here; true"]);
            description.set_cwd(cwd.clone().into());
            let outcome = sleeper.exec(&description);
            assert!(outcome.is_err(), "exec in {cwd}: {outcome:?}");
        }
    }
    witness.check("a working directory behind a descriptor");
}

#[test]
fn a_program_behind_a_descriptor() {
    let Some(bed) = Bed::new() else { return };
    let witness = Witness::new(&bed);
    // Not a script, which its interpreter would open by a name that leads nowhere any more.
    trimaran_testkit::copy_program(bed.root().join("bin/busybox"), witness.path.join("true"));
    let leaked = leaked(&witness);
    let sleeper = Sleeper::start(&bed, &bed.runtime, bed.spec(&["/bin/sleep", "1000"]));
    let outside = witness.path.to_str().unwrap();
    for number in NUMBERS.chain([leaked.as_raw_fd() as u32]) {
        let paths = [
            format!("/proc/self/fd/{number}/true"),
            format!("/proc/self/fd/{number}/../outside/true"),
            // By the host's procfs, its root, or any directory of it.
            format!("/proc/self/fd/{number}/1/root{outside}/true"),
            format!("/proc/self/fd/{number}/self/cwd/bin/busybox"),
            format!("/proc/self/fd/{number}{outside}/true"),
            format!("/proc/self/fd/{number}"),
        ];
        let script = bed.root().join("bin/script");
        for path in paths {
            trimaran_testkit::write_script(&script, &format!("#!{path}\n"));
            for args in [[path.as_str(), "x"], ["/bin/script", "x"]] {
                let outcome = bed.run(bed.spec(&args));
                assert!(
                    !matches!(&outcome, Ok(outcome) if outcome.status == ExitStatus::Exited(0)),
                    "create {path}: {outcome:?}"
                );
                let outcome = sleeper.exec(&sleeper.describe(&args));
                assert!(
                    !matches!(&outcome, Ok((_, ExitStatus::Exited(0)))),
                    "exec {path}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_preserved_descriptor_is_no_way_out_for_the_working_directory() {
    let Some(bed) = Bed::new() else { return };
    let witness = Witness::new(&bed);
    let leaked = leaked(&witness);
    let preserve_fds = leaked.as_fd().as_raw_fd() as u32 - 2;
    let mut spec = bed.shell("true");
    process(&mut spec).set_cwd(format!("/proc/self/fd/{}", leaked.as_raw_fd()).into());
    let options = CreateOptions {
        preserve_fds,
        ..CreateOptions::default()
    };
    let plan = bed
        .runtime
        .plan(&id("preserved"), &bed.bundle(spec), options)
        .unwrap();
    bed.runtime.create(plan).unwrap_err();
    witness.check("a preserved descriptor");
}
