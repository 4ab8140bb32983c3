//! The commit time of the work tree a build is called in: a clue to the moment an image claims to be from.

use std::path::Path;
use std::process::{Command, Stdio};

/// Returns the time of the last commit, in seconds since 1970, if `directory` is in a git work tree without changes.
///
/// No git, no repository, one of another user or with changes: `None`. The clue is only ever a convenience.
pub(crate) fn commit_time(directory: &Path) -> Option<i64> {
    // Most calls are not in a repository, and starting git takes longer than everything else `from` does.
    directory
        .ancestors()
        .find(|ancestor| ancestor.join(".git").exists())?;
    let changes = git(directory, &["status", "--porcelain"])?;
    if !changes.is_empty() {
        return None;
    }
    git(directory, &["log", "-1", "--format=%ct"])?
        .trim()
        .parse()
        .ok()
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    // Only to look: no lock file in the repository.
    let output = command.env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    if output.status.success() {
        String::from_utf8(output.stdout).ok()
    } else {
        None
    }
}
