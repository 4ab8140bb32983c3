//! The OCI face, line by line: what callers depend on beyond the results.

use crate::oci::{Bundle, receive, wait_until_stopped};
use serde_json::{Value, json};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Stdio;
use trimaran_testkit::{command, run, skip};

/// Starts a detached container.
fn started(bundle: &Bundle, id: &str, flags: &[&str]) {
    let words = [&["run", "--detach"], flags, &[id]].concat();
    assert!(
        bundle.quiet(&words).status().unwrap().success(),
        "{words:?}"
    );
}

fn lines(bundle: &Bundle) -> Vec<Value> {
    let text = std::fs::read_to_string(bundle.log()).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn words_of_every_refusal() {
    let Some(bundle) = Bundle::new() else { return };
    started(&bundle, "words", &[]);
    let ended = |bundle: &Bundle| {
        bundle.oci(&["kill", "words", "KILL"]).expect_code(0);
        wait_until_stopped(bundle, "words");
    };
    let running: &[(&[&str], i32, &str)] = &[
        (
            &["start", "words"],
            1,
            "cannot start an already running container",
        ),
        (&["delete", "words"], 1, "that is not stopped: running"),
        (
            &["create", "words"],
            1,
            "container with given ID already exists",
        ),
        (&["resume", "words"], 1, "container not paused"),
        (
            &["exec", "words", "nope"],
            255,
            "exec: \"nope\": executable file not found in $PATH",
        ),
        (
            &["exec", "words", "/nope"],
            255,
            "no such file or directory",
        ),
        (&["exec", "words", "/etc/passwd"], 255, "permission denied"),
        (
            &["exec", "--preserve-fds", "1", "words", "true"],
            255,
            "preserved-fd",
        ),
        (
            &["exec", "--pidfd-socket", "/nonexistent", "words", "true"],
            255,
            "/nonexistent",
        ),
        (&["kill", "words", "NONSENSE"], 1, "NONSENSE"),
        (&["state", "no/body"], 1, "invalid character `/` in the ID"),
        (&["state", "nobody"], 1, "container does not exist"),
        (&["kill", "nobody", "9"], 1, "container does not exist"),
        (&["delete", "nobody"], 1, "container does not exist"),
        (&["start", "nobody"], 1, "container does not exist"),
        (&["pause", "nobody"], 1, "container does not exist"),
        (&["ps", "nobody"], 1, "container does not exist"),
        (
            &["events", "--stats", "nobody"],
            1,
            "container does not exist",
        ),
        (&["exec", "nobody", "true"], 255, "container does not exist"),
        (&["delete", "--regex", "["], 1, "regular expression"),
    ];
    let stopped: &[(&[&str], i32, &str)] = &[
        (
            &["start", "words"],
            1,
            "cannot start a container that has stopped",
        ),
        (&["kill", "words", "TERM"], 1, "container not running"),
        (&["kill", "words", "KILL"], 1, "container not running"),
        (&["pause", "words"], 1, "container not running"),
        (&["resume", "words"], 1, "container not running"),
        (
            &["exec", "words", "true"],
            255,
            "cannot exec in a stopped container",
        ),
        (
            &["update", "--pids-limit", "5", "words"],
            1,
            "container not running",
        ),
    ];
    let check = |table: &[(&[&str], i32, &str)]| {
        for (words, code, message) in table {
            let before = lines(&bundle).len();
            let outcome = bundle.oci(words).expect_code(*code);
            assert!(
                outcome.stderr.contains(message),
                "{words:?}: {}",
                outcome.stderr
            );
            let logged = lines(&bundle);
            assert_eq!(logged.len(), before + 1, "{words:?}: one line a failure");
            let last = logged.last().unwrap();
            assert_eq!(last["level"], "error");
            assert!(last["msg"].as_str().unwrap().contains(message), "{last}");
            let time = last["time"].as_str().unwrap();
            assert!(
                time.len() == "2026-01-31T23:59:59.123456789Z".len() && time.ends_with('Z'),
                "{time}"
            );
        }
    };
    check(running);
    bundle.oci(&["kill", "words", "0"]).expect_code(0);
    ended(&bundle);
    check(stopped);
    // Callers clean up with these, whatever happened before.
    bundle
        .oci(&["kill", "--all", "words", "KILL"])
        .expect_code(0);
    assert_eq!(
        bundle
            .oci(&["ps", "-f", "json", "words"])
            .expect_code(0)
            .stdout,
        "[]\n"
    );
    bundle.oci(&["delete", "--force", "words"]).expect_code(0);
}

#[test]
fn globals_in_every_spelling() {
    let Some(bundle) = Bundle::new() else { return };
    let other = bundle.path().join("other");
    let other = other.to_str().unwrap();
    let root = format!("--root={other}");
    for (globals, code) in [
        (&["--root", other][..], 0),
        (&[root.as_str()], 0),
        (&["--root", "/nonexistent/x", "--root", other], 0),
        (&[&root, "--rootless", "true"], 0),
        (&[&root, "--rootless=auto"], 0),
        (&[&root, "--rootless=perhaps"], 1),
        (&[&root, "--debug", "--debug"], 0),
        (&[&root, "--log-level", "debug"], 0),
        (&[&root, "--log-level=loud"], 1),
        (&[&root, "--log-format", "text"], 0),
        (&[&root, "--log-format", "xml"], 1),
        (&[&root, "--log", "/nonexistent/log"], 1),
        (&[&root, "--cgroup-manager=disabled"], 0),
        (&[&root, "--cgroup-manager", "cgroupfs"], 0),
        (&[&root, "--cgroup-manager=other"], 1),
    ] {
        let outcome = run(command(crate::support::program(), bundle.path())
            .arg("oci")
            .args(globals)
            .arg("list"));
        assert_eq!(outcome.code(), code, "{globals:?}: {}", outcome.stderr);
    }
    let text = bundle.path().join("text.log");
    let words = [
        "oci",
        &root,
        "--log",
        text.to_str().unwrap(),
        "state",
        "nobody",
    ];
    run(command(crate::support::program(), bundle.path()).args(words)).expect_code(1);
    let logged = std::fs::read_to_string(&text).unwrap();
    assert!(
        logged.starts_with("time=\"2")
            && logged.contains(" level=error msg=\"container does not exist\""),
        "{logged}"
    );
}

#[test]
fn state_and_list_have_the_fields_of_others_in_their_order() {
    let Some(bundle) = Bundle::new() else { return };
    started(&bundle, "fields", &[]);
    let state = bundle.oci(&["state", "fields"]).expect_code(0).stdout;
    let names = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    let places: Vec<_> = names
        .map(|name| state.find(&format!("\"{name}\"")).expect(name))
        .into();
    assert!(places.is_sorted(), "{state}");
    let list = bundle.oci(&["list", "-f", "json"]).expect_code(0).stdout;
    assert!(
        list.starts_with("[{\"ociVersion\":\"1.0.2\",\"id\":\"fields\",\"pid\":"),
        "{list}"
    );
    let (state, list): (Value, Value) = (
        serde_json::from_str(&state).unwrap(),
        serde_json::from_str(&list).unwrap(),
    );
    assert_eq!(list, json!([state]));
    let table = bundle.oci(&["list"]).expect_code(0).stdout;
    let heading: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        heading,
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    );
    assert!(
        table.lines().nth(1).unwrap().contains(" running "),
        "{table}"
    );
    let stats = bundle
        .oci(&["events", "--stats", "fields"])
        .expect_code(0)
        .stdout;
    assert!(
        stats.starts_with("{\"type\":\"stats\",\"id\":\"fields\",\"data\":{"),
        "{stats}"
    );
    // The document is kept to the byte; changes of the bundle have no effect any more.
    let kept = bundle.path().join("state/fields/config.json");
    let config = bundle.path().join("config.json");
    assert_eq!(
        std::fs::read(kept).unwrap(),
        std::fs::read(&config).unwrap()
    );
    std::fs::remove_file(config).unwrap();
    bundle.oci(&["exec", "fields", "true"]).expect_code(0);
}

