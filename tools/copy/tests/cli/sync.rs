//! `copy sync`, alone and beside skopeo.

use crate::tool::{Home, PLAIN, assert_holds, assert_layout_holds};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use trimaran_testkit::{
    Content, DebianRegistry, Fault, Image, ImageMaker, Layout, Outcome, Packing, Registry, Rule,
    Tree, debian, run, skip,
};

fn image(name: &str) -> Image {
    ImageMaker::sample()
        .layer(&Tree::new().file("name", 0o644, name), Packing::Gzip)
        .make()
}

/// A registry whose repository `team/app` has these tags.
fn source(tags: &[&str]) -> Registry {
    let registry = Registry::start();
    for tag in tags {
        registry.add("team/app", tag, &image(tag));
    }
    registry
}

fn sync(home: &Home, arguments: &[&str]) -> Outcome {
    home.run(&[&["sync"], &PLAIN[..], arguments].concat())
}

fn report(home: &Home, arguments: &[&str], code: i32) -> Value {
    let done = sync(home, &[&["--output", "json"], arguments].concat()).expect_code(code);
    serde_json::from_str(&done.stdout).unwrap()
}

/// `outcome tag` of each image.
fn outcomes(report: &Value) -> Vec<String> {
    let images = report["images"].as_array().unwrap().iter();
    images
        .map(|image| {
            let from = image["from"].as_str().unwrap();
            let tag = from.rsplit(':').next().unwrap();
            format!("{} {tag}", image["outcome"].as_str().unwrap())
        })
        .collect()
}

fn below(registry: &Registry) -> String {
    format!("docker://{}/mirror", registry.host())
}

fn from(registry: &Registry) -> String {
    format!("docker://{}/team/app", registry.host())
}

#[test]
fn a_selection_goes_and_a_second_run_is_heads() {
    let home = Home::new();
    let tags = ["v1.0", "v1.1", "v1.2-rc1", "v1.2", "v2.0", "latest"];
    let (source, to) = (source(&tags), Registry::start());
    for (flags, expected) in [
        (&["--semver", "^1.1"][..], &["v1.1", "v1.2"][..]),
        (&["--tag", "latest,v2.0"], &["latest", "v2.0"]),
        (&["--tag-regex", "1\\.[01]"], &["v1.0", "v1.1"]),
        (
            &["--allow", "v1.*", "--deny", "*-rc*", "--newest", "2"],
            &["v1.2", "v1.1"],
        ),
        (
            &["--deny", "/rc|latest/"],
            &["v1.0", "v1.1", "v1.2", "v2.0"],
        ),
        (&[], &["latest", "v1.0", "v1.1", "v1.2", "v1.2-rc1", "v2.0"]),
    ] {
        let report = report(
            &home,
            &[flags, &["--dry-run", &from(&source), &below(&to)]].concat(),
            0,
        );
        let found: Vec<String> = outcomes(&report);
        let expected: Vec<String> = expected
            .iter()
            .map(|tag| format!("would-copy {tag}"))
            .collect();
        assert_eq!(found, expected, "{flags:?}");
        assert_eq!(report["dryRun"], true);
    }
    assert!(
        to.requests()
            .iter()
            .all(|request| matches!(request.method.as_str(), "HEAD" | "GET"))
    );

    let copied = sync(&home, &[&from(&source), &below(&to)]).expect_code(0);
    assert_eq!(copied.stdout, "");
    assert!(
        copied.stderr.contains("6 images") && copied.stderr.contains("6 copied"),
        "{}",
        copied.stderr
    );
    for tag in tags {
        assert_holds(&to, "mirror/app", tag, &image(tag));
    }
    for registry in [&source, &to] {
        registry.forget_requests();
    }
    let again = report(&home, &[&from(&source), &below(&to)], 0);
    assert_eq!(again["totals"]["unchanged"], 6);
    assert_eq!(again["totals"]["requests"], 13);
    let all: Vec<String> = source
        .requests()
        .into_iter()
        .chain(to.requests())
        .filter(|request| request.path != "/v2/")
        .map(|request| request.method)
        .collect();
    assert_eq!(
        (
            all.len(),
            all.iter().filter(|method| *method == "HEAD").count()
        ),
        (13, 12)
    );
}

