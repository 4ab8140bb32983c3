//! Whole builds.

use crate::actor::{ALL, Actor, Who};

/// A build with every verb, and its image id.
fn site(actor: &Actor) -> String {
    actor.write("site/index.html", "hello");
    actor.write("site/cgi/run", "#!/bin/sh\necho cgi\n");
    let container = actor.ok(&["from", "oci:base:1"]);
    assert_eq!(container, "base-working-container");
    actor
        .run(&[
            "run",
            &container,
            "--",
            "sh",
            "-c",
            "mkdir -p /srv/a; echo one > /srv/a/f; rm /etc/hostname; ln /srv/a/f /srv/g",
        ])
        .expect_code(0);
    assert_eq!(
        actor.ok(&[
            "run",
            "-e",
            "X=y",
            "-w",
            "/srv",
            &container,
            "sh",
            "-c",
            "echo $X $PWD $(id -u)"
        ]),
        "y /srv 0"
    );
    actor
        .run(&["copy", &container, "site/", "/var/www/"])
        .expect_code(0);
    actor
        .run(&[
            "copy",
            "--chmod",
            "755",
            &container,
            "site/cgi/run",
            "/usr/bin/cgi",
        ])
        .expect_code(0);
    let words = [
        "config", "--cmd", "cgi", "-e", "A=b", "-l", "k=v", "--port", "80", "--author", "me",
        &container,
    ];
    actor.run(&words).expect_code(0);
    let id = actor.ok(&["commit", "--iidfile", "iid", &container, "localhost/site:1"]);
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(
        std::fs::read_to_string(actor.home().join("iid")).unwrap_or_else(|_| id.clone()),
        id
    );
    actor.run(&["rm", &container]).expect_code(0);
    id
}

#[test]
fn a_scripted_build_gives_the_same_image_to_everybody() {
    let mut ids = Vec::new();
    for who in ALL {
        let Some(actor) = Actor::with_base(who) else {
            continue;
        };
        ids.push((who, site(&actor)));
        let container = actor.ok(&["from", "--name", "check", "localhost/site:1"]);
        let look = "cat /srv/a/f /var/www/index.html; test -e /etc/hostname; echo $?; cgi; test /srv/g -ef /srv/a/f; echo $?";
        assert_eq!(
            actor.ok(&["run", &container, "--", "sh", "-c", look]),
            "one\nhello1\ncgi\n0",
            "{who:?}"
        );
        assert_eq!(actor.ok(&["rm", "--all"]).len(), 64);
        assert_eq!(actor.ok(&["containers", "-q"]), "");
    }
    assert!(ids.windows(2).all(|pair| pair[0].1 == pair[1].1), "{ids:?}");
}

#[test]
fn the_example_script_builds_the_same_image_twice() {
    for who in ALL {
        let Some(actor) = Actor::with_base(who) else {
            continue;
        };
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/scripts/hello.sh"
        );
        actor.write("hello.sh", std::fs::read(script).unwrap());
        let once = actor
            .sh("sh hello.sh oci:base:1 localhost/hello:1")
            .expect_code(0)
            .stdout;
        let twice = actor
            .sh("sh hello.sh oci:base:1 localhost/hello:2")
            .expect_code(0)
            .stdout;
        assert_eq!(once, twice, "{who:?}");
        let container = actor.ok(&["from", "localhost/hello:2"]);
        let text = actor.ok(&["run", &container, "/usr/local/bin/hello"]);
        assert!(
            text.starts_with("Hello from Busybox (testkit), built "),
            "{text}"
        );
        assert_eq!(actor.ok(&["rm", &container]).len(), 64);
    }
}

#[test]
fn a_root_file_system_becomes_a_base() {
    let Some(tree) = trimaran_testkit::Tree::busybox() else {
        return trimaran_testkit::skip("needs busybox-static");
    };
    for who in ALL {
        let Some(actor) = Actor::new(who) else {
            continue;
        };
        actor.write("base.tar", tree.tar());
        let container = actor.ok(&["from", "scratch"]);
        actor
            .run(&["add", &container, "base.tar", "/"])
            .expect_code(0);
        actor
            .run(&["config", "--cmd", "/bin/sh", &container])
            .expect_code(0);
        assert_eq!(
            actor.ok(&[
                "run",
                &container,
                "--",
                "/bin/sh",
                "-c",
                "ls -d /etc/passwd"
            ]),
            "/etc/passwd"
        );
        actor
            .run(&[
                "commit",
                "--rm",
                "--compress",
                "gzip",
                &container,
                "localhost/base:1",
            ])
            .expect_code(0);
        let again = actor.ok(&["from", "localhost/base:1"]);
        assert_eq!(again, "base-working-container");
        assert_eq!(
            actor.ok(&["run", &again, "--", "cat", "/etc/hostname"]),
            "busybox",
            "{who:?}"
        );
    }
}

#[test]
fn image_users_can_be_used() {
    for who in [Who::Root, Who::WithSubids] {
        let Some(actor) = Actor::with_base(who) else {
            continue;
        };
        let container = actor.ok(&["from", "oci:base:1"]);
        actor.write("file", "x");
        actor
            .run(&[
                "copy",
                "--chown",
                "app:staff",
                &container,
                "file",
                "/home/app/",
            ])
            .expect_code(0);
        let line = "id -u; stat -c %u:%g file; echo y >> file; ! touch /etc/no 2>/dev/null";
        let words = [
            "run",
            "-u",
            "app",
            "-w",
            "/home/app",
            &container,
            "--",
            "sh",
            "-c",
            line,
        ];
        assert_eq!(actor.ok(&words), "1000\n1000:50", "{who:?}");
    }
}

#[test]
fn mounts_work_where_they_can_last() {
    for who in ALL {
        let Some(actor) = Actor::with_base(who) else {
            continue;
        };
        let container = actor.ok(&["from", "oci:base:1"]);
        let script = format!(
            "m=$($BUILD mount {container}) && echo edit > $m/edited && $BUILD run {container} cat /edited && $BUILD umount {container}"
        );
        if who == Who::Root {
            actor.sh(&script).expect_code(0);
        } else {
            let outside = actor.run(&["mount", &container]).expect_code(125);
            assert!(
                outside.stderr.contains("build unshare"),
                "{}",
                outside.stderr
            );
            actor
                .sh(&format!("$BUILD unshare sh -c '{script}'"))
                .expect_code(0);
        }
        assert_eq!(
            actor.ok(&["run", &container, "cat", "/edited"]),
            "edit",
            "{who:?}"
        );
        assert_eq!(actor.ok(&["mount"]), "");
    }
}

#[test]
fn images_go_to_layouts_too() {
    for who in [Who::Root, Who::WithSubids] {
        let Some(actor) = Actor::with_base(who) else {
            continue;
        };
        let container = actor.ok(&["from", "oci:base:1"]);
        actor
            .run(&["run", &container, "--", "sh", "-c", "echo x > /x"])
            .expect_code(0);
        let id = actor.ok(&["commit", &container, "oci:out:2"]);
        let layout = trimaran_testkit::Layout::open(&actor.home().join("out"));
        let manifest = layout
            .tag("2")
            .and_then(|digest| layout.blob(&digest))
            .unwrap();
        assert!(String::from_utf8(manifest).unwrap().contains(&id));
        let again = actor.ok(&["from", "oci:out:2"]);
        assert_eq!(actor.ok(&["run", &again, "cat", "/x"]), "x", "{who:?}");
    }
}
