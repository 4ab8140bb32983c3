//! The OCI face on a real bundle.

use crate::support::{Home, program};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use trimaran_testkit::image::Tree;
use trimaran_testkit::{Outcome, command, run, skip};

/// A bundle with busybox in it, and a state directory.
pub(crate) struct Bundle {
    dir: tempfile::TempDir,
}

impl Bundle {
    pub(crate) fn new() -> Option<Self> {
        if !trimaran_testkit::is_root() {
            skip("needs root");
            return None;
        }
        let Some(tree) = Tree::busybox() else {
            skip("needs busybox-static");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let tar = dir.path().join("root.tar");
        std::fs::write(&tar, tree.tar()).unwrap();
        std::fs::create_dir(dir.path().join("rootfs")).unwrap();
        let rootfs = dir.path().join("rootfs");
        let unpacked = std::process::Command::new("tar")
            .args(["-xpf"])
            .arg(&tar)
            .arg("-C")
            .arg(&rootfs)
            .status()
            .unwrap();
        assert!(unpacked.success());
        let bundle = Self { dir };
        bundle.configure(&["sh", "-c", "echo started; exec sleep 1000"], |_| {});
        Some(bundle)
    }

    pub(crate) fn configure(&self, args: &[&str], change: impl FnOnce(&mut Value)) {
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": args,
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
            },
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "annotations": {"com.example.key": "value"},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]},
        });
        change(&mut config);
        std::fs::write(self.path().join("config.json"), config.to_string()).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path().join("log.json")
    }

    #[track_caller]
    pub(crate) fn oci(&self, arguments: &[&str]) -> Outcome {
        let root = self.path().join("state");
        let log = self.log();
        let globals = [
            "oci",
            "--root",
            root.to_str().unwrap(),
            "--log",
            log.to_str().unwrap(),
            "--log-format=json",
        ];
        run(command(program(), self.path())
            .args(globals)
            .args(arguments)
            .current_dir(self.path()))
    }

    /// A verb without a log: what is said goes to standard error.
    pub(crate) fn plain(&self, arguments: &[&str]) -> Outcome {
        let root = self.path().join("state");
        run(command(program(), self.path())
            .args(["oci", "--root", root.to_str().unwrap()])
            .args(arguments)
            .current_dir(self.path()))
    }

    /// A verb that leaves a process behind, which would keep our pipes open.
    pub(crate) fn quiet(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = command(program(), self.path());
        command
            .args(["oci", "--root", self.path().join("state").to_str().unwrap()])
            .args(arguments)
            .current_dir(self.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        command
    }

    pub(crate) fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.oci(&["state", id]).expect_code(0).stdout).unwrap()
    }

    /// The last line of the log, and how many there are.
    fn logged(&self) -> (Value, usize) {
        let text = std::fs::read_to_string(self.log()).unwrap();
        (
            serde_json::from_str(text.lines().last().unwrap()).unwrap(),
            text.lines().count(),
        )
    }
}

impl Drop for Bundle {
    /// A test that failed leaves no container to the next one.
    fn drop(&mut self) {
        let list = self.oci(&["list", "-q"]);
        for id in list.stdout.lines() {
            self.oci(&["delete", "--force", id]);
        }
    }
}

