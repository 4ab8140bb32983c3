//! Checkpoints with a program that speaks as CRIU does and saves nothing: what it is asked, what becomes of the container, and how failures
//! are told. The true one is tested in the machine of `make test-vm`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use libcontainer::criu::{CheckpointOptions, RestoreOptions};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::runtime::{Container, CreateOptions};
use libcontainer::state::Status;
use libcontainer::sys::message;
use libcontainer::{ErrorKind, Signal};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use serde_json::json;

use crate::bed::{Bed, id};
use crate::sleeper::Sleeper;

const MODE: &str = "TRIMARAN_FAKE_CRIU";
const PLACE: &str = "TRIMARAN_FAKE_CRIU_PLACE";

/// The program: this one again, in the test below.
fn fake(bed: &Bed, mode: &str) -> PathBuf {
    let place = bed.directory.path();
    let program = place.join(format!("criu-{mode}"));
    let own = std::env::current_exe().unwrap();
    let text = format!(
        "#!/bin/sh\n[ \"$*\" = 'swrk 3' ] || exit 9\nexport {MODE}={mode} {PLACE}='{}'\nexec '{}' --exact criu::served --nocapture <&3 3<&-\n",
        place.display(),
        own.display()
    );
    trimaran_testkit::write_script(&program, &text);
    program
}

fn receive(socket: BorrowedFd<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    let (length, _) = message::receive(socket, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// A number as Protocol Buffers have it.
fn varint(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Says what happens, and gives whether that is all right with the other side.
fn notify(
    socket: BorrowedFd<'_>,
    what: &str,
    pid: u32,
    descriptor: Option<BorrowedFd<'_>>,
) -> bool {
    let mut inner = vec![0xa, what.len() as u8];
    inner.extend(what.bytes());
    inner.push(0x10);
    inner.extend(varint(pid));
    let bytes = [&[8, 6, 0x10, 1, 0x2a, inner.len() as u8], &inner[..]].concat();
    message::send(socket, &bytes, descriptor).unwrap();
    receive(socket) == [8, 6, 0x18, 1]
}

/// What the fake does when it is executed; nothing when it is a test among others.
#[test]
fn served() {
    let Ok(mode) = std::env::var(MODE) else {
        return;
    };
    let place = PathBuf::from(std::env::var(PLACE).unwrap());
    let stdin = std::io::stdin();
    let socket = stdin.as_fd();
    let request = receive(socket);
    let say = |bytes: &[u8]| message::send(socket, bytes, None).unwrap();
    match request.get(1) {
        Some(10) if mode == "old" => say(&[8, 10, 0x10, 1, 0x52, 4, 8, 3, 0x10, 11]),
        Some(10) => say(&[8, 10, 0x10, 1, 0x52, 6, 8, 3, 0x10, 17, 0x20, 1]),
        Some(9) if mode == "poor" => say(&[8, 9, 0x10, 1, 0x42, 4, 8, 0, 0x10, 0]),
        Some(9) => say(&[8, 9, 0x10, 1, 0x42, 4, 8, 1, 0x10, 1]),
        Some(kind) => {
            std::fs::write(place.join("request"), &request).unwrap();
            act(&mode, *kind, &place, socket);
        }
        None => panic!("nothing is asked"),
    }
    // There is nothing more to be said.
    assert!(receive(socket).is_empty());
}

fn act(mode: &str, kind: u8, place: &Path, socket: BorrowedFd<'_>) {
    let say = |bytes: &[u8]| message::send(socket, bytes, None).unwrap();
    match (mode, kind) {
        ("fails", _) => {
            let log = ["dump.log", "restore.log"][usize::from(kind == 2)];
            let text = "(00.1) Warn  (criu/x.c:1): never mind\n(00.2)   1: Error (criu/x.c:2): no luck\n(00.3) FAILED\n";
            std::fs::write(place.join("work").join(log), text).unwrap();
            say(&[8, kind, 0x10, 0, 0x38, 13]);
        }
        ("dies", _) => panic!("killed"),
        ("babbles", _) => say(&[0xff; 7]),
        (_, 2) => restore(mode, place, socket),
        _ => {
            assert!(notify(socket, "network-lock", 0, None));
            assert!(notify(socket, "post-dump", 0, None));
            if mode == "saves" {
                let pid = std::fs::read_to_string(place.join("pid")).unwrap();
                let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
            say(&[8, kind, 0x10, 1]);
        }
    }
}

#[expect(
    clippy::zombie_processes,
    reason = "it stays when we end: the container's process"
)]
fn restore(mode: &str, place: &Path, socket: BorrowedFd<'_>) {
    let say = |bytes: &[u8]| message::send(socket, bytes, None).unwrap();
    // Its streams are the container's.
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    assert!(place.join("state/back/criu-root/bin/sh").exists());
    if !notify(socket, "setup-namespaces", child.id(), None) {
        child.kill().unwrap();
        child.wait().unwrap();
        return say(&[8, 2, 0x10, 0]);
    }
    if mode == "terminal" {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(notify(socket, "orphan-pts-master", 0, Some(file.as_fd())));
    }
    assert!(notify(socket, "post-restore", child.id(), None));
    let pid = varint(child.id());
    let inner = [&[8], &pid[..]].concat();
    say(&[&[8, 2, 0x10, 1, 0x22, inner.len() as u8], &inner[..]].concat());
}

fn asked(bed: &Bed, text: &str) -> bool {
    let request = std::fs::read(bed.directory.path().join("request")).unwrap();
    request
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn options(bed: &Bed, mode: &str) -> CheckpointOptions {
    CheckpointOptions {
        program: Some(fake(bed, mode)),
        work_path: Some(bed.directory.path().join("work")),
        ..CheckpointOptions::default()
    }
}

fn with(spec: &Spec, path: &str, value: serde_json::Value) -> Spec {
    let mut whole = serde_json::to_value(spec).unwrap();
    whole[path] = value;
    serde_json::from_value(whole).unwrap()
}

#[test]
fn a_container_that_was_saved_has_stopped() {
    let Some(bed) = Bed::new() else { return };
    let data = bed.directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut spec = bed.shell("sleep 1000");
    let bind =
        json!({"destination": "/mnt/x", "type": "bind", "source": data, "options": ["rbind"]});
    let bind = serde_json::from_value(bind).unwrap();
    spec.mounts_mut().as_mut().unwrap().push(bind);
    let sleeper = Sleeper::start(&bed, &bed.runtime, spec);
    let container = sleeper.container();
    let images = bed.directory.path().join("images");
    let pid = container.state().unwrap().pid;
    std::fs::write(bed.directory.path().join("pid"), pid.to_string()).unwrap();

    let going_on = CheckpointOptions {
        leave_running: true,
        ..options(&bed, "leaves")
    };
    container.checkpoint(&images, going_on).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);
    // Masked files are the host's /dev/null.
    for text in ["dump.log", "/mnt/x", "/proc/keys", "/dev/null"] {
        assert!(asked(&bed, text), "{text}");
    }
    // Its streams are the host's /dev/null, which no container has.
    assert!(asked(&bed, "file["));

    let steps = CheckpointOptions {
        pre_dump: true,
        ..options(&bed, "leaves")
    };
    container.checkpoint(&images, steps).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);

    container
        .checkpoint(&images, options(&bed, "saves"))
        .unwrap();
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    let error = container
        .checkpoint(&images, options(&bed, "saves"))
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotRunning);
}

