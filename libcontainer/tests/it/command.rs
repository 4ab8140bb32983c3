//! The front that looks like `std::process::Command`: from root, from a user with sub-ids, and from a user without.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use libcontainer::command::{Command, Stdio};
use libcontainer::spec::Network;
use libcontainer::{ErrorKind, ExitStatus, Signal};
use trimaran_testkit::User;

use crate::bed::Bed;
use crate::rootless::{as_user, inner};

fn shell(root: &Path, script: &str) -> Command {
    let mut command = Command::new(root);
    command.args(["sh", "-c", script]);
    command
}

/// What a successful shell wrote.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        panic!("{error}: {:?} {source:?}", error.hint())
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status, ExitStatus::Exited(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What works for everybody.
fn works(root: &Path) {
    let mut command = shell(root, "echo $0 $A; pwd; hostname; id -u; cat");
    command
        .env("A", "b c")
        .current_dir("/some/where")
        .hostname("box")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "sh b c\n/some/where\nbox\n0\nthrough"
    );
    assert_eq!(output.status, ExitStatus::Exited(0));
    // The same command once more, with other streams.
    let status = command.stdin(Stdio::null()).status().unwrap();
    assert_eq!(status, ExitStatus::Exited(0));

    // Much on both streams at once.
    let both = "dd if=/dev/zero bs=1000 count=1000 2>/dev/null; dd if=/dev/zero bs=1000 count=999 >&2 2>/dev/null; exit 3";
    let output = shell(root, both).output().unwrap();
    assert_eq!(output.stdout.len(), 1_000_000);
    assert_eq!(output.status, ExitStatus::Exited(3));

    changes(root);
    ends(root);
    let network = said(shell(root, "readlink /proc/self/ns/net").network(Network::Host));
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(Path::new(network.trim()), own);
    assert_ne!(
        said(&mut shell(root, "readlink /proc/self/ns/net")),
        network
    );
}

/// What becomes of what is written.
fn changes(root: &Path) {
    let made = root.join("made");
    let write = "echo x > /made && rm /etc/group && cat /made; stat -c %a /; cat /etc/group 2>/dev/null; true";
    assert_eq!(said(&mut shell(root, write)), "x\n755\n");
    assert!(!made.exists());
    assert!(root.join("etc/group").exists());
    let refused = shell(root, "echo x > /made").read_only().status().unwrap();
    assert_eq!(refused, ExitStatus::Exited(1));
    said(shell(root, "echo kept > /made; echo x > /tmp/y").keep_changes());
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "kept\n");
    std::fs::remove_file(&made).unwrap();
    std::fs::remove_file(root.join("tmp/y")).unwrap();
    let full = shell(root, "dd if=/dev/zero of=/big bs=1M count=3")
        .changes_limit(1 << 20)
        .status();
    assert_eq!(full.unwrap(), ExitStatus::Exited(1));
    let shared = root.parent().unwrap().join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    let script = "echo y > /rw/file; cat /ro/file; echo n > /ro/other 2>/dev/null || echo refused; echo t > /mem/x && cat /mem/x";
    let mut mounted = shell(root, script);
    mounted
        .mount(&shared, "/rw")
        .mount_read_only(&shared, "/ro")
        .tmpfs("/mem");
    assert_eq!(said(&mut mounted), "y\nrefused\nt\n");
    assert_eq!(std::fs::read_to_string(shared.join("file")).unwrap(), "y\n");
}

/// How containers end, and how they do not begin.
fn ends(root: &Path) {
    let mut child = shell(root, "sleep 100").spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    let killed = ExitStatus::Signaled(Signal::KILL);
    assert_eq!(child.wait().unwrap(), killed);
    assert_eq!(child.try_wait().unwrap(), Some(killed));

    let child = shell(root, "sleep 100").spawn().unwrap();
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    assert!(process.exists());
    drop(child);
    assert!(!process.exists(), "dropping ends and reaps it");

    let mut terminal = shell(root, "tty; exit 4");
    let mut child = terminal.terminal().spawn().unwrap();
    let mut master = std::fs::File::from(child.terminal.take().unwrap());
    let mut output = Vec::new();
    // The master's end is an error, not an end of file.
    master.read_to_end(&mut output).ok();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(4));
    assert_eq!(output, b"/dev/pts/0\r\n");

    for (command, wanted) in [
        (Command::new(root).arg("nothing"), ErrorKind::ExecNotFound),
        (
            Command::new(root).arg("/etc/passwd"),
            ErrorKind::ExecNotPermitted,
        ),
        (
            Command::new(root.join("nothing")).arg("sh"),
            ErrorKind::NotFound,
        ),
        (shell(root, "").user("nobody-known"), ErrorKind::UnknownUser),
        (
            &mut Command::new(root),
            ErrorKind::InvalidSpec {
                field: "process.args".into(),
            },
        ),
        (
            shell(root, "").current_dir("relative"),
            ErrorKind::InvalidSpec {
                field: "process.cwd".into(),
            },
        ),
        (
            shell(root, "").mount("/not/there", "/x"),
            ErrorKind::NotFound,
        ),
    ] {
        let error = command.spawn().unwrap_err();
        assert_eq!(*error.kind(), wanted, "{error}: {:?}", error.hint());
    }
}

