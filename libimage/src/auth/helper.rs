//! Programs that keep credentials: `docker-credential-NAME get`, `store`, `erase`, `list`, with JSON on stdin and stdout.
//!
//! Nothing but the program's name and the registry's comes from files or networks, the name is one word, and there is no shell.
//!
//! # References
//!
//! <https://github.com/docker/docker-credential-helpers>

use std::{
    collections::BTreeMap,
    io::{self, Read, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Credentials, Helpers, Secret},
    error::{Error, ErrorKind},
};

/// Bytes of a program's answer: one entry, or a list of all its registries.
const OUTPUT_BYTES: u64 = 1 << 20;
/// Characters of a program's complaint that are shown.
const COMPLAINT_SHOWN: usize = 300;
/// How programs of that kind say that they know nothing of a registry.
const NOT_FOUND: &str = "credentials not found";
/// The user that stands for "the secret is an identity token".
const TOKEN_USER: &str = "<token>";
/// What docker calls its own registry in its helpers.
const HUB: &str = "https://index.docker.io/v1/";
/// How often a program that has said everything is looked after until it ends.
const TICK: Duration = Duration::from_millis(5);

/// Why a credential helper is of no help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// Its name is more than a word.
    #[error(
        "{program:?} is no name of a credential helper: letters, digits, dots, dashes and underscores make one"
    )]
    Name {
        /// What the file says.
        program: String,
    },
    /// There is no such program.
    #[error("the credential helper docker-credential-{program} is not installed")]
    Missing {
        /// The suffix of its name.
        program: String,
    },
    /// It could not be started or talked to.
    #[error("the credential helper {} cannot be used", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not answer in time, and was ended.
    #[error("the credential helper {} has not answered for {} s", path.display(), after.as_secs())]
    Silent {
        /// Where it is.
        path: PathBuf,
        /// For how long it was waited.
        after: Duration,
    },
    /// It failed.
    #[error("the credential helper {} failed ({status}) on {registry}: {complaint}", path.display())]
    Failed {
        /// Where it is.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it was asked about.
        registry: String,
        /// What it said.
        complaint: String,
    },
    /// Its answer is not the JSON expected. It is not shown, for it may be a secret.
    #[error("the credential helper {} answered something else than JSON credentials", path.display())]
    Answer {
        /// Where it is.
        path: PathBuf,
    },
}

impl HelperError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::Answer { .. } => ErrorKind::Malformed,
            Self::Missing { .. } | Self::Io { .. } | Self::Silent { .. } => ErrorKind::Io,
            Self::Failed { .. } => ErrorKind::Unauthorized,
        }
    }
}