#[test]
fn several_are_meant_by_an_expression() {
    let Some(bundle) = Bundle::new() else { return };
    for id in ["regex-one", "regex-two", "other-regex"] {
        started(&bundle, id, &[]);
    }
    bundle
        .oci(&["kill", "--regex", "^regex-", "KILL"])
        .expect_code(0);
    wait_until_stopped(&bundle, "regex-one");
    wait_until_stopped(&bundle, "regex-two");
    assert_eq!(bundle.state("other-regex")["status"], "running");
    bundle.oci(&["delete", "--regex", "^regex-"]).expect_code(0);
    assert_eq!(
        bundle.oci(&["list", "-q"]).expect_code(0).stdout,
        "other-regex\n"
    );
}

#[test]
fn descriptors_for_pids_terminals_and_inheritance() {
    let Some(bundle) = Bundle::new() else { return };
    // Longer than a socket's address may be.
    let deep = bundle.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let listen = |name: &str| {
        let opened = std::fs::File::open(&deep).unwrap();
        let short = format!(
            "/proc/self/fd/{}/{name}",
            std::os::fd::AsRawFd::as_raw_fd(&opened)
        );
        (
            UnixListener::bind(short).unwrap(),
            deep.join(name).display().to_string(),
        )
    };
    for (verb, name) in [("create", "one"), ("exec", "two")] {
        let (listener, path) = listen(name);
        let words: &[&str] = match verb {
            "create" => &["create", "--pidfd-socket", &path, "pidfd"],
            _ => &[
                "exec",
                "-d",
                "--pidfd-socket",
                &path,
                "pidfd",
                "sleep",
                "1000",
            ],
        };
        let mut child = bundle.quiet(words).spawn().unwrap();
        let (stream, _) = listener.accept().unwrap();
        let pidfd = receive(&stream);
        assert!(child.wait().unwrap().success());
        let info = std::fs::read_to_string(format!(
            "/proc/self/fdinfo/{}",
            std::os::fd::AsRawFd::as_raw_fd(&pidfd)
        ))
        .unwrap();
        let pid = info
            .lines()
            .find_map(|line| line.strip_prefix("Pid:"))
            .unwrap()
            .trim();
        assert!(pid.parse::<i32>().unwrap() > 0, "{info}");
        if verb == "create" {
            assert_eq!(bundle.state("pidfd")["pid"].to_string(), pid);
        }
    }
    bundle.configure(
        &["sh", "-c", "cat <&3; echo $LISTEN_FDS $LISTEN_PID $$"],
        |_| {},
    );
    let file = bundle.path().join("handed");
    std::fs::write(&file, "handed over\n").unwrap();
    let oci = format!(
        "{} oci --root {}/state",
        crate::support::program().display(),
        bundle.path().display()
    );
    let shell = |line: &str| {
        run(command("sh", Path::new("/"))
            .args(["-c", line])
            .current_dir(bundle.path()))
    };
    let outcome = shell(&format!("exec {oci} run --preserve-fds 1 fds 3< handed")).expect_code(0);
    assert_eq!(outcome.stdout, "handed over\n1\n");
    // The service manager names the process it means.
    let outcome = shell(&format!(
        "exec env LISTEN_FDS=1 LISTEN_PID=2 {oci} run fds 3< handed"
    ));
    assert!(!outcome.stdout.contains("handed"), "{}", outcome.stdout);
    // Engines that hand descriptors on name nobody, or the container's first process.
    for pid in ["LISTEN_PID=$$", "LISTEN_PID=1", ""] {
        let line = format!("{pid} LISTEN_FDS=1 exec {oci} run fds 3< handed");
        assert_eq!(
            shell(&line).expect_code(0).stdout,
            "handed over\n1 1 1\n",
            "{pid}"
        );
    }
}

