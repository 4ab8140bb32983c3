//! Which files may hold registry credentials, in the order the field's tools look.

use crate::failure::Failure;
use crate::output;
use libimage::config::{AuthEdit, AuthFile};
use libimage::lock::{FileLock, LockMode};
use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Docker's file of old.
const LEGACY: &str = ".dockercfg";

/// The files credentials are looked up in: the first that knows the registry wins. They need not exist.
///
/// A file that was named (`--authfile`, else `REGISTRY_AUTH_FILE`) is the only one. Otherwise
/// `$XDG_RUNTIME_DIR/containers/auth.json` (without the variable `/run/containers/UID/auth.json`),
/// `~/.config/containers/auth.json`, Docker's `config.json` (`DOCKER_CONFIG`, else `~/.docker`), and its `~/.dockercfg` of old.
///
/// # References
/// containers-auth.json(5)
pub fn credentials(
    flag: Option<&Path>,
    uid: u32,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Vec<PathBuf> {
    let variable = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(named) = flag
        .map(Path::to_owned)
        .or_else(|| variable("REGISTRY_AUTH_FILE"))
    {
        return vec![named];
    }
    let home = variable("HOME");
    let runtime = variable("XDG_RUNTIME_DIR").map_or_else(
        || format!("/run/containers/{uid}").into(),
        |dir| dir.join("containers"),
    );
    let config =
        variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker =
        variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    [
        Some(runtime.join("auth.json")),
        config.map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
        home.map(|home| home.join(LEGACY)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// This process's user.
#[must_use]
pub fn uid_here() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Reads the credential files of the user `uid` (inside a user namespace it is no longer our own id), in order of precedence; those
/// that do not exist are left out.
///
/// # Errors
/// If one exists and cannot be read or understood, or the one named by `flag` does not exist.
pub fn read_for(flag: Option<&Path>, uid: u32) -> Result<Vec<AuthFile>, Failure> {
    let mut found = Vec::new();
    for path in credentials(flag, uid, &|name| std::env::var_os(name)) {
        if let Some(text) = text(&path, flag.is_none())? {
            found.push(parse(&path, &text)?);
        }
    }
    Ok(found)
}

/// The text of a file; `None` if it does not exist, which has to be allowed.
fn text(path: &Path, optional: bool) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound && optional => Ok(None),
        // Another user's directory, as /run/containers of root: what is there is not for us.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && optional => {
            output::warn(format_args!(
                "the credentials in {} may not be read",
                path.display()
            ));
            Ok(None)
        }
        Err(error) => Err(Failure::new(format!(
            "cannot read the credentials in {}: {error}",
            path.display()
        ))),
    }
}

fn parse(path: &Path, text: &str) -> Result<AuthFile, Failure> {
    let legacy = path.file_name().is_some_and(|name| name == LEGACY);
    let parsed = if legacy {
        AuthFile::parse_legacy(text)
    } else {
        AuthFile::parse(text)
    };
    parsed.map_err(|error| {
        Failure::new(format!(
            "cannot use the credentials in {}: {error}",
            path.display()
        ))
    })
}

/// Reads the one file that `login` writes to: without entries if it does not exist yet.
///
/// # Errors
/// It cannot be read or understood.
pub fn read_one(path: &Path) -> Result<AuthFile, Failure> {
    match text(path, true)? {
        Some(text) => parse(path, &text),
        None => Ok(AuthFile::default()),
    }
}

/// The file that `login` writes to: the first that credentials are looked up in.
pub fn written(flag: Option<&Path>) -> PathBuf {
    let mut paths = credentials(flag, uid_here(), &|name| std::env::var_os(name));
    paths.swap_remove(0)
}

/// Changes a file of credentials, making it and its directory if need be: for their owner alone, under a lock, and at once.
///
/// # Errors
/// It cannot be read, understood or written; then it is as it was.
///
/// # Durability
/// After it returns, the change survives a power cut.
pub fn change<T>(path: &Path, change: impl FnOnce(&mut AuthEdit) -> T) -> Result<T, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!(
            "cannot write the credentials to {}: {error}",
            path.display()
        ))
        .with_hint("--authfile (or REGISTRY_AUTH_FILE) names another file")
    };
    // A link stays a link: what it leads to is replaced.
    let path = &match std::fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        other => other.map_err(failed)?,
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    let directory = std::fs::File::open(directory).map_err(failed)?;
    let lock = FileLock::of(directory.try_clone().map_err(failed)?, LockMode::Exclusive)
        .map_err(failed)?;
    let old = text(path, true)?.unwrap_or_default();
    let mut edit = AuthEdit::parse(&old).map_err(|error| {
        Failure::new(format!(
            "cannot use the credentials in {}: {error}",
            path.display()
        ))
    })?;
    let result = change(&mut edit);
    replace(path, edit.text().as_bytes())
        .and_then(|()| directory.sync_all())
        .map_err(failed)?;
    drop(lock);
    Ok(result)
}

fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; the file may not even exist.
        std::fs::remove_file(&temporary).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(flag: Option<&str>, variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        };
        credentials(flag.map(Path::new), 7, &variable)
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn precedence_of_the_field() {
        assert_eq!(files(Some("/f"), &[("REGISTRY_AUTH_FILE", "/e")]), ["/f"]);
        assert_eq!(
            files(None, &[("REGISTRY_AUTH_FILE", "/e"), ("HOME", "/h")]),
            ["/e"]
        );
        assert_eq!(
            files(None, &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7")]),
            [
                "/run/user/7/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json",
                "/h/.dockercfg"
            ]
        );
        assert_eq!(
            files(
                None,
                &[
                    ("HOME", "/h"),
                    ("DOCKER_CONFIG", "/d"),
                    ("XDG_CONFIG_HOME", "/c")
                ]
            ),
            [
                "/run/containers/7/auth.json",
                "/c/containers/auth.json",
                "/d/config.json",
                "/h/.dockercfg"
            ]
        );
    }
}