#[test]
fn a_dry_run_prints_what_would_be_copied() {
    let home = Home::new();
    let (source, to) = (source(&["a", "b"]), Registry::start());
    to.add("mirror/app", "a", &image("a"));
    let done = sync(&home, &["--dry-run", &from(&source), &below(&to)]).expect_code(0);
    assert_eq!(
        done.stdout,
        format!("{}:b -> {}/app:b\n", from(&source), below(&to))
    );
    assert!(
        done.stderr.contains("1 would be copied, 1 unchanged"),
        "{}",
        done.stderr
    );
    let quiet = sync(
        &home,
        &["--quiet", "--dry-run", &from(&source), &below(&to)],
    )
    .expect_code(0);
    assert_eq!((quiet.stdout, quiet.stderr.as_str()), (done.stdout, ""));
}

#[test]
fn a_failure_is_told_and_ends_with_125() {
    let home = Home::new();
    let (source, to) = (source(&["a", "b", "c", "d"]), Registry::start());
    source.fault(Rule::any("*/manifests/b").fault(Fault::Status(403)));
    let stopped = sync(&home, &["--parallel", "1", &from(&source), &below(&to)]).expect_code(125);
    assert!(
        stopped.stderr.contains("2 not tried") && stopped.stderr.contains("--keep-going"),
        "{}",
        stopped.stderr
    );
    assert!(
        stopped.stderr.contains("failed docker://") && stopped.stderr.contains("403"),
        "{}",
        stopped.stderr
    );
    assert_eq!(to.manifest("mirror/app", "c"), None);
    let report = report(&home, &["--keep-going", &from(&source), &below(&to)], 125);
    assert_eq!(
        outcomes(&report),
        ["unchanged a", "failed b", "copied c", "copied d"]
    );
    assert_eq!(report["images"][1]["error"]["kind"], "denied");
    let quiet = sync(&home, &["-q", "--keep-going", &from(&source), &below(&to)]).expect_code(125);
    assert!(
        quiet.stderr.contains("failed docker://"),
        "what fails is told also when quiet: {}",
        quiet.stderr
    );
    source.heal();
    let healed = sync(&home, &[&from(&source), &below(&to)]).expect_code(0);
    assert!(
        healed.stderr.contains("1 copied, 3 unchanged"),
        "{}",
        healed.stderr
    );

    let nowhere = sync(
        &home,
        &[&format!("docker://{}/nobody", source.host()), &below(&to)],
    )
    .expect_code(125);
    assert!(nowhere.stderr.contains("nobody"), "{}", nowhere.stderr);
}

