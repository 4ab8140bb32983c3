//! Ordinary users become root of a namespace of their own: with and without sub-ids, and with everything that can be wrong.
//!
//! The process that enters must have one thread, which a test never has: the example `unshare` does it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use trimaran_testkit::User;

fn example() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/unshare");
    if !path.exists() {
        trimaran_testkit::skip(
            "the example is not built: cargo test builds it, --test alone does not",
        );
        return None;
    }
    Some(path)
}

/// A user with or without ranges, and a way to run the example as that user.
struct Caller {
    user: User,
    home: tempfile::TempDir,
    program: PathBuf,
}

impl Caller {
    fn new(user: Option<User>) -> Option<Self> {
        let program = example()?;
        let Some(user) = user else {
            trimaran_testkit::skip("needs root, and the users trimaran-sub and trimaran-nosub");
            return None;
        };
        let home = user.tempdir();
        let program = user.reachable(&program, home.path());
        Some(Self {
            user,
            home,
            program,
        })
    }

    fn run(&self, words: &[&str]) -> Output {
        self.user
            .command(&self.program, self.home.path(), &[])
            .args(words)
            .output()
            .unwrap()
    }
}

fn stdout(output: &Output) -> Vec<String> {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

const SHOW: &str = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups";

#[test]
fn a_user_without_sub_ids_is_root_alone() {
    let Some(caller) = Caller::new(User::without_subids()) else {
        return;
    };
    let (uid, gid) = (caller.user.uid, caller.user.gid);
    let shown = stdout(&caller.run(&["sh", "-c", SHOW]));
    assert_eq!(
        shown,
        [
            "0".to_owned(),
            "0".to_owned(),
            format!("0 {uid} 1"),
            format!("0 {gid} 1"),
            "deny".to_owned()
        ]
    );
}

#[test]
fn a_user_with_sub_ids_has_them_all() {
    let Some(caller) = Caller::new(User::with_subids()) else {
        return;
    };
    let (uid, gid) = (caller.user.uid, caller.user.gid);
    let shown = stdout(&caller.run(&["sh", "-c", SHOW]));
    assert_eq!(
        shown[..3],
        ["0".to_owned(), "0".to_owned(), format!("0 {uid} 1")]
    );
    assert!(
        shown[3].starts_with("1 ") && shown.contains(&format!("0 {gid} 1")),
        "{shown:?}"
    );
    assert_eq!(shown.last().map(String::as_str), Some("allow"));
    let file = caller.home.path().join("file");
    let script = format!(
        "touch {0} && chown 33:44 {0} && stat -c %u:%g {0} && setpriv --reuid 33 --clear-groups id -u",
        file.display()
    );
    assert_eq!(stdout(&caller.run(&["sh", "-c", &script])), ["33:44", "33"]);
}

#[test]
fn mounts_stay_inside() {
    for user in [User::with_subids(), User::without_subids()] {
        let Some(caller) = Caller::new(user) else {
            return;
        };
        let place = caller.home.path().join("m");
        let script = format!(
            "mkdir {0} && mount -t tmpfs inside {0} && touch {0}/seen",
            place.display()
        );
        let run = caller.run(&["sh", "-c", &script]);
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
    }
}

#[test]
fn no_helper_stays_behind() {
    let Some(caller) = Caller::new(User::with_subids()) else {
        return;
    };
    // The command replaces the process that forked the helpers: they would be its children.
    let children = stdout(&caller.run(&["sh", "-c", "cat /proc/$$/task/$$/children"]));
    let children: Vec<&str> = children.iter().flat_map(|line| line.split(' ')).collect();
    assert!(
        children.len() <= 1,
        "only the one that lists them: {children:?}"
    );
}

fn refused(output: &Output, words: &[&str]) {
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let Some(caller) = Caller::new(User::with_subids()) else {
        return;
    };
    refused(
        &caller.run(&["--no-helpers", "true"]),
        &[
            "newuidmap is not installed",
            "package uidmap",
            "/etc/subuid",
        ],
    );
    refused(
        &caller.run(&["--threads", "true"]),
        &["2 threads", "first thing in main"],
    );
    let mut no_new_privileges = Command::new("setpriv");
    no_new_privileges
        .args([
            "--reuid",
            &caller.user.uid.to_string(),
            "--regid",
            &caller.user.gid.to_string(),
            "--clear-groups",
            "--no-new-privs",
        ])
        .arg(&caller.program)
        .arg("true");
    refused(
        &no_new_privileges.output().unwrap(),
        &["newuidmap failed", "no_new_privs"],
    );
}

#[test]
fn disabled_namespaces_are_explained() {
    let Some(caller) = Caller::new(User::without_subids()) else {
        return;
    };
    // The limit is set inside a namespace of our own, and holds for those below it.
    let inner = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && {} true",
        caller.program.display()
    );
    refused(
        &caller.run(&["sh", "-c", &inner]),
        &["disabled", "sysctl -w user.max_user_namespaces"],
    );
}

#[test]
fn root_of_the_machine_need_not_enter() {
    let facts = libcontainer::rootless::facts().unwrap();
    if !trimaran_testkit::is_root() || !facts.sys_admin {
        return trimaran_testkit::skip("needs root");
    }
    assert!(!facts.must_enter());
    assert!(Path::new("/proc/self/ns/user").exists());
}
