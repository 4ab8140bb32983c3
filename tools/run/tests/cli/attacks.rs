//! Attacks on the runtime's own file and on its command line, which must fail for the attacker.

use crate::support::program;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use trimaran_testkit::{Outcome, command, run, skip};

/// A bundle, and a copy of the runtime that an attack may be aimed at.
struct Place {
    dir: tempfile::TempDir,
    before: Vec<u8>,
}

impl Place {
    fn new() -> Option<Self> {
        if !trimaran_testkit::is_root() {
            skip("needs root");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            skip("needs busybox-static");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for name in ["proc", "dev", "tmp"] {
            std::fs::create_dir(dir.path().join("rootfs").join(name)).unwrap();
        }
        trimaran_testkit::copy_program("/bin/busybox", bin.join("busybox"));
        for name in [
            "sh", "sleep", "true", "cat", "id", "readlink", "ls", "grep", "echo", "head", "mkfifo",
            "dd",
        ] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        trimaran_testkit::copy_program(program(), dir.path().join("runtime"));
        let before = std::fs::read(dir.path().join("runtime")).unwrap();
        let place = Self { dir, before };
        place.configure(&["sleep", "1000"], |_| {});
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes config.json.
    fn configure(&self, args: &[&str], change: impl FnOnce(&mut Value)) {
        let capabilities = [
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_SETUID",
            "CAP_SETGID",
            "CAP_SETPCAP",
            "CAP_MKNOD",
            "CAP_KILL",
        ];
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/",
                "capabilities": {"bounding": capabilities, "permitted": capabilities, "effective": capabilities},
            },
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]},
        });
        change(&mut config);
        std::fs::write(self.path("config.json"), config.to_string()).unwrap();
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path("rootfs/bin").join(name);
        std::fs::remove_file(&path).ok();
        trimaran_testkit::write_script(&path, text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.path("runtime"), self.dir.path());
        command
            .args(["oci", "--root"])
            .arg(self.path("state"))
            .args(arguments);
        command.current_dir(self.dir.path());
        command
    }

    #[track_caller]
    fn oci(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// A container's id that no other test run has: it is also the name of a control group.
    fn id(&self) -> String {
        let name = self.dir.path().file_name().unwrap().to_str().unwrap();
        format!("attack-{}", name.trim_start_matches('.'))
    }

    /// Makes and starts a container, which would hold pipes of ours open for as long as it lives.
    #[track_caller]
    fn start(&self) {
        for verb in ["create", "start"] {
            let status = self
                .command(&[verb, &self.id()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success(), "{verb}");
        }
    }

    /// The runtime is what it was, and can be replaced by nobody but the host.
    #[track_caller]
    fn check(&self, attack: &str) {
        assert!(
            std::fs::read(self.path("runtime")).unwrap() == self.before,
            "{attack}: the runtime was overwritten"
        );
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("rootfs/log")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let list = self.oci(&["list", "-q"]);
        for id in list.stdout.lines() {
            self.oci(&["delete", "--force", id]);
        }
    }
}

/// What names the program that executes it.
const NAMES: [&str; 4] = [
    "/proc/self/exe",
    "/proc/thread-self/exe",
    "/proc/1/exe",
    "/proc/self/task/1/exe",
];

#[test]
fn a_container_that_is_the_runtime_is_not_made() {
    let Some(place) = Place::new() else { return };
    for name in NAMES {
        symlink(name, place.path("rootfs/bin/link")).unwrap();
        place.script("script", &format!("#!{name} --version\n"));
        place.script("twice", "#!/bin/script\n");
        for program in [
            name,
            "/bin/link",
            "/bin/script",
            "/bin/twice",
            "link",
            "script",
        ] {
            place.configure(&[program, "--version"], |_| {});
            let id = place.id();
            for arguments in [["create", &id], ["run", &id]] {
                let outcome = place.oci(&arguments).expect_code(1);
                assert!(
                    outcome.stderr.contains("runtime's own program"),
                    "{name} {program}: {}",
                    outcome.stderr
                );
            }
        }
        std::fs::remove_file(place.path("rootfs/bin/link")).unwrap();
    }
    place.check("args[0] = /proc/self/exe");
}

#[test]
fn a_program_that_becomes_the_runtime_after_create_is_not_executed() {
    let Some(place) = Place::new() else { return };
    place.script("innocent", "#!/bin/sh\nexec sleep 1000\n");
    place.configure(&["innocent"], |_| {});
    let create = place
        .command(&["create", &place.id()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(create.success());
    place.script("innocent", "#!/proc/self/exe --version\n");
    place.oci(&["start", &place.id()]).expect_code(0);
    // It ended without having been the runtime: a test of the exit code would have to wait for it as its parent.
    wait_until(|| {
        place
            .oci(&["state", &place.id()])
            .stdout
            .contains("stopped")
    });
    place.check("changed between create and start");
}

/// Waits for what another process does, which has no descriptor to wait on.
fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !done() {
        assert!(
            std::time::Instant::now() < deadline,
            "nothing happened in 20 seconds"
        );
        std::thread::yield_now();
    }
}

/// Opens what every process runs from, unless it is busybox, keeps it, and writes to it when the process has ended.
const HUNTER: &str = "#!/bin/sh
echo hunting >>/log
while :; do
  for p in /proc/[0-9]*; do
    if ! [ $p/exe -ef /bin/busybox ] && [ -e $p/exe ]; then
      ( exec 7<$p/exe && echo reached >>/log || exit
        n=0
        while [ $n -lt 2000 ]; do
          [ -e $p ] || n=$((n+1))
          if { echo evil >/proc/self/fd/7; } 2>/dev/null; then echo written >>/log; exit; fi
        done ) 2>/dev/null &
    fi
  done
done
";

fn hunter(place: &Place, capabilities: Value) {
    place.script("hunter", HUNTER);
    place.configure(&["hunter"], |config| {
        for set in ["bounding", "permitted", "effective"] {
            if !capabilities.is_null() {
                config["process"]["capabilities"][set] = capabilities.clone();
            }
        }
    });
    place.start();
    wait_until(|| place.log().contains("hunting"));
}

#[test]
fn a_process_that_joins_cannot_be_reached() {
    let Some(place) = Place::new() else { return };
    hunter(&place, Value::Null);
    place.script("evil", "#!/proc/self/exe --version\n");
    for round in 0..25 {
        let program = ["/bin/true", "/bin/evil", "/proc/self/exe", "/bin/true"][round % 4];
        place.oci(&["exec", &place.id(), program]);
    }
    place.oci(&["kill", &place.id(), "KILL"]);
    assert!(!place.log().contains("written"), "{}", place.log());
    place.check("exec");
}

#[test]
fn what_a_privileged_container_reaches_cannot_be_written() {
    let Some(place) = Place::new() else { return };
    // With these it may look at every process, whatever that did against it.
    hunter(
        &place,
        json!([
            "CAP_SYS_PTRACE",
            "CAP_DAC_OVERRIDE",
            "CAP_SYS_ADMIN",
            "CAP_CHECKPOINT_RESTORE",
            "CAP_FOWNER",
            "CAP_SETUID",
            "CAP_SETGID"
        ]),
    );
    for _ in 0..60 {
        place
            .oci(&["exec", &place.id(), "/bin/true"])
            .expect_code(0);
        if place.log().contains("reached") {
            break;
        }
    }
    // The hunter tries until it fails: give it the time to.
    place
        .oci(&["exec", &place.id(), "/bin/true"])
        .expect_code(0);
    place.oci(&["kill", &place.id(), "KILL"]);
    // Whether it was ever fast enough to reach something is its luck; that it wrote nothing is what counts.
    let log = place.log();
    assert!(!log.contains("written"), "{log}");
    place.check("exec into a privileged container");
}

/// A process that goes on, with what it runs from.
struct Running {
    child: Child,
    image: std::fs::File,
}

impl Running {
    /// Waits for its first line.
    fn new(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let path = format!("/proc/{}/exe", child.id());
        let image = std::fs::File::open(path).unwrap();
        Self { child, image }
    }

    /// What opening the image for writing says when nobody runs it any more.
    fn write(mut self) -> std::io::Result<()> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let path = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.image)
        );
        let mut opened = None;
        wait_until(|| {
            let file = std::fs::OpenOptions::new().append(true).open(&path);
            // A child of the one that was killed may take a moment longer.
            let busy = file
                .as_ref()
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ExecutableFileBusy);
            opened = Some(file);
            !busy
        });
        opened.unwrap()?.write_all(b"evil")
    }
}