#[test]
fn create_start_state_kill_delete() {
    let Some(bundle) = Bundle::new() else { return };
    // Its output goes to files: whoever keeps a pipe open would keep the test waiting.
    let output = bundle.path().join("output");
    let pid_file = bundle.path().join("pid");
    let root = bundle.path().join("state");
    let create = format!(
        "exec {} oci --root {} create --bundle {} --pid-file {} one > {} 2>&1",
        program().display(),
        root.display(),
        bundle.path().display(),
        pid_file.display(),
        output.display()
    );
    run(command("sh", Path::new("/")).args(["-c", &create])).expect_code(0);
    let state = bundle.state("one");
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], "one");
    assert_eq!(state["bundle"], bundle.path().to_str().unwrap());
    assert_eq!(state["annotations"]["com.example.key"], "value");
    assert_eq!(
        state["pid"].to_string(),
        std::fs::read_to_string(&pid_file).unwrap().trim()
    );
    assert_eq!(
        std::fs::read_to_string(&output).unwrap(),
        "",
        "the program waits for start"
    );

    let again = bundle.oci(&["create", "one"]).expect_code(1);
    assert!(
        again
            .stderr
            .contains("container with given ID already exists"),
        "{}",
        again.stderr
    );
    assert_eq!(bundle.oci(&["list", "-q"]).expect_code(0).stdout, "one\n");

    bundle.oci(&["start", "one"]).expect_code(0);
    assert_eq!(bundle.state("one")["status"], "running");
    bundle.oci(&["start", "one"]).expect_code(1);
    bundle.oci(&["delete", "one"]).expect_code(1);
    // Killed before it has begun, it would leave nothing to be seen.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while std::fs::read_to_string(&output)
        .unwrap_or_default()
        .is_empty()
    {
        assert!(std::time::Instant::now() < end, "the program does nothing");
        std::thread::yield_now();
    }
    bundle.oci(&["kill", "one", "SIGKILL"]).expect_code(0);
    wait_until_stopped(&bundle, "one");
    let late = bundle.oci(&["kill", "one", "9"]).expect_code(1);
    assert!(
        late.stderr.contains("container not running"),
        "{}",
        late.stderr
    );
    assert_eq!(bundle.state("one")["pid"], 0);
    bundle.oci(&["delete", "one"]).expect_code(0);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "started\n");
    let gone = bundle.oci(&["state", "one"]).expect_code(1);
    assert!(
        gone.stderr.contains("container does not exist"),
        "{}",
        gone.stderr
    );
    assert_eq!(bundle.oci(&["list", "-q"]).expect_code(0).stdout, "");
}

/// The kernel needs a moment to end a process, and it is not our child that could be waited for.
pub(crate) fn wait_until_stopped(bundle: &Bundle, id: &str) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while bundle.state(id)["status"] != "stopped" {
        assert!(
            std::time::Instant::now() < end,
            "a killed process does not end"
        );
        std::thread::yield_now();
    }
}

#[test]
fn delete_ends_what_was_only_created_and_force_forgives() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["true"], |_| {});
    let root = bundle.path().join("state");
    let create = format!(
        "exec {} oci --root {} create two >/dev/null 2>&1",
        program().display(),
        root.display()
    );
    run(command("sh", Path::new("/"))
        .args(["-c", &create])
        .current_dir(bundle.path()))
    .expect_code(0);
    bundle.oci(&["delete", "two"]).expect_code(0);
    bundle.oci(&["delete", "two"]).expect_code(1);
    bundle.oci(&["delete", "--force", "two"]).expect_code(0);
}

#[test]
fn run_returns_the_programs_code() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["sh", "-c", "echo out; echo err >&2; exit 7"], |_| {});
    let outcome = bundle.oci(&["run", "three"]).expect_code(7);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(bundle.oci(&["list", "-q"]).expect_code(0).stdout, "");
    // As `runc spec` writes it.
    let deny_all = |config: &mut Value| {
        config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    };
    bundle.configure(&["sh", "-c", "echo x > /dev/null"], deny_all);
    bundle.oci(&["run", "three"]).expect_code(0);
    bundle.configure(&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], |_| {});
    bundle.oci(&["run", "three"]).expect_code(137);
}

