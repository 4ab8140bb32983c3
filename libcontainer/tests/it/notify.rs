//! Filters that ask somebody: who it is, what is said to them, and that the container does not have their descriptor.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio as Pipe};

use libcontainer::oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall, Spec,
};
use libcontainer::runtime::{CreateOptions, ExecOptions, Stdio};
use libcontainer::{ErrorKind, ExitStatus};

use crate::bed::{Bed, id, pipe};

/// An agent of one call: it takes one listener, prints what is said with it, and answers `mkdir` and `mkdirat` with ENOMEDIUM; all
/// else goes on. (`struct seccomp_notif` has 80 bytes, its call number is at 16.)
const AGENT: &str = r#"
import socket, sys, os, fcntl, struct, threading, json
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen(8); print("listening", flush=True)
RECV, SEND = 0xc0502100, 0xc0182101
def serve(fd):
    while True:
        buffer = bytearray(80)
        try:
            fcntl.ioctl(fd, RECV, buffer)
            number, = struct.unpack_from("=i", buffer, 16)
            identity, = struct.unpack_from("=Q", buffer, 0)
            refuse = number in (83, 258)
            fcntl.ioctl(fd, SEND, struct.pack("=QqiI", identity, 0, -123 if refuse else 0, 0 if refuse else 1))
        except OSError as error:
            if error.errno == 4: continue
            if error.errno == 2: continue
            return
while True:
    stream, _ = server.accept()
    text, fds, _, _ = socket.recv_fds(stream, 65536, 4)
    print(text.decode(), flush=True)
    for fd in fds: threading.Thread(target=serve, args=(fd,), daemon=True).start()
"#;

struct Agent {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    socket: PathBuf,
}

impl Agent {
    fn start(directory: &Path) -> Option<Self> {
        if !cfg!(target_arch = "x86_64") || !Path::new("/usr/bin/python3").exists() {
            trimaran_testkit::skip("needs python3, on x86-64");
            return None;
        }
        let socket = directory.join("agent.sock");
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", AGENT])
            .arg(&socket)
            .stdout(Pipe::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut agent = Self {
            child,
            said,
            socket,
        };
        assert_eq!(agent.line(), "listening");
        Some(agent)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A filter that asks about these calls and allows the rest.
fn ask_about(spec: &mut Spec, names: &[&str], agent: &Agent) {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.iter().map(|name| (*name).to_owned()).collect())
        .set_action(Action::ScmpActNotify);
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(Action::ScmpActAllow)
        .set_listener_path(Some(agent.socket.clone()))
        .set_listener_metadata(Some("of the test".to_owned()))
        .set_syscalls(Some(vec![rule]));
    let linux = spec.linux_mut().as_mut().unwrap();
    linux.set_seccomp(Some(profile));
}

#[test]
fn the_listener_answers_and_the_container_has_nothing_of_it() {
    let Some(bed) = Bed::new() else { return };
    let Some(mut agent) = Agent::start(bed.directory.path()) else {
        return;
    };
    for no_new_privileges in [false, true] {
        // Without no_new_privs the runtime's own calls after the filter are asked about too.
        for names in [
            &["mkdir", "mkdirat"][..],
            &[
                "mkdir",
                "mkdirat",
                "sendmsg",
                "setresuid",
                "execve",
                "read",
                "close",
            ],
        ] {
            let command = "mkdir /tmp/x 2>&1; test ! -d /tmp/x && echo /proc/self/fd/*";
            let mut spec = bed.shell(command);
            spec.process_mut()
                .as_mut()
                .unwrap()
                .set_no_new_privileges(Some(no_new_privileges));
            ask_about(&mut spec, names, &agent);
            let (mut read, write) = pipe();
            let options = CreateOptions {
                stdio: Stdio::Streams {
                    stdin: None,
                    stdout: Some(write),
                    stderr: None,
                },
                ..CreateOptions::default()
            };
            let plan = bed
                .runtime
                .plan(&id("asked"), &bed.bundle(spec), options)
                .unwrap();
            let mut container = bed.runtime.create(plan).unwrap();
            let said: serde_json::Value = serde_json::from_str(&agent.line()).unwrap();
            let state = container.state().unwrap();
            assert_eq!(said["fds"], serde_json::json!(["seccompFd"]));
            assert_eq!(said["metadata"], "of the test");
            assert_eq!(
                (said["pid"].as_i64(), said["state"]["pid"].as_i64()),
                (Some(state.pid.into()), Some(state.pid.into()))
            );
            assert_eq!(
                (&said["state"]["id"], &said["state"]["status"]),
                (&"asked".into(), &"creating".into())
            );
            container.start().unwrap();
            let mut output = String::new();
            std::io::Read::read_to_string(&mut read, &mut output).unwrap();
            assert_eq!(
                output,
                "mkdir: can't create directory '/tmp/x': No medium found\n/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n",
                "{names:?}"
            );
            assert_eq!(
                container.init().unwrap().wait().unwrap(),
                ExitStatus::Exited(0)
            );
            container.delete(true).unwrap();
        }
    }
}

#[test]
fn a_further_process_has_a_listener_of_its_own() {
    let Some(bed) = Bed::new() else { return };
    let Some(mut agent) = Agent::start(bed.directory.path()) else {
        return;
    };
    let mut spec = bed.spec(&["/bin/sleep", "1000"]);
    ask_about(&mut spec, &["mkdir", "mkdirat"], &agent);
    let plan = bed
        .runtime
        .plan(&id("further"), &bed.bundle(spec), CreateOptions::default())
        .unwrap();
    let container = bed.runtime.create(plan).unwrap();
    container.start().unwrap();
    agent.line();
    let mut process = container.process().unwrap();
    process.set_args(Some(
        ["/bin/sh", "-c", "mkdir /tmp/x"].map(str::to_owned).into(),
    ));
    let further = container.exec(&process, ExecOptions::default()).unwrap();
    let said: serde_json::Value = serde_json::from_str(&agent.line()).unwrap();
    assert_eq!(said["pid"], further.pid());
    assert_eq!(said["state"]["pid"], container.state().unwrap().pid);
    assert_eq!(said["state"]["status"], "running");
    assert_eq!(further.wait().unwrap(), ExitStatus::Exited(1));
    container.delete(true).unwrap();
}

#[test]
fn without_a_listener_nothing_is_made() {
    let Some(bed) = Bed::new() else { return };
    let Some(agent) = Agent::start(bed.directory.path()) else {
        return;
    };
    let path = agent.socket.clone();
    drop(agent);
    let agent = |socket: PathBuf| {
        let mut spec = bed.shell("true");
        let mut rule = LinuxSyscall::default();
        rule.set_names(vec!["mkdir".to_owned()])
            .set_action(Action::ScmpActNotify);
        let mut profile = LinuxSeccomp::default();
        profile
            .set_default_action(Action::ScmpActAllow)
            .set_syscalls(Some(vec![rule]));
        profile.set_listener_path((!socket.as_os_str().is_empty()).then_some(socket));
        spec.linux_mut()
            .as_mut()
            .unwrap()
            .set_seccomp(Some(profile));
        bed.run(spec).unwrap_err()
    };
    // Nobody is there any more.
    assert_eq!(agent(path).errno(), Some(libc::ECONNREFUSED));
    for wrong in ["", "agent.sock"] {
        let error = agent(wrong.into());
        assert_eq!(
            *error.kind(),
            ErrorKind::InvalidSpec {
                field: "linux.seccomp.listenerPath".into()
            },
            "{error}"
        );
    }
}
