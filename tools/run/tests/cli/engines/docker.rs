//! Docker's daemon, with a containerd of its own.

use super::{Place, Server, check, remove_cgroups, unmount_below};
use trimaran_testkit::{command, run, skip};

#[test]
fn docker_runs_and_keeps() {
    let Some(place) = Place::new(&["dockerd", "docker", "containerd"]) else {
        return;
    };
    let socket = format!("unix://{}", place.path("sock"));
    let mut daemon = command("dockerd", place.directory());
    daemon
        .args([
            "--data-root",
            &place.path("root"),
            "--exec-root",
            &place.path("exec"),
            "--pidfile",
            &place.path("pid"),
        ])
        .args([
            "--host",
            &socket,
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--storage-driver=vfs",
        ])
        .args([
            "--add-runtime",
            &format!("ours={}", place.path("bin/runc")),
            "--default-runtime=ours",
        ]);
    let mut server = Server::start(daemon, &place.directory().join("log"));
    let call = |words: &[&str]| {
        let mut docker = command("docker", place.directory());
        docker.args(["--host", &socket]).args(words);
        docker
    };
    if let Err(why) = server.answers(|| call(&["info"])) {
        return skip(&format!("dockerd does not start here: {why}"));
    }
    run(&mut call(&["import", &place.path("root.tar"), "busybox"])).expect_code(0);
    macro_rules! once {
        ($($word:expr),+) => { &["run", "--rm", "--network", "none", $($word),+] };
    }
    check(
        call,
        &[
            (once!["busybox", "sh", "-c", "echo out; exit 3"], 3, "out"),
            (once!["busybox", "nope"], 127, "executable file not found"),
            (once!["busybox", "/etc/passwd"], 126, "permission denied"),
            (
                once![
                    "--init",
                    "--read-only",
                    "--tmpfs",
                    "/tmp",
                    "busybox",
                    "touch",
                    "/x"
                ],
                1,
                "Read-only",
            ),
            (once!["--privileged", "busybox", "true"], 0, ""),
            (
                once!["--user", "1000", "--cap-drop", "all", "busybox", "id", "-u"],
                0,
                "1000",
            ),
            (
                once!["--tty", "busybox", "sh", "-c", "test -t 1 && echo terminal"],
                0,
                "terminal",
            ),
            (
                &[
                    "run",
                    "-d",
                    "--name",
                    "aaa",
                    "--network",
                    "none",
                    "busybox",
                    "sleep",
                    "1000",
                ],
                0,
                "",
            ),
            (&["exec", "aaa", "sh", "-c", "echo in; exit 4"], 4, "in"),
            (
                &[
                    "exec",
                    "-t",
                    "-u",
                    "1000",
                    "aaa",
                    "sh",
                    "-c",
                    "test -t 0 && id -u",
                ],
                0,
                "1000",
            ),
            (&["exec", "aaa", "nope"], 126, "executable file not found"),
            (&["top", "aaa"], 0, "sleep 1000"),
            (&["pause", "aaa"], 0, ""),
            (&["unpause", "aaa"], 0, ""),
            (
                &["update", "--memory", "64m", "--memory-swap", "64m", "aaa"],
                0,
                "",
            ),
            (
                &[
                    "exec",
                    "aaa",
                    "cat",
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                ],
                0,
                "67108864",
            ),
            (&["stats", "--no-stream", "aaa"], 0, "aaa"),
            (&["restart", "--time", "0", "aaa"], 0, ""),
            (&["stop", "--time", "0", "aaa"], 0, ""),
            (&["wait", "aaa"], 0, "137"),
            (&["rm", "--force", "aaa"], 0, ""),
        ],
    );
    drop(server);
    unmount_below(place.directory());
    remove_cgroups("docker");
}
