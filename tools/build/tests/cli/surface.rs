//! What scripts and people see beside builds: lists, JSON, help, completions, man pages.

use crate::actor::{Actor, Who};
use serde_json::Value;

#[test]
fn containers_are_listed_and_inspected() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let container = actor.ok(&["from", "--cidfile", "cid", "oci:base:1"]);
    let id = std::fs::read_to_string(actor.home().join("cid")).unwrap();
    actor
        .run(&["config", "--env", "A=b", &container])
        .expect_code(0);
    assert_eq!(actor.ok(&["containers", "-q", "--no-trunc"]), id);
    let table = actor.ok(&["ps"]);
    assert!(
        table.starts_with("CONTAINER ID")
            && table.contains(&id[..12])
            && table.contains(&container),
        "{table}"
    );
    let list: Value = serde_json::from_str(&actor.ok(&["containers", "--format", "json"])).unwrap();
    assert_eq!(list[0]["id"], id);
    let about: Value = serde_json::from_str(&actor.ok(&["inspect", &id[..10]])).unwrap();
    assert_eq!(about["name"], container);
    assert_eq!(
        about["config"]["config"]["Env"]
            .as_array()
            .unwrap()
            .last()
            .unwrap(),
        "A=b"
    );
    assert_eq!(about["steps"][0], "ENV A=b");
    actor.run(&["rename", &container, "other"]).expect_code(0);
    actor
        .run(&["config", "--env", "A-", "other"])
        .expect_code(0);
    assert_eq!(actor.ok(&["rm", "other"]), id);
}

#[test]
fn the_epoch_comes_from_where_it_should() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let epoch = |line: &str| {
        let script = format!("c=$({line}) && $BUILD run $c -- sh -c 'echo $SOURCE_DATE_EPOCH'");
        actor.sh(&script).expect_code(0).stdout.trim().to_owned()
    };
    assert_eq!(epoch("$BUILD from oci:base:1"), "1735689600", "the base's");
    assert_eq!(epoch("SOURCE_DATE_EPOCH=7 $BUILD from oci:base:1"), "7");
    assert_eq!(
        epoch("SOURCE_DATE_EPOCH=7 $BUILD from --timestamp 8 oci:base:1"),
        "8"
    );
    let git = "git init -q r && cd r && GIT_AUTHOR_DATE='@1000000000 +0000' GIT_COMMITTER_DATE='@1000000000 +0000' \
        git -c user.name=x -c user.email=x@x commit -q --allow-empty -m x";
    if actor.sh(git).code() != 0 {
        return trimaran_testkit::skip("needs git");
    }
    assert_eq!(
        epoch("cd r && $BUILD from oci:../base:1"),
        "1000000000",
        "a clean work tree's"
    );
    actor.write("r/new", "x");
    assert_eq!(
        epoch("cd r && $BUILD from oci:../base:1"),
        "1735689600",
        "one with changes says nothing"
    );
    let bad = actor
        .sh("SOURCE_DATE_EPOCH=now $BUILD from scratch")
        .expect_code(125);
    assert!(bad.stderr.contains("SOURCE_DATE_EPOCH"), "{}", bad.stderr);
}

#[test]
fn help_completions_and_manual_pages_come_out() {
    let Some(actor) = Actor::new(Who::Root) else {
        return;
    };
    let verbs = [
        "from",
        "run",
        "copy",
        "add",
        "config",
        "mount",
        "umount",
        "unshare",
        "commit",
        "containers",
        "inspect",
        "rename",
        "rm",
    ];
    let help = actor.ok(&["--help"]);
    for verb in verbs {
        assert!(help.contains(verb), "{verb}");
        assert!(
            actor.ok(&[verb, "--help"]).contains("Usage: build"),
            "{verb}"
        );
    }
    assert!(actor.ok(&["version"]).starts_with("build "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            actor.ok(&["completion", shell]).contains("commit"),
            "{shell}"
        );
    }
    std::fs::create_dir(actor.home().join("man")).unwrap();
    actor.run(&["man", "man"]).expect_code(0);
    assert!(actor.home().join("man/build-commit.1").exists());
}
