//! Containers with a record: create, start, state, kill, delete.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::io::Read;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::runtime::{CreateOptions, Stdio};
use libcontainer::state::Status;
use libcontainer::{ErrorKind, ExitStatus, Signal};
use serde_json::json;

use crate::bed::{Bed, id, pipe};

#[test]
fn a_container_lives_as_the_specification_says() {
    let Some(bed) = Bed::new() else { return };
    let (mut read, write) = pipe();
    let pid_file = bed.directory.path().join("pid");
    let options = CreateOptions {
        stdio: Stdio::Streams {
            stdin: None,
            stdout: Some(write),
            stderr: None,
        },
        pid_file: Some(pid_file.clone()),
        ..CreateOptions::default()
    };
    let name = id("one");
    let plan = bed
        .runtime
        .plan(
            &name,
            &bed.bundle(bed.shell("echo started; exec sleep 100")),
            options,
        )
        .unwrap();
    let mut container = bed.runtime.create(plan).unwrap();
    let state = container.state().unwrap();
    assert_eq!((state.status, state.id.as_str()), (Status::Created, "one"));
    assert_eq!(
        std::fs::read_to_string(&pid_file).unwrap(),
        state.pid.to_string()
    );
    let again = bed
        .runtime
        .plan(
            &name,
            &bed.bundle(bed.shell("true")),
            CreateOptions::default(),
        )
        .unwrap();
    assert_eq!(
        *bed.runtime.create(again).unwrap_err().kind(),
        ErrorKind::Exists
    );
    // Found again by somebody who knows only the id.
    let found = bed.runtime.load(&name).unwrap();
    found.start().unwrap();
    let mut line = [0; 8];
    read.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"started\n");
    assert_eq!(found.state().unwrap().status, Status::Running);
    assert_eq!(*found.start().unwrap_err().kind(), ErrorKind::Running);
    assert_eq!(
        *bed.runtime
            .load(&name)
            .unwrap()
            .delete(false)
            .unwrap_err()
            .kind(),
        ErrorKind::Running
    );
    found.kill(Signal::KILL).unwrap();
    assert_eq!(
        container.init().unwrap().wait().unwrap(),
        ExitStatus::Signaled(Signal::KILL)
    );
    let state = container.state().unwrap();
    assert_eq!((state.status, state.pid), (Status::Stopped, 0));
    assert_eq!(
        *found.kill(Signal::TERM).unwrap_err().kind(),
        ErrorKind::NotRunning
    );
    assert_eq!(bed.runtime.list().unwrap().len(), 1);
    container.delete(false).unwrap();
    assert!(bed.runtime.list().unwrap().is_empty());
    assert_eq!(
        *bed.runtime.load(&name).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_created_container_holds_none_of_the_callers_descriptors() {
    let Some(bed) = Bed::new() else { return };
    let (mut read, write) = pipe();
    let plan = bed
        .runtime
        .plan(
            &id("held"),
            &bed.bundle(bed.shell("true")),
            CreateOptions::default(),
        )
        .unwrap();
    let container = bed.runtime.create(plan).unwrap();
    drop(write);
    // Would block for ever if the container's process had the other end.
    let mut rest = Vec::new();
    read.read_to_end(&mut rest).unwrap();
    container.delete(false).unwrap();
}

#[test]
fn a_missing_program_fails_at_create_and_leaves_nothing() {
    let Some(bed) = Bed::new() else { return };
    let plan = bed
        .runtime
        .plan(
            &id("gone"),
            &bed.bundle(bed.spec(&["/bin/nothing"])),
            CreateOptions::default(),
        )
        .unwrap();
    assert_eq!(
        *bed.runtime.create(plan).unwrap_err().kind(),
        ErrorKind::ExecNotFound
    );
    assert!(bed.runtime.list().unwrap().is_empty());
}

#[test]
fn a_killed_container_cannot_be_started() {
    let Some(bed) = Bed::new() else { return };
    let plan = bed
        .runtime
        .plan(
            &id("dead"),
            &bed.bundle(bed.shell("true")),
            CreateOptions::default(),
        )
        .unwrap();
    let mut container = bed.runtime.create(plan).unwrap();
    container.kill(Signal::KILL).unwrap();
    container.init().unwrap().wait().unwrap();
    assert_eq!(
        *container.start().unwrap_err().kind(),
        ErrorKind::NotRunning
    );
    container.delete(true).unwrap();
}

/// What a container writes to its terminal.
fn through_terminal(bed: &Bed, spec: Spec) -> String {
    let plan = bed
        .runtime
        .plan(&id("tty"), &bed.bundle(spec), CreateOptions::default())
        .unwrap();
    let mut process = bed.runtime.run(plan).unwrap();
    let mut master = std::fs::File::from(process.take_terminal().unwrap());
    assert!(process.take_terminal().is_none());
    let mut output = Vec::new();
    // The master's end is an error, not an end of file.
    master.read_to_end(&mut output).ok();
    assert_eq!(process.wait().unwrap(), ExitStatus::Exited(0));
    String::from_utf8(output).unwrap()
}

#[test]
fn a_terminal_is_the_containers_own() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.shell(
        "tty; stty size; test -c /dev/console && echo console; ls -l /dev/console >/dev/tty",
    );
    let process = spec.process_mut().as_mut().unwrap();
    process.set_terminal(Some(true));
    let size = libcontainer::oci_spec::runtime::BoxBuilder::default()
        .height(33_u64)
        .width(99_u64)
        .build()
        .unwrap();
    process.set_console_size(Some(size));
    let output = through_terminal(&bed, spec);
    assert!(
        output.starts_with("/dev/pts/0\r\n33 99\r\nconsole\r\n"),
        "{output}"
    );
}

