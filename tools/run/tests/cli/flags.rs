//! What each flag of a job does, seen from inside of the container.

use crate::support::{Home, IMAGE};

#[test]
fn flags_show_inside() {
    let Some(home) = Home::ready() else { return };
    let dir = home.path().join("shared");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), "from the host\n").unwrap();
    std::fs::write(home.path().join("environment"), "# comment\nFROM_FILE=1\n").unwrap();
    let absolute = format!("{}:/mnt", dir.display());
    let read_only = format!("{}:/mnt:ro", dir.display());
    // Flags, shell line, stdout.
    let table: &[(&[&str], &str, &str)] = &[
        (&[], "echo hello", "hello\n"),
        (&[], "exit 0", ""),
        (&["-e", "A=two words"], "echo \"$A\"", "two words\n"),
        (&["-e", "A=1", "-e", "A=2"], "echo $A", "2\n"),
        (&["--env-file", "environment"], "echo $FROM_FILE", "1\n"),
        (&["-w", "/usr/bin"], "pwd", "/usr/bin\n"),
        (&["-w", "/made/for/this"], "pwd", "/made/for/this\n"),
        (
            &["-u", "app"],
            "id -u; id -g; echo $HOME",
            "1000\n1000\n/home/app\n",
        ),
        (&["-u", "app"], "id -G", "1000 50 2000\n"),
        (&["-u", "12:34"], "id -u; id -g", "12\n34\n"),
        (&["-v", &absolute], "cat /mnt/file", "from the host\n"),
        (&["-v", "./shared:/mnt"], "cat /mnt/file", "from the host\n"),
        (
            &["-v", &read_only],
            "touch /mnt/x 2>/dev/null || echo refused",
            "refused\n",
        ),
        (
            &["--read-only"],
            "touch /x 2>/dev/null || echo refused; touch /tmp/x && echo tmp",
            "refused\ntmp\n",
        ),
        (
            &["--hostname", "ship"],
            "hostname; cat /etc/hostname; grep -c ship /etc/hosts",
            "ship\nship\n1\n",
        ),
        (
            &[],
            "[ \"$(hostname)\" = \"$(cat /etc/hostname)\" ] && hostname | wc -c",
            "13\n",
        ),
        (
            &[],
            "cat /proc/self/stat | cut -d' ' -f5; echo $$",
            "1\n1\n",
        ),
        (&["--network", "none"], "ls /sys/class/net", "lo\n"),
        (&[], "cat", ""),
        (
            &["-t"],
            "test -t 0 && test -t 1 && test -t 2 && echo terminal",
            "terminal\r\n",
        ),
    ];
    for (flags, line, stdout) in table {
        if flags.contains(&"-u") && !home_has_ids() {
            continue;
        }
        let outcome = home.shell(flags, line).expect_code(0);
        assert_eq!(
            outcome.stdout, *stdout,
            "{flags:?} {line}\n{}",
            outcome.stderr
        );
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

/// Whether other users than one exist in a container of whoever runs the tests.
fn home_has_ids() -> bool {
    trimaran_testkit::is_root()
}

#[test]
fn capabilities() {
    let Some(home) = Home::ready_as_root() else {
        return;
    };
    let effective = |flags: &[&str]| {
        let outcome = home
            .shell(flags, "grep CapEff /proc/self/status | cut -f2")
            .expect_code(0);
        u64::from_str_radix(outcome.stdout.trim(), 16).unwrap()
    };
    let (chown, net_raw, sys_admin) = (1 << 0, 1 << 13, 1 << 21);
    assert_eq!(effective(&[]).count_ones(), 11, "podman's default set");
    assert_eq!(effective(&[]) & (net_raw | sys_admin), 0);
    assert_eq!(effective(&["--cap-add", "NET_RAW"]) & net_raw, net_raw);
    assert_eq!(effective(&["--cap-drop", "CAP_CHOWN"]) & chown, 0);
    assert_eq!(effective(&["--cap-drop", "all"]), 0);
    assert_eq!(effective(&["--cap-drop=all", "--cap-add=chown"]), chown);
    assert_eq!(effective(&["-u", "app"]), 0);
}

#[test]
fn security_options() {
    let Some(home) = Home::ready() else { return };
    let status = |flags: &[&str], field: &str| {
        home.shell(flags, &format!("grep {field} /proc/self/status | cut -f2"))
            .expect_code(0)
            .stdout
    };
    assert_eq!(status(&[], "NoNewPrivs"), "0\n");
    assert_eq!(
        status(&["--security-opt", "no-new-privileges"], "NoNewPrivs"),
        "1\n"
    );
    assert_eq!(status(&[], "Seccomp:"), "2\n", "a filter is the default");
    assert_eq!(
        status(&["--security-opt", "seccomp=unconfined"], "Seccomp:"),
        "0\n"
    );
    let profile = home.path().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    std::fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    home.shell(&["--security-opt", &option], "mkdir /tmp/x")
        .expect_code(1);
    home.shell(&[], "mkdir /tmp/x").expect_code(0);
}

#[test]
fn stdin_is_ours_only_when_asked_for() {
    let Some(home) = Home::ready() else { return };
    let with_input = |flags: &[&str]| {
        let file = home.path().join("input");
        std::fs::write(&file, "typed\n").unwrap();
        let mut command = home.command(&[flags, &[IMAGE, "cat"]].concat());
        command.stdin(std::fs::File::open(&file).unwrap());
        trimaran_testkit::run(&mut command).expect_code(0).stdout
    };
    assert_eq!(with_input(&["-i"]), "typed\n");
    assert_eq!(with_input(&[]), "");
}

#[test]
fn entrypoint_and_command_follow_the_image_rules() {
    let Some(home) = Home::ready() else { return };
    let table: &[(&[&str], &str)] = &[
        (&["--entrypoint", "echo", IMAGE, "a", "-b"], "a -b\n"),
        (&["--entrypoint", "", IMAGE, "echo", "c"], "c\n"),
        (&["--entrypoint", "[\"echo\",\"x\"]", IMAGE, "y"], "x y\n"),
        (&["run", IMAGE, "echo", "-e", "--rm"], "-e --rm\n"),
        (&["run", "--rm", "--", IMAGE, "echo", "d"], "d\n"),
        (&[IMAGE, "echo", "--", "e"], "-- e\n"),
    ];
    for (arguments, stdout) in table {
        let outcome = home.call(arguments).expect_code(0);
        if arguments.contains(&"-e") {
            // busybox's echo takes -e for itself.
            assert_eq!(outcome.stdout, "--rm\n");
        } else {
            assert_eq!(outcome.stdout, *stdout, "{arguments:?}");
        }
    }
}

#[test]
fn the_plan_is_printed_and_nothing_is_run() {
    let Some(home) = Home::ready() else { return };
    let outcome = home
        .call(&["--explain", IMAGE, "echo", "never"])
        .expect_code(0);
    for word in [
        "mount proc on /proc",
        "filter",
        "execute \"echo\" \"never\"",
    ] {
        assert!(
            outcome.stdout.contains(word),
            "{word} is missing in\n{}",
            outcome.stdout
        );
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn what_is_written_is_gone_and_the_image_is_unchanged() {
    let Some(home) = Home::ready() else { return };
    home.shell(&[], "echo x > /etc/motd; rm /etc/os-release; mkdir /tmp/y")
        .expect_code(0);
    let outcome = home.shell(&[], "ls /etc/motd /tmp; cat /etc/os-release | head -1");
    assert!(
        outcome.stdout.ends_with("ID=busybox\n"),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stderr.contains("/etc/motd"), "{}", outcome.stderr);
}

#[test]
fn containers_run_beside_each_other() {
    let Some(home) = Home::ready() else { return };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..6)
            .map(|number| {
                let home = &home;
                scope.spawn(move || {
                    home.shell(
                        &["--name", &format!("n{number}")],
                        &format!("echo {number}"),
                    )
                })
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.expect_code(0).stdout, format!("{number}\n"));
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn the_login_uid_is_the_callers() {
    let Some(home) = Home::ready_as_root() else {
        return;
    };
    if std::fs::read_to_string("/proc/self/loginuid").is_ok_and(|uid| uid.trim() != "4294967295") {
        return trimaran_testkit::skip("the login uid is set already, and can be set once only");
    }
    // A login uid stays for ever: it is set in a shell that becomes the tool.
    let line = format!(
        "echo 1234 > /proc/self/loginuid && exec {} {IMAGE} cat /proc/self/loginuid",
        crate::support::program().display()
    );
    let mut shell = trimaran_testkit::command("sh", home.path());
    shell.env("TRIMARAN_ROOT", home.store()).args(["-c", &line]);
    assert_eq!(
        trimaran_testkit::run(&mut shell).expect_code(0).stdout,
        "1234"
    );
}