#[test]
fn failures_are_one_line_with_the_words_callers_know() {
    let Some(bundle) = Bundle::new() else { return };
    let no_args = |config: &mut Value| config["process"]["args"] = json!([]);
    // Program, change of the configuration, words of the error.
    type Change = Option<fn(&mut Value)>;
    let table: [(&[&str], Change, &str); 4] = [
        (&["nope"], None, "executable file not found in $PATH"),
        (&["/nope"], None, "no such file or directory"),
        (&["/etc/not-executable"], None, "permission denied"),
        (&["true"], Some(no_args), "args"),
    ];
    for (number, (args, change, words)) in table.into_iter().enumerate() {
        bundle.configure(args, |config| {
            change.into_iter().for_each(|change| change(config))
        });
        let outcome = bundle.oci(&["create", "four"]).expect_code(1);
        let (logged, lines) = bundle.logged();
        assert_eq!(lines, number + 1, "one line a failure");
        assert_eq!(logged["level"], "error");
        for text in [outcome.stderr.as_str(), logged["msg"].as_str().unwrap()] {
            assert!(
                text.contains(words),
                "{args:?} does not say {words:?}: {text}"
            );
        }
        assert_eq!(
            bundle.oci(&["list", "-q"]).expect_code(0).stdout,
            "",
            "a failed create leaves nothing"
        );
    }
}

#[test]
fn usage_errors_end_with_1() {
    let Some(bundle) = Bundle::new() else { return };
    for arguments in [
        &["create"][..],
        &["create", "--no-such-flag", "x"],
        &["no-such-verb"],
        &[],
        &["create", "a/b"],
        &["kill", "x", "NOSUCH"],
        &["start", "x"],
        &["create", "--bundle", "/no/such/bundle", "x"],
        &["--cgroup-manager=wrong", "list"],
    ] {
        bundle.oci(arguments).expect_code(1);
    }
    bundle.oci(&["create", "--help"]).expect_code(0);
}

#[test]
fn the_name_decides_the_face() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["runc", "crun", "run-oci", "trimaran-runtime"] {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(program(), &link).unwrap();
        let version = run(command(&link, Path::new("/")).arg("--version"))
            .expect_code(0)
            .stdout;
        assert!(
            version.starts_with(&format!("{name} version ")),
            "{version}"
        );
        let features = run(command(&link, Path::new("/")).arg("features"))
            .expect_code(0)
            .stdout;
        let features: Value = serde_json::from_str(&features).unwrap();
        assert!(features["ociVersionMin"].is_string());
    }
}

/// The runtime alone, for engines: the same command line in a program of its own.
#[test]
fn the_runtime_is_a_program_of_its_own_too() {
    let alone = Path::new(env!("CARGO_BIN_EXE_trimaran-runtime"));
    let Some(bundle) = Bundle::new() else { return };
    for (name, says) in [
        ("runc", "runc"),
        ("crun", "crun"),
        ("anything", "trimaran-runtime"),
    ] {
        let link = bundle.path().join(name);
        std::os::unix::fs::symlink(alone, &link).unwrap();
        let version = run(command(&link, Path::new("/")).arg("--version")).expect_code(0);
        let begins = format!("{says} version ");
        assert!(version.stdout.starts_with(&begins), "{}", version.stdout);
    }
    let oci = |arguments: &[&str]| {
        let mut oci = command(alone, bundle.path());
        oci.arg("--root").arg(bundle.path().join("alone"));
        run(oci.args(arguments))
    };
    bundle.configure(&["sh", "-c", "echo alone; exit 7"], |_| {});
    let id = format!("alone-{}", std::process::id());
    let place = bundle.path().to_str().unwrap();
    let outcome = oci(&["run", "-b", place, &id]).expect_code(7);
    assert_eq!(outcome.stdout, "alone\n");
    oci(&["state", &id]).expect_code(1);
    // It knows no images.
    let outcome = oci(&["pull", "busybox"]).expect_code(1);
    assert!(outcome.stderr.contains("pull"), "{}", outcome.stderr);
}

#[test]
fn a_console_socket_gets_the_terminal() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["sh", "-c", "test -t 0 && echo terminal"], |config| {
        config["process"]["terminal"] = json!(true)
    });
    bundle.oci(&["create", "five"]).expect_code(1);
    let socket = bundle.path().join("console.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    bundle
        .oci(&[
            "create",
            "--console-socket",
            socket.to_str().unwrap(),
            "five",
        ])
        .expect_code(0);
    let (stream, _) = listener.accept().unwrap();
    let mut master = std::fs::File::from(receive(&stream));
    bundle.oci(&["start", "five"]).expect_code(0);
    let mut text = [0; 64];
    let length = std::io::Read::read(&mut master, &mut text).unwrap();
    assert_eq!(&text[..length], b"terminal\r\n");
    drop(master);
    bundle.oci(&["delete", "--force", "five"]).expect_code(0);
}

