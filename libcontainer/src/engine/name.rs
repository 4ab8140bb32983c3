//! Names of containers: symlinks to ids, made with symlink(2), so that a name is taken by one system call.

use super::Engine;
use crate::{
    error::{Error, ErrorKind, Result},
    id::ContainerId,
};
use std::{fs::File, io, os::unix::fs::symlink, path::PathBuf, str::FromStr};

/// A name a person gives to a container: what docker and podman accept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(String);

/// Longest name: it is one path component.
const LONGEST_BYTES: usize = 128;
/// Guards the removal of symlinks. It starts with a dot, which no name does.
const LOCK: &str = ".lock";
/// How often a name is tried that somebody else is letting go of meanwhile.
const ATTEMPTS: usize = 64;

impl ContainerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let rest = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        let first = |byte: &u8| byte.is_ascii_alphanumeric();
        let bytes = text.as_bytes();
        if bytes.first().is_some_and(first)
            && bytes.iter().all(rest)
            && bytes.len() <= LONGEST_BYTES
        {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Error::new(ErrorKind::InvalidId, format!("container name {text:?}")).with_hint(
                "a name starts with a letter or digit and has up to 128 letters, digits and _.-",
            ),
        )
    }
}

/// Gives the name to `id`, whose directory is locked by the caller.
pub(super) fn take(engine: &Engine, name: &ContainerName, id: &ContainerId) -> Result<()> {
    let path = path(engine, name);
    for _ in 0..ATTEMPTS {
        match symlink(id.as_str(), &path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::from_io(error, "take the name").with_path(path)),
        }
        if let Some(holder) = holder(engine, name)
            && !engine.reclaim(&holder)?
        {
            let taken = format!("the name {:?} is in use by container {holder}", name.0);
            return Err(Error::new(ErrorKind::Exists, taken)
                .with_hint("choose another name, or end that container first"));
        }
        release_stale(engine, name)?;
    }
    Err(Error::new(
        ErrorKind::Exists,
        format!("the name {:?}", name.0),
    ))
}

/// Lets go of the name if it is (still) `id`'s.
pub(super) fn release(engine: &Engine, name: &ContainerName, id: &ContainerId) -> Result<()> {
    let _guard = guard(engine)?;
    match holder(engine, name) {
        Some(holder) if holder == *id => remove(engine, name),
        _ => Ok(()),
    }
}

/// Removes names whose container is gone.
pub(super) fn prune(engine: &Engine) -> Result<()> {
    let failed = |error| Error::from_io(error, "list names").with_path(&engine.names);
    for entry in std::fs::read_dir(&engine.names).map_err(failed)? {
        let entry = entry.map_err(failed)?.file_name();
        if let Some(Ok(name)) = entry.to_str().map(ContainerName::from_str)
            && holder(engine, &name).is_none_or(|id| !engine.path_of(&id).exists())
        {
            release_stale(engine, &name)?;
        }
    }
    Ok(())
}

/// Removes the symlink if what it points to is gone. Under the guard: otherwise a symlink that replaced it meanwhile would go.
///
/// One that is *not there* is left alone for the same reason: taking a name needs no guard, so it may be there a moment later.
fn release_stale(engine: &Engine, name: &ContainerName) -> Result<()> {
    let _guard = guard(engine)?;
    let target = match std::fs::read_link(path(engine, name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        target => target.ok(),
    };
    let holder = target.and_then(|target| ContainerId::parse(target.to_str()?).ok());
    match holder {
        Some(holder) if engine.path_of(&holder).exists() => Ok(()),
        _ => remove(engine, name),
    }
}

fn remove(engine: &Engine, name: &ContainerName) -> Result<()> {
    let path = path(engine, name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::from_io(error, "release the name").with_path(path))
        }
        _ => Ok(()),
    }
}

/// The id a name points to, if it is one.
fn holder(engine: &Engine, name: &ContainerName) -> Option<ContainerId> {
    let target = std::fs::read_link(path(engine, name)).ok()?;
    ContainerId::parse(target.to_str()?).ok()
}

fn guard(engine: &Engine) -> Result<File> {
    let path = engine.names.join(LOCK);
    let failed = |error| Error::from_io(error, "lock the names").with_path(&path);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn path(engine: &Engine, name: &ContainerName) -> PathBuf {
    engine.names.join(&name.0)
}

#[cfg(test)]
mod tests {
    use super::ContainerName;

    #[test]
    fn names_are_one_harmless_path_component() {
        for good in ["web", "a", "Web-1_b.c", &"x".repeat(128)] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".x",
            "-x",
            "_x",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }
}
