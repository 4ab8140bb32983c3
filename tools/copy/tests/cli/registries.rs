//! The machine's configuration as the tool finds it: registries.conf, certificates, proxies.

use crate::tool::{Home, assert_holds};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use trimaran_testkit::{Auth, DebianRegistry, ImageMaker, Registry, debian::Options, run, skip};

const MISSING: &str = "needs docker-registry and openssl";

fn write(home: &Home, path: &str, text: &str) -> String {
    let path = home.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn registries_conf_is_found_where_the_field_keeps_it() {
    let (mirror, to) = (Registry::start(), Registry::start());
    let image = ImageMaker::sample().make();
    mirror.add("copy/a", "v", &image);
    let conf = format!(
        "[[registry]]\nlocation = 'registry.invalid'\n[[registry.mirror]]\nlocation = '{}/copy'\ninsecure = true\n\
         [[registry]]\nlocation = '{}'\ninsecure = true\n",
        mirror.host(),
        to.host()
    );
    let from = "docker://registry.invalid/a:v";
    let there = to.reference("a", "v");
    let user_file = ".config/containers/registries.conf";
    for place in [
        "flag",
        "variable",
        user_file,
        ".config/containers/registries.conf.d/50-test.conf",
    ] {
        let home = Home::new();
        let path = write(
            &home,
            if place.starts_with('.') {
                place
            } else {
                "named.conf"
            },
            &conf,
        );
        let flags: &[&str] = if place == "flag" {
            &["--registries-conf", &path]
        } else {
            &[]
        };
        let mut command = home.command(&[flags, &[from, &there]].concat());
        if place == "variable" {
            command.env("CONTAINERS_REGISTRIES_CONF", &path);
        }
        run(&mut command).expect_code(0);
        assert_holds(&to, "a", "v", &image);
        to.forget_requests();
    }
    // Every verb reads it.
    let home = Home::new();
    write(&home, user_file, &conf);
    home.run(&["inspect", from]).expect_code(0);

    // The flag's file is the only one; a file with a mistake is named, and stops everything.
    let empty = write(&home, "empty.conf", "");
    home.run(&[
        "--retry-times",
        "0",
        "--registries-conf",
        &empty,
        from,
        &there,
    ])
    .expect_code(125);
    let broken = write(
        &home,
        "broken.conf",
        "[[registry]]\nlocation = 'https://a.org'",
    );
    let told = home
        .run(&["--registries-conf", &broken, from, &there])
        .expect_code(125);
    assert!(
        told.stderr.contains("broken.conf") && told.stderr.contains("https://a.org"),
        "{}",
        told.stderr
    );
    let missing = home
        .run(&["--registries-conf", "/nonexistent.conf", from, &there])
        .expect_code(125);
    assert!(
        missing.stderr.contains("/nonexistent.conf"),
        "{}",
        missing.stderr
    );
}

#[test]
fn blocked_registries_are_refused_by_every_verb() {
    let home = Home::new();
    let registry = Registry::start();
    registry.add("a", "v", &ImageMaker::new().make());
    let conf = format!(
        "[[registry]]\nlocation = '{}'\nblocked = true",
        registry.host()
    );
    write(&home, ".config/containers/registries.conf", &conf);
    let there = registry.reference("a", "v");
    for arguments in [
        &["--src-tls-verify=false", &there, &home.layout("to", "v")][..],
        &["inspect", "--tls-verify=false", &there],
        &["list-tags", "--tls-verify=false", &there],
        &[
            "login",
            "--tls-verify=false",
            "-u",
            "u",
            "-p",
            "p",
            &registry.host(),
        ],
    ] {
        let told = home.run(arguments).expect_code(125);
        assert!(
            told.stderr.contains("blocks"),
            "{arguments:?}: {}",
            told.stderr
        );
    }
    assert_eq!(registry.requests(), []);
}

#[test]
fn certificates_are_for_their_host() {
    let start = |client_ca| {
        DebianRegistry::start(&Options {
            tls: true,
            client_ca,
            ..Options::default()
        })
    };
    let (Some(plain), Some(mutual), Some(other)) = (start(false), start(true), start(true)) else {
        return skip(MISSING);
    };
    let home = Home::new();
    let image = home.made("image", "v", &ImageMaker::sample().make());
    let untrusted = home
        .run(&["--retry-times", "0", &image, &plain.reference("a", "v")])
        .expect_code(125);
    assert!(
        untrusted.stderr.contains("not trusted"),
        "{}",
        untrusted.stderr
    );

    // By directory of the user.
    let place = format!(".config/containers/certs.d/{}", plain.host());
    let certificate = std::fs::read_to_string(plain.certificate()).unwrap();
    write(&home, &format!("{place}/ca.crt"), &certificate);
    home.run(&[&image, &plain.reference("a", "v")])
        .expect_code(0);
    home.run(&[&plain.reference("a", "v"), &home.layout("1", "v")])
        .expect_code(0);

    // By flag, with a client's certificate; both ways, so also downloads show it.
    let directory = mutual.client_certificates();
    let directory = directory.to_str().unwrap();
    let there = mutual.reference("a", "v");
    home.run(&["--dest-cert-dir", directory, &image, &there])
        .expect_code(0);
    home.run(&["--src-cert-dir", directory, &there, &home.layout("2", "v")])
        .expect_code(0);
    home.run(&["inspect", "--cert-dir", directory, &there])
        .expect_code(0);
    let nothing_shown = [
        "--retry-times",
        "0",
        "--src-tls-verify=false",
        &there,
        &home.layout("3", "v"),
    ];
    home.run(&nothing_shown).expect_code(125);
    // Another registry's authority does not vouch for it.
    let foreign = other.client_certificates();
    home.run(&[
        "--retry-times",
        "0",
        "--src-cert-dir",
        foreign.to_str().unwrap(),
        &there,
        &home.layout("3", "v"),
    ])
    .expect_code(125);

    // Mistakes are named.
    let lonely = write(&home, "lonely/client.cert", &certificate);
    let told = home
        .run(&[
            "--src-cert-dir",
            home.path("lonely").to_str().unwrap(),
            &there,
            &home.layout("3", "v"),
        ])
        .expect_code(125);
    assert!(
        told.stderr.contains(&lonely) && told.stderr.contains("client.key"),
        "{}",
        told.stderr
    );
    write(&home, "broken/ca.crt", "nonsense");
    let told = home
        .run(&[
            "--src-cert-dir",
            home.path("broken").to_str().unwrap(),
            &there,
            &home.layout("3", "v"),
        ])
        .expect_code(125);
    assert!(told.stderr.contains("broken/ca.crt"), "{}", told.stderr);
    let told = home
        .run(&[
            "--src-cert-dir",
            "/nonexistent",
            &there,
            &home.layout("3", "v"),
        ])
        .expect_code(125);
    assert!(told.stderr.contains("/nonexistent"), "{}", told.stderr);
}

/// Passes connections on, and remembers where to.
struct Proxy {
    address: String,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&targets);
        // It ends with the process; connections end with their clients.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(client, &seen));
            }
        });
        Self { address, targets }
    }

    fn targets(&self) -> Vec<String> {
        std::mem::take(&mut self.targets.lock().unwrap())
    }
}

