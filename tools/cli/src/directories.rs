//! Where images, containers and state live. The libraries are handed these paths; only the tools look for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The two directories every tool works in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// Images and containers; survives a reboot.
    pub root: PathBuf,
    /// State of running containers; on a tmpfs where there is one.
    pub run: PathBuf,
}

/// No directory could be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryError {
    /// Neither `--root` nor any variable that leads to a home directory is set.
    NoHome,
    /// The current directory is needed to understand a relative path, and cannot be read.
    NoCurrentDirectory(PathBuf),
}

impl std::fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoHome => write!(
                f,
                "no place for images: none of --root, TRIMARAN_ROOT, XDG_DATA_HOME and HOME is set"
            ),
            Self::NoCurrentDirectory(path) => {
                write!(
                    f,
                    "cannot make {} absolute: the current directory cannot be read",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for DirectoryError {}

/// What the choice depends on, as data.
pub struct Surroundings<'a> {
    /// Whether we are the host's root user (and not merely uid 0 of a user namespace).
    pub superuser: bool,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("superuser", &self.superuser)
            .finish_non_exhaustive()
    }
}

impl Directories {
    /// Chooses for this process. Must be called before a user namespace is entered: inside we are always uid 0.
    ///
    /// # Errors
    /// If nothing says where, or a relative path cannot be made absolute.
    pub fn find(root: Option<&Path>) -> Result<Self, DirectoryError> {
        Self::choose(
            root,
            &Surroundings {
                superuser: is_superuser(),
                variable: &|name| std::env::var_os(name),
            },
        )
    }

    /// The choice itself: `--root`, then `TRIMARAN_ROOT`, then `/var/lib/trimaran` for root and
    /// `$XDG_DATA_HOME/trimaran` (`~/.local/share/trimaran`) for a user.
    ///
    /// A root that was asked for keeps its state inside itself, so that two of them never meet.
    ///
    /// # Errors
    /// As [`Directories::find`].
    pub fn choose(root: Option<&Path>, around: &Surroundings<'_>) -> Result<Self, DirectoryError> {
        let variable = |name: &str| {
            (around.variable)(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(root) = root
            .map(Path::to_owned)
            .or_else(|| variable("TRIMARAN_ROOT"))
        {
            let root =
                std::path::absolute(&root).map_err(|_| DirectoryError::NoCurrentDirectory(root))?;
            return Ok(Self {
                run: root.join("run"),
                root,
            });
        }
        if around.superuser {
            return Ok(Self {
                root: "/var/lib/trimaran".into(),
                run: "/run/trimaran".into(),
            });
        }
        // The base directory specification: a relative path in a variable is to be ignored.
        let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        let root = data.ok_or(DirectoryError::NoHome)?.join("trimaran");
        let run = absolute("XDG_RUNTIME_DIR")
            .map_or_else(|| root.join("run"), |dir| dir.join("trimaran"));
        Ok(Self { root, run })
    }
}

/// Whether uid 0 here is uid 0 outside: `unshare -r` makes a uid 0 that owns nothing in `/var/lib`.
fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
        && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| maps_root_to_root(&map))
}

fn maps_root_to_root(uid_map: &str) -> bool {
    uid_map
        .lines()
        .any(|line| line.split_whitespace().take(2).eq(["0", "0"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(
        root: Option<&str>,
        superuser: bool,
        variables: &[(&str, &str)],
    ) -> Result<(String, String), DirectoryError> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        };
        let found = Directories::choose(
            root.map(Path::new),
            &Surroundings {
                superuser,
                variable: &variable,
            },
        )?;
        Ok((
            found.root.display().to_string(),
            found.run.display().to_string(),
        ))
    }

    #[test]
    fn flag_variable_and_defaults_in_that_order() {
        let ok = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(
            choose(Some("/a"), true, &[("TRIMARAN_ROOT", "/b")]),
            ok("/a", "/a/run")
        );
        assert_eq!(
            choose(None, true, &[("TRIMARAN_ROOT", "/b")]),
            ok("/b", "/b/run")
        );
        assert_eq!(
            choose(None, true, &[("HOME", "/root")]),
            ok("/var/lib/trimaran", "/run/trimaran")
        );
        assert_eq!(
            choose(
                None,
                false,
                &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")]
            ),
            ok("/h/.local/share/trimaran", "/run/user/1/trimaran")
        );
        assert_eq!(
            choose(None, false, &[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]),
            ok("/d/trimaran", "/d/trimaran/run")
        );
        assert_eq!(
            choose(
                None,
                false,
                &[("XDG_DATA_HOME", "relative"), ("TRIMARAN_ROOT", "")]
            ),
            Err(DirectoryError::NoHome)
        );
    }

    #[test]
    fn root_of_a_namespace_is_not_the_superuser() {
        assert!(maps_root_to_root("         0          0 4294967295\n"));
        assert!(!maps_root_to_root("         0       1000          1\n"));
    }
}
