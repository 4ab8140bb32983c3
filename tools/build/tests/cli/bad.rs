//! Bad input: a clear message, the right exit code, and a container that works afterwards.

use crate::actor::{Actor, Who};

#[test]
fn mistakes_are_told_with_the_right_code() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let container = actor.ok(&["from", "oci:base:1"]);
    let c = container.as_str();
    actor.write("file", "x");
    let table: &[(&[&str], i32, &str)] = &[
        (&[], 2, "Usage"),
        (&["frm"], 2, "similar"),
        (&["from"], 2, "IMAGE"),
        (&["from", "--no-such-flag", "x"], 2, "--no-such-flag"),
        (
            &["from", "--pull=never", "localhost/none:1"],
            125,
            "localhost/none:1",
        ),
        (&["from", "oci:missing:1"], 125, "missing"),
        (&["from", "oci:base:2"], 125, "2"),
        (&["from", "UPPER"], 125, "UPPER"),
        (&["from", "dir:/x"], 125, "dir"),
        (&["from", "--name", "a/b", "scratch"], 125, "a/b"),
        (&["from", "--name", c, "scratch"], 125, "taken"),
        (
            &["from", "--source-date-epoch", "yesterday", "scratch"],
            2,
            "yesterday",
        ),
        (&["from", "--platform", "x", "scratch"], 2, "x"),
        (
            &["run", "nobody", "true"],
            125,
            "no working container \"nobody\"",
        ),
        (&["run", c], 2, "COMMAND"),
        (&["run", c, "--", "no-such-command"], 127, "no-such-command"),
        (
            &["run", c, "--", "/etc/not-executable"],
            126,
            "not-executable",
        ),
        (&["run", c, "--", "/etc"], 126, "/etc"),
        (&["run", c, "--", "sh", "-c", "exit 42"], 42, ""),
        (
            &["run", "-u", "nobody-knows", c, "true"],
            125,
            "nobody-knows",
        ),
        (
            &["run", "--cap-add", "CAP_NONSENSE", c, "true"],
            125,
            "NONSENSE",
        ),
        (&["run", "-v", "nonsense", c, "true"], 2, "nonsense"),
        (
            &["run", "-v", "/does/not/exist:/x", c, "true"],
            125,
            "/does/not/exist",
        ),
        (&["run", "-e", "nonsense", c, "true"], 2, "nonsense"),
        (&["run", "--network", "bridge", c, "true"], 2, "bridge"),
        (&["copy", c, "file"], 2, "DST"),
        (&["copy", c, "missing", "/"], 125, "missing"),
        (&["copy", c, "file", "/etc/passwd/"], 125, "/etc/passwd"),
        (
            &["copy", "--chown", "nobody-knows", c, "file", "/"],
            125,
            "nobody-knows",
        ),
        (&["copy", "--chmod", "rwx", c, "file", "/"], 2, "octal"),
        (
            &["copy", "--from", "localhost/none:1", c, "file", "/"],
            125,
            "localhost/none:1",
        ),
        (&["config", "--port", "x", c], 125, "port"),
        (&["config", "--env", "x", c], 2, "NAME=VALUE"),
        (&["config", "--cmd", "[1]", c], 2, "JSON"),
        (&["config", "nobody", "--cmd", "x"], 125, "nobody"),
        (&["commit", c, "UPPER"], 125, "UPPER"),
        (&["commit", "nobody", "localhost/x:1"], 125, "nobody"),
        (&["commit", "--compress", "xz", c, "localhost/x:1"], 2, "xz"),
        (
            &["commit", "--compression-level", "99", c, "localhost/x:1"],
            125,
            "99",
        ),
        (&["umount", "nobody"], 125, "nobody"),
        (&["rm"], 2, "CONTAINERS"),
        (&["rm", "nobody"], 125, "nobody"),
        (&["inspect", "nobody"], 125, "nobody"),
        (&["unshare", "no-such-command"], 127, "no-such-command"),
    ];
    let mut wrong = Vec::new();
    for (arguments, code, text) in table {
        let outcome = actor.run(arguments);
        let panicked = outcome.stderr.contains("panicked");
        if outcome.code() != *code
            || !outcome.stderr.contains(text)
            || !outcome.stdout.is_empty()
            || panicked
        {
            wrong.push(format!(
                "{arguments:?}: want {code} and {text:?}: {outcome:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(actor.ok(&["run", c, "--", "echo", "fine"]), "fine");
}

#[test]
fn an_ordinary_user_without_subordinate_ids_is_told_what_is_missing() {
    let Some(actor) = Actor::with_base(Who::WithoutSubids) else {
        return;
    };
    let container = actor.ok(&["from", "oci:base:1"]);
    let refused = actor
        .run(&["run", "-u", "app", &container, "id"])
        .expect_code(125);
    assert!(refused.stderr.contains("/etc/subuid"), "{}", refused.stderr);
    actor.write("file", "x");
    actor
        .run(&["copy", "--chown", "app", &container, "file", "/"])
        .expect_code(125);
}

#[test]
fn steps_wait_for_each_other() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let container = actor.ok(&["from", "oci:base:1"]);
    let line = format!(
        "for i in 1 2 3 4; do $BUILD run {container} -- sh -c 'echo x >> /count' & done; wait; $BUILD run {container} wc -l /count"
    );
    assert_eq!(actor.sh(&line).expect_code(0).stdout, "4 /count\n");
}