/// Takes the descriptor that a message carries.
pub(crate) fn receive(stream: &std::os::unix::net::UnixStream) -> std::os::fd::OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut data = [0; 256];
    recvmsg(
        stream,
        &mut [std::io::IoSliceMut::new(&mut data)],
        &mut ancillary,
        RecvFlags::empty(),
    )
    .unwrap();
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .expect("a descriptor was sent")
}

#[test]
fn a_signal_to_run_reaches_the_program() {
    let Some(bundle) = Bundle::new() else { return };
    let Some(_home) = Home::empty(None) else {
        return;
    };
    bundle.configure(
        &[
            "sh",
            "-c",
            "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done",
        ],
        |_| {},
    );
    let root = bundle.path().join("state");
    let mut child = command(program(), bundle.path())
        .args(["oci", "--root", root.to_str().unwrap(), "run", "six"])
        .current_dir(bundle.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    crate::signals::wait_for(&mut child, "up");
    crate::signals::kill(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

/// A running container, detached with its output in a file.
fn started(bundle: &Bundle, id: &str) {
    let root = bundle.path().join("state");
    let line = format!(
        "exec {} oci --root {} run --detach {id} >/dev/null 2>&1",
        program().display(),
        root.display()
    );
    run(command("sh", Path::new("/"))
        .args(["-c", &line])
        .current_dir(bundle.path()))
    .expect_code(0);
}

#[test]
fn exec_runs_beside_the_first_process() {
    let Some(bundle) = Bundle::new() else { return };
    started(&bundle, "eleven");
    let outcome = bundle
        .oci(&[
            "exec",
            "eleven",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ])
        .expect_code(7);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
    // Everything after the id is the command's, also what looks like a flag of ours.
    let words: &[&str] = &[
        "exec",
        "--cwd",
        "/proc",
        "-e",
        "A=b",
        "eleven",
        "sh",
        "-c",
        "pwd; echo $A",
        "--tty",
    ];
    assert_eq!(bundle.oci(words).expect_code(0).stdout, "/proc\nb\n");
    let words: &[&str] = &[
        "exec",
        "-u",
        "5:6",
        "-g",
        "7",
        "eleven",
        "sh",
        "-c",
        "id -u; id -g; id -G",
    ];
    assert_eq!(bundle.oci(words).expect_code(0).stdout, "5\n6\n6 7\n");
    let caps: &[&str] = &[
        "exec",
        "--cap",
        "NET_ADMIN",
        "eleven",
        "grep",
        "Cap",
        "/proc/self/status",
    ];
    let sets = bundle.oci(caps).expect_code(0).stdout;
    let set = |name: &str| {
        let line = sets.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    assert_eq!(
        (set("CapPrm"), set("CapEff"), set("CapInh"), set("CapAmb")),
        (1 << 12, 1 << 12, 0, 0)
    );

    let file = bundle.path().join("process.json");
    let process = json!({"args": ["sh", "-c", "echo $B > /dev/null; exec sleep 1000"], "cwd": "/", "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin", "B=c"], "capabilities": {"bounding": ["CAP_FROM_TOMORROW"]}});
    std::fs::write(&file, process.to_string()).unwrap();
    let pid_file = bundle.path().join("exec.pid");
    let words: &[&str] = &[
        "exec",
        "--process",
        file.to_str().unwrap(),
        "--detach",
        "--pid-file",
        pid_file.to_str().unwrap(),
        "eleven",
    ];
    let root = bundle.path().join("state");
    // Its output must not be our pipe, which it would keep open.
    let line = format!(
        "exec {} oci --root {} {} >/dev/null 2>&1",
        program().display(),
        root.display(),
        words.join(" ")
    );
    run(command("sh", Path::new("/")).args(["-c", &line])).expect_code(0);
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let listed: Vec<i32> = serde_json::from_str(
        &bundle
            .oci(&["ps", "-f", "json", "eleven"])
            .expect_code(0)
            .stdout,
    )
    .unwrap();
    assert!(
        listed.contains(&pid.trim().parse().unwrap()),
        "{listed:?} {pid}"
    );
    let table = bundle.oci(&["ps", "eleven"]).expect_code(0).stdout;
    assert_eq!(table.lines().count(), 1 + listed.len(), "{table}");

    for (words, message) in [
        (
            &["exec", "eleven", "nope"][..],
            "executable file not found in $PATH",
        ),
        (&["exec", "nobody", "true"], "container does not exist"),
        (&["exec", "eleven"], "needs a command"),
        (&["exec", "-u", "5x", "eleven", "true"], "5x"),
        (&["exec", "-t", "-d", "eleven", "true"], "console socket"),
    ] {
        let outcome = bundle.oci(words).expect_code(255);
        assert!(
            outcome.stderr.contains(message),
            "{words:?}: {}",
            outcome.stderr
        );
    }
    bundle.oci(&["delete", "--force", "eleven"]).expect_code(0);
}

#[test]
fn pause_and_resume() {
    let Some(bundle) = Bundle::new() else { return };
    started(&bundle, "twelve");
    bundle.oci(&["pause", "twelve"]).expect_code(0);
    assert_eq!(bundle.state("twelve")["status"], "paused");
    let outcome = bundle.oci(&["exec", "twelve", "true"]).expect_code(255);
    assert!(
        outcome.stderr.contains("cannot exec in a paused container"),
        "{}",
        outcome.stderr
    );
    bundle.oci(&["resume", "twelve"]).expect_code(0);
    assert_eq!(bundle.state("twelve")["status"], "running");
    bundle.oci(&["exec", "twelve", "true"]).expect_code(0);
    bundle.oci(&["pause", "twelve"]).expect_code(0);
    bundle.oci(&["delete", "--force", "twelve"]).expect_code(0);
    bundle.oci(&["pause", "twelve"]).expect_code(1);
}

/// A file of the cgroup in one of version 1's hierarchies or the unified one, whichever the host has.
fn cgroup_value(id: &str, names: [&str; 2]) -> Option<String> {
    let places = ["memory", "pids", "cpu", "cpuset", "unified", ""];
    let paths = names.iter().flat_map(|name| {
        places
            .iter()
            .map(move |place| format!("/sys/fs/cgroup/{place}/{id}/{name}"))
    });
    let mut found = paths.filter_map(|path| std::fs::read_to_string(path).ok());
    found.next().map(|text| text.trim().to_owned())
}

#[test]
fn limits_change_while_it_runs() {
    let Some(bundle) = Bundle::new() else { return };
    started(&bundle, "thirteen");
    let memory = || cgroup_value("thirteen", ["memory.limit_in_bytes", "memory.max"]);
    let pids = || cgroup_value("thirteen", ["pids.max", "pids.max"]);
    let Some(_) = memory() else {
        skip("the memory controller is not there");
        return;
    };
    assert_eq!(pids().as_deref(), Some("max"));
    let words: &[&str] = &[
        "update",
        "--memory",
        "64M",
        "--pids-limit",
        "20",
        "--cpu-share",
        "512",
        "--cpuset-cpus",
        "0",
        "thirteen",
    ];
    bundle.oci(words).expect_code(0);
    assert_eq!(
        (memory().as_deref(), pids().as_deref()),
        (Some("67108864"), Some("20"))
    );
    // A controller that was not joined at first is joined with its processes.
    let cpus = bundle
        .oci(&[
            "exec",
            "thirteen",
            "grep",
            "Cpus_allowed_list",
            "/proc/1/status",
        ])
        .expect_code(0);
    assert_eq!(cpus.stdout, "Cpus_allowed_list:\t0\n");
    // Both limits grow, in the order the kernel takes them; what is not named stays.
    let file = bundle.path().join("resources.json");
    std::fs::write(
        &file,
        json!({"memory": {"limit": 134_217_728, "swap": 134_217_728}, "pids": {"limit": 0}})
            .to_string(),
    )
    .unwrap();
    bundle
        .oci(&["update", "--resources", file.to_str().unwrap(), "thirteen"])
        .expect_code(0);
    assert_eq!(
        (memory().as_deref(), pids().as_deref()),
        (Some("134217728"), Some("20"))
    );
    // What the kernel refuses changes nothing.
    let words: &[&str] = &[
        "update",
        "--pids-limit",
        "30",
        "--cpuset-cpus",
        "4000",
        "thirteen",
    ];
    bundle.oci(words).expect_code(1);
    assert_eq!(pids().as_deref(), Some("20"));
    for words in [
        &["update", "--memory", "lots", "thirteen"][..],
        &["update", "--resources", "/nonexistent", "thirteen"],
        &["update", "nobody"],
    ] {
        bundle.oci(words).expect_code(1);
    }
    let stats: Value = serde_json::from_str(
        &bundle
            .oci(&["events", "--stats", "thirteen"])
            .expect_code(0)
            .stdout,
    )
    .unwrap();
    assert_eq!(
        (&stats["type"], &stats["id"]),
        (&json!("stats"), &json!("thirteen"))
    );
    let data = &stats["data"];
    assert_eq!(data["memory"]["usage"]["limit"], 134_217_728);
    assert_eq!(
        (&data["pids"]["current"], &data["pids"]["limit"]),
        (&json!(1), &json!(20))
    );
    assert!(
        data["cpu"]["usage"]["total"].as_u64().unwrap() > 0
            && data["memory"]["usage"]["usage"].as_u64().unwrap() > 0
    );
}

#[test]
fn running_out_of_memory_is_an_event() {
    let Some(bundle) = Bundle::new() else { return };
    // The greedy one is a child: the container itself goes on until the byte comes.
    let greedy = "read x; (tail /dev/zero) ; read x";
    let limited = |config: &mut Value| {
        config["linux"]["resources"] = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    };
    bundle.configure(&["sh", "-c", greedy], limited);
    let root = bundle.path().join("state");
    let mut child = command(program(), bundle.path())
        .args(["oci", "--root", root.to_str().unwrap(), "run", "fourteen"])
        .current_dir(bundle.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while bundle.oci(&["state", "fourteen"]).code() != 0 {
        assert!(std::time::Instant::now() < end, "it does not start");
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
    }
    let mut events = command(program(), bundle.path())
        .args([
            "oci",
            "--root",
            root.to_str().unwrap(),
            "events",
            "--interval",
            "50ms",
            "fourteen",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["type"], "stats");
    std::io::Write::write_all(&mut stdin, b"go\n").unwrap();
    let kind = |line: std::io::Result<String>| {
        serde_json::from_str::<Value>(&line.unwrap()).unwrap()["type"].clone()
    };
    assert!(
        lines.by_ref().map(kind).any(|kind| kind == "oom"),
        "no event came"
    );
    std::io::Write::write_all(&mut stdin, b"end\n").unwrap();
    child.wait().unwrap();
    assert!(events.wait().unwrap().success());
}

#[test]
fn spec_writes_a_bundle_that_runs() {
    let Some(bundle) = Bundle::new() else { return };
    let fresh = bundle.path().join("fresh");
    std::fs::create_dir(&fresh).unwrap();
    std::fs::rename(bundle.path().join("rootfs"), fresh.join("rootfs")).unwrap();
    let place = fresh.to_str().unwrap();
    bundle.oci(&["spec", "--bundle", place]).expect_code(0);
    // What is there already is not lost.
    bundle.oci(&["spec", "--bundle", place]).expect_code(1);
    let path = fresh.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "id -u; grep NoNewPrivs /proc/self/status"]);
    std::fs::write(&path, config.to_string()).unwrap();
    let outcome = bundle
        .oci(&["run", "--bundle", place, "fifteen"])
        .expect_code(0);
    assert_eq!(outcome.stdout, "0\nNoNewPrivs:\t1\n");
}