#[test]
fn a_container_tells_the_service_manager_that_it_is_ready() {
    let Some(bundle) = Bundle::new() else { return };
    if !Path::new("/usr/bin/perl").exists() {
        return skip("needs perl, which can speak to sockets");
    }
    let speak = r#"use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0);
        send($s, "STATUS=so far\nREADY=1\n", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; sleep 1000"#;
    bundle.configure(&["/usr/bin/perl", "-e", speak], |config| {
        for place in ["/usr", "/lib", "/lib64"] {
            let mount = json!({"destination": place, "source": place, "type": "bind", "options": ["rbind", "ro"]});
            config["mounts"].as_array_mut().unwrap().push(mount);
        }
    });
    let path = bundle.path().join("manager.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    for words in [&["create", "notify"][..], &["run", "--detach", "notify"]] {
        let call = |words: &[&str]| {
            bundle
                .quiet(words)
                .env("NOTIFY_SOCKET", &path)
                .spawn()
                .unwrap()
        };
        let mut child = call(words);
        if words[0] == "create" {
            assert!(child.wait().unwrap().success());
            child = call(&["start", "notify"]);
        }
        let mut text = [0; 256];
        let length = manager.recv(&mut text).unwrap();
        let pid = bundle.state("notify")["pid"].clone();
        assert_eq!(
            String::from_utf8_lossy(&text[..length]),
            format!("READY=1\nMAINPID={pid}")
        );
        // It stays until we have looked at the barrier, and let go of what came with it.
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"BARRIER=1");
        assert!(child.wait().unwrap().success());
        let environment = bundle.oci(&["exec", "notify", "env"]).expect_code(0).stdout;
        assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
        bundle.oci(&["delete", "--force", "notify"]).expect_code(0);
        assert!(!bundle.path().join("state/notify:notify").exists());
    }
}

