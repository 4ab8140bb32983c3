//! containerd with its shim, driven by ctr.

use super::{Place, Row, Server, check, remove_cgroups, unmount_below};
use std::process::Command;
use trimaran_testkit::{ImageMaker, Layout, command, run, skip};

/// What the server and its client are.
pub(super) const PROGRAMS: [&str; 3] = ["containerd", "ctr", "containerd-shim-runc-v2"];

/// A containerd of the test's own.
pub(super) struct Containerd {
    // First to go: what it mounted is ours to remove then.
    server: Option<Server>,
    pub(super) place: Place,
}

impl Containerd {
    /// One with this much in its configuration beside the places.
    pub(super) fn start(place: Place, config: &str) -> Option<Self> {
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n{config}\n[grpc]\n  address = {:?}\n[ttrpc]\n  address = {:?}\n",
            place.path("root"),
            place.path("state"),
            place.path("sock"),
            place.path("ttrpc"),
        );
        std::fs::write(place.path("config.toml"), config).unwrap();
        let mut containerd = command("containerd", place.directory());
        containerd.args(["--config", &place.path("config.toml")]);
        let log = place.directory().join("log");
        let mut server = Server::start(containerd, &log);
        let answered = server.answers(|| {
            let mut ask = command("ctr", place.directory());
            ask.args(["--address", &place.path("sock"), "version"]);
            ask
        });
        let server = Some(server);
        let containerd = Self { server, place };
        if let Err(why) = answered {
            skip(&format!("containerd does not start here: {why}"));
            return None;
        }
        Some(containerd)
    }

    /// Imports an image as `localhost/base:NAME`.
    pub(super) fn import(&self, namespace: &str, name: &str, maker: &ImageMaker) {
        let layout = self.place.directory().join(name);
        Layout::create(&layout).add(name, &maker.make());
        let tar = self.place.path(&format!("{name}.tar"));
        let mut pack = command("tar", self.place.directory());
        pack.arg("-cf").arg(&tar).arg("-C").arg(&layout).arg(".");
        run(&mut pack).expect_code(0);
        let import = [
            "--namespace",
            namespace,
            "images",
            "import",
            "--snapshotter",
            "native",
            "--base-name",
            "localhost/base",
            &tar,
        ];
        run(&mut self.call(&import)).expect_code(0);
    }

    fn call(&self, words: &[&str]) -> Command {
        let mut command = command("ctr", self.place.directory());
        command
            .args(["--address", &self.place.path("sock")])
            .args(words);
        command
    }

    fn check(&self, rows: &[Row<'_>]) {
        check(|words| self.call(words), rows);
    }

    /// The last lines of its log.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.place.path("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in ["aa", "bb", "tt"] {
            run(&mut self.call(&["tasks", "rm", "--force", id]));
            run(&mut self.call(&["containers", "rm", id]));
        }
        drop(self.server.take());
        unmount_below(self.place.directory());
        for name in ["default", "trimaran-test"] {
            remove_cgroups(name);
        }
    }
}

const IMAGE: &str = "localhost/base:busybox";

#[test]
fn containerd_runs_and_keeps() {
    let Some(place) = Place::new(&PROGRAMS) else {
        return;
    };
    let config =
        "disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]";
    let Some(containerd) = Containerd::start(place, config) else {
        return;
    };
    let maker = ImageMaker::busybox().expect("the place has found it");
    containerd.import("default", "busybox", &maker);
    let runtime = containerd.place.path("bin/runc");
    macro_rules! ctr {
        ([$($flag:expr),*], $($word:expr),+) => {
            &["run", "--snapshotter", "native", "--runc-binary", runtime.as_str(), $($flag,)* IMAGE, $($word),+]
        };
    }
    containerd.check(&[
        (
            ctr!(["--rm"], "aa", "sh", "-c", "echo out; exit 3"),
            3,
            "out",
        ),
        (
            ctr!(["--rm"], "aa", "nope"),
            1,
            "executable file not found in $PATH",
        ),
        (
            ctr!(
                ["--rm", "--memory-limit", "33554432"],
                "aa",
                "grep",
                "memory",
                "/proc/self/cgroup"
            ),
            0,
            ":/default/aa",
        ),
        (
            ctr!(
                [
                    "--rm",
                    "--uidmap",
                    "0:100000:1000",
                    "--gidmap",
                    "0:100000:1000"
                ],
                "aa",
                "cat",
                "/proc/self/uid_map"
            ),
            0,
            "100000",
        ),
        (
            ctr!(
                ["--rm", "--read-only", "--seccomp"],
                "aa",
                "grep",
                "Seccomp:",
                "/proc/self/status"
            ),
            0,
            "\t2",
        ),
        (ctr!(["--rm", "--privileged"], "aa", "true"), 0, ""),
        (
            ctr!(
                ["--rm", "--cgroup", "/trimaran-test/own"],
                "aa",
                "grep",
                "pids",
                "/proc/self/cgroup"
            ),
            0,
            "/trimaran-test/own",
        ),
        (ctr!(["-d"], "bb", "sleep", "1000"), 0, ""),
        (&["tasks", "ls"], 0, "RUNNING"),
        (
            &[
                "tasks",
                "exec",
                "--exec-id",
                "x",
                "bb",
                "sh",
                "-c",
                "echo in; exit 4",
            ],
            4,
            "in",
        ),
        (
            &["tasks", "exec", "--exec-id", "y", "bb", "nope"],
            1,
            "executable file not found in $PATH",
        ),
        (&["tasks", "ps", "bb"], 0, "PID"),
        (&["tasks", "metrics", "bb"], 0, "memory.usage_in_bytes"),
        (&["tasks", "pause", "bb"], 0, ""),
        (&["tasks", "ls"], 0, "PAUSED"),
        (&["tasks", "resume", "bb"], 0, ""),
        (&["tasks", "kill", "--signal", "KILL", "bb"], 0, ""),
        (&["tasks", "rm", "--force", "bb"], 0, ""),
        (&["containers", "rm", "bb"], 0, ""),
        (&["containers", "ls", "--quiet"], 0, ""),
    ]);
    let terminal = [
        containerd.place.path("sock"),
        runtime.clone(),
        IMAGE.to_owned(),
    ];
    let line = format!(
        "ctr --address {} run --snapshotter native --runc-binary {} --rm --tty {} tt sh -c 'test -t 0 && echo terminal'",
        terminal[0], terminal[1], terminal[2]
    );
    let mut script = command("script", containerd.place.directory());
    script.args(["-qec", &line, "/dev/null"]);
    let outcome = run(&mut script).expect_code(0);
    assert!(outcome.stdout.contains("terminal"), "{}", outcome.stdout);
}