impl From<HelperError> for Error {
    fn from(error: HelperError) -> Self {
        Self::new(error.kind(), error)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stored<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    username: &'a str,
    secret: &'a str,
}

/// Asks a helper for the credentials of a registry; `None` if it has none. Blocks until it has answered.
///
/// # Errors
///
/// There is no such program, or it fails.
pub fn get(
    helpers: &Helpers,
    program: &str,
    registry: &str,
) -> Result<Option<Credentials>, HelperError> {
    let path = find(helpers, program)?;
    for server in servers(registry) {
        let output = match execute(helpers, &path, "get", server.as_bytes()) {
            Ok(output) => output,
            Err(HelperError::Failed { complaint, .. }) if complaint.contains(NOT_FOUND) => continue,
            Err(error) => return Err(error),
        };
        let answer: Answer = serde_json::from_slice(&output)
            .map_err(|_| HelperError::Answer { path: path.clone() })?;
        let secret = Secret::new(answer.secret);
        if secret.reveal().is_empty() {
            continue;
        }
        return Ok(Some(match answer.username.as_str() {
            TOKEN_USER => Credentials::Identity(secret),
            user => Credentials::Basic {
                user: user.to_owned(),
                password: secret,
            },
        }));
    }
    Ok(None)
}

/// Hands a registry's name and password to a helper.
///
/// # Errors
///
/// There is no such program, or it fails.
pub fn store(
    helpers: &Helpers,
    program: &str,
    registry: &str,
    credentials: &Credentials,
) -> Result<(), HelperError> {
    let path = find(helpers, program)?;
    let (username, secret) = match credentials {
        Credentials::Basic { user, password } => (user.as_str(), password.reveal()),
        Credentials::Identity(token) => (TOKEN_USER, token.reveal()),
        _ => return Err(HelperError::Answer { path }),
    };
    let stored = Stored {
        server: servers(registry)[0],
        username,
        secret,
    };
    let input = serde_json::to_vec(&stored).expect("three strings make JSON");
    execute(helpers, &path, "store", &input).map(drop)
}

/// Lets a helper forget a registry; one that never knew it is content.
///
/// # Errors
///
/// There is no such program, or it fails.
pub fn erase(helpers: &Helpers, program: &str, registry: &str) -> Result<(), HelperError> {
    let path = find(helpers, program)?;
    for server in servers(registry) {
        match execute(helpers, &path, "erase", server.as_bytes()) {
            Ok(_) => {}
            Err(HelperError::Failed { complaint, .. }) if complaint.contains(NOT_FOUND) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the registries a helper knows, and the users.
///
/// # Errors
///
/// There is no such program, or it fails.
pub fn list(helpers: &Helpers, program: &str) -> Result<BTreeMap<String, String>, HelperError> {
    let path = find(helpers, program)?;
    let output = execute(helpers, &path, "list", b"")?;
    serde_json::from_slice(&output).map_err(|_| HelperError::Answer { path })
}

/// How a registry is called in helpers: docker's own has a name of its own there.
fn servers(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" => vec![HUB, registry],
        other => vec![other],
    }
}

fn find(helpers: &Helpers, program: &str) -> Result<PathBuf, HelperError> {
    let word = !program.is_empty()
        && program.len() <= 100
        && program
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !word {
        return Err(HelperError::Name {
            program: program.chars().take(100).collect(),
        });
    }
    let name = format!("docker-credential-{program}");
    let mut paths = helpers.path.iter().map(|directory| directory.join(&name));
    paths
        .find(|path| path.is_file())
        .ok_or_else(|| HelperError::Missing {
            program: program.to_owned(),
        })
}

/// Runs a program to its end. It stays in our process group: it may have to ask a person on the terminal, and is ended with us.
fn execute(
    helpers: &Helpers,
    path: &PathBuf,
    verb: &str,
    input: &[u8],
) -> Result<Vec<u8>, HelperError> {
    let io = |source| HelperError::Io {
        path: path.clone(),
        source,
    };
    let mut child = Command::new(path)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let outcome = converse(&mut child, input, helpers.patience);
    if !matches!(outcome, Ok(Some(_))) {
        // It may have ended by itself meanwhile.
        child.kill().ok();
        child.wait().map_err(io)?;
    }
    let (status, output, complaint) = outcome.map_err(io)?.ok_or_else(|| HelperError::Silent {
        path: path.clone(),
        after: helpers.patience,
    })?;
    if status.success() {
        return Ok(output);
    }
    // The protocol has programs complain on stdout; what looks like an answer is not shown.
    let said = if complaint.trim_ascii().is_empty() {
        output
    } else {
        complaint
    };
    let said = if said.trim_ascii_start().starts_with(b"{") {
        Vec::new()
    } else {
        said
    };
    let complaint = String::from_utf8_lossy(&said);
    let complaint = complaint
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    Err(HelperError::Failed {
        path: path.clone(),
        status,
        registry: if verb == "store" {
            "the new entry".to_owned()
        } else {
            String::from_utf8_lossy(input).into_owned()
        },
        complaint: complaint.take(COMPLAINT_SHOWN).collect(),
    })
}

type Said = (ExitStatus, Vec<u8>, Vec<u8>);

/// Writes the question, and reads both outputs until the end; `None` if that takes too long.
fn converse(child: &mut Child, input: &[u8], patience: Duration) -> io::Result<Option<Said>> {
    let end = Instant::now() + patience;
    // The threads end when the program does, at the latest.
    let output = reader(child.stdout.take())?;
    let complaint = reader(child.stderr.take())?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input) {
            // It has not waited for the question.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
    }
    let left = || end.saturating_duration_since(Instant::now());
    let mut said = Vec::new();
    for pipe in [output, complaint] {
        match pipe.recv_timeout(left()) {
            Ok(text) => said.push(text?),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
    while !left().is_zero() {
        if let Some(status) = child.try_wait()? {
            let complaint = said.pop().unwrap_or_default();
            return Ok(Some((status, said.pop().unwrap_or_default(), complaint)));
        }
        std::thread::sleep(TICK);
    }
    Ok(None)
}

fn reader(
    pipe: Option<impl Read + Send + 'static>,
) -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("helper".to_owned())
        .spawn(move || {
            let mut text = Vec::new();
            let read = pipe.map_or(Ok(0), |pipe| pipe.take(OUTPUT_BYTES).read_to_end(&mut text));
            // Nobody listens after the time is over.
            sender.send(read.map(|_| text)).ok();
        })?;
    Ok(receiver)
}
