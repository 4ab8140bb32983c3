//! Called as `skopeo`: what scripts depend on, beside the real one where it is installed.

use crate::tool::{Home, PLAIN, PROGRAM, assert_holds};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use trimaran_testkit::{Content, ImageMaker, Index, Outcome, Registry, command, run, skip};

const INSECURE: &str = "--tls-verify=false";

/// Ours under skopeo's name, and the real one.
struct Both {
    home: Home,
    ours: PathBuf,
}

impl Both {
    fn new() -> Both {
        let home = Home::new();
        let ours = home.path("skopeo");
        symlink(PROGRAM, &ours).unwrap();
        Both { home, ours }
    }

    #[track_caller]
    fn ours(&self, arguments: &[&str]) -> Outcome {
        let root = self.home.path("root");
        run(command(&self.ours, &self.home.path(""))
            .args(arguments)
            .env("TRIMARAN_ROOT", root))
    }

    #[track_caller]
    fn theirs(&self, arguments: &[&str]) -> Outcome {
        run(command("skopeo", &self.home.path("")).args(arguments))
    }
}

fn has_skopeo() -> bool {
    let has = Path::new("/usr/bin/skopeo").exists();
    if !has {
        skip("needs skopeo to compare with");
    }
    has
}

fn arm() -> trimaran_testkit::Image {
    ImageMaker::sample()
        .platform("linux", "arm64", Some("v8"))
        .make()
}

#[test]
fn output_has_the_same_shapes() {
    if !has_skopeo() {
        return;
    }
    let both = Both::new();
    let registry = Registry::start();
    let labels = json!({"org.example.key": "value"});
    let image = ImageMaker::sample()
        .env(&["A=b"])
        .setting("Labels", labels)
        .make();
    registry.add("a/b", "v1", &image);
    registry.add("a/b", "v2", &image);
    let (name, repository) = (
        registry.reference("a/b", "v1"),
        format!("docker://{}/a/b", registry.host()),
    );
    for arguments in [
        &["list-tags", INSECURE, &repository][..],
        &["inspect", INSECURE, "--raw", &name],
        &["inspect", INSECURE, "--config", "--raw", &name],
        &[
            "inspect",
            INSECURE,
            "--format",
            "{{.Name}} {{.Digest}} {{.Architecture}} {{.RepoTags}} {{.Labels}} {{.Env}}",
            &name,
        ],
        &[
            "inspect",
            INSECURE,
            "--format",
            "{{range .Layers}}{{.}} {{end}}",
            &name,
        ],
        &[
            "--override-os",
            "linux",
            "inspect",
            INSECURE,
            "--raw",
            &name,
        ],
    ] {
        let (ours, theirs) = (
            both.ours(arguments).expect_code(0),
            both.theirs(arguments).expect_code(0),
        );
        assert_eq!(ours.stdout, theirs.stdout, "{arguments:?}");
    }
    let object = |outcome: Outcome| -> Value {
        serde_json::from_str(&outcome.expect_code(0).stdout).unwrap()
    };
    let arguments = ["inspect", INSECURE, &name];
    let (mut ours, mut theirs) = (
        object(both.ours(&arguments)),
        object(both.theirs(&arguments)),
    );
    // Newer ones have it, Debian's has not.
    for one in [&mut ours, &mut theirs] {
        one.as_object_mut().unwrap().remove("LayersData");
    }
    assert_eq!(ours, theirs);
    let file = both.home.path("manifest.json");
    std::fs::write(&file, &image.root().bytes).unwrap();
    let arguments = ["manifest-digest", file.to_str().unwrap()];
    assert_eq!(
        both.ours(&arguments).stdout.trim(),
        both.theirs(&arguments).stdout.trim()
    );
}

