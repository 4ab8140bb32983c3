//! `copy mutate` and `copy index` as a user types them.

use crate::tool::{Home, PLAIN};
use serde_json::{Value, json};
use trimaran_testkit::debian::Options;
use trimaran_testkit::{
    Content, DebianRegistry, ImageMaker, Index, Outcome, Packing, Registry, Tree, skip,
};

fn sample(architecture: &str) -> ImageMaker {
    ImageMaker::new()
        .platform("linux", architecture, None)
        .layer(&Tree::new().file("for", 0o644, architecture), Packing::Gzip)
        .setting("Labels", json!({"old": "1"}))
        .cmd(&["sh"])
}

/// Runs a verb with the flags that plain registries need.
fn call(home: &Home, verb: &[&str], arguments: &[&str]) -> Outcome {
    home.run(&[verb, &PLAIN[..], arguments].concat())
}

fn json_of(registry: &Registry, repository: &str, reference: &str) -> Value {
    serde_json::from_slice(&registry.manifest(repository, reference).unwrap().bytes).unwrap()
}

fn settings(registry: &Registry, reference: &str) -> Value {
    let manifest = json_of(registry, "image", reference);
    let digest = manifest["config"]["digest"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&registry.blob("image", digest).unwrap()).unwrap();
    config["config"].clone()
}

#[test]
fn every_flag_of_mutate_does_what_it_says() {
    let home = Home::new();
    let registry = Registry::start();
    let made = sample("amd64").make();
    registry.add("image", "v", &made);
    let there = registry.reference("image", "v");
    let flags = [
        "--label",
        "new=2",
        "-l",
        "old-",
        "-e",
        "A=b=c",
        "--entrypoint",
        r#"["/app", "--flag"]"#,
        "--cmd",
        "-v",
        "--cmd",
        "x y",
        "--user",
        "1000:1000",
        "--workdir",
        "/srv",
        "--expose",
        "80",
        "--expose",
        "53/udp",
        "--annotation",
        "org.example.a=b",
        &there,
    ];
    let done = call(&home, &["mutate"], &flags).expect_code(0);
    let new = registry.manifest("image", "v").unwrap().digest;
    assert_eq!(done.stdout, format!("{new}\n"));
    assert!(
        done.stderr
            .contains(&format!("changed: {} -> {new}", made.digest())),
        "{}",
        done.stderr
    );
    let expected = json!({
        "Labels": {"new": "2"},
        "Env": ["A=b=c"],
        "Entrypoint": ["/app", "--flag"],
        "Cmd": ["-v", "x y"],
        "User": "1000:1000",
        "WorkingDir": "/srv",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    });
    assert_eq!(settings(&registry, "v"), expected);
    assert_eq!(
        json_of(&registry, "image", "v")["annotations"],
        json!({"org.example.a": "b"})
    );
    // Taken away again, under another name, as JSON.
    let flags = [
        "--label",
        "new-",
        "--env",
        "A-",
        "--entrypoint",
        "",
        "--user",
        "",
        "--workdir",
        "",
        "--expose",
        "80-",
        "--annotation",
        "org.example.a-",
        "--format",
        "json",
        &there,
        &registry.reference("image", "w"),
    ];
    let done = call(&home, &["mutate"], &flags).expect_code(0);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["changes"][0]["old"], new);
    assert_eq!(
        settings(&registry, "w"),
        json!({"ExposedPorts": {"53/udp": {}}})
    );
    assert_eq!(json_of(&registry, "image", "w").get("annotations"), None);
    assert_eq!(
        registry.manifest("image", "v").unwrap().digest,
        new,
        "the source stays"
    );
}

