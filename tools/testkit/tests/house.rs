//! The rules of the house: which package links which, which module imports which, how long files are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use trimaran_testkit::house::{Levels, Source, check_crate, repository, sources, text_files};

const OURS: [&str; 3] = ["libcontainer", "libimage", "libbuild"];
/// A longer file answers more than one question.
const LINES: usize = 800;

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(repository())
        .output()
        .expect("cargo runs the tests, so it can be run");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// Returns the names of all packages that a package links, with the features it asks for itself: `cargo tree -p` resolves them for
/// that package alone, where `cargo metadata` would unite those of the whole workspace.
fn links(package: &str, flags: &[&str]) -> BTreeSet<String> {
    let tree = [
        "tree", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}",
    ];
    let text = cargo(&[&tree[..], flags].concat());
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn assert_links(package: &str, flags: &[&str], wanted: &[&str], forbidden: &[&str]) {
    let linked = links(package, flags);
    for name in wanted {
        assert!(
            linked.contains(*name),
            "{package} {flags:?} does not link {name}"
        );
    }
    for name in forbidden {
        assert!(!linked.contains(*name), "{package} {flags:?} links {name}");
    }
}

#[test]
fn packages_link_what_the_page_says() {
    const NETWORK: [&str; 4] = ["tokio", "reqwest", "rustls", "oci-client"];
    assert_links(
        "libcontainer",
        &["--features", "engine"],
        &[],
        &[&["libimage", "libbuild"], &NETWORK[..]].concat(),
    );
    assert_links(
        "libcontainer",
        &["--all-features"],
        &["tokio"],
        &["libimage", "libbuild", "reqwest", "rustls", "oci-client"],
    );
    assert_links(
        "libimage",
        &[],
        &["tokio", "oci-client"],
        &["libcontainer", "libbuild"],
    );
    assert_links(
        "libimage",
        &["--no-default-features"],
        &["ocidir", "tar"],
        &NETWORK,
    );
    assert_links(
        "libbuild",
        &["--all-features"],
        &["libcontainer", "libimage"],
        &NETWORK,
    );
    assert_links(
        "trimaran-copy",
        &[],
        &["libimage", "trimaran-cli"],
        &["libcontainer", "libbuild"],
    );
    assert_links(
        "trimaran-run",
        &[],
        &["libimage", "libcontainer", "trimaran-cli"],
        &["libbuild"],
    );
    assert_links(
        "trimaran-build",
        &[],
        &["libbuild", "libimage", "libcontainer", "trimaran-cli"],
        &[],
    );
    assert_links(
        "trimaran-cli",
        &[],
        &["libimage"],
        &["libcontainer", "libbuild"],
    );
    assert_links("trimaran-testkit", &[], &[], &OURS);
}