/// Answers CONNECT; a client that breaks off is its own business.
fn serve(mut client: TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    seen.lock().unwrap().push(target.clone());
    let mut server = TcpStream::connect(&target).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        std::io::copy(&mut from_client, &mut to_server).ok();
        to_server.shutdown(Shutdown::Write).ok();
    });
    std::io::copy(&mut server, &mut client).ok();
    client.shutdown(Shutdown::Write).ok()
}

#[test]
fn proxies_of_the_environment_are_used() {
    let Some(registry) = DebianRegistry::start(&Options {
        tls: true,
        ..Options::default()
    }) else {
        return skip(MISSING);
    };
    let home = Home::new();
    let proxy = Proxy::start();
    let certificate = std::fs::read_to_string(registry.certificate()).unwrap();
    write(
        &home,
        &format!(".config/containers/certs.d/{}/ca.crt", registry.host()),
        &certificate,
    );
    let image = home.made("image", "v", &ImageMaker::sample().make());
    let there = registry.reference("a", "v");
    let run_with = |variables: &[(&str, &str)], from: &str, to: &str| {
        run(home
            .command(&["--retry-times", "0", from, to])
            .envs(variables.iter().copied()))
    };
    run_with(&[("HTTPS_PROXY", &proxy.address)], &image, &there).expect_code(0);
    let (seen, host) = (proxy.targets(), registry.host());
    assert!(
        !seen.is_empty() && seen.iter().all(|target| *target == host),
        "{seen:?}"
    );
    run_with(
        &[("https_proxy", &proxy.address)],
        &there,
        &home.layout("1", "v"),
    )
    .expect_code(0);
    assert!(!proxy.targets().is_empty());
    let except = [
        ("HTTPS_PROXY", proxy.address.as_str()),
        ("NO_PROXY", "127.0.0.1,example.org"),
    ];
    run_with(&except, &there, &home.layout("2", "v")).expect_code(0);
    assert_eq!(proxy.targets(), Vec::<String>::new());
    // A proxy that is not there is not gone around.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    run_with(
        &[("HTTPS_PROXY", &format!("http://{closed}"))],
        &there,
        &home.layout("3", "v"),
    )
    .expect_code(125);
}