#[test]
fn exit_codes_are_skopeos() {
    let both = Both::new();
    let registry = Registry::start();
    let missing = registry.reference("a", "nope");
    let layout = both.home.layout("l", "x");
    for (arguments, code) in [
        (&["inspect", INSECURE, &missing][..], 2),
        (&["copy", PLAIN[0], &missing, &layout], 2),
        (&["delete", INSECURE, &missing], 2),
        (&["inspect", "nope:x"], 1),
        (&["inspect"], 1),
        (&["frobnicate"], 1),
        (&["copy", "--format", "v2s1", &missing, &layout], 1),
        (
            &[
                "copy",
                "--preserve-digests",
                "--format",
                "oci",
                &missing,
                &layout,
            ],
            1,
        ),
        (&["--command-timeout", "soon", "inspect", &missing], 1),
        (&["manifest-digest", "/nonexistent"], 1),
        (&[], 0),
        (&["--version"], 0),
        (&["copy", "--help"], 0),
    ] {
        both.ours(arguments).expect_code(code);
    }
}

#[test]
fn one_platform_is_copied_unless_all_are_asked_for() {
    let both = Both::new();
    let registry = Registry::start();
    let (host, arm) = (ImageMaker::sample().make(), arm());
    let index = Index::new(vec![host.clone(), arm.clone()]);
    registry.add("a", "v", &index);
    registry.add("a", "arm", &arm);
    let from = registry.reference("a", "v");
    let copy = |flags: &[&str], from: &str, repository: &str| {
        let to = registry.reference(repository, "v");
        let words = [&["copy"][..], flags, &PLAIN, &[from, &to]].concat();
        assert_eq!(both.ours(&words).expect_code(0).stdout, "", "{flags:?}");
    };
    copy(&[], &from, "one");
    assert_holds(&registry, "one", "v", &host);
    copy(&["--all"], &from, "all");
    assert_holds(&registry, "all", "v", &index);
    copy(&["--override-arch", "arm64"], &from, "overridden");
    assert_holds(&registry, "overridden", "v", &arm);
    // What is no list is copied whatever it is for.
    copy(&[], &registry.reference("a", "arm"), "single");
    assert_holds(&registry, "single", "v", &arm);
    let digestfile = both.home.path("digest");
    copy(
        &["--digestfile", digestfile.to_str().unwrap()],
        &from,
        "digest",
    );
    assert_eq!(std::fs::read_to_string(digestfile).unwrap(), host.digest());
}

#[test]
fn deleting_takes_every_tag_of_the_manifest() {
    let both = Both::new();
    let registry = Registry::start();
    let image = ImageMaker::sample().make();
    registry.add("a", "v1", &image);
    registry.add("a", "v2", &image);
    both.ours(&["delete", INSECURE, &registry.reference("a", "v1")])
        .expect_code(0);
    assert!(registry.manifest("a", "v1").is_none() && registry.manifest("a", "v2").is_none());
}

#[test]
fn sync_makes_the_same_tree() {
    if !has_skopeo() {
        return;
    }
    let both = Both::new();
    let registry = Registry::start();
    for tag in ["v1", "v2"] {
        registry.add("team/app", tag, &ImageMaker::sample().env(&[tag]).make());
    }
    let repository = format!("{}/team/app", registry.host());
    let tree = |name: &str| {
        let path = both.home.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let (ours, theirs) = (tree("ours"), tree("theirs"));
    let words = |path: &Path| {
        let path = path.to_str().unwrap().to_owned();
        [
            "sync",
            PLAIN[0],
            "--src",
            "docker",
            "--dest",
            "dir",
            "--scoped",
            &repository,
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([path])
        .collect::<Vec<_>>()
    };
    let (mine, other) = (words(&ours), words(&theirs));
    both.ours(&mine.iter().map(String::as_str).collect::<Vec<_>>())
        .expect_code(0);
    both.theirs(&other.iter().map(String::as_str).collect::<Vec<_>>())
        .expect_code(0);
    let compared = run(command("diff", &both.home.path(""))
        .arg("-r")
        .arg(&ours)
        .arg(&theirs));
    assert_eq!((compared.expect_code(0).stdout).as_str(), "");
}
