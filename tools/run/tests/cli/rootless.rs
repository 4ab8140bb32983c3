//! The same jobs as an ordinary user, with and without subordinate ids.

use crate::support::{Home, IMAGE};
use trimaran_testkit::{User, skip};

fn with_subids() -> Option<Home> {
    let Some(user) = User::with_subids() else {
        skip("needs root, and the user trimaran-sub with ranges in /etc/subuid and /etc/subgid");
        return None;
    };
    Home::ready_as(user)
}

fn without_subids() -> Option<Home> {
    let Some(user) = User::without_subids() else {
        skip("needs root, and the user trimaran-nosub without subordinate ids");
        return None;
    };
    Home::ready_as(user)
}

/// What works for every user.
fn check_common(home: &Home) {
    let table: &[(&[&str], &str, &str)] = &[
        (&[], "id -u; whoami", "0\nroot\n"),
        (&[], "echo x > /etc/motd && cat /etc/motd", "x\n"),
        (&["-e", "A=1"], "echo $A", "1\n"),
        (&["-w", "/tmp"], "pwd", "/tmp\n"),
        (
            &["--read-only"],
            "touch /x 2>/dev/null || echo refused",
            "refused\n",
        ),
        (&["--hostname", "ship"], "hostname", "ship\n"),
        (&["--network", "host"], "true", ""),
        (&["-t"], "test -t 0 && echo terminal", "terminal\r\n"),
    ];
    for (flags, line, stdout) in table {
        assert_eq!(
            home.shell(flags, line).expect_code(0).stdout,
            *stdout,
            "{flags:?} {line}"
        );
    }
    home.call(&[IMAGE, "sh", "-c", "exit 3"]).expect_code(3);
    home.call(&[IMAGE, "nope"]).expect_code(127);
    home.call(&[IMAGE, "/etc/not-executable"]).expect_code(126);
    assert_eq!(home.leftovers(), Vec::<String>::new());
    home.call(&["rmi", IMAGE]).expect_code(0);
}

#[test]
fn with_subordinate_ids() {
    let Some(home) = with_subids() else { return };
    let outcome = home
        .shell(
            &["-u", "app"],
            "id -u; id -g; stat -c %u /home/app; stat -c %a /etc/shadow",
        )
        .expect_code(0);
    assert_eq!(outcome.stdout, "1000\n1000\n1000\n640\n");
    check_common(&home);
}

#[test]
fn without_subordinate_ids() {
    let Some(home) = without_subids() else { return };
    let outcome = home.shell(&["-u", "app"], "true").expect_code(125);
    assert!(
        outcome.stderr.contains("/etc/subuid"),
        "says what is missing: {}",
        outcome.stderr
    );
    check_common(&home);
}

#[test]
fn the_login_uid_of_a_user_is_seen_from_the_host() {
    let Some(home) = with_subids() else { return };
    let mut child = home.start(&[IMAGE, "sh", "-c", "echo up; exec sleep 1000"]);
    crate::signals::wait_for(&mut child, "up");
    let ours = std::fs::read_to_string("/proc/self/loginuid").unwrap();
    let id = crate::leftovers::only_container(&home.store());
    let pid = crate::leftovers::recorded_pid(&home.store(), &id);
    let theirs = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).unwrap();
    crate::signals::kill(&child, "TERM");
    child.wait().unwrap();
    assert_eq!(theirs, ours);
}
