//! Where `login` and `logout` keep credentials: a file, or the program the file says.

use libimage::auth::helper;
use libimage::config::{AuthFile, Candidate, Credentials, Registries};
use libimage::name::Name;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use trimaran_cli::{Failure, authfile, output, registries};

/// How registries.conf calls the files of credentials among the helpers.
const FILES: &str = "containers-auth.json";
/// How docker calls its own registry in its file.
const HUB_IN_DOCKERS_FILE: &str = "https://index.docker.io/v1/";

/// A registry, or a part of it, as credentials are kept for it.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    text: String,
    host: String,
}

/// The flags that say where.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// File with credentials [default: REGISTRY_AUTH_FILE, else ${XDG_RUNTIME_DIR}/containers/auth.json]
    #[arg(long, value_name = "PATH")]
    authfile: Option<PathBuf>,

    /// File with credentials in docker's way, such as ~/.docker/config.json
    #[arg(long, value_name = "PATH", conflicts_with = "authfile")]
    compat_auth_file: Option<PathBuf>,

    /// File that says how registries are reached and which programs keep credentials (containers-registries.conf(5)), instead of the
    /// usual ones
    #[arg(long, value_name = "PATH")]
    pub(crate) registries_conf: Option<PathBuf>,
}

/// Who keeps the credentials of a key.
pub(crate) enum Keeper {
    /// A file; whether its entries are spelt in docker's way.
    File { path: PathBuf, docker: bool },
    /// `docker-credential-…`.
    Helper(String),
}

impl FromStr for Key {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "{text:?} is no registry: HOST[:PORT][/NAMESPACE[/REPOSITORY]], without a tag"
            ))
        };
        let bare = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        let bare = bare.trim_end_matches('/');
        let (host, path) = bare
            .split_once('/')
            .map_or((bare, ""), |(host, path)| (host, path));
        // Docker's own registry in the ways docker writes it.
        let (host, path) = match (host, path) {
            ("docker.io" | "index.docker.io" | "registry-1.docker.io", "v1" | "v2") => {
                ("docker.io", "")
            }
            ("index.docker.io" | "registry-1.docker.io", path) => ("docker.io", path),
            other => other,
        };
        // `a/b` keeps the grammar from putting docker.io's own namespace in front.
        let probe = if path.is_empty() {
            format!("{host}/a/b")
        } else {
            format!("{host}/{path}/b")
        };
        let name: Name = probe.parse().map_err(|_| wrong())?;
        if name.registry() != host {
            return Err(wrong());
        }
        let text = if path.is_empty() {
            host.to_owned()
        } else {
            format!("{host}/{path}")
        };
        Ok(Self {
            text,
            host: host.to_owned(),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Key {
    /// The registry.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    fn is_part(&self) -> bool {
        self.text != self.host
    }

    /// Says that nothing is known.
    pub(crate) fn not_logged_in(&self) -> Failure {
        Failure::new(format!("not logged in to {self}"))
    }

    /// Looks the credentials up, as a transfer would.
    pub(crate) fn known(&self, target: &Target) -> Result<Option<Credentials>, Failure> {
        let name: Name = format!(
            "{}/b",
            if self.is_part() {
                self.text.clone()
            } else {
                format!("{}/a", self.host)
            }
        )
        .parse()?;
        let helpers = registries::helpers();
        let ask = |program: &str| helper::get(&helpers, program, &self.host);
        for program in target.registries()?.credential_helpers() {
            if program == FILES {
                break;
            }
            if let Some(credentials) = ask(program)? {
                return Ok(Some(credentials));
            }
        }
        for file in target.files()? {
            for candidate in file.candidates(&name) {
                match candidate {
                    Candidate::Helper { program, .. } => {
                        if let Some(credentials) = ask(&program)? {
                            return Ok(Some(credentials));
                        }
                    }
                    Candidate::Credentials(credentials) => return Ok(Some(credentials)),
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

impl Target {
    fn registries(&self) -> Result<Registries, Failure> {
        registries::read(self.registries_conf.as_deref(), authfile::uid_here())
    }

    fn path(&self) -> PathBuf {
        let named = self.compat_auth_file.clone();
        named.unwrap_or_else(|| authfile::written(self.authfile.as_deref()))
    }

    fn files(&self) -> Result<Vec<AuthFile>, Failure> {
        match self.compat_auth_file.as_ref().or(self.authfile.as_ref()) {
            // It need not exist before the first login.
            Some(path) => Ok(vec![authfile::read_one(path)?]),
            None => authfile::read_for(None, authfile::uid_here()),
        }
    }

    /// Finds who keeps the credentials of a key: the helper the file names, the one registries.conf puts first, else the file.
    pub(crate) fn keeper(&self, key: &Key) -> Result<Keeper, Failure> {
        let path = self.path();
        let registries = self.registries()?;
        let first = registries
            .credential_helpers()
            .first()
            .filter(|helper| *helper != FILES);
        let file = authfile::read_one(&path)?;
        let helper = file
            .helper(key.host())
            .map(str::to_owned)
            .or_else(|| first.cloned());
        let docker = self.compat_auth_file.is_some();
        match helper {
            Some(program) if key.is_part() => Err(Failure::new(format!(
                "the credentials of {} are kept by docker-credential-{program}, which knows whole registries only",
                key.host()
            ))),
            Some(program) => Ok(Keeper::Helper(program)),
            None if docker && key.is_part() => Err(Failure::usage(
                "docker's file has credentials of whole registries only",
            )),
            None => Ok(Keeper::File { path, docker }),
        }
    }

    /// Forgets everything: the entries of the file, and what the helpers it names know of its registries.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        let path = self.path();
        let file = authfile::read_one(&path)?;
        let helpers = registries::helpers();
        for key in file.keys() {
            if let Some(program) = file.assigned(key) {
                helper::erase(&helpers, program, key)?;
            }
        }
        if path.exists() {
            authfile::change(&path, libimage::config::AuthEdit::clear)?;
        }
        Ok(())
    }
}

impl Keeper {
    /// Stores credentials.
    pub(crate) fn store(&self, key: &Key, credentials: &Credentials) -> Result<(), Failure> {
        match self {
            Self::Helper(program) => Ok(helper::store(
                &registries::helpers(),
                program,
                key.host(),
                credentials,
            )?),
            Self::File { path, docker } => {
                authfile::change(path, |edit| edit.store(spelt(key, *docker), credentials))?;
                output::warn(format_args!(
                    "the password is stored unencrypted in {}; a credential helper would keep it safer (containers-auth.json(5))",
                    path.display()
                ));
                Ok(())
            }
        }
    }

    /// Forgets credentials; `false` if there were none.
    pub(crate) fn remove(&self, key: &Key) -> Result<bool, Failure> {
        match self {
            Self::Helper(program) => {
                let helpers = registries::helpers();
                let known = helper::get(&helpers, program, key.host())?.is_some();
                helper::erase(&helpers, program, key.host())?;
                Ok(known)
            }
            Self::File { path, .. } if !path.exists() => Ok(false),
            Self::File { path, docker } => {
                authfile::change(path, |edit| edit.remove(spelt(key, *docker)))
            }
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Helper(program) => write!(f, "docker-credential-{program}"),
        }
    }
}

fn spelt(key: &Key, docker: bool) -> &str {
    if docker && key.host == "docker.io" {
        HUB_IN_DOCKERS_FILE
    } else {
        &key.text
    }
}