#[test]
fn another_document_and_a_root_that_is_not_pivoted_into() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(
        &[
            "sh",
            "-c",
            "pwd; ls / | grep -cx bin; mount | grep -c ' / '",
        ],
        |_| {},
    );
    std::fs::rename(
        bundle.path().join("config.json"),
        bundle.path().join("other.json"),
    )
    .unwrap();
    bundle.oci(&["run", "conf"]).expect_code(1);
    let outcome = bundle
        .oci(&["run", "--config", "other.json", "conf"])
        .expect_code(0);
    assert_eq!(outcome.stdout, "/\n1\n1\n");
    bundle.configure(&["sh", "-c", "ls -d /bin /home 2>&1; sleep 1000"], |_| {});
    started(&bundle, "chroot", &["--no-pivot"]);
    // Who joins sees the same root.
    let listed = |line| {
        bundle
            .oci(&["exec", "chroot", "sh", "-c", line])
            .expect_code(0)
            .stdout
    };
    assert_eq!(
        listed("ls -d /bin/busybox; ls -d /usr/sbin/runc 2>/dev/null; pwd"),
        "/bin/busybox\n/\n"
    );
    bundle.configure(&["true"], |config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
    });
    bundle.oci(&["run", "--no-pivot", "chroot2"]).expect_code(0);
}

#[test]
fn processes_that_outlive_the_first_are_ended_too() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["sleep", "1000"], |config| {
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .retain(|one| one["type"] != "pid");
    });
    for verb in [&["kill", "shared", "KILL"][..], &["delete", "shared"]] {
        started(&bundle, "shared", &[]);
        let words = ["exec", "-d", "shared", "sleep", "1000"];
        assert!(bundle.quiet(&words).status().unwrap().success());
        let pids = bundle
            .oci(&["ps", "-f", "json", "shared"])
            .expect_code(0)
            .stdout;
        let pids: Vec<i32> = serde_json::from_str(&pids).unwrap();
        assert_eq!(pids.len(), 2);
        let init = bundle.state("shared")["pid"].to_string();
        run(command("kill", Path::new("/")).args(["-9", &init])).expect_code(0);
        wait_until_stopped(&bundle, "shared");
        bundle.oci(verb).expect_code(0);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let lives = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while pids.iter().any(lives) {
            assert!(std::time::Instant::now() < end, "{verb:?} left {pids:?}");
            std::thread::yield_now();
        }
        bundle.oci(&["delete", "--force", "shared"]).expect_code(0);
    }
}

#[test]
fn what_cannot_be_executed_is_said_by_the_container() {
    let Some(bundle) = Bundle::new() else { return };
    let script = bundle.path().join("rootfs/run.sh");
    std::fs::write(&script, "#!/a/b/c\n").unwrap();
    run(command("chmod", Path::new("/")).arg("755").arg(&script)).expect_code(0);
    bundle.configure(&["/run.sh"], |_| {});
    let outcome = bundle.oci(&["run", "interpreter"]);
    assert_ne!(outcome.code(), 0);
    assert_eq!(outcome.stderr, "exec /run.sh: no such file or directory\n");
}

