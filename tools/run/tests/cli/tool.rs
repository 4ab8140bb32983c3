//! The tool about itself: help, manual pages, completions, version, and the name it is called by.

use crate::support::program;
use std::path::Path;
use trimaran_testkit::{Outcome, command, run};

fn call(program: &Path, arguments: &[&str]) -> Outcome {
    run(command(program, Path::new("/")).args(arguments))
}

#[test]
fn help_goes_to_stdout_and_names_every_verb() {
    let help = call(program(), &["--help"]).expect_code(0);
    assert_eq!(help.stderr, "");
    for word in [
        "--read-only",
        "--explain",
        "pull",
        "images",
        "rmi",
        "oci",
        "Usage: run ",
    ] {
        assert!(
            help.stdout.contains(word),
            "{word} is missing in\n{}",
            help.stdout
        );
    }
    for verb in ["run", "pull", "images", "rmi", "version"] {
        let help = call(program(), &[verb, "--help"]).expect_code(0);
        assert!(
            help.stdout.contains(&format!("Usage: run {verb}")),
            "{}",
            help.stdout
        );
    }
}

#[test]
fn the_name_it_is_called_by_is_the_name_it_uses() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("t-run");
    std::os::unix::fs::symlink(program(), &link).unwrap();
    assert!(
        call(&link, &["--help"])
            .expect_code(0)
            .stdout
            .contains("Usage: t-run ")
    );
    assert!(
        call(&link, &["version"])
            .expect_code(0)
            .stdout
            .starts_with("t-run ")
    );
    let pages = dir.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    call(&link, &["man", pages.to_str().unwrap()]).expect_code(0);
    let mut names: Vec<_> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "t-run-images.1",
            "t-run-oci.1",
            "t-run-pull.1",
            "t-run-rmi.1",
            "t-run-version.1",
            "t-run.1"
        ]
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = call(&link, &["completion", shell]).expect_code(0).stdout;
        assert!(
            script.contains("t-run") && script.contains("read-only"),
            "{shell}"
        );
        assert!(
            !script.contains("completion --"),
            "hidden verbs stay hidden"
        );
    }
}

#[test]
fn version_both_ways() {
    let version = format!("run {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(call(program(), &["version"]).expect_code(0).stdout, version);
    assert_eq!(
        call(program(), &["--version"]).expect_code(0).stdout,
        version
    );
}

#[test]
fn no_directory_is_needed_to_say_what_is_wrong() {
    let mut lost = command(program(), Path::new("/"));
    lost.env_remove("HOME").args(["--no-such-flag"]);
    run(&mut lost).expect_code(2);
}