#[test]
fn fixed_packages_have_one_importer_each() {
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"]))
            .expect("cargo writes JSON");
    let direct = |package: &str| -> BTreeSet<String> {
        let packages = metadata["packages"].as_array().expect("a list");
        let found = packages
            .iter()
            .find(|found| found["name"] == package)
            .expect("a member");
        let dependencies = found["dependencies"].as_array().expect("a list").iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        normal
            .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let fixed = [
        "oci-spec",
        "oci-client",
        "ocidir",
        "tar",
        "zstd",
        "zlib-rs",
        "cap-std",
        "tokio",
        "thiserror",
    ];
    for package in fixed {
        assert!(
            direct("libimage").contains(package),
            "libimage does not depend on {package}"
        );
    }
    for package in OURS {
        assert!(
            direct(package).contains("oci-spec"),
            "{package} does not depend on oci-spec"
        );
    }
    // The room that may import each, below libimage/src.
    for (krate, room) in [
        ("oci_client", "registry"),
        ("ocidir", "layout"),
        ("tar", "layer"),
        ("zstd", "compress"),
        ("zlib_rs", "compress"),
    ] {
        let mut importers: Vec<PathBuf> = Vec::new();
        for library in OURS {
            let src = repository().join(library).join("src");
            importers.extend(
                sources(&src)
                    .into_iter()
                    .filter(|file| imports_crate(file, krate)),
            );
        }
        let base = repository().join("libimage/src");
        let inside = |file: &PathBuf| {
            file.starts_with(base.join(room)) || *file == base.join(room).with_extension("rs")
        };
        assert!(
            importers.iter().any(inside),
            "{krate} is not imported by {room}"
        );
        importers.retain(|file| !inside(file));
        assert!(
            importers.is_empty(),
            "{krate} belongs to libimage::{room}, but is imported by {importers:?}"
        );
    }
}

/// Tells whether a file names an external crate: `krate::…` that is not the tail of a longer path, or `use krate;`.
fn imports_crate(file: &Path, krate: &str) -> bool {
    let program = program(file);
    program.match_indices(krate).any(|(at, _)| {
        let (before, after) = (&program[..at], &program[at + krate.len()..]);
        let own_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let path_tail = before.ends_with("::")
            && !before
                .trim_end_matches("::")
                .ends_with([' ', '{', ',', '(', '\n']);
        let used = before.trim_end().ends_with("use") && after.trim_start().starts_with([';', ' ']);
        own_word && !path_tail && (after.starts_with("::") || used)
    })
}

fn program(file: &Path) -> String {
    Source::new(&read(file)).program
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn modules_import_only_downward() {
    let page = read(&repository().join("ARCHITECTURE.md"));
    let mut broken = Vec::new();
    for library in OURS {
        let levels = Levels::parse(&page, library)
            .unwrap_or_else(|error| panic!("ARCHITECTURE.md: {error:?}"));
        let src = repository().join(library).join("src");
        broken.extend(
            check_crate(&src, &levels)
                .iter()
                .map(|finding| format!("{library}: {finding}")),
        );
    }
    assert!(
        broken.is_empty(),
        "ARCHITECTURE.md does not draw this:\n{}",
        broken.join("\n")
    );
}

#[test]
fn files_answer_one_question() {
    let long: Vec<String> = sources(&repository())
        .iter()
        .map(|file| (read(file).lines().count(), file))
        .filter(|(lines, _)| *lines > LINES)
        .map(|(lines, file)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(
        long.is_empty(),
        "longer than {LINES} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn unsafe_lives_in_one_room() {
    let sys = repository().join("libcontainer/src/sys");
    let elsewhere: Vec<String> = sources(&repository())
        .iter()
        .filter(|file| !file.starts_with(&sys))
        .filter(|file| {
            Source::new(&read(file))
                .words()
                .any(|(_, word)| word == "unsafe")
        })
        .map(|file| file.display().to_string())
        .collect();
    assert!(
        elsewhere.is_empty(),
        "unsafe outside libcontainer/src/sys:\n{}",
        elsewhere.join("\n")
    );
}

#[test]
fn no_file_knows_a_developers_machine() {
    let root = repository();
    // The homes of this machine's people; that of root is a path in every container too.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let homes = passwd.lines().filter_map(|line| line.split(':').nth(5));
    let mut places: Vec<String> = homes
        .filter(|home| home.starts_with("/home/"))
        .map(str::to_owned)
        .collect();
    places.push(["/Users", "/"].concat());
    // A checkout directly below the root directory has a path that is a word of its own in many places.
    if root.components().count() > 2 {
        places.push(root.display().to_string());
    }
    let mut found = Vec::new();
    for file in text_files(&root) {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for (line, number) in text.lines().zip(1..) {
            let known = |place: &String| {
                line.match_indices(place.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let after = line[at + place.len()..].chars().next();
                    let inside = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
                    !before.is_some_and(inside)
                        && (place.ends_with('/') || !after.is_some_and(inside))
                })
            };
            if places.iter().any(known) {
                found.push(format!("{}:{number}: {}", file.display(), line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "paths of a developer's machine:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_check_for_external_crates_can_fail() {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    for (text, expected) in [
        ("use tar::Archive;", true),
        ("fn f() { let x = tar::Builder::new(y); }", true),
        ("use ::tar::Archive;", true),
        ("use tar;", true),
        ("use crate::image::tar::Tree;", false),
        ("// tar::Archive\nfn untar() { start::tar(); }", false),
    ] {
        let file = dir.path().join("x.rs");
        std::fs::write(&file, text).expect("the directory is ours");
        assert_eq!(imports_crate(&file, "tar"), expected, "{text}");
    }
}