#[test]
fn a_container_that_could_not_be_saved_goes_on() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = Sleeper::start(&bed, &bed.runtime, bed.shell("sleep 1000"));
    let place = bed.directory.path();
    let images = place.join("images");
    for (mode, hint) in [
        ("fails", "Error (criu/x.c:2): no luck"),
        ("dies", "it ended: "),
        ("babbles", "its answer makes no sense"),
    ] {
        let failed = sleeper.container().checkpoint(&images, options(&bed, mode));
        let error = failed.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Criu, "{mode}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{mode}: {error:?}");
        if mode == "fails" {
            assert_eq!(error.path(), Some(place.join("work/dump.log").as_path()));
        }
    }
    let none = CheckpointOptions {
        program: Some(place.join("no-criu")),
        ..CheckpointOptions::default()
    };
    let steps = CheckpointOptions {
        pre_dump: true,
        ..options(&bed, "poor")
    };
    let parent = |path: &str| CheckpointOptions {
        parent_path: Some(path.into()),
        ..options(&bed, "leaves")
    };
    for (options, words) in [
        (none, "no-criu"),
        (options(&bed, "old"), "CRIU 3.11"),
        (steps, "checkpoints in steps"),
        (parent("/images"), "find the parent's images"),
        (parent("../missing"), "find the parent's images"),
    ] {
        let error = sleeper
            .container()
            .checkpoint(&images, options)
            .unwrap_err();
        assert!(error.to_string().contains(words), "{error:?}");
    }
    let file = place.join("file");
    std::fs::write(&file, "").unwrap();
    let error = sleeper
        .container()
        .checkpoint(&file, options(&bed, "leaves"));
    assert_eq!(error.unwrap_err().path(), Some(file.as_path()));
    let state = sleeper.container().state().unwrap();
    assert_eq!(state.status, Status::Running);
}

/// Images as a checkpoint leaves them, as far as we read them.
fn images(bed: &Bed) -> PathBuf {
    let images = bed.directory.path().join("images");
    std::fs::create_dir_all(&images).unwrap();
    let names = "[\"pipe:[77]\",\"/dev/pts/0\",\"file[1:2]\"]";
    std::fs::write(images.join("descriptors.json"), names).unwrap();
    images
}

