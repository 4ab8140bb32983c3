//! `login` and `logout`: what is stored, for whom, and that the field's tools agree.

use crate::tool::{Home, PROGRAM};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use trimaran_testkit::{
    Auth, DebianRegistry, ImageMaker, Outcome, Registry, command, debian::Options, run, skip,
};

fn basic() -> Registry {
    Registry::with_auth(Auth::Basic("user".into(), "se:cret".into()))
}

fn bearer() -> Registry {
    Registry::with_auth(Auth::Bearer("user".into(), "se:cret".into()))
}

/// The file `login` writes to.
fn stored(home: &Home) -> std::path::PathBuf {
    home.path("run/containers/auth.json")
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Logs in with the password on stdin.
fn login(home: &Home, registry: &str, password: &str, flags: &[&str]) -> Outcome {
    let given = home.path("password");
    std::fs::write(&given, format!("{password}\n")).unwrap();
    let fixed = [
        "login",
        "--tls-verify=false",
        "--username",
        "user",
        "--password-stdin",
    ];
    let mut command = home.command(&[&fixed[..], flags, &[registry]].concat());
    run_with_stdin(&mut command, &given)
}

fn run_with_stdin(command: &mut std::process::Command, file: &Path) -> Outcome {
    let output = command
        .stdin(std::fs::File::open(file).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    Outcome {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn what_was_verified_is_stored_and_used_and_forgotten() {
    let image = ImageMaker::sample().make();
    for registry in [basic(), bearer()] {
        let home = Home::new();
        registry.add("team/a", "v", &image);
        let (host, from) = (registry.host(), registry.reference("team/a", "v"));
        home.fail(&[], &from, &home.layout("no", "v"));

        let refused = login(&home, &host, "wrong", &[]).expect_code(125);
        assert!(
            refused.stderr.contains("does not accept the user \"user\""),
            "{}",
            refused.stderr
        );
        assert!(!refused.stderr.contains("wrong") && !stored(&home).exists());

        let done = login(&home, &host, "se:cret", &["--verbose"]).expect_code(0);
        assert_eq!(done.stdout, "Login Succeeded!\n");
        assert!(
            done.stderr.contains("unencrypted") && done.stderr.contains("auth.json"),
            "{}",
            done.stderr
        );
        assert_eq!(
            (mode(&stored(&home)), mode(stored(&home).parent().unwrap())),
            (0o600, 0o700)
        );
        home.copy(&[], &from, &home.layout("to", "v"));

        assert_eq!(
            home.run(&["login", "--get-login", &host])
                .expect_code(0)
                .stdout,
            "user\n"
        );
        let again = home
            .run(&["login", "--tls-verify=false", &host])
            .expect_code(0);
        assert!(
            again.stdout.contains("Already logged in"),
            "{}",
            again.stdout
        );

        home.run(&["logout", &host]).expect_code(0);
        let not = home.run(&["logout", &host]).expect_code(125);
        assert!(
            not.stderr.contains(&format!("not logged in to {host}")),
            "{}",
            not.stderr
        );
        home.run(&["login", "--get-login", &host]).expect_code(125);
        home.fail(&[], &from, &home.layout("no", "v"));
    }
}

#[test]
fn parts_of_a_registry_have_credentials_of_their_own() {
    let home = Home::new();
    let registry = basic();
    let image = ImageMaker::new().make();
    registry.add("team/a", "v", &image);
    registry.add("other/a", "v", &image);
    login(&home, &format!("{}/team", registry.host()), "se:cret", &[]).expect_code(0);
    home.copy(
        &[],
        &registry.reference("team/a", "v"),
        &home.layout("to", "v"),
    );
    home.fail(
        &[],
        &registry.reference("other/a", "v"),
        &home.layout("no", "v"),
    );
    home.run(&["logout", &registry.host()]).expect_code(125);
    home.run(&["logout", &format!("https://{}/team/", registry.host())])
        .expect_code(0);
}

#[test]
fn a_file_keeps_what_is_not_understood() {
    let home = Home::new();
    let registry = basic();
    let file = home.path("config.json");
    std::fs::write(
        &file,
        r#"{"psFormat": "table", "auths": {"b.org": {"auth": "dTpw", "x": 1}}}"#,
    )
    .unwrap();
    let link = home.path("link.json");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    login(
        &home,
        &registry.host(),
        "se:cret",
        &["--authfile", link.to_str().unwrap()],
    )
    .expect_code(0);
    assert!(
        link.is_symlink(),
        "what a link leads to is replaced, not the link"
    );
    assert_eq!(mode(&file), 0o600);
    let text = json(&file);
    assert_eq!(
        (&text["psFormat"], &text["auths"]["b.org"]["x"]),
        (&"table".into(), &1.into())
    );
    assert!(text["auths"][registry.host()]["auth"].is_string());

    home.run(&["logout", "--all", "--authfile", file.to_str().unwrap()])
        .expect_code(0);
    assert_eq!(
        json(&file),
        serde_json::json!({"psFormat": "table", "auths": {}})
    );

    // What cannot be read is not overwritten.
    std::fs::write(&file, "{ nonsense").unwrap();
    let broken = login(
        &home,
        &registry.host(),
        "se:cret",
        &["--authfile", file.to_str().unwrap()],
    )
    .expect_code(125);
    assert!(broken.stderr.contains("config.json"), "{}", broken.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ nonsense");
}

#[test]
fn logins_at_once_do_not_lose_each_other() {
    let home = Home::new();
    let registry = Registry::start();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let key = format!("{}/team{number}", registry.host());
            let flags = [
                "login",
                "--tls-verify=false",
                "-u",
                "user",
                "-p",
                "secret",
                &key,
            ];
            home.command(&flags)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(json(&stored(&home))["auths"].as_object().unwrap().len(), 8);
}

#[test]
fn command_lines_that_make_no_sense_store_nothing() {
    let home = Home::new();
    let registry = basic();
    let host = registry.host();
    let cases: [&[&str]; 8] = [
        &["login", "a.org/x:tag"],
        &["login", "-u", "user", "-p", "p", "nohost"],
        &["login", "-u", "us:er", "-p", "p", &host],
        &["login", "-u", "user", "-p", "", &host],
        &["login", &host],
        &["login", "-u", "user", &host],
        &["login", "--password-stdin", &host],
        &["logout"],
    ];
    for arguments in cases {
        home.run(arguments).expect_code(2);
    }
    assert!(!stored(&home).exists());
    assert_eq!(registry.requests(), []);
}

/// A helper that keeps its secrets in a directory.
fn helper(home: &Home) -> std::ffi::OsString {
    let (bin, kept) = (home.path("bin"), home.path("kept"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&kept).unwrap();
    let script = format!(
        r#"#!/bin/sh
input=$(cat)
case $1 in
store) printf '%s' "$input" > {0}/entry;;
get) [ -e {0}/entry ] && cat {0}/entry || {{ echo 'credentials not found in native keychain'; exit 1; }};;
erase) rm -f {0}/entry;;
esac
"#,
        kept.display()
    );
    let path = bin.join("docker-credential-test");
    trimaran_testkit::write_script(&path, &script);
    let mut path = bin.into_os_string();
    path.push(":/usr/bin:/bin");
    path
}

#[test]
fn a_helper_keeps_what_it_was_assigned() {
    let registry = bearer();
    let image = ImageMaker::new().make();
    registry.add("a", "v", &image);
    let host = registry.host();
    for file in [
        format!(r#"{{"credHelpers": {{"{host}": "test"}}}}"#),
        r#"{"credsStore": "test"}"#.to_owned(),
    ] {
        let home = Home::new();
        let path = helper(&home);
        std::fs::create_dir_all(stored(&home).parent().unwrap()).unwrap();
        std::fs::write(stored(&home), &file).unwrap();
        let run_with_path = |arguments: &[&str]| run(home.command(arguments).env("PATH", &path));
        let flags = [
            "login",
            "--tls-verify=false",
            "-u",
            "user",
            "-p",
            "se:cret",
            &host,
        ];
        let done = run_with_path(&flags).expect_code(0);
        assert!(!done.stderr.contains("unencrypted"), "{}", done.stderr);
        assert_eq!(
            std::fs::read_to_string(stored(&home)).unwrap(),
            file,
            "the file has no secret"
        );
        let entry = json(&home.path("kept/entry"));
        assert_eq!(
            (&entry["ServerURL"], &entry["Secret"]),
            (&host.as_str().into(), &"se:cret".into())
        );

        let (from, to) = (registry.reference("a", "v"), home.layout("to", "v"));
        run_with_path(&["--src-tls-verify=false", &from, &to]).expect_code(0);
        assert_eq!(
            run_with_path(&["login", "--get-login", &host])
                .expect_code(0)
                .stdout,
            "user\n"
        );
        run_with_path(&["logout", &host]).expect_code(0);
        assert!(!home.path("kept/entry").exists());
        run_with_path(&["logout", &host]).expect_code(125);
    }
}

/// What one tool has logged in to, the other can use and log out of.
#[test]
fn skopeo_and_we_share_logins() {
    let options = Options {
        user: Some(("user".to_owned(), "secret".to_owned())),
        ..Options::default()
    };
    let Some(registry) = DebianRegistry::start(&options) else {
        return skip("needs docker-registry and htpasswd");
    };
    if !Path::new("/usr/bin/skopeo").exists() {
        return skip("needs skopeo");
    }
    let home = Home::new();
    let host = registry.host();
    std::fs::create_dir_all(home.path("run")).unwrap();
    let skopeo = |arguments: &[&str]| {
        let mut skopeo = command("/usr/bin/skopeo", &home.path("."));
        run(skopeo
            .args(arguments)
            .env("XDG_RUNTIME_DIR", home.path("run")))
    };
    let source = home.made("image", "v", &ImageMaker::new().make());
    let there = registry.reference("a", "v");
    for ours_first in [true, false] {
        if ours_first {
            login(&home, &host, "secret", &[]).expect_code(0);
        } else {
            skopeo(&[
                "login",
                "--tls-verify=false",
                "-u",
                "user",
                "-p",
                "secret",
                &host,
            ])
            .expect_code(0);
        }
        assert_eq!(
            skopeo(&["login", "--get-login", &host])
                .expect_code(0)
                .stdout
                .trim(),
            "user"
        );
        assert_eq!(
            home.run(&["login", "--get-login", &host])
                .expect_code(0)
                .stdout
                .trim(),
            "user"
        );
        home.copy(&[], &source, &there);
        skopeo(&["inspect", "--tls-verify=false", &there]).expect_code(0);
        if ours_first {
            skopeo(&["logout", &host]).expect_code(0);
        } else {
            home.run(&["logout", &host]).expect_code(0);
        }
        home.fail(&[], &source, &there);
        assert_ne!(skopeo(&["inspect", "--tls-verify=false", &there]).code(), 0);
    }
    assert!(Path::new(PROGRAM).exists());
}

#[test]
fn docker_s_file_is_written_in_docker_s_way() {
    let home = Home::new();
    let registry = basic();
    let file = home.path(".docker/config.json");
    let flags = ["--compat-auth-file", file.to_str().unwrap()];
    login(&home, &registry.host(), "se:cret", &flags).expect_code(0);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(
        home.run(&["login", "--get-login", &registry.host()])
            .expect_code(0)
            .stdout,
        "user\n"
    );
    let part = format!("{}/team", registry.host());
    login(&home, &part, "se:cret", &flags).expect_code(2);
    home.run(&[
        "logout",
        "--compat-auth-file",
        file.to_str().unwrap(),
        &registry.host(),
    ])
    .expect_code(0);
}
