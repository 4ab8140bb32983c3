//! Where pulled files go: below one directory, whatever they are called.

use std::{io, sync::Arc};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::ArtifactError;
use crate::{durable::TempFile, limits};

/// A file's name from outside, checked: names below a directory, none of them `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Checks a title; `None` if it leads out of the directory it is meant for, or is no path.
    ///
    /// ```
    /// use libimage::artifact::FileName;
    /// assert!(FileName::parse("sub/file.txt").is_some());
    /// assert!(FileName::parse("../file.txt").is_none());
    /// ```
    #[must_use]
    pub fn parse(title: &str) -> Option<Self> {
        let is_name = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.len() <= limits::NAME_BYTES
                && !part.chars().any(char::is_control)
        };
        let parts: Vec<&str> = title.split('/').collect();
        (title.len() <= limits::PATH_BYTES
            && parts.len() <= limits::PATH_DEPTH
            && parts.iter().all(|part| is_name(part)))
        .then(|| Self(title.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// Opens the directory the file is to be in, following no symlink; makes what is missing, if wanted.
    fn parent(&self, root: &Dir, make: bool) -> io::Result<Arc<Dir>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = rustix::fs::openat(root, ".", flags, Mode::empty())?;
        for name in self.split().0.split('/').filter(|name| !name.is_empty()) {
            if make {
                match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            directory = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
        }
        Ok(Arc::new(Dir::from_std_file(directory.into())))
    }

    /// Tells whether something has the name.
    pub(super) fn exists(&self, root: &Dir) -> Result<bool, ArtifactError> {
        let looked = self.parent(root, false).and_then(|parent| {
            let name = self.split().1;
            Ok(rustix::fs::statat(
                &*parent,
                name,
                AtFlags::SYMLINK_NOFOLLOW,
            )?)
        });
        match looked {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Starts the file, nameless.
    pub(super) fn create(&self, root: &Dir) -> Result<(Arc<Dir>, TempFile), ArtifactError> {
        let parent = self
            .parent(root, true)
            .map_err(|source| self.failed(source))?;
        let file = TempFile::new(Arc::clone(&parent)).map_err(|source| self.failed(source))?;
        Ok((parent, file))
    }

    /// Gives the file its name.
    pub(super) fn publish(
        &self,
        parent: &Dir,
        file: TempFile,
        overwrite: bool,
    ) -> Result<(), ArtifactError> {
        let name = self.split().1;
        let published = if overwrite {
            file.persist(parent, name)
        } else {
            file.persist_new(parent, name)
        };
        published.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ArtifactError::Exists {
                title: self.0.clone(),
            },
            _ => self.failed(source),
        })
    }

    fn failed(&self, source: io::Error) -> ArtifactError {
        ArtifactError::Write {
            title: self.0.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for title in [
            "a", "a/b.txt", ".hidden", "..a", "a b", "ä/ö", "a\\b", "C:x",
        ] {
            assert!(FileName::parse(title).is_some(), "{title:?}");
        }
        let long = "a".repeat(256);
        let deep = "a/".repeat(2000) + "a";
        for title in [
            "",
            "/",
            "/etc/passwd",
            "../a",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "./a",
            ".",
            "a\0b",
            "a\nb",
            &long,
            &deep,
        ] {
            assert!(FileName::parse(title).is_none(), "{title:?}");
        }
    }
}