/// `docker run -it -v /dev:/dev`: the terminal is one of the devpts that is seen there in the end.
#[test]
fn a_terminal_where_the_devices_are_the_hosts() {
    let Some(bed) = Bed::new() else { return };
    let bind = super::fields::mount("/dev", "bind", "/dev", &["rbind"]);
    let pts = super::fields::mount("/dev/pts", "devpts", "devpts", &["newinstance"]);
    let before = std::fs::metadata("/dev/console");
    // So that the host's first one is taken.
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let held = rustix::pty::openpt(flags).unwrap();
    for own in [false, true] {
        let spec = bed.shell("tty; test -t 0 && echo terminal; echo >/dev/tty && echo own");
        let mut changes = vec![("process.terminal", json!(true)), ("+mounts", bind.clone())];
        if own {
            changes.push(("+mounts", pts.clone()));
        }
        let spec = super::fields::with(&spec, &changes);
        let output = through_terminal(&bed, spec);
        assert!(output.starts_with("/dev/pts/"), "{output}");
        assert!(output.contains("terminal\r\n\r\nown"), "{output}");
        assert_eq!(output.starts_with("/dev/pts/0\r\n"), own, "{output}");
    }
    drop(held);
    let after = std::fs::metadata("/dev/console");
    assert_eq!(before.is_ok(), after.is_ok());
}

#[test]
fn the_terminal_is_sent_to_a_console_socket_of_any_length() {
    let Some(bed) = Bed::new() else { return };
    let deep = bed.directory.path().join("d".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("console.sock");
    // Binding has the same limit as connecting.
    let directory = std::fs::File::open(&deep).unwrap();
    let short = format!(
        "/proc/self/fd/{}/console.sock",
        std::os::fd::AsRawFd::as_raw_fd(&directory)
    );
    let listener = std::os::unix::net::UnixListener::bind(short).unwrap();
    let mut spec = bed.shell("true");
    spec.process_mut()
        .as_mut()
        .unwrap()
        .set_terminal(Some(true));
    let options = CreateOptions {
        console_socket: Some(path),
        ..CreateOptions::default()
    };
    let plan = bed
        .runtime
        .plan(&id("sock"), &bed.bundle(spec), options)
        .unwrap();
    let container = bed.runtime.create(plan).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 16];
    let (length, master) =
        libcontainer::sys::message::receive(std::os::fd::AsFd::as_fd(&stream), &mut bytes).unwrap();
    assert!(length > 0);
    assert!(rustix::termios::isatty(master.unwrap()));
    container.delete(true).unwrap();
}