#[test]
fn moved_and_immutable_tags() {
    let home = Home::new();
    let (source, to) = (source(&["v1", "latest"]), Registry::start());
    let digests = home.path("digests");
    let line = [
        "--digestfile",
        digests.to_str().unwrap(),
        &from(&source),
        &below(&to),
    ];
    sync(&home, &line).expect_code(0);
    source.add("team/app", "v1", &image("moved"));
    source.add("team/app", "latest", &image("moved"));
    source.forget_requests();
    let report = report(&home, &[&["--immutable-tags", "v*"], &line[..]].concat(), 0);
    assert_eq!(outcomes(&report), ["copied latest", "immutable v1"]);
    assert_eq!(source.count("HEAD", "*/manifests/v1"), 0);
    assert_holds(&to, "mirror/app", "v1", &image("v1"));
    assert_holds(&to, "mirror/app", "latest", &image("moved"));
    let line = format!("{} {}/app:latest\n", image("moved").digest(), below(&to));
    assert_eq!(std::fs::read_to_string(&digests).unwrap(), line);
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let home = Home::new();
    let (source, to) = (source(&["a", "b", "c"]), Registry::start());
    let own = image("b").layers.last().unwrap().blob.digest.clone();
    source.fault(Rule::get(&format!("*/blobs/{own}")).fault(Fault::Stall(10)));
    let (one, other) = (from(&source), below(&to));
    let line = [&["sync", "--parallel", "1"], &PLAIN[..], &[&one, &other]].concat();
    let mut child = home
        .command(&line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while source.count("GET", &format!("*/blobs/{own}")) < 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    child.wait().unwrap();
    assert_holds(&to, "mirror/app", "a", &image("a"));
    assert_eq!(to.manifest("mirror/app", "b"), None);
    source.heal();
    source.forget_requests();
    let report = report(&home, &[&from(&source), &below(&to)], 0);
    assert_eq!(outcomes(&report), ["unchanged a", "copied b", "copied c"]);
    let base = &ImageMaker::sample().make().layers[0].blob.digest;
    assert_eq!(
        source.count("GET", &format!("*/blobs/{base}")),
        0,
        "what the first run brought is not fetched again"
    );
    assert_holds(&to, "mirror/app", "b", &image("b"));
}

#[test]
fn files_say_what_is_meant() {
    let home = Home::new();
    let (source, to) = (source(&["1.0", "1.1", "2.0"]), Registry::start());
    source.add("team/tool", "x", &image("x"));
    let file = home.path("sync.yml");
    let path = file.to_str().unwrap();
    let host = source.host();
    std::fs::write(
        &file,
        format!("{host}:\n  tls-verify: false\n  images-by-semver:\n    team/app: '>=1.1'\n  images:\n    team/tool: []\n"),
    )
    .unwrap();
    // The file's own word about TLS is for the source alone.
    let line = ["sync", "--dest-tls-verify=false", "--output", "json"];
    let place = format!("{}/mirror", to.host());
    let skopeos = [
        &line[..],
        &["--src", "yaml", "--dest", "docker", path, &place],
    ]
    .concat();
    let done = home.run(&skopeos).expect_code(0);
    let mut found = outcomes(&serde_json::from_str(&done.stdout).unwrap());
    found.sort();
    assert_eq!(found, ["copied 1.1", "copied 2.0", "copied x"]);

    std::fs::write(
        &file,
        format!(
            "version: 1\nregistries: {{\"{host}\": {{tls-verify: false}}}}\nsync:\n- source: docker://{host}/team/app\n  target: docker://{}/apps/one\n  newest: 1\n- source: docker://{host}/team/tool\n",
            to.host()
        ),
    )
    .unwrap();
    let yaml = format!("yaml:{path}");
    let missing = home.run(&[&line[..], &[&yaml]].concat()).expect_code(125);
    assert!(missing.stderr.contains("team/tool"), "{}", missing.stderr);
    home.run(&[&line[..], &[&yaml, &below(&to)]].concat())
        .expect_code(0);
    assert_holds(&to, "apps/one", "2.0", &image("2.0"));
    assert_holds(&to, "mirror/tool", "x", &image("x"));

    std::fs::write(
        &file,
        "version: 1\nsync:\n- source: a/b\n  semver: latest\n",
    )
    .unwrap();
    let wrong = home.run(&["sync", &yaml, &below(&to)]).expect_code(125);
    assert!(
        wrong.stderr.contains(&format!("{path}:4:")) && wrong.stderr.contains("semver"),
        "{}",
        wrong.stderr
    );
    let absent = home
        .run(&["sync", "yaml:/nowhere.yml", &below(&to)])
        .expect_code(125);
    assert!(absent.stderr.contains("/nowhere.yml"), "{}", absent.stderr);
}

#[test]
fn everything_of_a_registry() {
    let home = Home::new();
    let (source, to) = (source(&["a"]), Registry::start());
    source.add("team/tool", "x", &image("x"));
    source.add("private/key", "k", &image("k"));
    let (all, place) = (format!("docker://{}", source.host()), below(&to));
    let report = report(
        &home,
        &["--all-repositories", "--repository", "team/*", &all, &place],
        0,
    );
    assert_eq!(outcomes(&report), ["copied a", "copied x"]);
    assert_holds(&to, "mirror/tool", "x", &image("x"));
    assert_eq!(to.manifest("mirror/key", "k"), None);
}

#[test]
fn layouts_and_directories() {
    let home = Home::new();
    let source = source(&["a", "b"]);
    let to = |kind: &str, name: &str| format!("{kind}:{}", home.path(name).display());
    for (flags, kind, name) in [
        (&[][..], "oci", "layouts"),
        (&["--one-layout"], "oci", "layout"),
        (&["--scoped"], "dir", "dirs"),
    ] {
        let (one, other) = (from(&source), to(kind, name));
        let line = [flags, &[&one, &other]].concat();
        assert_eq!(report(&home, &line, 0)["totals"]["copied"], 2, "{name}");
        assert_eq!(report(&home, &line, 0)["totals"]["unchanged"], 2, "{name}");
    }
    assert_layout_holds(&Layout::open(&home.path("layouts/app")), "a", &image("a"));
    assert_layout_holds(&Layout::open(&home.path("layout")), "app:b", &image("b"));
    let tree = home.path(&format!("dirs/{}/team/app:b", source.host()));
    assert!(tree.join("manifest.json").is_file());
    let back = home.copy(
        &[],
        &format!("dir:{}", tree.display()),
        &home.layout("back", "v"),
    );
    assert_eq!(back, image("b").digest());
}

#[test]
fn command_lines_that_make_no_sense() {
    let home = Home::new();
    for line in [
        &["docker://a/b"][..],
        &["a/b", "docker://c"],
        &["docker://a/B", "docker://c"],
        &["docker://a/b", "c"],
        &["docker://a/b", "store:c"],
        &["--src", "docker", "a/b", "c"],
        &["--src", "tape", "--dest", "docker", "a", "b"],
        &["--semver", "latest", "docker://a/b", "docker://c"],
        &["--tag-regex", "(", "docker://a/b", "docker://c"],
        &["--deny", "[", "docker://a/b", "docker://c"],
        &["--newest-by", "created", "docker://a/b", "docker://c"],
        &["--repository", "x", "docker://a/b", "docker://c"],
        &[
            "--all-repositories",
            "docker://a.example.com/b",
            "docker://c",
        ],
        &["--all-repositories", "dir:/x", "docker://c"],
        &["--exact", "docker://a/b", "dir:/c"],
        &["--exact", "docker://a/b", "docker://c/d:1"],
        &["--exact", "dir:/x", "docker://c/d"],
        &["--newest", "3", "yaml:/x.yml", "docker://c"],
        &["--parallel", "0", "docker://a/b", "docker://c"],
    ] {
        let outcome = home.run(&[&["sync"], line].concat()).expect_code(2);
        assert!(
            outcome.stdout.is_empty() && !outcome.stderr.is_empty(),
            "{line:?}"
        );
    }
}

/// The tags below a repository of Debian's registry, as our own tool lists them.
fn tags(home: &Home, registry: &DebianRegistry, repository: &str) -> String {
    let listed = home.run(&[
        "list-tags",
        "--tls-verify=false",
        &registry.reference(repository, "x"),
    ]);
    if listed.code() == 0 {
        listed.stdout.replace('\n', " ")
    } else {
        "none".to_owned()
    }
}

fn skopeo(home: &Home, arguments: &[&str]) -> Option<Outcome> {
    let program = Path::new("/usr/bin/skopeo");
    if !program.exists() {
        return None;
    }
    let mut command = trimaran_testkit::command(program.to_str()?, &home.path("."));
    command.env("XDG_RUNTIME_DIR", home.path("run"));
    command.args(["--insecure-policy"]).args(arguments);
    Some(run(&mut command))
}

#[test]
fn skopeos_yaml_means_the_same_to_both() {
    let start = || DebianRegistry::start(&debian::Options::default());
    let (Some(source), Some(ours), Some(theirs)) = (start(), start(), start()) else {
        return skip("needs docker-registry");
    };
    let home = Home::new();
    for (path, tags) in [
        ("busybox", &["1.0", "latest"][..]),
        ("library/redis", &["1.0", "2.0", "3.0"]),
        (
            "nginx",
            &[
                "1.13.1-alpine-perl",
                "1.13.2-alpine-perl",
                "1.13.2-alpine",
                "1.14",
            ],
        ),
        ("coreos/etcd", &["latest", "v3"]),
    ] {
        for tag in tags {
            let made = home.made(
                &path.replace('/', "-"),
                tag,
                &image(&format!("{path} {tag}")),
            );
            home.copy(&[], &made, &source.reference(path, tag));
        }
    }
    let digest = image("library/redis 3.0").digest().to_owned();
    let text = format!(
        "{}:\n    images:\n        busybox: []\n        library/redis:\n            - \"1.0\"\n            - \"{digest}\"\n        coreos/etcd:\n            - latest\n    images-by-tag-regex:\n        nginx: ^1\\.13\\.[12]-alpine-perl$\n    tls-verify: false\n",
        source.host(),
    );
    let file = home.path("sync.yml");
    std::fs::write(&file, text).unwrap();
    for scoped in [&[][..], &["--append-suffix", "-new"]] {
        // Older skopeos have no suffix; a digest takes none.
        if scoped.is_empty() {
            let flags = [
                "sync",
                "--src",
                "yaml",
                "--dest",
                "docker",
                "--all",
                "--dest-tls-verify=false",
            ];
            let place = format!("{}/mirror", theirs.host());
            let Some(done) = skopeo(
                &home,
                &[&flags[..], &[file.to_str().unwrap(), &place]].concat(),
            ) else {
                return skip("needs skopeo");
            };
            done.expect_code(0);
        }
        let place = format!("{}/mirror", ours.host());
        let flags = [&["--src", "yaml", "--dest", "docker"], scoped].concat();
        sync(
            &home,
            &[&flags[..], &[file.to_str().unwrap(), &place]].concat(),
        )
        .expect_code(0);
    }
    for repository in ["busybox", "redis", "nginx", "etcd"] {
        let path = format!("mirror/{repository}");
        let without_ours: String = tags(&home, &ours, &path)
            .split_inclusive(' ')
            .filter(|tag| !tag.contains("-new"))
            .collect();
        assert_eq!(without_ours, tags(&home, &theirs, &path), "{repository}");
    }
    let by_digest =
        |registry: &DebianRegistry| format!("docker://{}/mirror/redis@{digest}", registry.host());
    for registry in [&ours, &theirs] {
        home.run(&[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &by_digest(registry),
        ])
        .expect_code(0);
    }
}

#[test]
fn directories_are_read_by_both() {
    let start = || DebianRegistry::start(&debian::Options::default());
    let (Some(source), Some(target)) = (start(), start()) else {
        return skip("needs docker-registry");
    };
    let home = Home::new();
    for tag in ["1.0", "2.0"] {
        let made = home.made("layout", tag, &image(tag));
        home.copy(&[], &made, &source.reference("team/app", tag));
    }
    let (ours, theirs) = (home.path("ours"), home.path("theirs"));
    let (ours, theirs) = (ours.to_str().unwrap(), theirs.to_str().unwrap());
    let repository = format!("{}/team/app", source.host());
    for scoped in [false, true] {
        let flags = if scoped { &["--scoped"][..] } else { &[] };
        let line = [
            &[
                "sync",
                "--src",
                "docker",
                "--dest",
                "dir",
                "--all",
                "--src-tls-verify=false",
            ],
            flags,
            &[&repository, theirs],
        ]
        .concat();
        let Some(done) = skopeo(&home, &line) else {
            return skip("needs skopeo");
        };
        done.expect_code(0);
        let line = [
            &["--src", "docker", "--dest", "dir"],
            flags,
            &[&repository, ours],
        ]
        .concat();
        sync(&home, &line).expect_code(0);
    }
    let tree = |root: &str| {
        let listed = run(trimaran_testkit::command("/usr/bin/find", &home.path("."))
            .args([root, "-type", "f", "-printf", "%P %s\n"]));
        let mut lines: Vec<String> = listed
            .stdout
            .lines()
            .filter(|line| !line.contains("/version "))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(
        tree(ours),
        tree(theirs),
        "the same files with the same sizes"
    );

    // Each tool reads what the other has written.
    let line = [
        "sync",
        "--src",
        "dir",
        "--dest",
        "docker",
        "--all",
        "--dest-tls-verify=false",
    ];
    let place = |name: &str| format!("{}/{name}", target.host());
    skopeo(
        &home,
        &[&line[..], &["--scoped", ours, &place("a")]].concat(),
    );
    let plain = ["--src", "dir", "--dest", "docker"];
    sync(
        &home,
        &[&plain[..], &[&format!("{theirs}/app:1.0"), &place("b")]].concat(),
    )
    .expect_code(0);
    assert_eq!(tags(&home, &target, "b/app"), "1.0 ");
    let done = skopeo(
        &home,
        &[&line[..], &[&format!("{ours}/app:2.0"), &place("c")]].concat(),
    )
    .unwrap();
    done.expect_code(0);
    assert_eq!(tags(&home, &target, "c/app"), "2.0 ");
    let digest = |path: &str, tag: &str| {
        home.copy(
            &[],
            &target.reference(path, tag),
            &home.layout("digests", tag),
        )
    };
    assert_eq!(digest("b/app", "1.0"), image("1.0").digest());
    assert_eq!(digest("c/app", "2.0"), image("2.0").digest());
}
