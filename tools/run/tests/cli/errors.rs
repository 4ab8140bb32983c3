//! Bad input: a clear message, the right exit code, nothing left behind.

use crate::support::{Home, IMAGE};

#[test]
fn exit_codes() {
    let Some(home) = Home::ready() else { return };
    // Arguments, exit code, what stderr says.
    let table: &[(&[&str], i32, &str)] = &[
        (&[IMAGE, "sh", "-c", "exit 3"], 3, ""),
        (&[IMAGE, "false"], 1, ""),
        (&[IMAGE, "sh", "-c", "kill -9 $$; exit 4"], 4, ""),
        (&[IMAGE, "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, ""),
        (&[IMAGE, "no-such-program"], 127, "no-such-program"),
        (&[IMAGE, "/no/such/program"], 127, "/no/such/program"),
        (&[IMAGE, "/etc/not-executable"], 126, "/etc/not-executable"),
        (&[IMAGE, "/etc"], 126, "/etc"),
        (&["--entrypoint", "nope", IMAGE], 127, "nope"),
        (&["-u", "nobody-knows", IMAGE, "true"], 125, "nobody-knows"),
        (
            &["-u", "root:nogroup-knows", IMAGE, "true"],
            125,
            "nogroup-knows",
        ),
        (&["--user=-1", IMAGE, "true"], 125, "-1"),
        (&["-w", "relative", IMAGE, "true"], 125, "relative"),
        (
            &["-v", "/no/such/source:/mnt", IMAGE, "true"],
            125,
            "/no/such/source",
        ),
        (&["-v", "volume:/mnt", IMAGE, "true"], 2, "volume"),
        (&["--cap-add", "NO_SUCH", IMAGE, "true"], 125, "NO_SUCH"),
        (
            &["--security-opt", "seccomp=/no/such/file", IMAGE, "true"],
            125,
            "/no/such/file",
        ),
        (
            &["--security-opt", "whatever", IMAGE, "true"],
            2,
            "whatever",
        ),
        (&["--name", "a/b", IMAGE, "true"], 125, "a/b"),
        (
            &["--env-file", "/no/such/file", IMAGE, "true"],
            125,
            "/no/such/file",
        ),
        (&["--no-such-flag", IMAGE, "true"], 2, "--no-such-flag"),
        (&["--network", "bridge", IMAGE, "true"], 2, "bridge"),
        (&["-e", "=x", IMAGE, "true"], 2, "=x"),
        (&[], 2, "IMAGE"),
        (&["-i"], 2, "IMAGE"),
        (&["--pull", "never", "no-such-image"], 125, "no-such-image"),
        (&["store:no-such-image"], 125, "no-such-image"),
        (&["oci:/no/such/layout:tag"], 125, "/no/such/layout"),
        (&["UPPER"], 125, "lower-case"),
        (&["docker-archive:x.tar"], 125, "x.tar"),
        (&["ps"], 2, "ps"),
        (&["rmi", "no-such-image"], 125, "no-such-image"),
        (&["rmi"], 2, "IMAGE"),
        (
            &["pull", "--platform", "nonsense/with/too/many/parts", "x"],
            2,
            "nonsense",
        ),
        (&["completion", "tcsh"], 2, "tcsh"),
    ];
    for (arguments, code, words) in table {
        let outcome = home.call(arguments).expect_code(*code);
        assert!(
            outcome.stderr.contains(words),
            "{arguments:?} does not say {words:?}:\n{}",
            outcome.stderr
        );
        if *code == 125 {
            assert!(
                outcome.stderr.contains("Error: "),
                "{arguments:?}\n{}",
                outcome.stderr
            );
        }
        assert!(
            !outcome.stderr.contains("panicked"),
            "{arguments:?}\n{}",
            outcome.stderr
        );
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn an_unreachable_registry_is_named() {
    let Some(home) = Home::ready() else { return };
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let image = format!("127.0.0.1:{port}/x:1");
    let outcome = home.call(&["--tls-verify=false", &image]).expect_code(125);
    assert!(
        outcome.stderr.contains(&port.to_string()),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_name_is_one_containers() {
    let Some(home) = Home::ready() else { return };
    let first = home.start(&[
        "--name",
        "one",
        IMAGE,
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    let mut first = Held::new(first);
    let second = home
        .call(&["--name", "one", IMAGE, "true"])
        .expect_code(125);
    let names = std::fs::read_link(home.store().join("names/one")).unwrap();
    assert!(
        second.stderr.contains(names.to_str().unwrap()),
        "{}",
        second.stderr
    );
    first.end();
    home.call(&["--name", "one", IMAGE, "true"]).expect_code(0);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

/// A container that has said `up`, and ends when it is killed.
struct Held(std::process::Child);

impl Held {
    fn new(mut child: std::process::Child) -> Self {
        crate::signals::wait_for(&mut child, "up");
        Self(child)
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
