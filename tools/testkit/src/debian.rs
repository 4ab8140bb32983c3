//! A second registry, which is not ours: Debian's `docker-registry` (the distribution project's 2.8).
//!
//! What our own registry and our own client both get wrong, this one finds. Its releases have no referrers API.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/usr/bin/docker-registry";
/// How long the registry may take to answer for the first time, on a busy machine.
const START: Duration = Duration::from_secs(30);

/// What the registry asks of its clients.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A user and password for basic authentication.
    pub user: Option<(String, String)>,
    /// Whether it speaks TLS, with a certificate that no system store knows.
    pub tls: bool,
    /// Whether it speaks TLS only with clients that have a certificate of [`DebianRegistry::client_certificates`].
    pub client_ca: bool,
}

/// A running `docker-registry`; dropping it ends the process and removes its storage.
#[derive(Debug)]
pub struct DebianRegistry {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl DebianRegistry {
    /// Starts a registry; `None` where `docker-registry` (or `htpasswd` or `openssl`, if asked for) is not installed: the caller
    /// skips.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(options: &Options) -> Option<DebianRegistry> {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
             storage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: {}\n",
            dir.path().join("storage").display()
        );
        if let Some((user, password)) = &options.user {
            let file = dir.path().join("htpasswd");
            std::fs::write(&file, htpasswd(user, password)?).expect("the directory is ours");
            write!(
                config,
                "auth:\n  htpasswd:\n    realm: testkit\n    path: {}\n",
                file.display()
            )
            .expect("writing to a string succeeds");
        }
        if options.tls || options.client_ca {
            certificate(dir.path())?;
        }
        if options.client_ca {
            client_certificates(dir.path())?;
        }
        let (child, address) = serve(dir.path(), &config, options);
        Some(DebianRegistry {
            child,
            address,
            dir,
        })
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns `docker://127.0.0.1:PORT/REPOSITORY:TAG`.
    pub fn reference(&self, repository: &str, tag: &str) -> String {
        format!("docker://{}/{repository}:{tag}", self.host())
    }

    /// Returns the certificate that would have to be trusted, where it speaks TLS.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("registry.crt")
    }

    /// Returns a directory as containers-certs.d(5) wants it: whom to trust, and a client's certificate and key.
    pub fn client_certificates(&self) -> PathBuf {
        self.dir.path().join("client")
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        // The process may be gone already; waiting reaps it either way.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts the program on a free port. Another process may take the port between our look and its use, so this is repeated.
fn serve(dir: &Path, config: &str, options: &Options) -> (Child, SocketAddr) {
    let file = dir.join("config.yml");
    let log = dir.join("log");
    for _ in 0..5 {
        let probe = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = probe.local_addr().expect("the listener is bound");
        drop(probe);
        let mut text = format!("{config}http:\n  addr: {address}\n");
        if options.tls || options.client_ca {
            let (certificate, key) = (dir.join("registry.crt"), dir.join("registry.key"));
            write!(
                text,
                "  tls:\n    certificate: {}\n    key: {}\n",
                certificate.display(),
                key.display()
            )
            .expect("writing to a string succeeds");
        }
        if options.client_ca {
            let authority = dir.join("client-ca.crt");
            write!(text, "    clientcas:\n      - {}\n", authority.display())
                .expect("writing to a string succeeds");
        }
        std::fs::write(&file, text).expect("the directory is ours");
        let errors = std::fs::File::create(&log).expect("the directory is ours");
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("docker-registry can be started");
        if answers(&mut child, address) {
            return (child, address);
        }
        drop(child.kill());
        drop(child.wait());
    }
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    panic!("docker-registry does not start:\n{log}");
}

/// Waits until the address answers and our process still lives; `false` where the process has ended.
fn answers(child: &mut Child, address: SocketAddr) -> bool {
    let end = Instant::now() + START;
    while Instant::now() < end {
        if child.try_wait().expect("the child is ours").is_some() {
            return false;
        }
        if speaks(address) && child.try_wait().expect("the child is ours").is_none() {
            return true;
        }
        // The program has no way to tell us, so we look again soon.
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Tells whether an HTTP server is there: one that speaks TLS answers a plain request with an error, which is an answer too.
fn speaks(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut first = [0; 5];
        stream.read_exact(&mut first)?;
        Ok(&first == b"HTTP/")
    };
    ask().unwrap_or(false)
}

fn htpasswd(user: &str, password: &str) -> Option<Vec<u8>> {
    let made = Command::new("htpasswd")
        .args(["-Bbn", user, password])
        .output()
        .ok()?;
    made.status.success().then_some(made.stdout)
}

const KEY: [&str; 7] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "3650",
];

fn certificate(dir: &Path) -> Option<()> {
    openssl(
        dir,
        &[
            &["req", "-x509"][..],
            &KEY,
            &[
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:localhost",
                // openssl makes a CA otherwise, and rustls accepts no CA as a server.
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                "registry.key",
                "-out",
                "registry.crt",
            ],
        ]
        .concat(),
    )
}

/// Makes an authority, and a client it vouches for.
fn client_certificates(dir: &Path) -> Option<()> {
    let client = dir.join("client");
    std::fs::create_dir(&client).expect("the directory is ours");
    let authority = [
        "-subj",
        "/CN=testkit",
        "-keyout",
        "client-ca.key",
        "-out",
        "client-ca.crt",
    ];
    openssl(dir, &[&["req", "-x509"][..], &KEY, &authority].concat())?;
    let signed = [
        "-subj",
        "/CN=client",
        "-CA",
        "client-ca.crt",
        "-CAkey",
        "client-ca.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "extendedKeyUsage=clientAuth",
        "-keyout",
        "client/client.key",
        "-out",
        "client/client.cert",
    ];
    openssl(dir, &[&["req", "-x509"][..], &KEY, &signed].concat())?;
    std::fs::copy(dir.join("registry.crt"), client.join("ca.crt")).expect("the directory is ours");
    Some(())
}

fn openssl(dir: &Path, arguments: &[&str]) -> Option<()> {
    let made = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .output()
        .ok()?;
    made.status.success().then_some(())
}

#[cfg(test)]
mod tests {
    use super::{DebianRegistry, Options, speaks};

    #[test]
    fn it_starts_in_every_form_and_ends_with_its_value() {
        for (user, tls, client_ca) in [
            (false, false, false),
            (true, false, false),
            (false, true, false),
            (false, true, true),
        ] {
            let user = user.then(|| ("user".to_owned(), "secret".to_owned()));
            let options = Options {
                user,
                tls,
                client_ca,
            };
            let Some(registry) = DebianRegistry::start(&options) else {
                return crate::skip("needs docker-registry, htpasswd and openssl");
            };
            let address = registry.address;
            assert!(speaks(address));
            drop(registry);
            assert!(!speaks(address));
        }
    }
}
