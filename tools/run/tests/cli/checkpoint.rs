//! `checkpoint` and `restore` of the OCI face: when they are there, what they refuse, and how CRIU's failures are told.

use crate::oci::Bundle;
use crate::support::program;
use trimaran_testkit::{Outcome, command, run};

/// Programs that are found: none, or one called `criu` that cannot do anything.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new(criu: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if criu {
            let file = directory.path().join("criu");
            trimaran_testkit::write_script(&file, "#!/bin/sh\nexit 3\n");
        }
        Self(directory)
    }

    #[track_caller]
    fn oci(&self, bundle: &Bundle, arguments: &[&str]) -> Outcome {
        let (root, log) = (bundle.path().join("state"), bundle.log());
        run(command(program(), bundle.path())
            .args(["oci", "--log-format=json", "--root"])
            .arg(root)
            .arg("--log")
            .arg(log)
            .args(arguments)
            .env("PATH", self.0.path())
            .current_dir(bundle.path()))
    }
}

#[test]
fn the_verbs_are_there_where_criu_is() {
    let Some(bundle) = Bundle::new() else { return };
    let (none, some) = (Programs::new(false), Programs::new(true));
    for verb in ["checkpoint", "restore"] {
        // podman asks in this way.
        let refused = none.oci(&bundle, &[verb, "--help"]).expect_code(1);
        let words = format!("{verb} is not supported without criu");
        assert!(refused.stderr.contains(&words), "{}", refused.stderr);
        none.oci(&bundle, &[verb, "x"]).expect_code(1);
        let help = some.oci(&bundle, &[verb, "--help"]).expect_code(0).stdout;
        for flag in [
            "--image-path",
            "--work-path",
            "--tcp-established",
            "--ext-unix-sk",
            "--shell-job",
            "--file-locks",
            "--lazy-pages",
            "--manage-cgroups-mode",
            "--empty-ns",
            "--auto-dedup",
        ] {
            assert!(help.contains(flag), "{verb} {flag}");
        }
    }
    // And whether containers can come back into pods.
    let missing = some.oci(&bundle, &["restore", "--lsm-mount-context"]);
    let missing = missing.expect_code(1);
    assert!(missing.stderr.contains("flag needs an argument"));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let Some(bundle) = Bundle::new() else { return };
    let programs = Programs::new(true);
    let quiet = |words: &[&str]| assert!(bundle.quiet(words).status().unwrap().success());
    quiet(&["create", "waiting"]);
    quiet(&["run", "--detach", "running"]);
    for (arguments, words) in [
        (&["checkpoint", "nobody"][..], "container does not exist"),
        (
            &["checkpoint", "waiting"],
            "container cannot be checkpointed",
        ),
        (&["checkpoint", "running"], "it ended: "),
        (
            &["checkpoint", "--page-server", "x", "running"],
            "is not ADDRESS:PORT",
        ),
        (
            &["checkpoint", "--status-fd", "999", "running"],
            "invalid --status-fd argument 999",
        ),
        (&["checkpoint", "--empty-ns", "pid", "running"], "pid"),
        (
            &["checkpoint", "--manage-cgroups-mode", "x", "running"],
            "ignore, soft, full, strict",
        ),
        (
            &["checkpoint", "--no-such-flag", "running"],
            "--no-such-flag",
        ),
        (
            &["restore", "--no-pivot", "back"],
            "--no-pivot is not supported",
        ),
        (
            &["restore", "--image-path", "missing", "back"],
            "missing: no such file or directory",
        ),
        (
            &["restore", "running"],
            "container with given ID already exists",
        ),
        (&["restore", "a/b"], "invalid container ID format"),
    ] {
        std::fs::remove_file(bundle.log()).ok();
        let refused = programs.oci(&bundle, arguments).expect_code(1);
        assert!(
            refused.stderr.contains(words),
            "{arguments:?}: {}",
            refused.stderr
        );
        let log = std::fs::read_to_string(bundle.log()).unwrap();
        assert_eq!(log.lines().count(), 1, "{arguments:?}: {log}");
    }
    assert_eq!(bundle.state("running")["status"], "running");
    assert_eq!(bundle.state("waiting")["status"], "created");
    let list = bundle.oci(&["list", "-q"]).expect_code(0).stdout;
    assert_eq!(list, "running\nwaiting\n");
}