#[test]
fn an_index_is_put_together_by_hand() {
    let Some(debian) = DebianRegistry::start(&Options::default()) else {
        return skip("needs docker-registry");
    };
    let home = Home::new();
    let (amd64, arm64) = (sample("amd64").make(), sample("arm64").make());
    let both = home.made(
        "both",
        "v",
        &Index::new(vec![sample("s390x").make(), sample("arm64").make()]),
    );
    let (one, two) = (debian.reference("one", "v"), debian.reference("two", "v"));
    home.copy(&[], &home.made("one", "v", &amd64), &one);
    home.copy(&[], &home.made("two", "v", &arm64), &two);
    let to = debian.reference("whole", "v");
    let read = || -> Value {
        let back = home.layout("read", "v");
        home.copy(&[], &to, &back);
        let raw = home.run(&["inspect", "--raw", &back]).expect_code(0).stdout;
        serde_json::from_str(&raw).unwrap()
    };
    let architectures = || -> Vec<String> {
        let name = |entry: &Value| {
            entry["platform"]["architecture"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        read()["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(name)
            .collect()
    };
    let made = [
        "--ref",
        &one,
        "--ref",
        &two,
        "--annotation",
        "org.example.a=b",
        &to,
    ];
    let made = call(&home, &["index", "create"], &made).expect_code(0);
    assert!(made.stdout.starts_with("sha256:"), "{}", made.stdout);
    assert_eq!(architectures(), ["amd64", "arm64"]);
    assert_eq!(read()["annotations"], json!({"org.example.a": "b"}));
    let message = call(&home, &["index", "add"], &[&to, &both])
        .expect_code(0)
        .stderr;
    assert!(
        message.contains("changed: "),
        "an equal image is there already: {message}"
    );
    assert_eq!(architectures(), ["amd64", "arm64", "s390x"]);
    call(
        &home,
        &["index", "remove"],
        &[&to, "linux/amd64", arm64.digest()],
    )
    .expect_code(0);
    assert_eq!(architectures(), ["s390x"]);
    let flags = [
        &to,
        "linux/s390x",
        "--annotation",
        "org.example.c=d",
        "--variant",
        "z15",
    ];
    call(&home, &["index", "annotate"], &flags).expect_code(0);
    let entry = &read()["manifests"][0];
    assert_eq!(entry["annotations"], json!({"org.example.c": "d"}));
    assert_eq!(entry["platform"]["variant"], "z15");
    let again = call(&home, &["index", "annotate"], &flags).expect_code(0);
    assert!(again.stderr.contains("has it already"), "{}", again.stderr);
}

#[test]
fn nonsense_is_refused() {
    let home = Home::new();
    let registry = Registry::start();
    registry.add("image", "v", &sample("amd64").make());
    let there = registry.reference("image", "v");
    let usage: [&[&str]; 14] = [
        &["mutate", &there],
        &["mutate", "--label", "x", &there],
        &["mutate", "--label", "=x", &there],
        &["mutate", "--env", "x", &there],
        &["mutate", "--entrypoint", "[1]", &there],
        &["mutate", "--platform", "linux", "--label", "a=b", &there],
        &["mutate", "--label", "a=b"],
        &["index"],
        &["index", "create"],
        &["index", "add", &there],
        &["index", "remove", &there],
        &["index", "remove", &there, "nonsense"],
        &["index", "annotate", &there],
        &["index", "annotate", &there, "--variant", "v8"],
    ];
    for arguments in usage {
        let failed = home.run(arguments).expect_code(2);
        assert_eq!(failed.stdout, "", "{arguments:?}");
    }
    let missing = registry.reference("image", "missing");
    let refused: [(&[&str], &[&str], &str); 7] = [
        (&["mutate"], &["--expose", "http", &there], "port"),
        (
            &["mutate"],
            &["--index-annotation", "a=b", &there],
            "not an index",
        ),
        (&["mutate"], &["--label", "a=b", &missing], "missing"),
        (
            &["mutate"],
            &["--label", "a=b", "--platform", "linux/mips", &there],
            "linux/amd64",
        ),
        (
            &["index", "remove"],
            &[&there, "linux/amd64"],
            "not an index",
        ),
        (&["index", "add"], &[&missing, &there], "missing"),
        (
            &["index", "create"],
            &["--ref", &missing, &there],
            "missing",
        ),
    ];
    for (verb, arguments, word) in refused {
        let failed = call(&home, verb, arguments).expect_code(125);
        assert!(
            failed.stderr.contains(word),
            "{word} is not in {}",
            failed.stderr
        );
        assert_eq!(failed.stdout, "");
    }
    assert_eq!(registry.count("PUT", "*"), 0);
}
