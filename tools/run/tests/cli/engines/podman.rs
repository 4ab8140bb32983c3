//! podman and buildah, as root and rootless.

use super::{Place, Row, check, remove_cgroups, unmount_below};
use std::path::Path;
use std::process::Command;
use trimaran_testkit::{User, command, run, skip};

/// podman in directories of its own.
struct Podman {
    place: Place,
    user: Option<User>,
    runtime: String,
}

impl Podman {
    fn new(name: &str) -> Option<Self> {
        let place = Place::new(&["podman", "conmon"])?;
        let runtime = place.path(&format!("bin/{name}"));
        let podman = Self {
            place,
            user: None,
            runtime,
        };
        podman.import();
        Some(podman)
    }

    fn rootless() -> Option<Self> {
        let Some(user) = User::with_subids() else {
            skip(
                "needs root, and the user trimaran-sub with ranges in /etc/subuid and /etc/subgid",
            );
            return None;
        };
        Place::new(&["podman", "conmon", "newuidmap"])?;
        let place = Place::fill(user.tempdir())?;
        // The checkout may be closed to this user.
        let runtime = place.path("bin/mine/crun");
        std::fs::create_dir(place.path("bin/mine")).unwrap();
        let reachable = user.reachable(crate::support::program(), place.directory());
        std::os::unix::fs::symlink(reachable, &runtime).unwrap();
        let podman = Self {
            place,
            user: Some(user),
            runtime,
        };
        podman.import();
        Some(podman)
    }

    fn import(&self) {
        let tar = self.place.path("root.tar");
        run(&mut self.call(&["import", &tar, "busybox"])).expect_code(0);
    }

    fn call(&self, words: &[&str]) -> Command {
        let home = self.place.directory();
        let mut command = match &self.user {
            Some(user) => user.command("podman", home, &[]),
            None => command("podman", home),
        };
        let places = [
            ("--root", "store"),
            ("--runroot", "runroot"),
            ("--tmpdir", "tmp"),
        ];
        for (flag, name) in places {
            command.args([flag, &self.place.path(name)]);
        }
        command
            .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"])
            .args(["--events-backend", "file", "--runtime", &self.runtime])
            .args(words);
        command
    }

