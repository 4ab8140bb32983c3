//! Further processes in a running container, and stopping all of them where they are.

use std::io::Read;

use libcontainer::oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType,
};
use libcontainer::runtime::{ExecOptions, Runtime, Stdio};
use libcontainer::state::Status;
use libcontainer::{ErrorKind, ExitStatus, Signal};

use crate::bed::{Bed, id};
use crate::sleeper::Sleeper;

fn sleeper(bed: &Bed) -> Sleeper {
    Sleeper::start(bed, &bed.runtime, bed.spec(&["/bin/sleep", "1000"]))
}

#[test]
fn it_is_where_the_container_is() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = sleeper(&bed);
    let namespaces = "for n in mnt pid ipc uts net cgroup; do readlink /proc/$1/ns/$n; done";
    let of = |pid: &str| sleeper.shell(&namespaces.replace("$1", pid));
    assert_eq!(of("self"), of("1"));
    assert_eq!(
        sleeper.shell("cat /proc/1/cmdline"),
        "/bin/sleep\u{0}1000\u{0}"
    );
    // What the first process may do the further one may do too, and no more.
    let status = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/$1/status";
    let of = |pid: &str| sleeper.shell(&status.replace("$1", pid));
    assert_eq!(of("self"), of("1"));
    assert_eq!(sleeper.shell("ls /proc/self/fd | wc -l").trim(), "4");
    assert_eq!(sleeper.shell("echo $HOME; pwd"), "/root\n/\n");
}

#[test]
fn it_ends_as_its_program_does_and_fails_as_one_that_is_not_there() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = sleeper(&bed);
    let process = sleeper.describe(&["/bin/sh", "-c", "exit 7"]);
    assert_eq!(sleeper.exec(&process).unwrap().1, ExitStatus::Exited(7));
    let process = sleeper.describe(&["/bin/sh", "-c", "kill -9 $$"]);
    let killed = ExitStatus::Signaled(Signal::KILL);
    assert_eq!(sleeper.exec(&process).unwrap().1, killed);
    for (program, kind) in [
        ("nope", ErrorKind::ExecNotFound),
        ("/nope", ErrorKind::ExecNotFound),
        ("/etc/passwd", ErrorKind::ExecNotPermitted),
    ] {
        let error = sleeper.exec(&sleeper.describe(&[program])).unwrap_err();
        assert_eq!(*error.kind(), kind, "{program}");
    }
    let mut process = sleeper.describe(&["/bin/true"]);
    process.set_cwd("/nowhere".into());
    sleeper.exec(&process).unwrap_err();
    // Nothing of all this has hurt the container.
    assert_eq!(sleeper.container().state().unwrap().status, Status::Running);
}

#[test]
fn users_are_looked_up_in_the_container() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = sleeper(&bed);
    for (text, ids) in [
        ("user", "1000 1000"),
        ("5:6", "5 6"),
        ("root:user", "0 1000"),
    ] {
        let found = sleeper.container().user(text).unwrap();
        let mut process = sleeper.describe(&["/bin/sh", "-c", "echo $(id -u) $(id -g)"]);
        let mut user = process.user().clone();
        user.set_uid(found.uid);
        user.set_gid(found.gid);
        process.set_user(user);
        assert_eq!(sleeper.exec(&process).unwrap().0.trim(), ids, "{text}");
    }
    let error = sleeper.container().user("nobody-there").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::UnknownUser);
}

#[test]
fn a_terminal_is_one_of_the_containers() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = sleeper(&bed);
    let process = sleeper.describe(&["/bin/sh", "-c", "tty; stty size; test -t 0"]);
    let options = ExecOptions {
        stdio: Stdio::Terminal,
        ..ExecOptions::default()
    };
    let mut process = sleeper.container().exec(&process, options).unwrap();
    let mut master = std::fs::File::from(process.take_terminal().unwrap());
    let mut output = Vec::new();
    // Reading fails when the other side is closed.
    drop(master.read_to_end(&mut output));
    let output = String::from_utf8(output).unwrap();
    assert!(output.starts_with("/dev/pts/0\r\n"), "{output:?}");
    assert_eq!(process.wait().unwrap(), ExitStatus::Exited(0));
}

#[test]
fn a_user_namespace_is_entered_as_its_root() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.spec(&["/bin/sleep", "1000"]);
    let mut linux = spec.linux().clone().unwrap();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    let user = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User);
    namespaces.push(user.build().unwrap());
    linux.set_namespaces(Some(namespaces));
    let maps: Vec<LinuxIdMapping> = vec![
        LinuxIdMappingBuilder::default()
            .container_id(0_u32)
            .host_id(200_000_u32)
            .size(65536_u32)
            .build()
            .unwrap(),
    ];
    linux.set_uid_mappings(Some(maps.clone()));
    linux.set_gid_mappings(Some(maps));
    spec.set_linux(Some(linux));
    let sleeper = Sleeper::start(&bed, &bed.runtime, spec);
    assert_eq!(
        sleeper.shell("id -u; readlink /proc/self/ns/user; cat /proc/self/uid_map"),
        sleeper.shell("echo 0; readlink /proc/1/ns/user; cat /proc/1/uid_map"),
    );
}

#[test]
fn a_stopped_container_takes_no_process() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = sleeper(&bed);
    let process = sleeper.describe(&["/bin/true"]);
    let mut again = bed.runtime.load(&id("sleeper")).unwrap();
    again.kill(Signal::KILL).unwrap();
    if let Ok(init) = again.init() {
        drop(init.wait());
    }
    let error = sleeper.exec(&process).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotRunning);
    let error = sleeper.container().pause().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotRunning);
}

#[test]
fn a_paused_container_stands_still() {
    let Some(bed) = Bed::new() else { return };
    let runtime = Runtime::builder()
        .state_dir(bed.directory.path().join("frozen"))
        .build()
        .unwrap();
    let spec = bed.shell("while true; do echo x >> /tmp/steps; done");
    let sleeper = Sleeper::start(&bed, &runtime, spec);
    let container = sleeper.container();
    let process = sleeper.describe(&["/bin/true"]);
    assert_eq!(container.processes().unwrap().len(), 1);
    let steps = || std::fs::metadata(bed.root().join("tmp/steps")).map(|meta| meta.len());
    while steps().is_err() {
        std::thread::yield_now();
    }
    container.pause().unwrap();
    assert_eq!(container.state().unwrap().status, Status::Paused);
    let before = steps().unwrap();
    // As much of the processor as a running loop would have used.
    for _ in 0..100 {
        std::thread::yield_now();
    }
    assert_eq!(steps().unwrap(), before);
    assert_eq!(
        *sleeper.exec(&process).unwrap_err().kind(),
        ErrorKind::Paused
    );
    let patient = ExecOptions {
        ignore_paused: true,
        ..ExecOptions::default()
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| container.exec(&process, patient)?.wait());
        container.resume().unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), ExitStatus::Exited(0));
    });
    assert_eq!(*container.resume().unwrap_err().kind(), ErrorKind::Running);
    assert_eq!(container.state().unwrap().status, Status::Running);
    // A paused one can be killed.
    container.pause().unwrap();
}