#[test]
fn exec_runs_from_an_image_that_cannot_be_written() {
    let Some(place) = Place::new() else { return };
    place.start();
    let running = Running::new(place.command(&[
        "exec",
        &place.id(),
        "sh",
        "-c",
        "echo ready; exec sleep 100",
    ]));
    assert_eq!(
        running.write().unwrap_err().kind(),
        std::io::ErrorKind::ReadOnlyFilesystem
    );
    place.check("exec");
    // Where others share the pid namespace, making a container is protected in the same way.
    place.configure(&["sh", "-c", "echo ready; exec sleep 100"], |config| {
        config["linux"]["namespaces"] =
            json!([{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]);
    });
    let running = Running::new(place.command(&["run", &format!("{}-two", place.id())]));
    assert_eq!(
        running.write().unwrap_err().kind(),
        std::io::ErrorKind::ReadOnlyFilesystem
    );
    place.check("a shared pid namespace");
}

/// The command as the first process of a pid namespace, behind `words`; it ends with the process that is returned.
fn as_first(place: &Place, words: &[&str], arguments: &[&str]) -> Child {
    let mut unshare = command("unshare", place.dir.path());
    unshare
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(words)
        .arg(place.path("runtime"))
        .args(["oci", "--root"])
        .arg(place.path("state"))
        .args(arguments)
        .current_dir(place.dir.path());
    unshare.stdout(Stdio::null()).spawn().unwrap()
}

/// What the child of a process runs from, as soon as that cannot be written.
fn sealed_image(parent: &Child) -> std::fs::File {
    let list = format!("/proc/{0}/task/{0}/children", parent.id());
    let mut found = None;
    wait_until(|| {
        let children = std::fs::read_to_string(&list).unwrap();
        let child = children.split_whitespace().next();
        found = child.and_then(|pid| std::fs::File::open(format!("/proc/{pid}/exe")).ok());
        found.as_ref().is_some_and(|image| {
            let mount = rustix::fs::fstatvfs(image).unwrap();
            let read_only = mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
            read_only || rustix::fs::fcntl_get_seals(image).is_ok_and(|seals| !seals.is_empty())
        })
    });
    found.unwrap()
}

#[test]
fn the_first_process_is_sealed() {
    let Some(place) = Place::new() else { return };
    // It waits for somebody to write its configuration.
    std::fs::remove_file(place.path("config.json")).unwrap();
    let fifo = Command::new("mkfifo")
        .arg(place.path("config.json"))
        .status();
    assert!(fifo.unwrap().success());
    let (clone, copy) = (
        std::io::ErrorKind::ReadOnlyFilesystem,
        std::io::ErrorKind::PermissionDenied,
    );
    for (words, wanted) in [
        (&[][..], clone),
        // Without the right to mount there is a copy in memory.
        (
            &["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"],
            copy,
        ),
    ] {
        let child = as_first(&place, words, &["create", &place.id()]);
        let image = sealed_image(&child);
        let running = Running { child, image };
        assert_eq!(running.write().unwrap_err().kind(), wanted, "{words:?}");
        place.check("the first process");
    }
}

/// `/proc` is what the caller sees, and need not be one: nothing is written into what looks like it.
#[test]
fn id_maps_are_written_to_a_procfs_alone() {
    let Some(place) = Place::new() else { return };
    place.configure(&["true"], |config| {
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    // The next numbers of processes, each with files that take what is written.
    let line = "mkdir fake && cd fake && mkdir self $(seq 1 400) && \
        for n in $(seq 1 400); do for file in uid_map gid_map setgroups; do : >$n/$file; done; done; \
        cp /proc/self/status /proc/self/mountinfo /proc/self/uid_map /proc/self/gid_map /proc/self/cgroup self; cd ..; mount --bind fake /proc; \
        for n in $(seq 1 5); do ./runtime oci --root state run x-$n && echo ran; done; \
        find fake/[0-9]* -type f -size +0c; umount /proc";
    let mut shell = command("unshare", place.dir.path());
    shell
        .args(["--pid", "--fork", "--mount-proc", "sh", "-c", line])
        .current_dir(place.dir.path());
    let outcome = run(&mut shell);
    assert_eq!(outcome.stdout, "", "{}", outcome.stderr);
}
