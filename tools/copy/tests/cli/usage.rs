//! The command line: what makes no sense ends with 2, and help is on stdout.

use crate::tool::Home;

#[test]
fn command_lines_that_make_no_sense() {
    let home = Home::new();
    for line in [
        &[][..],
        &["docker://a"],
        &["--frobnicate", "docker://a", "oci:b"],
        &["copy", "--frobnicate", "docker://a", "oci:b"],
        &["inspect"],
        &["inspect", "docker://a", "docker://b"],
        &["frobnicate", "docker://a"],
        &["a", "b"],
        &["docker:a", "oci:b"],
        &["docker://UPPER", "oci:b"],
        &["docker://a:b:c", "oci:b"],
        &["docker://a@sha256:short", "oci:b"],
        &["sif:/a", "oci:b"],
        &["docker://a", "oci:"],
        &["--all", "--platform", "linux/amd64", "docker://a", "oci:b"],
        &["--platform", "linux", "docker://a", "oci:b"],
        &["--jobs", "0", "docker://a", "oci:b"],
        &["--output", "xml", "docker://a", "oci:b"],
        &["--src-tls-verify=maybe", "docker://a", "oci:b"],
        &["--src-creds", "nocolon", "docker://a", "oci:b"],
        &["list-tags", "store:a"],
    ] {
        let outcome = home.run(line).expect_code(2);
        assert!(
            outcome.stdout.is_empty() && !outcome.stderr.is_empty(),
            "{line:?}"
        );
        assert!(
            !outcome.stderr.contains("nocolon"),
            "a password is in the message"
        );
    }
}

#[test]
fn help_and_version() {
    let home = Home::new();
    for line in [
        &["--help"][..],
        &["-h"],
        &["copy", "--help"],
        &["inspect", "--help"],
        &["list-tags", "-h"],
    ] {
        let outcome = home.run(line).expect_code(0);
        assert!(
            outcome.stdout.contains("Usage: copy"),
            "{line:?}: {}",
            outcome.stdout
        );
        assert_eq!(outcome.stderr, "");
    }
    for line in ["version", "--version"] {
        assert_eq!(
            home.run(&[line]).expect_code(0).stdout,
            format!("copy {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn pages_and_completions_come_from_the_same_definitions() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completion", shell]).expect_code(0).stdout;
        assert!(
            script.contains("list-tags") && script.contains("digestfile"),
            "{shell}"
        );
    }
    let pages = home.path("man");
    std::fs::create_dir(&pages).unwrap();
    home.run(&["man", pages.to_str().unwrap()]).expect_code(0);
    for page in ["copy.1", "copy-inspect.1", "copy-list-tags.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
    assert!(
        !pages.join("copy-man.1").exists(),
        "hidden verbs have no page"
    );
}

#[test]
fn no_place_for_the_store_is_told() {
    let home = Home::new();
    let mut command = home.command(&["oci:/nonexistent", "store:x"]);
    let outcome =
        trimaran_testkit::run(command.env("TRIMARAN_ROOT", "/proc/nowhere")).expect_code(125);
    assert!(
        outcome.stderr.contains("/proc/nowhere"),
        "{}",
        outcome.stderr
    );
}
