//! How the libraries' errors are told: which exit code, which hint.

use libbuild::ErrorKind;
use trimaran_cli::{ExitCode, Failure};

/// An error of the build.
pub(crate) fn build(error: libbuild::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::ExecNotFound => ExitCode::CommandNotFound,
        ErrorKind::ExecNotPermitted => ExitCode::NotExecutable,
        _ => ExitCode::Failure,
    };
    let hint = error
        .hint()
        .map(str::to_owned)
        .or_else(|| hint(error.kind()).map(str::to_owned));
    with_hint(Failure::new(error).with_code(code), hint)
}

/// An error of the container side.
pub(crate) fn container(error: libbuild::ContainerError) -> Failure {
    let hint = error.hint().map(str::to_owned);
    with_hint(Failure::new(error), hint)
}

fn with_hint(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn hint(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NoSpace | ErrorKind::Image(libimage::ErrorKind::NoSpace) => {
            "free some space; `build rm` removes working containers"
        }
        ErrorKind::InUse => "wait for the other command, or end it",
        ErrorKind::UnknownUser => {
            "the name must be in the container's own /etc/passwd or /etc/group; a number always works"
        }
        _ => return None,
    })
}