#[test]
fn flags_say_who_we_are_at_each_end() {
    let home = Home::new();
    let image = ImageMaker::new().make();
    let locked = || Registry::with_auth(Auth::Basic("user".into(), "se:cret".into()));
    let (from, to) = (locked(), locked());
    from.add("a", "v", &image);
    let (there, here) = (from.reference("a", "v"), to.reference("b", "v"));
    let file = |registry: &Registry| {
        format!(
            r#"{{"auths": {{"{}": {{"auth": "dXNlcjpzZTpjcmV0"}}}}}}"#,
            registry.host()
        )
    };
    let (one, two) = (
        write(&home, "1.json", &file(&from)),
        write(&home, "2.json", &file(&to)),
    );
    home.copy(
        &["--src-authfile", &one, "--dest-authfile", &two],
        &there,
        &here,
    );
    home.copy(
        &[
            "--src-username",
            "user",
            "--src-password",
            "se:cret",
            "--dest-creds",
            "user:se:cret",
        ],
        &there,
        &here,
    );
    home.fail(
        &["--authfile", &one, "--src-no-creds"],
        &there,
        &home.layout("no", "v"),
    );
    home.fail(&["--src-authfile", &two], &there, &home.layout("no", "v"));
    for flags in [
        &["--src-username", "user"][..],
        &["--src-password", "p"],
        &["--src-creds", "user"],
        &["--src-creds", "a:b", "--src-no-creds"],
        &["--src-registry-token", "t", "--src-username", "user"],
    ] {
        home.run(&[flags, &[&there, &here]].concat()).expect_code(2);
    }
    let bearer = Registry::with_auth(Auth::Bearer("user".into(), "se:cret".into()));
    bearer.add("a", "v", &image);
    home.copy(
        &["--src-creds", "user:se:cret"],
        &bearer.reference("a", "v"),
        &home.layout("1", "v"),
    );
    bearer.forget_requests();
    home.copy(
        &["--src-registry-token", "token-0"],
        &bearer.reference("a", "v"),
        &home.layout("2", "v"),
    );
    assert_eq!(bearer.count("*", "/token*"), 0);
}