fn brought_back(
    bed: &Bed,
    spec: Spec,
    mode: &str,
    images: &Path,
) -> Result<Container, libcontainer::Error> {
    let create = CreateOptions {
        pid_file: Some(bed.directory.path().join("pid")),
        ..CreateOptions::default()
    };
    let plan = bed.runtime.plan(&id("back"), &bed.bundle(spec), create)?;
    let options = RestoreOptions {
        program: Some(fake(bed, mode)),
        work_path: Some(bed.directory.path().join("work")),
        ..RestoreOptions::default()
    };
    bed.runtime.restore(plan, images, options)
}

/// A directory whose mounts other mount namespaces share, as the whole host is with systemd.
struct Shared(PathBuf);

impl Shared {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        rustix::mount::mount_bind(&path, &path).unwrap();
        let shared = Self(path);
        rustix::mount::mount_change(&shared.0, MountPropagationFlags::SHARED).unwrap();
        shared
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).ok();
    }
}

#[test]
fn a_container_that_came_back_runs() {
    let Some(bed) = Bed::new() else { return };
    let shared = Shared::new(bed.directory.path().join("state"));
    let seen = bed.directory.path().join("seen");
    let hook = |word: &str| {
        let script = format!("echo {word} >> {}", seen.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let hooks = json!({
        "prestart": hook("prestart"),
        "createRuntime": hook("createRuntime"),
        "poststart": hook("poststart"),
        "poststop": hook("poststop"),
    });
    let spec = with(&bed.shell("sleep 1000"), "hooks", hooks);
    let images = images(&bed);
    let mut container = brought_back(&bed, spec.clone(), "restores", &images).unwrap();
    let state = container.state().unwrap();
    assert_eq!(state.status, Status::Running);
    let pid = std::fs::read_to_string(bed.directory.path().join("pid")).unwrap();
    assert_eq!(pid, state.pid.to_string());
    assert!(asked(&bed, "pipe:[77]") && asked(&bed, "file[1:2]") && !asked(&bed, "/dev/pts/0"));
    assert!(asked(&bed, "restore.log") && asked(&bed, "criu-root"));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("criu-root"), "{mounts}");
    assert!(container.init().unwrap().take_terminal().is_none());
    // Its id is taken.
    let error = brought_back(&bed, spec, "restores", &images).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exists);
    container.kill(Signal::KILL).unwrap();
    container.delete(true).unwrap();
    let seen = std::fs::read_to_string(seen).unwrap();
    assert_eq!(seen, "prestart\ncreateRuntime\npoststop\n");

    let mut container = brought_back(&bed, bed.shell("sleep 1000"), "terminal", &images).unwrap();
    assert!(container.init().unwrap().take_terminal().is_some());
    container.delete(true).unwrap();
    drop(shared);
}

#[test]
fn a_container_that_could_not_come_back_leaves_nothing() {
    let Some(bed) = Bed::new() else { return };
    let spec = || bed.shell("sleep 1000");
    let good = images(&bed);
    let seen = bed.directory.path().join("seen");
    let hook = json!({
        "prestart": [{"path": "/bin/false"}],
        "poststop": [{"path": "/bin/touch", "args": ["touch", seen]}],
    });
    let hooked = with(&spec(), "hooks", hook);
    let (prestart, index) = ("prestart", 0);
    for (spec, mode, kind) in [
        (spec(), "fails", ErrorKind::Criu),
        (spec(), "dies", ErrorKind::Criu),
        (spec(), "babbles", ErrorKind::Criu),
        (
            hooked,
            "restores",
            ErrorKind::Hook {
                kind: prestart,
                index,
            },
        ),
    ] {
        let error = brought_back(&bed, spec, mode, &good).unwrap_err();
        assert_eq!(*error.kind(), kind, "{mode}: {error:?}");
        assert!(bed.runtime.list().unwrap().is_empty(), "{mode}");
    }
    assert!(seen.exists(), "what hooks have made, hooks clear away");

    let missing = bed.directory.path().join("missing");
    let error = brought_back(&bed, spec(), "restores", &missing).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound, "{error:?}");
    let names = good.join("descriptors.json");
    for text in ["", "{}", "[1]"] {
        std::fs::write(&names, text).unwrap();
        let error = brought_back(&bed, spec(), "restores", &good).unwrap_err();
        assert_eq!(error.path(), Some(names.as_path()), "{text:?}");
    }
    std::fs::remove_file(&names).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &names).unwrap();
    let error = brought_back(&bed, spec(), "restores", &good).unwrap_err();
    assert_eq!(error.path(), Some(names.as_path()));
    assert!(bed.runtime.list().unwrap().is_empty());
}
