//! Which unprivileged users can tests act as, and how?
//!
//! Two accounts serve the rootless tests: `trimaran-sub` with ranges in `/etc/subuid` and `/etc/subgid`, and `trimaran-nosub`
//! without. `make test` creates them where it may; where they are missing the caller skips.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The account with subordinate ids.
const WITH_SUBIDS: &str = "trimaran-sub";
/// The account without.
const WITHOUT_SUBIDS: &str = "trimaran-nosub";

/// An unprivileged user a test may act as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

/// Tells whether the test runs as the superuser of its user namespace.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl User {
    /// Returns the user with ranges of subordinate ids; `None` where the account is missing or the test is not run by root.
    pub fn with_subids() -> Option<User> {
        User::usable(WITH_SUBIDS)
            .filter(|user| has_range("/etc/subuid", user) && has_range("/etc/subgid", user))
    }

    /// Returns the user without subordinate ids; `None` where the account is missing or the test is not run by root.
    pub fn without_subids() -> Option<User> {
        User::usable(WITHOUT_SUBIDS).filter(|user| !has_range("/etc/subuid", user))
    }

    fn usable(name: &str) -> Option<User> {
        if !is_root() {
            return None;
        }
        parse_passwd(&std::fs::read_to_string("/etc/passwd").ok()?, name)
    }

    /// Makes a command that runs `program` as this user, with no groups but its own and a fresh environment (`HOME` is `home`,
    /// `XDG_RUNTIME_DIR` a directory below it) to which `env` is added.
    ///
    /// The environment is built by `env` behind `setpriv`, so [`Command::env`] on the result has no effect on the program.
    pub fn command(
        &self,
        program: impl AsRef<OsStr>,
        home: &Path,
        env: &[(&str, &str)],
    ) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                &self.uid.to_string(),
                "--regid",
                &self.gid.to_string(),
                "--clear-groups",
                "--reset-env",
            ])
            .arg("env")
            .arg(joined("HOME=", home.as_os_str()))
            .arg(joined("XDG_RUNTIME_DIR=", home.join("run").as_os_str()))
            .args(env.iter().map(|(name, value)| format!("{name}={value}")))
            .arg(program)
            .stdin(Stdio::null())
            .current_dir(home);
        command
    }

    /// Makes a temporary directory that belongs to this user and that it can reach, with a `run` directory (0700) inside.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn tempdir(&self) -> tempfile::TempDir {
        let dir = tempfile::Builder::new()
            .prefix("trimaran-user-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("the temporary directory is writable");
        let run = dir.path().join("run");
        std::fs::create_dir(&run).expect("the directory is fresh");
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700))
            .expect("the directory is ours");
        for path in [dir.path(), &run] {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
                .expect("root may change owners");
        }
        dir
    }

    /// Returns a path at which this user can execute `program`: itself, or a copy in `dir` where a directory above it is closed
    /// (a checkout below `/root`).
    ///
    /// # Panics
    /// When the copy cannot be made.
    pub fn reachable(&self, program: &Path, dir: &Path) -> PathBuf {
        let open = |path: &Path| {
            path.metadata()
                .is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
        };
        if program.ancestors().all(open) {
            return program.to_owned();
        }
        let copy = dir.join(program.file_name().expect("a program has a name"));
        crate::copy_program(program, &copy);
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))
            .expect("the copy is ours");
        copy
    }
}

fn joined(prefix: &str, value: &OsStr) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(prefix);
    text.push(value);
    text
}

fn parse_passwd(text: &str, name: &str) -> Option<User> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let mut ids = fields.skip(1);
        Some(User {
            name: name.to_owned(),
            uid: ids.next()?.parse().ok()?,
            gid: ids.next()?.parse().ok()?,
        })
    })
}

fn has_range(path: &str, user: &User) -> bool {
    let owner = |line: &str| {
        line.split(':')
            .next()
            .is_some_and(|o| o == user.name || o == user.uid.to_string())
    };
    std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(owner))
}

#[cfg(test)]
mod tests {
    use super::parse_passwd;

    #[test]
    fn passwd_lines_are_found_by_exact_name() {
        let text = "root:x:0:0:root:/root:/bin/sh\na:x:5:6::/:/x\nab:x:7:8::/:/x\nbroken\n";
        let user = parse_passwd(text, "ab").unwrap();
        assert_eq!((user.uid, user.gid), (7, 8));
        assert_eq!(parse_passwd(text, "b"), None);
        assert_eq!(parse_passwd(text, "broken"), None);
    }
}
