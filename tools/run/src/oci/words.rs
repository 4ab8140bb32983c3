//! What went wrong, in the words that callers search error messages for: they are part of the interface.
//!
//! podman's regular expressions turn `permission denied|operation not permitted` into exit code 126 and
//! `executable file not found in|no such file or directory` into 127; containerd takes `does not exist` and
//! `container not running` as "already done".

use libcontainer::{Error, ErrorKind};
use std::error::Error as _;

/// There is no such container.
pub(crate) const DOES_NOT_EXIST: &str = "container does not exist";

/// One line: the field's words for the kind, then ours with their causes.
pub(crate) fn of(error: &Error) -> String {
    let ours = chain(error);
    if let (ErrorKind::Hook { .. }, Some(path)) = (error.kind(), error.path()) {
        let why = error.hint().unwrap_or_default().replace('\n', " ");
        return format!("error running {}: {}: {why}", error.step(), path.display());
    }
    match field(error) {
        Some(words) if !ours.contains(words.as_str()) => format!("{words} ({ours})"),
        _ => ours,
    }
}

fn field(error: &Error) -> Option<String> {
    let program = || {
        error
            .path()
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    };
    Some(match error.kind() {
        ErrorKind::Running if error.step().starts_with("start ") => {
            "cannot start an already running container".to_owned()
        }
        ErrorKind::NotRunning if error.step().starts_with("start the") => {
            "cannot start a container that has stopped".to_owned()
        }
        ErrorKind::Paused if error.step().starts_with("start the") => {
            "cannot start a container in the paused state".to_owned()
        }
        ErrorKind::Running if error.step().starts_with("resume ") => {
            "container not paused".to_owned()
        }
        ErrorKind::Running if error.step().starts_with("delete ") => {
            "cannot delete container that is not stopped: running".to_owned()
        }
        ErrorKind::NotRunning if error.step().starts_with("checkpoint ") => {
            "container cannot be checkpointed: container not running".to_owned()
        }
        ErrorKind::NotRunning if error.step().starts_with("start a process") => {
            "cannot exec in a stopped container: container not running".to_owned()
        }
        _ if error.step() == "send the listener of the filter to a socket" => {
            "failed to connect with seccomp agent".to_owned()
        }
        ErrorKind::Exists => "container with given ID already exists".to_owned(),
        ErrorKind::NotRunning => "container not running".to_owned(),
        ErrorKind::Paused if error.step() != "cgroup" => {
            "cannot exec in a paused container".to_owned()
        }
        ErrorKind::InvalidId => "invalid container ID format".to_owned(),
        // The file was found.
        ErrorKind::ExecNotFound if error.step().starts_with("execute") => {
            format!("exec {}: no such file or directory", program())
        }
        ErrorKind::ExecNotFound if program().contains('/') => {
            format!("exec: {:?}: no such file or directory", program())
        }
        ErrorKind::ExecNotFound => {
            format!("exec: {:?}: executable file not found in $PATH", program())
        }
        ErrorKind::ExecNotPermitted => format!("exec: {:?}: permission denied", program()),
        ErrorKind::PermissionDenied if error.step() == "cgroup" => {
            "unable to apply cgroup configuration: rootless needs no limits + no cgrouppath when no permission is granted for cgroups"
                .to_owned()
        }
        ErrorKind::PermissionDenied => "operation not permitted".to_owned(),
        _ => return None,
    })
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str("; hint: ");
        text.push_str(hint);
    }
    // A log line is one line.
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_find_their_words() {
        for (kind, path, words) in [
            (
                ErrorKind::Exists,
                None,
                "container with given ID already exists",
            ),
            (ErrorKind::NotRunning, None, "container not running"),
            (
                ErrorKind::ExecNotFound,
                Some("nope"),
                "exec: \"nope\": executable file not found in $PATH",
            ),
            (
                ErrorKind::ExecNotFound,
                Some("/nope"),
                "exec: \"/nope\": no such file or directory",
            ),
            (
                ErrorKind::ExecNotPermitted,
                Some("/etc"),
                "exec: \"/etc\": permission denied",
            ),
        ] {
            let mut error = Error::new(kind, "step");
            if let Some(path) = path {
                error = error.with_path(path);
            }
            let text = of(&error);
            assert!(text.contains(words), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
    }

    #[test]
    fn the_kernels_words_are_not_repeated() {
        let text = of(&Error::from_errno(1, "mount"));
        assert_eq!(text, "mount: operation not permitted");
    }
}
