//! Which registries.conf is read, and where certificates and credential helpers are looked for.

use crate::failure::Failure;
use crate::output;
use libimage::config::{Helpers, Registries};
use libimage::context::ContextBuilder;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file's directory for all users.
const SYSTEM: &str = "/etc/containers";

/// Hands a context what this machine says about registries: their mirrors and short names, and which programs keep credentials.
///
/// # Errors
/// A file cannot be read or understood.
pub fn apply(
    builder: ContextBuilder,
    flag: Option<&Path>,
    uid: u32,
) -> Result<ContextBuilder, Failure> {
    let builder = builder.registries(read(flag, uid)?);
    Ok(builder.helpers(helpers()))
}

/// Where the programs that keep credentials are.
#[must_use]
pub fn helpers() -> Helpers {
    Helpers::in_path(&std::env::var_os("PATH").unwrap_or_default())
}

/// Reads what the files say, in the order of precedence.
///
/// A file that was named by the flag is the only one. Otherwise it is the one `CONTAINERS_REGISTRIES_CONF` names, else the user's
/// `containers/registries.conf`, else the system's; then `registries.conf.d/*.conf`, the system's before the user's; then the aliases
/// other tools have recorded.
///
/// # Errors
/// A file cannot be read or understood, or one that was named does not exist.
///
/// # References
/// containers-registries.conf(5), containers-registries.conf.d(5)
pub fn read(flag: Option<&Path>, uid: u32) -> Result<Registries, Failure> {
    let named = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) => with(Registries::default(), path, &text),
        Err(error) => Err(unreadable(path, &error)),
    };
    if let Some(path) = flag {
        return named(path);
    }
    let user = directory("XDG_CONFIG_HOME", ".config").map(|config| config.join("containers"));
    let mut registries = match variable("CONTAINERS_REGISTRIES_CONF") {
        Some(path) => named(&path)?,
        None => {
            let of_user = user
                .iter()
                .map(|directory| directory.join("registries.conf"));
            let all = of_user.chain([Path::new(SYSTEM).join("registries.conf")]);
            first(all)?
        }
    };
    let system = PathBuf::from(SYSTEM);
    for directory in [Some(system), user].into_iter().flatten() {
        for path in drop_ins(&directory.join("registries.conf.d"))? {
            if let Some(text) = text(&path)? {
                registries = with(registries, &path, &text)?;
            }
        }
    }
    let recorded = if uid == 0 {
        Some(PathBuf::from("/var/cache/containers"))
    } else {
        directory("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("containers"))
    };
    let recorded = recorded.map(|directory| directory.join("short-name-aliases.conf"));
    if let Some(path) = recorded
        && let Some(text) = text(&path)?
    {
        registries = with(registries, &path, &text)?;
    }
    Ok(registries)
}

/// The directories that have a directory of certificates for each host: the user's, the system's, docker's.
///
/// # References
/// containers-certs.d(5)
#[must_use]
pub fn certificates() -> Vec<PathBuf> {
    let user =
        directory("XDG_CONFIG_HOME", ".config").map(|config| config.join("containers/certs.d"));
    let system = [
        PathBuf::from(SYSTEM).join("certs.d"),
        PathBuf::from("/etc/docker/certs.d"),
    ];
    user.into_iter().chain(system).collect()
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn directory(name: &str, below_home: &str) -> Option<PathBuf> {
    variable(name).or_else(|| variable("HOME").map(|home| home.join(below_home)))
}

fn first(paths: impl IntoIterator<Item = PathBuf>) -> Result<Registries, Failure> {
    for path in paths {
        if let Some(text) = text(&path)? {
            return with(Registries::default(), &path, &text);
        }
    }
    Ok(Registries::default())
}

fn with(registries: Registries, path: &Path, text: &str) -> Result<Registries, Failure> {
    let read = registries.with(text);
    read.map_err(|error| Failure::new(format!("cannot use {}: {error}", path.display())))
}

/// The text of a file, if it exists.
fn text(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_none(path, &error) => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Whether a file or directory is as good as none: it is not there, or is another user's, whose home directory we were given. What the
/// system says cannot be left out.
fn is_none(path: &Path, error: &std::io::Error) -> bool {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => true,
        ErrorKind::PermissionDenied if !path.starts_with(SYSTEM) => {
            output::warn(format_args!("{} may not be read", path.display()));
            true
        }
        _ => false,
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |error: std::io::Error| unreadable(directory, &error);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if is_none(directory, &error) => return Ok(Vec::new()),
        entries => entries.map_err(wrong)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
