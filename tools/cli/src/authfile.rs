//! Which files may hold registry credentials, in the order the field's tools look.

use crate::failure::Failure;
use libimage::config::AuthFile;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The files credentials are looked up in: the first that knows the registry wins. They need not exist.
///
/// A file that was named (`--authfile`, else `REGISTRY_AUTH_FILE`) is the only one. Otherwise
/// `$XDG_RUNTIME_DIR/containers/auth.json` (without the variable `/run/containers/UID/auth.json`),
/// `~/.config/containers/auth.json`, and Docker's `config.json` (`DOCKER_CONFIG`, else `~/.docker`).
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
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reads the credential files of this process, in order of precedence; those that do not exist are left out.
///
/// # Errors
/// If one exists and cannot be read or understood, or the one named by `flag` does not exist.
pub fn read_here(flag: Option<&Path>) -> Result<Vec<AuthFile>, Failure> {
    read_for(flag, rustix::process::getuid().as_raw())
}

/// As [`read_here`] for the user `uid`: inside a user namespace it is no longer our own id.
///
/// # Errors
/// As [`read_here`].
pub fn read_for(flag: Option<&Path>, uid: u32) -> Result<Vec<AuthFile>, Failure> {
    let mut found = Vec::new();
    for path in credentials(flag, uid, &|name| std::env::var_os(name)) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && flag.is_none() => continue,
            Err(error) => {
                return Err(Failure::new(format!(
                    "cannot read the credentials in {}: {error}",
                    path.display()
                )));
            }
        };
        let parsed = AuthFile::parse(&text).map_err(|error| {
            Failure::new(format!(
                "cannot use the credentials in {}: {error}",
                path.display()
            ))
        })?;
        found.push(parsed);
    }
    Ok(found)
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
                "/h/.docker/config.json"
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
                "/d/config.json"
            ]
        );
    }
}