/// Descriptors, children and mounts of this process.
fn traces() -> String {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    format!("{fds} {children} {mounts}")
}

fn works_and_leaves_nothing(root: &Path) {
    let before = traces();
    works(root);
    assert_eq!(traces(), before);
}

#[test]
fn from_root() {
    let Some(bed) = Bed::new() else { return };
    works(&bed.root());
    let groups = said(shell(&bed.root(), "id -u; id -g").user("user"));
    assert_eq!(groups, "1000\n1000\n");
    // The directory is one that cannot be changed.
    let root = bed.root();
    let source = rustix::mount::mount_bind(&root, &root);
    source.unwrap();
    let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount_remount(&root, flags, "").unwrap();
    let output = shell(&root, "echo x > /made; cat /made").output();
    rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(output.unwrap().stdout, b"x\n");
}

#[test]
fn limits_hold() {
    let Some(bed) = Bed::new() else { return };
    let parent = format!("/trimaran-command-{}", std::process::id());
    let mut command = shell(&bed.root(), "dd if=/dev/zero of=/big bs=1M count=60");
    command.memory_limit(16 << 20).cgroup_parent(&parent);
    match command.status() {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied) => {
            return trimaran_testkit::skip("no control group for memory can be made here");
        }
        status => assert_ne!(status.unwrap(), ExitStatus::Exited(0)),
    }
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; true";
    let mut command = shell(&bed.root(), script);
    let output = command.process_limit(4).cgroup_parent(&parent).output();
    let output = output.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("fork"));
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        let place = hierarchy
            .unwrap()
            .path()
            .join(parent.trim_start_matches('/'));
        assert!(!place.exists(), "{}", place.display());
    }
}

#[test]
fn a_plan_is_shown_and_does_nothing() {
    let Some(bed) = Bed::new() else { return };
    let mut command = shell(&bed.root(), "echo x > /made");
    let plan = command.keep_changes().plan().unwrap().to_string();
    assert!(plan.contains("execute \"sh\" \"-c\""), "{plan}");
    assert!(!bed.root().join("made").exists());
}

fn home() -> PathBuf {
    std::env::var_os("HOME").unwrap().into()
}

/// A kernel that is too old is no failure.
fn went_well(output: &std::process::Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("a layer in memory needs Linux 6.6") {
        return trimaran_testkit::skip("a layer in memory needs Linux 6.6 without root");
    }
    assert!(output.status.success(), "{stderr}");
}

#[test]
fn from_a_user_with_subordinate_ids() {
    if inner() {
        let root = home().join("rootfs");
        works_and_leaves_nothing(&root);
        let ids = said(
            shell(
                &root,
                "id -u; id -g; touch /dev/shm/x; stat -c %u /dev/shm/x",
            )
            .user("user"),
        );
        assert_eq!(ids, "1000\n1000\n1000\n");
        return;
    }
    if Bed::new().is_none() {
        return;
    }
    let Some(user) = User::with_subids() else {
        return trimaran_testkit::skip("needs a user with subordinate ids");
    };
    let output = as_user(&user, None, "command::from_a_user_with_subordinate_ids");
    went_well(&output);
}

#[test]
fn from_a_user_without_subordinate_ids() {
    if inner() {
        let root = home().join("rootfs");
        works_and_leaves_nothing(&root);
        let error = shell(&root, "id").user("user").spawn().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidSpec { .. }),
            "{error}"
        );
        return;
    }
    if Bed::new().is_none() {
        return;
    }
    let Some(user) = User::without_subids() else {
        return trimaran_testkit::skip("needs a user without subordinate ids");
    };
    let output = as_user(&user, None, "command::from_a_user_without_subordinate_ids");
    went_well(&output);
}