    fn check(&self, rows: &[Row<'_>]) {
        check(|words| self.call(words), rows);
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        run(&mut self.call(&["rm", "--all", "--force", "--time", "0"]));
        if self.user.is_some() {
            run(&mut self.call(&["unshare", "rm", "-rf", &self.place.path("store")]));
        }
        unmount_below(self.place.directory());
        remove_cgroups("libpod_parent");
    }
}

/// `run` without a network, which is not ours to make.
macro_rules! once {
    ($($word:expr),+) => { &["run", "--rm", "--network", "none", $($word),+] };
}

#[test]
fn podman_runs_what_ends() {
    let Some(podman) = Podman::new("crun") else {
        return;
    };
    let volume = format!("{}:/mnt:ro", podman.place.path("bin"));
    podman.check(&[
        (once!["busybox", "sh", "-c", "echo out; exit 3"], 3, "out"),
        (once!["busybox", "nope"], 127, "executable file not found"),
        (once!["busybox", "/etc/passwd"], 126, "permission denied"),
        (
            once!["-u", "1000:1001", "busybox", "sh", "-c", "id -u; id -g"],
            0,
            "1000\n1001",
        ),
        (
            once!["--read-only", "busybox", "touch", "/x"],
            1,
            "Read-only",
        ),
        (
            once!["--tmpfs", "/scratch:size=1m", "busybox", "mount"],
            0,
            "on /scratch type tmpfs",
        ),
        (
            once!["--volume", &volume, "busybox", "ls", "/mnt"],
            0,
            "crun",
        ),
        (
            once!["--volume", &volume, "busybox", "touch", "/mnt/x"],
            1,
            "Read-only",
        ),
        (
            once![
                "--pids-limit",
                "10",
                "--memory",
                "64m",
                "busybox",
                "cat",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ],
            0,
            "67108864",
        ),
        (
            once![
                "--cpus",
                "0.5",
                "--cpuset-cpus",
                "0",
                "busybox",
                "grep",
                "Cpus_allowed_list",
                "/proc/self/status"
            ],
            0,
            "\t0\n",
        ),
        (
            once![
                "--uidmap",
                "0:100000:1000",
                "--gidmap",
                "0:100000:1000",
                "busybox",
                "cat",
                "/proc/self/uid_map"
            ],
            0,
            "100000",
        ),
        (once!["--init", "busybox", "true"], 0, ""),
        (
            once!["--privileged", "busybox", "ls", "/dev/null"],
            0,
            "/dev/null",
        ),
        (
            once![
                "--cap-drop",
                "all",
                "--cap-add",
                "net_admin",
                "busybox",
                "grep",
                "CapEff",
                "/proc/self/status"
            ],
            0,
            "0000000000001000",
        ),
        (
            once![
                "--security-opt",
                "no-new-privileges",
                "busybox",
                "grep",
                "NoNewPrivs",
                "/proc/self/status"
            ],
            0,
            "\t1",
        ),
        (
            once![
                "--sysctl",
                "net.ipv4.ip_forward=1",
                "busybox",
                "cat",
                "/proc/sys/net/ipv4/ip_forward"
            ],
            0,
            "1",
        ),
        (
            once![
                "--ulimit",
                "nofile=100:200",
                "busybox",
                "sh",
                "-c",
                "ulimit -n"
            ],
            0,
            "100",
        ),
        (
            once!["--hostname", "ship", "busybox", "hostname"],
            0,
            "ship",
        ),
        (
            once![
                "--device",
                "/dev/null:/dev/nothing",
                "busybox",
                "ls",
                "/dev/nothing"
            ],
            0,
            "nothing",
        ),
        (
            once![
                "--pid",
                "host",
                "--ipc",
                "host",
                "--uts",
                "host",
                "--cgroupns",
                "host",
                "busybox",
                "true"
            ],
            0,
            "",
        ),
        (once!["--cgroups", "disabled", "busybox", "true"], 0, ""),
        (
            once!["--systemd", "always", "busybox", "mount"],
            0,
            "/run type tmpfs",
        ),
        (
            once!["--tty", "busybox", "sh", "-c", "test -t 1 && echo terminal"],
            0,
            "terminal",
        ),
        (once!["--sdnotify", "container", "busybox", "true"], 0, ""),
        (
            &["run", "--rm", "--network", "host", "busybox", "true"],
            0,
            "",
        ),
        (
            &["info", "--format", "{{.Host.OCIRuntime.Version}}"],
            0,
            "crun version ",
        ),
    ]);
}

#[test]
fn podman_keeps_what_goes_on() {
    let Some(podman) = Podman::new("runc") else {
        return;
    };
    podman.check(&[
        (
            &[
                "run",
                "-d",
                "--name",
                "aa",
                "--network",
                "none",
                "--health-cmd",
                "true",
                "busybox",
                "sh",
                "-c",
                "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done",
            ],
            0,
            "",
        ),
        (&["exec", "aa", "sh", "-c", "echo in; exit 4"], 4, "in"),
        (
            &[
                "exec",
                "-u",
                "1000",
                "-w",
                "/tmp",
                "-e",
                "A=b",
                "aa",
                "sh",
                "-c",
                "id -u; pwd; echo $A",
            ],
            0,
            "1000\n/tmp\nb",
        ),
        (
            &["exec", "-t", "aa", "sh", "-c", "test -t 0 && echo terminal"],
            0,
            "terminal",
        ),
        (&["exec", "-d", "aa", "sleep", "1000"], 0, ""),
        (&["exec", "aa", "nope"], 127, "executable file not found"),
        (&["top", "aa"], 0, "sleep 1000"),
        (&["logs", "aa"], 0, "up"),
        (&["healthcheck", "run", "aa"], 0, ""),
        (&["stats", "--no-stream", "aa"], 0, "aa"),
        (&["pause", "aa"], 0, ""),
        (&["ps", "--all", "--format", "{{.Status}}"], 0, "Paused"),
        (&["unpause", "aa"], 0, ""),
        (&["stop", "--time", "30", "aa"], 0, ""),
        (
            &["inspect", "--format", "{{.State.ExitCode}}", "aa"],
            0,
            "5",
        ),
        (&["start", "aa"], 0, ""),
        (&["kill", "aa"], 0, ""),
        (&["wait", "aa"], 0, "137"),
        (&["rm", "aa"], 0, ""),
        (
            &[
                "create",
                "--name",
                "bb",
                "--network",
                "none",
                "busybox",
                "echo",
                "late",
            ],
            0,
            "",
        ),
        (&["init", "bb"], 0, ""),
        (&["start", "--attach", "bb"], 0, "late"),
        (&["rm", "bb"], 0, ""),
        (&["pod", "create", "--name", "pp", "--infra=false"], 0, ""),
        (once!["--pod", "pp", "busybox", "true"], 0, ""),
        (&["pod", "rm", "--force", "pp"], 0, ""),
        (
            &[
                "run",
                "-d",
                "--name",
                "cc",
                "--network",
                "none",
                "busybox",
                "sleep",
                "1000",
            ],
            0,
            "",
        ),
        (&["rm", "--force", "--time", "0", "cc"], 0, ""),
        (&["ps", "--all", "--quiet"], 0, ""),
    ]);
}

#[test]
fn podman_without_root() {
    let Some(podman) = Podman::rootless() else {
        return;
    };
    podman.check(&[
        (once!["busybox", "sh", "-c", "id -u; exit 3"], 3, "0"),
        (once!["busybox", "nope"], 127, "executable file not found"),
        (
            once!["-u", "1000", "--read-only", "busybox", "id", "-u"],
            0,
            "1000",
        ),
        (once!["--userns", "keep-id", "busybox", "true"], 0, ""),
        (
            once!["--tmpfs", "/scratch", "busybox", "touch", "/scratch/x"],
            0,
            "",
        ),
        (
            &[
                "run",
                "-d",
                "--name",
                "aa",
                "--network",
                "none",
                "busybox",
                "sleep",
                "1000",
            ],
            0,
            "",
        ),
        (&["exec", "aa", "sh", "-c", "exit 4"], 4, ""),
        (
            &["exec", "-t", "aa", "sh", "-c", "test -t 0 && echo terminal"],
            0,
            "terminal",
        ),
        (&["kill", "aa"], 0, ""),
        (&["wait", "aa"], 0, "137"),
        (&["rm", "aa"], 0, ""),
    ]);
}

#[test]
fn buildah_builds() {
    let Some(place) = Place::new(&["buildah"]) else {
        return;
    };
    let call = |words: &[&str]| {
        let mut command = command("buildah", place.directory());
        command
            .args([
                "--root",
                &place.path("store"),
                "--runroot",
                &place.path("runroot"),
                "--storage-driver",
                "vfs",
            ])
            .args(words)
            .env("BUILDAH_RUNTIME", place.path("bin/runc"))
            .env("BUILDAH_ISOLATION", "oci");
        command
    };
    std::fs::write(
        place.path("Containerfile"),
        "FROM scratch\nADD root.tar /\nRUN echo built > /built && test $(id -u) = 0\nRUN false || true\nUSER 1000\nRUN test $(id -u) = 1000\n",
    )
    .unwrap();
    let context = place.directory().to_str().unwrap().to_owned();
    let runtime = place.path("bin/runc");
    check(
        call,
        &[
            (
                &[
                    "bud",
                    "--network",
                    "host",
                    "--runtime",
                    &runtime,
                    "-t",
                    "made",
                    &context,
                ],
                0,
                "",
            ),
            (
                &["from", "--name", "ww", "--pull-never", "localhost/made"],
                0,
                "ww",
            ),
            (
                &[
                    "run",
                    "--runtime",
                    &runtime,
                    "--network",
                    "host",
                    "ww",
                    "cat",
                    "/built",
                ],
                0,
                "built",
            ),
            (
                &[
                    "run",
                    "--runtime",
                    &runtime,
                    "--network",
                    "host",
                    "ww",
                    "sh",
                    "-c",
                    "exit 4",
                ],
                4,
                "",
            ),
            (&["rm", "ww"], 0, ""),
        ],
    );
    unmount_below(Path::new(&context));
}