#[test]
fn a_hook_that_fails_early_hangs_nobody() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["true"], |config| {
        config["hooks"] = json!({"createContainer": [{"path": "/nonexistent"}]});
    });
    // The maker of the hook's process and the process race to report.
    for _ in 0..30 {
        let outcome = bundle.oci(&["create", "hook"]).expect_code(1);
        assert!(
            outcome
                .stderr
                .contains("error running createContainer hook"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn warnings_are_for_those_who_ask() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.configure(&["true"], |config| {
        config["process"]["capabilities"] = json!({"bounding": ["CAP_FROM_TOMORROW"]});
    });
    bundle.oci(&["run", "warn"]).expect_code(0);
    assert_eq!(lines(&bundle), Vec::<Value>::new());
    // Without a log they are for the one who looks.
    let said = bundle.plain(&["run", "warn"]).expect_code(0).stderr;
    assert!(said.contains("CAP_FROM_TOMORROW"), "{said}");
    let said = bundle
        .quiet(&[])
        .arg("--help")
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&said.stdout)
            .starts_with("NAME:\n   trimaran-runtime - Open Container")
    );
    bundle
        .oci(&["--log-level", "warning", "run", "warn"])
        .expect_code(0);
    let logged = lines(&bundle);
    assert_eq!((logged.len(), &logged[0]["level"]), (1, &json!("warning")));
    bundle.oci(&["--debug", "run", "warn"]).expect_code(0);
    let words = [
        "nsexec container setup",
        "child process in init()",
        "init: closing the pipe to signal completion",
    ];
    let logged = lines(&bundle);
    for word in words {
        assert!(
            logged.iter().any(|line| line["level"] == json!("debug")
                && line["msg"].as_str().unwrap().starts_with(word)),
            "{word}: {logged:?}"
        );
    }
    bundle.configure(&["sleep", "1000"], |_| {});
    started(&bundle, "warn", &[]);
    let words = ["--debug", "exec", "--cap", "NONSENSE", "warn", "true"];
    bundle.oci(&words).expect_code(0);
    let logged = lines(&bundle);
    assert!(
        logged
            .iter()
            .any(|line| line["msg"].to_string().contains("NONSENSE")),
        "{logged:?}"
    );
}

#[test]
fn without_a_cgroup_namespace_the_own_cgroup_is_seen() {
    let Some(bundle) = Bundle::new() else { return };
    if !Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        return skip("needs the pids controller of cgroup version 1");
    }
    bundle.configure(&["sh", "-c", "cat /sys/fs/cgroup/pids/pids.max; grep pids /proc/self/cgroup"], |config| {
        config["linux"]["resources"] = json!({"pids": {"limit": 50}});
        config["mounts"].as_array_mut().unwrap().push(
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
        );
    });
    let outcome = bundle.oci(&["run", "seen"]).expect_code(0);
    let (max, line) = outcome.stdout.split_once('\n').unwrap();
    assert_eq!(max, "50");
    assert!(
        line.trim().ends_with(":/seen"),
        "the namespace is the host's again: {line}"
    );
}

#[test]
fn a_read_only_file_system_is_that_also_where_its_place_is_made() {
    let Some(bundle) = Bundle::new() else { return };
    for place in ["/made/here", "/tmp", "/dev/made"] {
        bundle.configure(
            &["sh", "-c", &format!("touch {place}/x || echo refused")],
            |config| {
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.push(json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}));
            },
        );
        let outcome = bundle.oci(&["run", "read-only-place"]).expect_code(0);
        assert_eq!(outcome.stdout, "refused\n", "{place}");
    }
}

#[test]
fn a_filter_that_forbids_everything_hangs_nobody() {
    let Some(bundle) = Bundle::new() else { return };
    // Neither the report of the failure nor the end of the process is allowed.
    // With no_new_privs the filter comes last, after `start`: the program that could not be executed ended by SIGILL.
    for (no_new_privileges, code) in [(false, 1), (true, 132)] {
        bundle.configure(&["true"], |config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ERRNO"});
            config["process"]["capabilities"] =
                json!({"bounding": [], "effective": [], "permitted": []});
        });
        bundle.oci(&["run", "nothing-allowed"]).expect_code(code);
        assert_eq!(bundle.oci(&["list", "-q"]).expect_code(0).stdout, "");
    }
}

#[test]
fn links_in_dev_are_made_without_mounts_there() {
    let Some(bundle) = Bundle::new() else { return };
    let words = "for name in fd stdin stdout stderr ptmx; do readlink /dev/$name; done";
    bundle.configure(&["sh", "-c", words], |config| {
        config["mounts"].as_array_mut().unwrap().truncate(1);
    });
    assert_eq!(
        bundle.oci(&["run", "links"]).expect_code(0).stdout,
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n"
    );
}
